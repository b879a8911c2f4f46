//! The measurement: TLB misses by the size of a buffer's blocks, the way through it, and the size of the TLB.
//!
//! Blocks of a pool that was just made lie side by side, and the mapper covers them with larger pages than
//! the blocks are: that would measure nothing. So the memory is fragmented first, as it is after some uptime:
//! twice as many blocks as needed are taken one by one, and every other one is given back. Before each read
//! the device is deactivated and activated again, so that its TLB is empty.

use super::contents::{Contents, checksum};
use super::failure::Failure;
use super::log::Log;
use super::many;
use super::record::Measured;
use super::world::World;
use crate::machine::Machine;
use crate::problem::Problem;
use crate::scenario::{Measure, Scenario};
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, Bytes, Error, PageSizes, Part, RegionId,
    RegionRequest, TargetId,
};
use vcm_platform::{Event, Layout, Outcome, Surface, Transfer, TransferReport};

/// Measures, each size of the TLB on a machine of its own.
///
/// # Errors
/// The machine has not what the measurement names.
pub(super) fn measure(
    scenario: &Scenario,
    spec: &Measure,
    machine: &dyn Machine,
    seed: u64,
    log: &mut Log<'_>,
) -> Result<(), Problem> {
    let sizes: Vec<Option<u32>> = match spec.tlb_entries.as_slice() {
        [] => vec![None],
        sizes => sizes.iter().copied().map(Some).collect(),
    };
    let before = log.record.measurements.len();
    let expected = checksums(spec, seed);
    for entries in sizes {
        let mut platform = machine.switch_on(entries)?;
        let mut world = World::new(&mut *platform, machine.bindings(), scenario)?;
        let (failed, rows) = (log.record.failed().count(), log.record.measurements.len());
        let measured = world.measure(spec, entries, seed, &expected, log);
        let machine =
            entries.map_or_else(|| "its own TLB".into(), |entries| many(entries.into(), "TLB entry"));
        if measured.is_ok() && failed == log.record.failed().count() {
            let rows = &log.record.measurements[rows..];
            let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
            let detail = format!("{}, {}", many(rows.len() as u64, "read"), Bytes(bytes));
            log.check(format!("with {machine} every byte arrives"), true, detail);
        }
        world.tear_down(&format!("with {machine} "), log);
        match measured {
            Ok(()) => {}
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(Failure::Refused(_, what) | Failure::Machine(what)) => {
                log.check("the measurement can be made", false, format!("{what} ({})", spec.place.line()));
                return Ok(());
            }
        }
    }
    judge(spec, before, log);
    Ok(())
}

/// Checks the claim: no way through a buffer misses more often when the blocks are larger, and each misses less often
/// with the largest than with the smallest.
fn judge(spec: &Measure, before: usize, log: &mut Log<'_>) {
    // By pattern, and in each as they were measured: by TLB size, and in that the smallest blocks first.
    let place = |row: &Measured| spec.patterns.iter().position(|pattern| pattern.name.text == row.pattern);
    log.record.measurements[before..].sort_by_key(place);
    let rows = log.record.measurements[before..].to_vec();
    if rows.iter().all(|row| row.tlb_lookups == 0) {
        log.check("TLB misses are counted", false, "this machine does not count lookups");
        return;
    }
    for pattern in &spec.patterns {
        let mut worse = Vec::new();
        let mut best: Option<(u64, u64)> = None;
        let of_pattern: Vec<_> = rows.iter().filter(|row| row.pattern == pattern.name.text).collect();
        for group in of_pattern.chunk_by(|a, b| a.tlb_entries == b.tlb_entries) {
            for pair in group.windows(2) {
                if pair[1].tlb_misses > pair[0].tlb_misses {
                    worse.push(format!(
                        "{} blocks miss {} times, {} blocks {} times",
                        pair[0].block, pair[0].tlb_misses, pair[1].block, pair[1].tlb_misses
                    ));
                }
            }
            if let (Some(first), Some(last)) = (group.first(), group.last())
                && group.len() > 1
            {
                if last.tlb_misses >= first.tlb_misses {
                    worse.push(format!("{} blocks miss as often as {} blocks", last.block, first.block));
                }
                best = best.max(Some((first.tlb_misses / last.tlb_misses.max(1), first.tlb_misses)));
            }
        }
        let name = format!("{}: larger blocks miss less", pattern.name);
        match best {
            _ if !worse.is_empty() => log.check(name, false, worse.join("; ")),
            Some((times, _)) => log.check(name, true, format!("up to {times} times fewer TLB misses")),
            None => log.check(name, true, "one block size only"),
        }
    }
}

/// What each way through the buffer has to read.
fn checksums(spec: &Measure, seed: u64) -> Vec<Option<u64>> {
    let mut contents = Contents::new(spec.len);
    contents.write_pattern(0, Layout::Linear { len: spec.len }, seed);
    spec.patterns.iter().map(|pattern| checksum(&contents.read(0, pattern.layout))).collect()
}

/// One block size on one machine.
struct Cell<'s> {
    spec: &'s Measure,
    /// Of the blocks, in bytes.
    size: u64,
    /// Of the TLB.
    entries: Option<u32>,
    target: TargetId,
    region: RegionId,
    /// Of the region with the device that reads.
    link: AssociationId,
    seed: u64,
    /// The checksum of each pattern.
    expected: &'s [Option<u64>],
}

impl World<'_> {
    fn measure(
        &mut self,
        spec: &Measure,
        entries: Option<u32>,
        seed: u64,
        expected: &[Option<u64>],
        log: &mut Log<'_>,
    ) -> Result<(), Failure> {
        let master = self.master(&spec.device)?;
        let target = match &spec.target {
            None => self.any_memory,
            Some(name) => {
                let known = self.targets.get(&name.text).copied();
                known.ok_or_else(|| name.problem(format!("there is no target \"{name}\"")))?
            }
        };
        let format = self.platform.format(master.handle, Part::Whole);
        let format = format.map_err(|error| {
            self.refused(Error::Hardware { doing: "asking for the device's format", error })
        })?;
        let request = RegionRequest::new("measured", master.kind, format.addresses);
        let region = self.graph.create_region(&request).map_err(|error| self.refused(error))?;
        let link = self.graph.associate(region, master.id, Part::Whole, &mut *self.platform);
        let link = link.map_err(|error| self.refused(error))?;
        let active = self.graph.activate(link, &mut *self.platform);
        active.map_err(|error| self.refused(error))?;
        for size in &spec.blocks {
            self.measure_blocks(
                &Cell { spec, size: *size, entries, target, region, link, seed, expected },
                log,
            )?;
        }
        Ok(())
    }

    fn measure_blocks(&mut self, cell: &Cell<'_>, log: &mut Log<'_>) -> Result<(), Failure> {
        let &Cell { spec, size, entries, target, region, link, seed, expected } = cell;
        let (buffer, fillers) =
            self.fragmented(target, spec.len, size).map_err(|error| self.refused(error))?;
        let mapped = self.graph.reserve(region, spec.len, Attributes::READ_WRITE).and_then(|reservation| {
            self.graph.back(reservation, buffer, &mut *self.platform)?;
            Ok(reservation)
        });
        let reservation = mapped.map_err(|error| self.refused(error))?;
        let leaves = self.graph.leaves(reservation, &*self.platform);
        let fits = leaves.iter().all(|(leaf, _)| leaf == size);
        if !fits {
            let found = super::record::Counts::from(leaves);
            let what = format!("{} blocks are mapped as {found}", Bytes(size));
            log.check("blocks are mapped by leaves of their size", false, what);
        }
        let base = self.graph.device_address(reservation).map_err(|error| self.refused(error))?.raw();
        let master = self.master(&spec.device)?;
        let surface = |layout| Surface { address: base, layout };
        let all = Layout::Linear { len: spec.len };
        self.quick(master.handle, &Transfer::Write { to: surface(all), seed })?;
        for (done, (pattern, expected)) in (0..).zip(spec.patterns.iter().zip(expected)) {
            let what = format!("{}, {} blocks", pattern.name, Bytes(size));
            log.progress.at(&what, done, spec.patterns.len() as u64);
            // Nothing is left in the TLB of what was done before.
            self.graph.deactivate(link, &mut *self.platform);
            self.graph.activate(link, &mut *self.platform).map_err(|error| self.refused(error))?;
            let report = self.quick(master.handle, &Transfer::Read { from: surface(pattern.layout) })?;
            if report.outcome != Outcome::Completed || *expected != Some(report.checksum) {
                log.check(what, false, format!("it {}, and the bytes have to arrive", report.outcome));
            }
            log.record.measurements.push(Measured {
                pattern: pattern.name.text.clone(),
                block: Bytes(size).to_string(),
                tlb_entries: entries,
                bytes: report.bytes_read,
                leaves: leaves.total(),
                tlb_lookups: report.tlb_lookups,
                tlb_misses: report.tlb_misses,
            });
        }
        self.graph.unback(reservation, &mut *self.platform);
        let freed = self.graph.unreserve(reservation).and_then(|()| {
            for allocation in fillers.into_iter().chain([buffer]) {
                self.graph.free(allocation, &mut *self.platform)?;
            }
            Ok(())
        });
        freed.map_err(|error| self.refused(error))
    }

    /// A buffer of `len` bytes in blocks of `size` of which no two lie side by side, and what keeps them apart.
    fn fragmented(
        &mut self,
        target: TargetId,
        len: u64,
        size: u64,
    ) -> Result<(AllocationId, Vec<AllocationId>), Error> {
        let sizes = PageSizes::from_mask(size).unwrap_or(PageSizes::ARM_SHORT);
        let mut fillers = Vec::new();
        let mut holes = Vec::new();
        for _ in 0..len / size {
            for list in [&mut holes, &mut fillers] {
                let request = AllocationRequest { sizes, ..AllocationRequest::new("filler", size) };
                list.push(self.graph.allocate(target, &request, &mut *self.platform)?);
            }
        }
        for hole in holes {
            self.graph.free(hole, &mut *self.platform)?;
        }
        let request = AllocationRequest { sizes, ..AllocationRequest::new("measured", len) };
        Ok((self.graph.allocate(target, &request, &mut *self.platform)?, fillers))
    }

    /// A transfer in which nothing may fault.
    fn quick(&mut self, device: vcm::DeviceHandle, transfer: &Transfer) -> Result<TransferReport, Failure> {
        let machine = |error: vcm_platform::PlatformError| Failure::Machine(error.to_string());
        self.platform.start(device, transfer, vcm::Privilege::User).map_err(machine)?;
        loop {
            match self.platform.next_event().map_err(machine)? {
                None => return Err(Failure::Machine("the transfer stopped without an end".into())),
                Some(Event::Completed { device: who, report }) if who == device => return Ok(report),
                Some(Event::Fault { token, fault }) => {
                    self.platform.answer(token, vcm::Answer::Terminate);
                    return Err(Failure::Machine(format!("an unexpected {fault}")));
                }
                Some(_) => {}
            }
        }
    }
}
