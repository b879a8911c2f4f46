//! Operations on the graph that declarations and steps share. Each answers with what it did, in a few words.

use super::contents::Contents;
use super::failure::Failure;
use super::world::{AssociationEntry, BufferEntry, ShareEntry, World};
use crate::problem::Name;
use crate::scenario::{
    AssociationSpec, BoundSpec, BufferSpec, HookAnswer, HookSpec, RegionSpec, ShareSpec, When, Window,
};
use vcm::{
    AllocationRequest, Answer, Bytes, Error, Extent, Fault, Graph, Hardware, Part, RegionKind, RegionRequest,
    ReservationAlignment, ReservationRequest, SIZE_4K, Span, Teardown,
};

type Done = Result<String, Failure>;

impl World<'_> {
    /// Makes a region. `links` are the associations that are to come.
    pub fn create_region(&mut self, spec: &RegionSpec, links: &[AssociationSpec]) -> Done {
        let window = match &spec.window {
            Window::Range(start, len) => {
                Span::new(*start, *len).ok_or(Error::BadLength {
                    start: *start,
                    len: (*len).into(),
                    page: SIZE_4K,
                })
            }
            .map_err(|error| self.refused(error))?,
            Window::OfMemory(memory) => self.memory(memory)?.span,
            Window::OfDevice if spec.kind == RegionKind::Cpu => self.platform.cpu_span(),
            Window::OfDevice => match links.iter().find(|link| link.region.text == spec.name.text) {
                Some(link) => self.translated_by(&link.device, link.part)?,
                None => {
                    return Err(spec
                        .name
                        .problem(format!("region \"{}\" has neither addresses nor a device", spec.name))
                        .with_help("give it start and len, or an [[association]]")
                        .into());
                }
            },
        };
        let request = RegionRequest::new(&spec.name.text, spec.kind, window);
        let id = self.graph.create_region(&request).map_err(|error| self.refused(error))?;
        self.regions.insert(spec.name.text.clone(), id);
        Ok(format!("region {} {} {window}", spec.name, spec.kind))
    }

    /// All that a device can translate in a part.
    fn translated_by(&mut self, device: &Name, part: Part) -> Result<Span, Failure> {
        let master = self.master(device)?;
        let format = self.platform.format(master.handle, part);
        format
            .map(|format| format.addresses)
            .map_err(|error| self.refused(Error::Hardware { doing: "asking for the device's format", error }))
    }

    pub fn create_bound(&mut self, spec: &BoundSpec) -> Done {
        let region = self.region(&spec.region)?;
        let id = self.graph.create_bound(region, spec.len).map_err(|error| self.refused(error))?;
        self.bounds.insert(spec.name.text.clone(), id);
        Ok(format!("bound {} of {}", spec.name, spec.region))
    }

    pub fn associate(&mut self, spec: &AssociationSpec) -> Done {
        let region = self.region(&spec.region)?;
        let master = self.master(&spec.device)?;
        let linked = self.graph.associate(region, master.id, spec.part, &mut *self.platform);
        let id = linked.map_err(|error| self.refused(error))?;
        self.associations.push(AssociationEntry {
            region: spec.region.text.clone(),
            device: spec.device.text.clone(),
            id,
        });
        if spec.active == When::Start {
            let activated = self.graph.activate(id, &mut *self.platform);
            activated.map_err(|error| self.refused(error))?;
        }
        Ok(format!("{} with {}", spec.region, master.title()))
    }

    pub fn deassociate(&mut self, region: &Name, device: &Name) -> Done {
        let id = self.association(region, device)?;
        let done = self.graph.deassociate(id, &mut *self.platform);
        done.map_err(|error| self.refused(error))?;
        self.associations.retain(|link| link.id != id);
        Ok(format!("{region} from {device}"))
    }

    pub fn activate(&mut self, region: &Name, device: &Name) -> Done {
        let id = self.association(region, device)?;
        let done = self.graph.activate(id, &mut *self.platform);
        done.map_err(|error| self.refused(error))?;
        Ok(format!("{device} translates through {region}"))
    }

    pub fn deactivate(&mut self, region: &Name, device: &Name) -> Done {
        let id = self.association(region, device)?;
        let outcome = self.graph.deactivate(id, &mut *self.platform);
        torn_down(outcome, format!("{device} no longer translates through {region}"))
    }

    pub fn allocate(&mut self, spec: &BufferSpec) -> Done {
        let target = match &spec.target {
            None => self.any_memory,
            Some(name) => *self
                .targets
                .get(&name.text)
                .ok_or_else(|| name.problem(format!("there is no target \"{name}\"")))?,
        };
        let mut request = AllocationRequest::new(&spec.name.text, spec.len);
        request.contiguity = spec.contiguity;
        request.coherence = spec.coherence;
        if let Some(alignment) = spec.alignment {
            request.alignment = alignment;
        }
        if let Some(sizes) = spec.blocks {
            request.sizes = sizes;
        }
        let allocated = self.graph.allocate(target, &request, &mut *self.platform);
        let id = allocated.map_err(|error| self.refused(error))?;
        let len = self.graph.allocation(id).map(|info| info.len).unwrap_or(spec.len);
        self.buffers.insert(spec.name.text.clone(), BufferEntry { id, len, contents: Contents::new(len) });
        Ok(format!("{} of {}", spec.name, Bytes(len)))
    }

    pub fn share_buffer(&mut self, spec: &ShareSpec) -> Done {
        let region = self.region(&spec.region)?;
        let whole = self.buffer(&spec.buffer)?.len;
        let len = match spec.len {
            Some(len) => len,
            None if spec.offset < whole => whole - spec.offset,
            None => {
                let what = format!("buffer \"{}\" has {whole} bytes, none from there on", spec.buffer);
                return Err(spec.name.problem(what).into());
            }
        };
        let mut request = ReservationRequest::new(len, spec.attributes);
        if let Some(alignment) = spec.alignment {
            request.alignment = ReservationAlignment::Exactly(alignment);
        }
        let reserved = match (&spec.bound, spec.address) {
            (Some(bound), _) => match self.bounds.get(&bound.text) {
                Some(bound) => self.graph.reserve_from_bound(*bound, &request),
                None => return Err(bound.problem(format!("there is no bound \"{bound}\"")).into()),
            },
            (None, Some(address)) => self.graph.reserve_at(region, address, len, spec.attributes),
            (None, None) => self.graph.reserve_with(region, &request),
        };
        let reservation = reserved.map_err(|error| self.refused(error))?;
        let entry = ShareEntry {
            reservation,
            buffer: spec.buffer.text.clone(),
            region: spec.region.text.clone(),
            offset: spec.offset,
            len,
        };
        if spec.backed == When::Start
            && let Err(failure) = self.back_entry(&entry)
        {
            // A share is made whole or not at all.
            let _ = self.graph.unreserve(reservation);
            return Err(failure);
        }
        let place = match self.graph.device_address(reservation) {
            Ok(address) => format!("{} in {} at {address}", spec.buffer, spec.region),
            Err(_) => format!("{} in {}, no address yet", spec.buffer, spec.region),
        };
        self.shares.insert(spec.name.text.clone(), entry);
        Ok(place)
    }

    fn back_entry(&mut self, entry: &ShareEntry) -> Result<(), Failure> {
        let Some(buffer) = self.buffers.get(&entry.buffer) else {
            return Err(Failure::Machine(format!("buffer \"{}\" was freed", entry.buffer)));
        };
        let extent = extent(entry, buffer.len);
        let backed = self
            .graph
            .plan_back(entry.reservation, buffer.id, extent)
            .and_then(|plan| plan.commit(&mut *self.platform));
        backed.map_err(|error| self.refused(error))
    }

    pub fn back(&mut self, share: &Name) -> Done {
        let entry = self.share(share)?.clone();
        self.back_entry(&entry)?;
        Ok(format!("{share} has memory"))
    }

    pub fn unback(&mut self, share: &Name) -> Done {
        let reservation = self.share(share)?.reservation;
        let outcome = self.graph.unback(reservation, &mut *self.platform);
        torn_down(outcome, format!("{share} has no memory any more"))
    }

    pub fn unreserve(&mut self, share: &Name) -> Done {
        let reservation = self.share(share)?.reservation;
        self.graph.unreserve(reservation).map_err(|error| self.refused(error))?;
        self.shares.remove(&share.text);
        Ok(format!("{share} is gone"))
    }

    pub fn unshare(&mut self, share: &Name) -> Done {
        let unbacked = self.unback(share)?;
        self.unreserve(share)?;
        Ok(unbacked)
    }

    pub fn free_buffer(&mut self, buffer: &Name) -> Done {
        let id = self.buffer(buffer)?.id;
        let freed = self.graph.free(id, &mut *self.platform);
        freed.map_err(|error| self.refused(error))?;
        self.buffers.remove(&buffer.text);
        Ok(format!("{buffer} went back to its pools"))
    }

    pub fn free_region(&mut self, region: &Name) -> Done {
        let id = self.region(region)?;
        self.graph.free_region(id).map_err(|error| self.refused(error))?;
        self.regions.remove(&region.text);
        Ok(format!("{region} is gone"))
    }

    pub fn hook(&mut self, spec: &HookSpec) -> Done {
        let master = self.master(&spec.device)?;
        let hooked = match &spec.answer {
            HookAnswer::None => self.graph.unhook(master.id),
            HookAnswer::Terminate => {
                let hook = |_: &Fault, _: &mut Graph, _: &mut dyn Hardware| Answer::Terminate;
                self.graph.hook(master.id, Box::new(hook))
            }
            HookAnswer::BackAndRetry(share) => {
                let entry = self.share(share)?.clone();
                let Some(buffer) = self.buffers.get(&entry.buffer) else {
                    return Err(Failure::Machine(format!("buffer \"{}\" was freed", entry.buffer)));
                };
                let (allocation, extent) = (buffer.id, extent(&entry, buffer.len));
                let hook = move |fault: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware| {
                    let region = entry.reservation.region();
                    if graph.reservation_at(region, fault.address) != Some(entry.reservation) {
                        return Answer::Terminate;
                    }
                    let plan = graph.plan_back(entry.reservation, allocation, extent);
                    match plan.and_then(|plan| plan.commit(hardware)) {
                        // Backed meanwhile is as good.
                        Ok(()) | Err(Error::Backed { .. }) => Answer::Retry,
                        Err(_) => Answer::Terminate,
                    }
                };
                self.graph.hook(master.id, Box::new(hook))
            }
        };
        hooked.map_err(|error| self.refused(error))?;
        let answer = match &spec.answer {
            HookAnswer::None => "nobody".into(),
            HookAnswer::Terminate => "terminate".into(),
            HookAnswer::BackAndRetry(share) => format!("put memory behind {share} and retry"),
        };
        Ok(format!("faults of {} are answered: {answer}", master.title()))
    }

    pub fn reap(&mut self) -> String {
        let reaped = self.graph.reap(&mut *self.platform);
        format!("{} ranges came back, {} remain in quarantine", reaped.ranges, reaped.remaining)
    }
}

/// Which bytes of its buffer a share is backed with.
const fn extent(entry: &ShareEntry, buffer: u64) -> Extent {
    if entry.offset == 0 && entry.len == buffer { Extent::Whole } else { Extent::From(entry.offset) }
}

fn torn_down(outcome: Teardown, done: String) -> Done {
    match outcome {
        Teardown::Done => Ok(done),
        Teardown::StillCounted => Ok("other activations remain".into()),
        Teardown::NothingThere => Err(Failure::Machine("there was nothing to take down".into())),
        Teardown::Quarantined => Err(Failure::Machine("the hardware did not finish: in quarantine".into())),
    }
}
