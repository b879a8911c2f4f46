//! A small machine for tests: one memory, page maps of leaves, a TLB that counts. Bytes really move.

use crate::guests::{Flaw, Guests};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use vcm::{
    Access, Answer, Attributes, CpuAddress, DeviceHandle, Fault, FaultAccess, FaultReason, FaultState,
    Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, PageSizes, Part, PhysicalAddress,
    Privilege, Quiesced, RegionKind, Segments, SpaceHandle, Span, Unfinished,
};
use vcm_cli::machine::{Bindings, Machine};
use vcm_cli::problem::Problem;
use vcm_platform::{
    Checksum, DeviceDescription, Event, FaultToken, Interrupts, Layout, MemoryDescription, Outcome, Platform,
    PlatformError, Surface, Transfer, TransferReport, pattern,
};

const BASE: u64 = 0x4000_0000;
const LEN: u64 = 48 << 20;

/// Switches flat machines on.
pub(crate) struct FlatFactory {
    pub(crate) bindings: Bindings,
    /// The byte that the codec writes wrong, counted from 1.
    pub(crate) flips: u64,
    /// Unmapping never completes.
    pub(crate) stuck: bool,
    /// What is wrong with its interrupts.
    pub(crate) flaw: Flaw,
}

impl Default for FlatFactory {
    fn default() -> Self {
        let mut bindings = Bindings::default();
        bindings.roles.insert("engine".into(), "rotator".into());
        Self { bindings, flips: 0, stuck: false, flaw: Flaw::None }
    }
}

impl Machine for FlatFactory {
    fn name(&self) -> &str {
        "flat"
    }

    fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem> {
        let mut machine = Flat::new(tlb_entries.unwrap_or(16) as usize);
        machine.flips = self.flips;
        machine.stuck = self.stuck;
        machine.guests.flaw = self.flaw;
        Ok(Box::new(machine))
    }
}

#[derive(Clone, Copy)]
struct Leaf {
    physical: u64,
    size: u64,
    attributes: Attributes,
}

#[derive(Default)]
struct Space {
    leaves: BTreeMap<u64, Leaf>,
}

struct Running {
    device: usize,
    privilege: Privilege,
    /// What is still to be done, byte runs of at most a page: read from, write to.
    work: Vec<(Option<u64>, Option<u64>, u64)>,
    next: usize,
    written: u64,
    seed: u64,
    sum: Checksum,
    report: TransferReport,
    waits: Option<bool>,
}

pub(crate) struct Flat {
    memory: Vec<u8>,
    devices: Vec<DeviceDescription>,
    memories: Vec<MemoryDescription>,
    spaces: HashMap<u32, Space>,
    next_space: u32,
    attached: Vec<(usize, Part, u32)>,
    running: Option<Running>,
    /// Leaves by space, the most recently used last.
    tlb: Vec<(u32, u64)>,
    tlb_entries: usize,
    flips: u64,
    stuck: bool,
    guests: Guests,
}

impl Flat {
    fn new(tlb_entries: usize) -> Self {
        let device = |number: u32, name: &str, kind| DeviceDescription {
            handle: DeviceHandle(number),
            name: name.into(),
            kind,
            iommu: (kind == RegionKind::Translated).then(|| "smmu".into()),
            reserved: Vec::new(),
        };
        let names = ["codec", "rotator", "display", "camera", "scaler"];
        let mut devices: Vec<_> =
            (0..).zip(names).map(|(number, name)| device(number, name, RegionKind::Translated)).collect();
        devices.push(device(5, "dma", RegionKind::OneToOne));
        devices.push(device(6, "cpu0", RegionKind::Cpu));
        let memory = |name: &str, base, len| MemoryDescription {
            name: name.into(),
            span: Span::new(base, len).unwrap(),
        };
        Self {
            guests: Guests::new(Flaw::None, &devices),
            memory: vec![0; LEN as usize],
            devices,
            memories: vec![memory("fast", BASE, 8 << 20), memory("main", BASE + (16 << 20), 32 << 20)],
            spaces: HashMap::new(),
            next_space: 1,
            attached: Vec::new(),
            running: None,
            tlb: Vec::new(),
            tlb_entries,
            flips: 0,
            stuck: false,
        }
    }

    fn device(&self, handle: DeviceHandle) -> Result<usize, HardwareError> {
        let unknown = HardwareError { kind: HardwareErrorKind::Unknown, at: "flat".into() };
        self.devices.iter().position(|device| device.handle == handle).ok_or(unknown)
    }

    fn serves(part: Part, address: u64) -> bool {
        let low = |split: u8| address >> (32 - u32::from(split)) == 0;
        match part {
            Part::Whole => true,
            Part::Low { split } => low(split),
            Part::High { split } => !low(split),
        }
    }

    /// Where an access leads, and why not.
    fn reach(
        &mut self,
        device: usize,
        privilege: Privilege,
        address: u64,
        write: bool,
    ) -> Result<(u64, u64, bool), FaultReason> {
        if self.devices[device].kind == RegionKind::OneToOne {
            return Ok((address, 4096 - address % 4096, true));
        }
        let mut links = self.attached.iter();
        let link = links.find(|(who, part, _)| *who == device && Self::serves(*part, address));
        let any = self.attached.iter().any(|(who, ..)| *who == device);
        let none = if any { FaultReason::Translation } else { FaultReason::NoContext };
        let space = link.ok_or(none)?.2;
        let (base, leaf) =
            self.spaces[&space].leaves.range(..=address).next_back().ok_or(FaultReason::Translation)?;
        let (base, leaf) = (*base, *leaf);
        if address - base >= leaf.size {
            return Err(FaultReason::Translation);
        }
        let needed = if write { Access::WRITE } else { Access::READ };
        let kept = leaf.attributes.privilege == Privilege::Supervisor && privilege == Privilege::User;
        if kept || !leaf.attributes.access.contains(needed) {
            return Err(FaultReason::Permission);
        }
        let found = self.tlb.iter().position(|entry| *entry == (space, base));
        let hit = found.is_some();
        match found {
            Some(index) => {
                let entry = self.tlb.remove(index);
                self.tlb.push(entry);
            }
            None => {
                if self.tlb.len() >= self.tlb_entries {
                    self.tlb.remove(0);
                }
                self.tlb.push((space, base));
            }
        }
        Ok((leaf.physical + (address - base), leaf.size - (address - base), hit))
    }

    fn bytes(&mut self, physical: u64, len: u64) -> Option<&mut [u8]> {
        let start = physical.checked_sub(BASE)? as usize;
        self.memory.get_mut(start..start + len as usize)
    }

    fn error(what: &str, why: impl ToString) -> PlatformError {
        PlatformError { what: what.into(), why: why.to_string() }
    }

    fn cpu(&mut self, address: u64, write: bool) -> Result<(u64, u64), PlatformError> {
        let found = self.reach(6, Privilege::Supervisor, address, write);
        let (physical, len, _) =
            found.map_err(|reason| Self::error("cpu access", format!("{reason} fault at {address:#x}")))?;
        Ok((physical, len))
    }
}

/// Byte runs of a surface in the order of its visit, by plain loops.
fn runs(surface: Surface) -> Vec<(u64, u64)> {
    let base = surface.address;
    let mut all = Vec::new();
    match surface.layout {
        Layout::Linear { len } => all.push((base, len)),
        Layout::Rectangle(p) => {
            for y in 0..u64::from(p.height) {
                all.push((base + y * u64::from(p.stride), u64::from(p.width) * u64::from(p.bytes_per_pixel)));
            }
        }
        Layout::Columns(p) => {
            for x in 0..u64::from(p.width) {
                for y in 0..u64::from(p.height) {
                    let at = base + y * u64::from(p.stride) + x * u64::from(p.bytes_per_pixel);
                    all.push((at, p.bytes_per_pixel.into()));
                }
            }
        }
        Layout::Tiled { picture: p, tile_width, tile_height } => {
            for top in (0..p.height).step_by(tile_height as usize) {
                for left in (0..p.width).step_by(tile_width as usize) {
                    for y in top..(top + tile_height).min(p.height) {
                        let width = tile_width.min(p.width - left);
                        let at = base
                            + u64::from(y) * u64::from(p.stride)
                            + u64::from(left) * u64::from(p.bytes_per_pixel);
                        all.push((at, u64::from(width) * u64::from(p.bytes_per_pixel)));
                    }
                }
            }
        }
        // The order is for the simulated SoC to prove; here the pieces come from the last to the first.
        Layout::Scattered { len, piece, .. } => {
            let piece = u64::from(piece);
            all.extend((0..len / piece).rev().map(|n| (base + n * piece, piece)));
        }
    }
    all
}

/// Runs of two surfaces cut so that each pair is of one length and in one page on both sides.
fn paired(from: Option<Surface>, to: Option<Surface>) -> Vec<(Option<u64>, Option<u64>, u64)> {
    let (from, to) = (from.map(runs), to.map(runs));
    let total: u64 = from.as_ref().or(to.as_ref()).unwrap().iter().map(|run| run.1).sum();
    let mut cursors = [(from, 0_usize, 0_u64), (to, 0, 0)];
    let mut done = 0;
    let mut all = Vec::new();
    while done < total {
        let mut step = total - done;
        let mut at = [None, None];
        for (side, (runs, index, inside)) in cursors.iter().enumerate() {
            let Some(runs) = runs else { continue };
            let (base, len) = runs[*index];
            at[side] = Some(base + inside);
            step = step.min(len - inside).min(4096 - (base + inside) % 4096);
        }
        for (runs, index, inside) in &mut cursors {
            let Some(runs) = runs else { continue };
            *inside += step;
            if *inside == runs[*index].1 {
                (*index, *inside) = (*index + 1, 0);
            }
        }
        all.push((at[0], at[1], step));
        done += step;
    }
    all
}

impl Hardware for Flat {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        let index = self.device(device)?;
        let range = |range: RangeInclusive<u64>| Span::inclusive(*range.start(), *range.end()).unwrap();
        let addresses = match (self.devices[index].kind, part) {
            (RegionKind::Cpu, Part::Whole) => self.cpu_span(),
            (_, Part::Whole) => range(0..=0xffff_ffff),
            (RegionKind::Translated, Part::Low { split }) => range(0..=(1 << (32 - u32::from(split))) - 1),
            (RegionKind::Translated, Part::High { split }) => {
                range(1 << (32 - u32::from(split))..=0xffff_ffff)
            }
            _ => return Err(HardwareError { kind: HardwareErrorKind::NotSupported, at: "flat".into() }),
        };
        Ok(Format { id: 1, name: "flat leaves", page_sizes: PageSizes::ARM_SHORT, addresses })
    }

    fn create_space(&mut self, _: RegionKind, _: Format, _: Span) -> Result<SpaceHandle, HardwareError> {
        let handle = self.next_space;
        self.next_space += 1;
        self.spaces.insert(handle, Space::default());
        Ok(SpaceHandle(handle))
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        self.spaces.remove(&space.0);
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let leaves = &mut self.spaces.get_mut(&space.0).unwrap().leaves;
        let mut at = at;
        for segment in segments {
            let (mut physical, mut left) = (segment.base.raw(), segment.len);
            while left > 0 {
                let size = PageSizes::ARM_SHORT.largest_at(at, physical, left.into()).unwrap();
                leaves.insert(at, Leaf { physical, size, attributes });
                (at, physical, left) = (at + size, physical + size, left - size);
            }
        }
        Ok(())
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        if self.stuck {
            let error = HardwareError { kind: HardwareErrorKind::Unresponsive, at: "flat".into() };
            return Err(Unfinished { error });
        }
        let leaves = &mut self.spaces.get_mut(&space.0).unwrap().leaves;
        leaves.retain(|at, _| !span.contains(*at));
        self.tlb.retain(|(of, at)| *of != space.0 || !span.contains(*at));
        Ok(Quiesced::after_invalidation(space, span))
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        let device = self.device(device)?;
        self.attached.push((device, part, space.0));
        Ok(())
    }

    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished> {
        let device = self.device(device).unwrap();
        self.attached.retain(|link| *link != (device, part, space.0));
        self.tlb.retain(|(of, _)| *of != space.0);
        Ok(Quiesced::after_invalidation(space, Span::ALL))
    }

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        let device = self.device(device)?;
        let nowhere = HardwareError { kind: HardwareErrorKind::Address, at: "flat".into() };
        self.reach(device, Privilege::Supervisor, address, false)
            .map(|found| PhysicalAddress::new(found.0))
            .map_err(|_| nowhere)
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        let (base, leaf) = self.spaces.get(&space.0)?.leaves.range(..=address).next_back()?;
        (address - base < leaf.size).then(|| PhysicalAddress::new(leaf.physical + (address - base)))
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        let mut count = LeafCount::default();
        for (_, leaf) in self.spaces[&space.0].leaves.range(span.first()..=span.last()) {
            count.add(leaf.size);
        }
        count
    }
}

impl Platform for Flat {
    fn name(&self) -> &str {
        "flat"
    }

    fn devices(&self) -> &[DeviceDescription] {
        &self.devices
    }

    fn memories(&self) -> &[MemoryDescription] {
        &self.memories
    }

    fn interrupts(&mut self) -> Option<&mut dyn Interrupts> {
        if self.guests.flaw == Flaw::NoInterrupts { None } else { Some(&mut self.guests) }
    }

    fn cpu_span(&self) -> Span {
        Span::new(0xc000_0000, 64 << 20).unwrap()
    }

    fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), PlatformError> {
        let device = self.device(device).map_err(|error| Self::error("start", error))?;
        let (from, to, seed) = match *transfer {
            Transfer::Write { to, seed } => (None, Some(to), seed),
            Transfer::Read { from } => (Some(from), None, 0),
            Transfer::Copy { from, to } => (Some(from), Some(to), 0),
        };
        let report = TransferReport {
            outcome: Outcome::Completed,
            bytes_read: 0,
            bytes_written: 0,
            checksum: 0,
            tlb_lookups: 0,
            tlb_misses: 0,
            faults: 0,
        };
        let (work, sum) = (paired(from, to), Checksum::new());
        self.running =
            Some(Running { device, privilege, work, next: 0, written: 0, seed, sum, report, waits: None });
        Ok(())
    }

    fn next_event(&mut self) -> Result<Option<Event>, PlatformError> {
        let Some(mut running) = self.running.take() else { return Ok(None) };
        let handle = self.devices[running.device].handle;
        if running.waits == Some(false) {
            running.report.outcome = Outcome::Aborted;
            return Ok(Some(Event::Completed { device: handle, report: running.report }));
        }
        running.waits = None;
        while let Some((from, to, len)) = running.work.get(running.next).copied() {
            let mut places = [None, None];
            for (side, address) in [from, to].into_iter().enumerate() {
                let Some(address) = address else { continue };
                running.report.tlb_lookups += 1;
                match self.reach(running.device, running.privilege, address, side == 1) {
                    Ok((physical, _, hit)) => {
                        running.report.tlb_misses += u64::from(!hit);
                        places[side] = Some(physical);
                    }
                    Err(reason) => {
                        running.report.faults += 1;
                        let access = if side == 1 { FaultAccess::Write } else { FaultAccess::Read };
                        let state = FaultState::Stalled;
                        let fault = Fault { device: handle, address, access, reason, state };
                        self.running = Some(running);
                        return Ok(Some(Event::Fault { token: FaultToken(1), fault }));
                    }
                }
            }
            let bad = |at| Self::error("bus", format!("no memory at {at:?}"));
            let bytes: Vec<u8> = match places[0] {
                Some(at) => self.bytes(at, len).ok_or_else(|| bad(at))?.to_vec(),
                None => (0..len).map(|n| pattern(running.seed, running.written + n)).collect(),
            };
            if places[0].is_some() {
                running.report.bytes_read += len;
                running.sum.update(&bytes);
            }
            if let Some(at) = places[1] {
                self.bytes(at, len).ok_or_else(|| bad(at))?.copy_from_slice(&bytes);
                let flip = self.flips.wrapping_sub(1).wrapping_sub(running.written);
                if running.device == 0 && self.flips > 0 && flip < len {
                    self.bytes(at + flip, 1).ok_or_else(|| bad(at))?[0] ^= 1;
                }
                running.written += len;
                running.report.bytes_written += len;
            }
            running.next += 1;
        }
        running.report.checksum = running.sum.value();
        self.guests.completed(handle);
        Ok(Some(Event::Completed { device: handle, report: running.report }))
    }

    fn answer(&mut self, _: FaultToken, answer: Answer) {
        if let Some(running) = &mut self.running {
            running.waits = Some(answer == Answer::Retry);
        }
    }

    fn cpu_read(&mut self, address: CpuAddress, bytes: &mut [u8]) -> Result<(), PlatformError> {
        let mut done = 0;
        while done < bytes.len() {
            let (physical, len) = self.cpu(address.raw() + done as u64, false)?;
            let len = (len as usize).min(bytes.len() - done);
            let memory =
                self.bytes(physical, len as u64).ok_or_else(|| Self::error("cpu read", "no memory"))?;
            bytes[done..done + len].copy_from_slice(memory);
            done += len;
        }
        Ok(())
    }

    fn cpu_write(&mut self, address: CpuAddress, bytes: &[u8]) -> Result<(), PlatformError> {
        let mut done = 0;
        while done < bytes.len() {
            let (physical, len) = self.cpu(address.raw() + done as u64, true)?;
            let len = (len as usize).min(bytes.len() - done);
            let memory =
                self.bytes(physical, len as u64).ok_or_else(|| Self::error("cpu write", "no memory"))?;
            memory.copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        Ok(())
    }
}
