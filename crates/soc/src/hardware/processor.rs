//! A processor: an MMU of its own with a small TLB, in front of memory.

use super::bus::{Bus, Witness};
use super::memory_attributes::MemoryAttributes;
use super::oracle::{Access, Cause, Story, Trail};
use super::short_descriptor::{self, AccessFlag, Regime, WalkFaultKind};
use super::stage2::{Stage2, Stage2FaultKind};
use super::tlb::{Entry, Found, Reach, Rights, Tag, Tlb};
use std::fmt;
use vcm::{FaultReason, Privilege};

/// How a processor translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mmu {
    /// It has no address space: every access is refused.
    Off,
    /// By `ARMv7` short-descriptor tables.
    Short(Regime),
    /// By `AArch64` stage-2 tables: a guest, whose own stage 1 is off.
    Stage2(Stage2),
}

/// An access that a processor could not make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessorFault {
    /// Where.
    pub address: u64,
    /// What it wanted.
    pub access: Access,
    /// Why not.
    pub reason: ProcessorFaultReason,
}

/// Why a processor could not make an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessorFaultReason {
    /// It was refused.
    Refused(FaultReason),
    /// The oracle caught it.
    Caught,
}

impl fmt::Display for ProcessorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            ProcessorFaultReason::Refused(reason) => {
                write!(f, "{reason} fault: {} at {:#x}", self.access, self.address)
            }
            ProcessorFaultReason::Caught => {
                write!(f, "{} at {:#x} reached memory that was given back", self.access, self.address)
            }
        }
    }
}

impl std::error::Error for ProcessorFault {}

/// What a processor's TLB has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessorCounters {
    /// Translations looked up.
    pub lookups: u64,
    /// Those that the TLB did not hold.
    pub misses: u64,
}

/// A processor.
#[derive(Debug)]
pub struct Processor {
    name: String,
    mmu: Mmu,
    privilege: Privilege,
    tlb: Tlb,
    counters: ProcessorCounters,
}

/// The one tag of a processor's entries: a switch of its address space drops them all.
const TAG: Tag = Tag { vmid: 0, asid: 0 };

/// A translation, of either format.
struct Translation {
    address: u64,
    size: u64,
    pa: u64,
    rights: Rights,
    attributes: MemoryAttributes,
    non_secure: bool,
    trail: Trail,
}

impl Processor {
    /// A processor without an address space, whose accesses are made as `privilege`.
    pub fn new(name: &str, privilege: Privilege, tlb_entries: usize) -> Self {
        Self {
            name: name.to_owned(),
            mmu: Mmu::Off,
            privilege,
            tlb: Tlb::new(tlb_entries),
            counters: ProcessorCounters::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it translates.
    pub const fn mmu(&self) -> Mmu {
        self.mmu
    }

    /// What its TLB has counted.
    pub const fn counters(&self) -> ProcessorCounters {
        self.counters
    }

    /// Sets how it translates. Its TLB keeps what it holds: invalidate it.
    pub const fn set_mmu(&mut self, mmu: Mmu) {
        self.mmu = mmu;
    }

    /// Drops every TLB entry (`TLBIALL`, `TLBI VMALLS12E1`).
    pub fn invalidate_all(&mut self) {
        self.tlb.invalidate(|_| true);
    }

    /// Drops the TLB entry that translates `address` (`TLBIMVA`, `TLBI IPAS2E1`).
    pub fn invalidate_address(&mut self, address: u64) {
        self.tlb.invalidate(|entry| entry.matches(TAG, address));
    }

    /// Reads through the MMU, in pieces that lie in one 4 KiB page each.
    ///
    /// # Errors
    /// [`ProcessorFault`]; the bytes before it were read.
    pub fn read(&mut self, bus: &mut Bus, address: u64, bytes: &mut [u8]) -> Result<(), ProcessorFault> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(in_page(at, rest.len()));
            let physical = self.translate(bus, at, Access::Read)?;
            bus.read(physical, now).map_err(|_| no_memory(at, Access::Read))?;
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Writes through the MMU, in pieces that lie in one 4 KiB page each.
    ///
    /// # Errors
    /// [`ProcessorFault`]; the bytes before it were written.
    pub fn write(&mut self, bus: &mut Bus, address: u64, bytes: &[u8]) -> Result<(), ProcessorFault> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(in_page(at, rest.len()));
            let physical = self.translate(bus, at, Access::Write)?;
            bus.write(physical, now).map_err(|_| no_memory(at, Access::Write))?;
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Translates one access and counts it as a transaction.
    ///
    /// # Errors
    /// [`ProcessorFault`].
    pub fn translate(&mut self, bus: &mut Bus, address: u64, access: Access) -> Result<u64, ProcessorFault> {
        self.translate_as(bus, address, access, self.privilege)
    }

    /// The same, made as `privilege` whatever the processor itself is.
    ///
    /// # Errors
    /// [`ProcessorFault`].
    pub fn translate_as(
        &mut self,
        bus: &mut Bus,
        address: u64,
        access: Access,
        privilege: Privilege,
    ) -> Result<u64, ProcessorFault> {
        bus.begin();
        let refused =
            |reason| ProcessorFault { address, access, reason: ProcessorFaultReason::Refused(reason) };
        if self.mmu == Mmu::Off {
            return Err(refused(FaultReason::NoContext));
        }
        self.counters.lookups += 1;
        let entry = match self.tlb.lookup(TAG, address) {
            Found::Hit(index) => self.tlb.get(index).copied(),
            Found::Miss => None,
            Found::Conflict(..) => return Err(refused(FaultReason::TlbConflict)),
        };
        let entry = match entry {
            Some(entry) => entry,
            None => {
                self.counters.misses += 1;
                self.fill(bus, address, access).map_err(refused)?
            }
        };
        if !entry.rights.permits(access, privilege) {
            return Err(refused(FaultReason::Permission));
        }
        let physical = entry.physical(address);
        let mmu = self.mmu;
        bus.check_target(self.witness(address, access), physical, &entry.story, |memory| {
            let translation = walk(&mmu, memory, address).0.ok()?;
            Some(translation.pa | address & (translation.size - 1))
        })
        .map_err(|_| ProcessorFault { address, access, reason: ProcessorFaultReason::Caught })?;
        Ok(physical)
    }

    fn witness(&self, address: u64, access: Access) -> Witness<'_> {
        Witness { unit: &self.name, cause: Cause::Processor, access, address }
    }

    fn fill(&mut self, bus: &mut Bus, address: u64, access: Access) -> Result<Entry, FaultReason> {
        let (result, trail) = walk(&self.mmu, &bus.memory, address);
        bus.check_walk(self.witness(address, access), &trail);
        let found = result?;
        let entry = Entry {
            va: found.address,
            size: found.size,
            pa: found.pa,
            tag: TAG,
            reach: Reach::AddressSpace,
            rights: found.rights,
            attributes: found.attributes,
            non_secure: found.non_secure,
            story: Story { filled_at: bus.now(), cause: Cause::Processor, trail: found.trail },
        };
        self.tlb.insert(entry);
        Ok(entry)
    }
}

/// How many of `len` bytes at `address` are in its 4 KiB page.
fn in_page(address: u64, len: usize) -> usize {
    len.min(0x1000 - (address & 0xfff) as usize)
}

const fn no_memory(address: u64, access: Access) -> ProcessorFault {
    ProcessorFault { address, access, reason: ProcessorFaultReason::Refused(FaultReason::Bus) }
}

const fn reason(kind: WalkFaultKind) -> FaultReason {
    match kind {
        WalkFaultKind::Translation => FaultReason::Translation,
        WalkFaultKind::External => FaultReason::TableWalk,
    }
}

/// Walks by either format; the trail is of the walk, whether or not it found anything.
fn walk(
    mmu: &Mmu,
    memory: &super::memory::Memories,
    address: u64,
) -> (Result<Translation, FaultReason>, Trail) {
    match mmu {
        Mmu::Off => (Err(FaultReason::NoContext), Trail::new()),
        Mmu::Short(regime) => {
            let Ok(va) = u32::try_from(address) else {
                return (Err(FaultReason::Translation), Trail::new());
            };
            match short_descriptor::walk(memory, regime, va) {
                Ok(leaf) if leaf.access_flag == AccessFlag::Clear => {
                    (Err(FaultReason::AccessFlag), leaf.trail)
                }
                Ok(leaf) => {
                    let translation = Translation {
                        address: u64::from(leaf.va),
                        size: u64::from(leaf.size),
                        pa: leaf.pa,
                        rights: leaf.rights,
                        attributes: leaf.attributes,
                        non_secure: leaf.non_secure,
                        trail: leaf.trail,
                    };
                    (Ok(translation), leaf.trail)
                }
                Err(fault) => (Err(reason(fault.kind)), fault.trail),
            }
        }
        Mmu::Stage2(stage2) => match stage2.walk(memory, address) {
            Ok(leaf) => {
                let translation = Translation {
                    address: leaf.address,
                    size: leaf.size,
                    pa: leaf.pa,
                    rights: leaf.rights,
                    attributes: leaf.attributes,
                    non_secure: true,
                    trail: leaf.trail,
                };
                (Ok(translation), leaf.trail)
            }
            Err(fault) => {
                let why = match fault.kind {
                    Stage2FaultKind::Walk(kind) => reason(kind),
                    Stage2FaultKind::AccessFlag => FaultReason::AccessFlag,
                };
                (Err(why), fault.trail)
            }
        },
    }
}
