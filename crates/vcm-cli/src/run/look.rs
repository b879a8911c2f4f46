//! The last look: before everything is taken down, the CPU compares all that is known of every buffer.

use super::log::Log;
use super::world::{ShareEntry, World};
use vcm::{
    Access, AllocationId, AssociationState, Attributes, Bytes, CpuAddress, Error, HardwareErrorKind, Part,
    RegionId, RegionKind, RegionRequest, ReservationId,
};

/// What came of looking at a buffer.
enum Looked {
    /// The machine has no CPU.
    NoCpu,
    /// The CPU cannot map it in the way in which others do, and why.
    CannotMap(String),
    /// So many bytes are as they have to be.
    Compared(u64),
}

/// Whether the CPU's tables cannot express what a mapping needs.
const fn no_such_attributes(error: Error) -> bool {
    use HardwareErrorKind::{Attributes, MixedSecurity};
    matches!(error, Error::Hardware { error, .. } if matches!(error.kind, Attributes | MixedSecurity))
}

impl World<'_> {
    /// Compares every buffer with what it has to hold.
    pub fn look(&mut self, log: &mut Log<'_>) {
        let names: Vec<String> = self.buffers.keys().cloned().collect();
        for name in names {
            let Some(buffer) = self.buffers.get(&name) else { continue };
            let known = buffer.contents.known();
            if known.is_empty() {
                continue;
            }
            let title = format!("at the end {name} holds what was written");
            match self.look_at(&name, &known) {
                Ok(Looked::NoCpu) => {}
                Ok(Looked::Compared(bytes)) => {
                    log.check(title, true, format!("the CPU read {}", Bytes(bytes)));
                }
                Ok(Looked::CannotMap(why)) => {
                    log.check(format!("at the end {name} is not checked by the CPU"), true, why.clone());
                    log.warn(format!("what {name} holds at the end was not checked by the CPU: {why}"));
                }
                Err(what) => log.check(title, false, what),
            }
        }
    }

    /// Compares one buffer.
    fn look_at(&mut self, name: &str, known: &[(u64, u64)]) -> Result<Looked, String> {
        let Some(region) = self.looking_region()? else { return Ok(Looked::NoCpu) };
        let Some(buffer) = self.buffers.get(name) else { return Err("it is gone".into()) };
        let (buffer, len) = (buffer.id, buffer.len);
        let (reservation, offset, made) = match self.share_to_look_through(name, region) {
            Some(share) => (share.reservation, share.offset, false),
            None => match self.share_to_look(buffer, len, region) {
                Ok(reservation) => (reservation, 0, true),
                Err(error) if no_such_attributes(error) => {
                    return Ok(Looked::CannotMap(self.graph.explain(error).to_string()));
                }
                Err(error) => {
                    return Err(format!("the CPU cannot look at it: {}", self.graph.explain(error)));
                }
            },
        };
        let compared = self.compare(name, reservation, offset, known);
        if made {
            self.graph.unback(reservation, &mut *self.platform);
            // In quarantine it is counted as leaked; otherwise it is gone.
            let _ = self.graph.unreserve(reservation);
        }
        compared.map(Looked::Compared)
    }

    /// The CPU's active region; one is made when there is none.
    fn looking_region(&mut self) -> Result<Option<RegionId>, String> {
        let cpu_regions: Vec<RegionId> = self
            .graph
            .regions()
            .filter(|region| region.kind == RegionKind::Cpu)
            .map(|region| region.id)
            .collect();
        let active = self.graph.associations().find(|link| {
            cpu_regions.contains(&link.region) && matches!(link.state, AssociationState::Active(_))
        });
        if let Some(link) = active {
            return Ok(Some(link.region));
        }
        let Some(cpu) = self.devices.iter().find(|device| device.kind == RegionKind::Cpu).cloned() else {
            return Ok(None);
        };
        let master = match self.masters.iter().find(|master| master.handle == cpu.handle) {
            Some(master) => master.id,
            None => self.introduce("cpu", &cpu).map_err(|problem| problem.to_string())?.id,
        };
        let refused = |error: Error| format!("the CPU cannot look: {error}");
        let request = RegionRequest::new("last look", RegionKind::Cpu, self.platform.cpu_span());
        let region = self.graph.create_region(&request).map_err(refused)?;
        let link = self.graph.associate(region, master, Part::Whole, &mut *self.platform).map_err(refused)?;
        self.graph.activate(link, &mut *self.platform).map_err(refused)?;
        Ok(Some(region))
    }

    /// A share in the region that shows all of the buffer to reads.
    fn share_to_look_through(&self, name: &str, region: RegionId) -> Option<ShareEntry> {
        let len = self.buffers.get(name)?.len;
        self.shares
            .values()
            .find(|share| {
                let reservation = self.graph.reservation(share.reservation);
                share.buffer == name
                    && (share.offset, share.len) == (0, len)
                    && share.reservation.region() == region
                    && self.graph.allocation_behind(share.reservation).is_ok()
                    && reservation.is_ok_and(|found| found.attributes.access.contains(Access::READ))
            })
            .cloned()
    }

    /// Maps the buffer for the CPU, in the way in which others map it.
    fn share_to_look(
        &mut self,
        buffer: AllocationId,
        len: u64,
        region: RegionId,
    ) -> Result<ReservationId, Error> {
        let attributes = self.graph.mappers(buffer).next().map(|mapper| mapper.attributes);
        let attributes = attributes.unwrap_or(Attributes::READ_WRITE);
        let attributes = Attributes { access: Access::READ, ..attributes };
        let reservation = self.graph.reserve(region, len, attributes)?;
        match self.graph.back(reservation, buffer, &mut *self.platform) {
            Ok(()) => Ok(reservation),
            Err(error) => {
                let _ = self.graph.unreserve(reservation);
                Err(error)
            }
        }
    }

    fn compare(
        &mut self,
        name: &str,
        reservation: ReservationId,
        offset: u64,
        known: &[(u64, u64)],
    ) -> Result<u64, String> {
        let start = self.graph.device_address(reservation).map_err(|error| error.to_string())?.raw();
        let mut total = 0;
        let mut bytes = Vec::new();
        for (at, len) in known {
            bytes.resize(*len as usize, 0);
            let address = CpuAddress::new(start + (at - offset));
            self.platform.cpu_read(address, &mut bytes).map_err(|error| error.to_string())?;
            let Some(buffer) = self.buffers.get(name) else { return Err("it is gone".into()) };
            for (index, byte) in (0_u64..).zip(&bytes) {
                let expected = buffer.contents.get(at + index);
                if expected.is_some_and(|expected| expected != *byte) {
                    let expected = expected.unwrap_or_default();
                    let at = at + index;
                    return Err(format!("byte {at:#x} is {byte:#04x}, and had to be {expected:#04x}"));
                }
            }
            total += len;
        }
        Ok(total)
    }
}
