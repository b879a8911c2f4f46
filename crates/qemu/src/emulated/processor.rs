//! Processors that this process plays: QEMU's own are parked, and run nothing.
//!
//! They read and write the machine's memory through page tables that lie in it, and walk them in software.

use crate::ram::Ram;
use vcm::{Access, FaultAccess, FaultReason, Privilege};
use vcm_iommu::AnyTable;
use vcm_pagetable::Translation;
use vcm_platform::Run;
use vcm_platform::job::{Mover, Refusal, Stop};

/// A processor while it makes accesses.
#[derive(Debug)]
pub(super) struct Processor<'m> {
    /// The tables of all that is attached to it; the first that has an address counts.
    pub(super) tables: Vec<&'m AnyTable>,
    pub(super) ram: &'m Ram,
    pub(super) privilege: Privilege,
}

impl Processor<'_> {
    /// Where a byte is, or why it is nowhere for this access.
    fn find(&self, address: u64, access: FaultAccess) -> Result<Translation, FaultReason> {
        if self.tables.is_empty() {
            return Err(FaultReason::NoContext);
        }
        let mut all = self.tables.iter();
        let found =
            all.find_map(|table| table.translate(self.ram, address)).ok_or(FaultReason::Translation)?;
        let needed = match access {
            FaultAccess::Read => Access::READ,
            FaultAccess::Write => Access::WRITE,
            FaultAccess::Execute => Access::EXECUTE,
        };
        let attributes = found.attributes;
        let privileged = attributes.privilege == Privilege::User || self.privilege == Privilege::Supervisor;
        if attributes.access.contains(needed) && privileged {
            Ok(found)
        } else {
            Err(FaultReason::Permission)
        }
    }

    /// Calls `each` with every piece of `runs` that is in one page: its run, its place in all their bytes, and where it
    /// is in memory.
    fn pieces(
        &self,
        runs: &[Run],
        access: FaultAccess,
        mut each: impl FnMut(std::ops::Range<usize>, vcm::PhysicalAddress) -> Result<(), crate::Error>,
    ) -> Result<(), Stop> {
        let mut place = 0;
        for (run, &Run { address, len }) in runs.iter().enumerate() {
            let (mut at, mut left) = (address, len);
            while left > 0 {
                let found = self
                    .find(at, access)
                    .map_err(|reason| Stop::Refused(Refusal { run, address: at, access, reason }))?;
                let in_page = found.page_size - (at & (found.page_size - 1));
                let piece = left.min(in_page);
                each(place..place + piece as usize, found.physical)?;
                place += piece as usize;
                left -= piece;
                at = at.wrapping_add(piece);
            }
        }
        Ok(())
    }
}

impl Mover for Processor<'_> {
    fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop> {
        self.pieces(runs, FaultAccess::Read, |place, physical| {
            self.ram.read_bytes(physical, &mut bytes[place])
        })
    }

    fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop> {
        self.pieces(runs, FaultAccess::Write, |place, physical| self.ram.write_bytes(physical, &bytes[place]))
    }
}
