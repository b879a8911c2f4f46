//! A bus master that moves a transfer's bytes, as the IOMMU lets it.

use crate::devices::{DmaPage, Lsi, LsiMove};
use crate::error::Error;
use crate::ram::Ram;
use std::time::Duration;
use vcm::{Access, FaultAccess, FaultReason, Iova, PhysicalAddress, Segment};
use vcm_iommu::{AddressSpace, FaultRecord, Invalidation, Iommu, StreamId};
use vcm_platform::job::{CHUNK, Mover, Refusal, Stop};
use vcm_platform::{PlatformError, Run};

/// Bytes of a master's own pages. A multiple of every IOMMU's smallest page.
pub(super) const OWN_PAGES: u64 = 64 << 10;
/// Where in them its program is; before it is what it moves.
const PROGRAM: u64 = CHUNK;

/// As many faults are read after one access. QEMU reports each 4 bytes of a refused access on its own.
const MOST_FAULTS: usize = 1 << 16;
/// An access that is not expected to pass is tried with so many bytes.
const PROBE: u64 = 4;
/// How long a master that is attached to nothing is given to find out.
const BLOCKED: Duration = Duration::from_millis(20);

/// What is between a master and memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Path {
    /// The IOMMU lets it pass.
    Direct,
    /// The IOMMU translates, or refuses.
    Translated,
}

/// How the IOMMU records refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Records {
    /// All, with everything.
    All,
    /// Without saying whether it was a read or a write: QEMU's virtio-iommu does so only for missing permissions
    /// (`virtio_iommu_translate` in hw/virtio/virtio-iommu.c). It was what the master did.
    WithoutAccess,
    /// Not those for which a cached translation is enough: QEMU's VT-d and RISC-V IOMMUs block a write to a page that
    /// they hold as read-only, and say nothing (`vtd_do_iommu_translate` in hw/i386/intel_iommu.c,
    /// `riscv_iommu_translate` in hw/riscv/riscv-iommu.c). Where a page is mapped, but not for an access of which nothing
    /// is recorded, caches are emptied and it is made again. What is not mapped at all is left to the caches: what they
    /// should not have any more passes, and nothing here may hide it.
    NotFromCache,
}

/// A bus master: a processor that copies memory to memory, both ends as the IOMMU has them.
///
/// What it writes has to come from somewhere, and what it read has to go somewhere: it has pages of its own for that and
/// for its program, mapped in every address space where nobody else is given addresses.
#[derive(Debug)]
pub(super) struct Master {
    engine: Lsi,
    stream: StreamId,
    path: Path,
    records: Records,
    own_pages: PhysicalAddress,
    own_address: u64,
}

impl Master {
    pub(super) const fn new(
        engine: Lsi,
        stream: StreamId,
        path: Path,
        records: Records,
        own_pages: PhysicalAddress,
        own_address: u64,
    ) -> Self {
        Self { engine, stream, path, records, own_pages, own_address }
    }

    pub(super) const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Its own pages.
    pub(super) const fn own_pages(&self) -> Segment {
        Segment { base: self.own_pages, len: OWN_PAGES }
    }

    /// Where it finds its own pages.
    pub(super) const fn own_address(&self) -> u64 {
        match self.path {
            Path::Direct => self.own_pages.raw(),
            Path::Translated => self.own_address,
        }
    }

    /// The master while it makes accesses through `space`, if it is attached to one. Faults of others go to `strays`.
    pub(super) fn port<'m>(
        &'m mut self,
        iommu: &'m mut dyn Iommu,
        ram: &'m Ram,
        space: Option<&'m AddressSpace>,
        strays: &'m mut Vec<FaultRecord>,
    ) -> Port<'m> {
        Port { master: self, iommu, ram, space, strays }
    }
}

/// A master while it makes accesses.
pub(super) struct Port<'m> {
    master: &'m Master,
    iommu: &'m mut dyn Iommu,
    ram: &'m Ram,
    space: Option<&'m AddressSpace>,
    strays: &'m mut Vec<FaultRecord>,
}

impl Port<'_> {
    /// Whether all of a run, which is in one page, is mapped as far as we know. Only how much is done before a look at
    /// the IOMMU's faults depends on it.
    fn is_expected_to_pass(&self, run: &Run, access: FaultAccess) -> bool {
        let needed = if access == FaultAccess::Write { Access::WRITE } else { Access::READ };
        match (self.master.path, self.space) {
            (Path::Direct, _) => true,
            (Path::Translated, Some(space)) => {
                space.access(self.ram, run.address).is_some_and(|found| found.contains(needed))
            }
            (Path::Translated, None) => false,
        }
    }

    /// What the IOMMU says of the accesses that were just made: the first of them that was refused.
    fn refused(&mut self, runs: &[Run], first: usize, access: FaultAccess) -> Result<Option<Refusal>, Stop> {
        let mut found: Option<(usize, FaultRecord)> = None;
        for _ in 0..MOST_FAULTS {
            let record = self.iommu.next_fault().map_err(|silent| {
                let what = "reading the IOMMU's faults".to_owned();
                Stop::Broken(PlatformError { what, why: silent.to_string() })
            })?;
            let Some(record) = record else { break };
            if record.stream != self.master.stream {
                self.strays.push(record);
                continue;
            }
            let page = |address: u64| address >> 12;
            let run = runs.iter().position(|run| page(run.address) == page(record.address));
            let run = match (run, self.space) {
                (Some(run), _) => run,
                // It did not even come to its program: see below.
                (None, None) => 0,
                (None, Some(_)) => {
                    let what = "a fault where the master was not told to go".to_owned();
                    return Err(Stop::Broken(PlatformError { what, why: record.to_string() }));
                }
            };
            if found.is_none_or(|(earlier, _)| run < earlier) {
                found = Some((run, record));
            }
        }
        let Some((index, record)) = found else { return Ok(None) };
        let run = &runs[index];
        // Some IOMMUs tell only the page, some nothing. A master that is attached to nothing does not even come to its
        // program; what it was told to move is what it could not.
        let inside = record.address.wrapping_sub(run.address) < run.len;
        let address = if inside { record.address } else { run.address };
        let reason = match self.space {
            None => FaultReason::NoContext,
            Some(space) => space.reason(self.ram, address, record.reason),
        };
        let told = inside && self.master.records != Records::WithoutAccess;
        let access = if told { record.access } else { access };
        Ok(Some(Refusal { run: first + index, address, access, reason }))
    }

    /// Copies `runs` to or from its own pages from `place` on.
    fn copy(&self, runs: &[Run], mut place: u64, access: FaultAccess) -> Result<(), Error> {
        let own = self.master.own_address();
        let moves = runs.iter().map(|run| {
            let (there, here) = (Iova::new(run.address), Iova::new(own + place));
            let (from, to) = if access == FaultAccess::Write { (here, there) } else { (there, here) };
            place += run.len;
            LsiMove { from, to, len: run.len as u32 }
        });
        let moves: Vec<LsiMove> = moves.collect();
        let memory = PhysicalAddress::new(self.master.own_pages.raw() + PROGRAM);
        let program = DmaPage { device: Iova::new(own + PROGRAM), memory };
        let engine = &self.master.engine;
        if self.master.path == Path::Translated && self.space.is_none() {
            // It waits for a program that it does not get.
            return engine.with_patience(BLOCKED).run(program, &moves);
        }
        engine.run(program, &moves)
    }

    /// Makes the accesses of `runs`, and looks for faults in between, so that nothing is done after a refused one.
    fn make(&mut self, runs: &[Run], access: FaultAccess) -> Result<(), Stop> {
        let (mut done, mut place) = (0, 0);
        while done < runs.len() {
            let rest = &runs[done..];
            if !self.is_expected_to_pass(&rest[0], access) {
                self.probe(&rest[0], done, place, access)?;
            }
            let expected = rest.iter().take_while(|run| self.is_expected_to_pass(run, access)).count();
            let next = &rest[..expected.max(1)];
            self.tried(next, done, place, access)?;
            place += next.iter().map(|run| run.len).sum::<u64>();
            done += next.len();
        }
        Ok(())
    }

    /// Makes the accesses of `runs`, of which the first has number `first`, and looks for faults: also when the master did
    /// not come to its end, since what is left there would be taken for a later access's.
    fn tried(&mut self, runs: &[Run], first: usize, place: u64, access: FaultAccess) -> Result<(), Stop> {
        let tried = self.copy(runs, place, access);
        match self.refused(runs, first, access)? {
            Some(refusal) => Err(Stop::Refused(refusal)),
            None => Ok(tried?),
        }
    }

    /// Tries the first bytes of a run.
    fn probe(&mut self, run: &Run, index: usize, place: u64, access: FaultAccess) -> Result<(), Stop> {
        let first = [Run { len: run.len.min(PROBE), ..*run }];
        self.tried(&first, index, place, access)?;
        let (Records::NotFromCache, Some(space)) = (self.master.records, self.space) else { return Ok(()) };
        if space.access(self.ram, run.address).is_none() {
            return Ok(());
        }
        self.iommu.invalidate(space.domain(), &Invalidation::Everything).map_err(|silent| {
            let what = "making the IOMMU look at its tables".to_owned();
            Stop::Broken(PlatformError { what, why: silent.to_string() })
        })?;
        self.tried(&first, index, place, access)
    }
}

impl Mover for Port<'_> {
    fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop> {
        let made = self.make(runs, FaultAccess::Read);
        let read = match &made {
            Ok(()) => runs,
            Err(Stop::Refused(refusal)) => &runs[..refusal.run],
            Err(Stop::Broken(_)) => return made,
        };
        let len: u64 = read.iter().map(|run| run.len).sum();
        self.ram.read_bytes(self.master.own_pages, &mut bytes[..len as usize])?;
        made
    }

    fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop> {
        self.ram.write_bytes(self.master.own_pages, bytes)?;
        self.make(runs, FaultAccess::Write)
    }
}
