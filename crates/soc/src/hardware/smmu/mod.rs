//! The MSM SMMU ("msm-iommu-v0") at register level.
//!
//! No manual of it is public. What is not in the Linux drivers is taken from the Arm architecture or from the
//! successor, Arm's SMMU (IHI 0062); where that is so, the comment says so. What the model assumes beyond both:
//! - `M2VCBR.BYPASSD` set: a transaction that no enabled context takes is refused and recorded in `ESR`; clear: it
//!   passes untranslated. So the names read, and so drivers use them.
//! - A transaction is tagged with `M2VCBR.VMID`, a bank's maintenance acts on `CBACR.CBVMID`.
//! - `CTX_TLBIALL` drops what the bank itself could hit: entries of its VMID that are global or of its ASID.
//! - `IDR.TLBSIZE` is the logarithm of the number of entries, rounded up.
//! - Interrupts: `CBACR.IRPTNDX` chooses the line of a context's faults, 0 being the first; transactions that no
//!   context took raise the last line, when `CR.RPUEIE` is set.
//! - A master always hears of a terminated transaction, whatever `ACTLR.CFERE` says.
//! - `FSR.SS` is set when a transaction is stalled, and cleared by writing it as one or by `RESUME`.
//! - `BFBCR`, `TLBLKCR`, `TESTBUSCR`, `RPU_ACR` and the fields of `CR`, `ACTLR` and `CBACR` that are not named here
//!   keep their bits and change nothing.

mod bank;
pub mod registers;
mod translate;

pub use translate::{Request, Translated, Verdict};

use super::bus::Bus;
use super::memory_attributes::MemoryAttributes;
use super::oracle::{Access, Cause, Story, Trail};
use super::tlb::{Entry, Reach, Rights, Tag, Tlb};
use bank::{Bank, Fate};
use registers::{
    CBACR_CBVMID, CBACR_IRPTNDX, CBACR_MASK, CR_RPUEIE, ESR_MASK, GLOBAL_KEPT, M2VCBR_MASK, PAGE, SS,
    context, global,
};
use std::fmt;
use vcm::{Privilege, Shareability};
use vcm_platform::splitmix64;

/// The model keeps this many notes of misuse; the first one matters.
const MISUSES: usize = 64;
/// `CR.TLBLKCRWE`: `TLBLKCR` may be written.
const CR_TLBLKCRWE: u32 = 1 << 6;

/// What an SMMU consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Its name, for reports.
    pub name: String,
    /// Where the page of global registers begins, in bytes from the window's start: a multiple of 4096. The context
    /// banks are before it.
    pub global_offset: u32,
    /// Context banks, 1 to 256 and at most what fits before the global page.
    pub banks: u32,
    /// Master ids that it can tell apart, 1 to 512.
    pub mids: u32,
    /// TLB entries, 1 to 256.
    pub tlb_entries: usize,
    /// Interrupt lines, 0 to 255.
    pub interrupt_lines: u8,
}

/// A configuration that no SMMU can have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadConfig {
    /// Of which SMMU.
    pub name: String,
    /// What is out of range.
    pub what: &'static str,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smmu `{}`: {}", self.name, self.what)
    }
}

impl std::error::Error for BadConfig {}

/// An access to a register that makes no sense. It has no effect, and reads give zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misuse {
    /// Whose register.
    pub unit: String,
    /// Its offset in the window.
    pub offset: u32,
    /// What is wrong with that.
    pub what: &'static str,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smmu {}: offset {:#x}: {}", self.unit, self.offset, self.what)
    }
}

impl std::error::Error for Misuse {}

/// Whether the SMMU does what invalidation registers are written for. To leave it out is a test of the oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Invalidations {
    /// It does.
    #[default]
    Obeyed,
    /// It drops nothing.
    Ignored,
}

/// What an SMMU has counted, of bus masters' transactions only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Translations looked up.
    pub lookups: u64,
    /// Those that the TLB held.
    pub hits: u64,
    /// Those that it did not hold.
    pub misses: u64,
    /// Walks of the tables.
    pub walks: u64,
    /// Transactions that passed untranslated.
    pub bypassed: u64,
    /// Transactions that faulted, or that no context took and that were refused.
    pub faults: u64,
}

/// An SMMU.
#[derive(Debug)]
pub struct Smmu {
    config: Config,
    banks: Vec<Bank>,
    m2vcbr: Vec<u32>,
    cbacr: Vec<u32>,
    kept: [u32; GLOBAL_KEPT.len()],
    esr: u32,
    tlb: Tlb,
    counters: Counters,
    invalidations: Invalidations,
    misuses: Vec<Misuse>,
}

/// Which register an offset in the window names.
enum Place {
    Context { bank: usize, offset: u32 },
    Global { offset: u32 },
}

/// The place in `kept` of the global register at `offset`.
fn place(offset: u32) -> Option<usize> {
    GLOBAL_KEPT.iter().position(|kept| kept.offset == offset)
}

impl Smmu {
    /// An SMMU after reset: every register zero, nothing in the TLB.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn new(config: Config) -> Result<Self, BadConfig> {
        let bad = |what| BadConfig { name: config.name.clone(), what };
        if !config.global_offset.is_multiple_of(PAGE) || config.global_offset == 0 {
            return Err(bad("the global registers do not begin at a page of their own"));
        }
        if config.banks == 0 || config.banks > 256 || config.banks > config.global_offset / PAGE {
            return Err(bad("context banks: none, or more than fit"));
        }
        if config.mids == 0 || config.mids > 512 {
            return Err(bad("master ids: none, or more than 512"));
        }
        if config.tlb_entries == 0 || config.tlb_entries > 256 {
            return Err(bad("TLB entries: none, or more than 256"));
        }
        Ok(Self {
            banks: vec![Bank::default(); config.banks as usize],
            m2vcbr: vec![0; config.mids as usize],
            cbacr: vec![0; config.banks as usize],
            kept: [0; GLOBAL_KEPT.len()],
            esr: 0,
            tlb: Tlb::new(config.tlb_entries),
            counters: Counters::default(),
            invalidations: Invalidations::Obeyed,
            misuses: Vec::new(),
            config,
        })
    }

    /// Fills all that keeps a value with noise drawn from `seed`: registers, except that no context translates, and
    /// the TLB. Which values hardware has when its power comes on is not known, and drivers must not depend on it.
    pub fn scramble(&mut self, seed: u64) {
        let mut count = 0;
        let mut next = || {
            count += 1;
            splitmix64(seed, count) as u32
        };
        self.m2vcbr.iter_mut().for_each(|entry| *entry = next() & M2VCBR_MASK);
        self.cbacr.iter_mut().for_each(|entry| *entry = next() & CBACR_MASK);
        for (value, kept) in self.kept.iter_mut().zip(GLOBAL_KEPT) {
            *value = next() & kept.mask;
        }
        self.esr = next() & ESR_MASK;
        self.banks.iter_mut().for_each(|bank| bank.scramble(&mut next));
        let story = Story { filled_at: 0, cause: Cause::Lookup { context: 0 }, trail: Trail::new() };
        for asid in 0..self.tlb.capacity() as u32 {
            self.tlb.insert(Entry {
                va: u64::from(next() & 0xff00_0000),
                size: 1 << 24,
                pa: u64::from(next() & 0xff00_0000),
                tag: Tag { vmid: 0, asid: asid as u8 },
                reach: Reach::AddressSpace,
                rights: Rights::PRIVILEGED_READ.union(Rights::USER_READ),
                attributes: MemoryAttributes::STRONGLY_ORDERED,
                non_secure: true,
                story,
            });
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What it consists of.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What it has counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What is in its TLB.
    pub const fn tlb(&self) -> &Tlb {
        &self.tlb
    }

    /// Whether it obeys invalidations from now on.
    pub const fn set_invalidations(&mut self, invalidations: Invalidations) {
        self.invalidations = invalidations;
    }

    /// Accesses to its registers that made no sense, the oldest first.
    pub fn misuses(&self) -> &[Misuse] {
        &self.misuses
    }

    /// Takes the oldest note of misuse.
    pub fn take_misuse(&mut self) -> Option<Misuse> {
        if self.misuses.is_empty() { None } else { Some(self.misuses.remove(0)) }
    }

    /// Whether the interrupt line `index` is high.
    pub fn line(&self, index: u8) -> bool {
        let context = self
            .banks
            .iter()
            .zip(&self.cbacr)
            .any(|(bank, cbacr)| bank.interrupts() && (cbacr >> CBACR_IRPTNDX) as u8 == index);
        let last = index.checked_add(1) == Some(self.config.interrupt_lines);
        context || last && self.esr != 0 && self.get(global::CR) & CR_RPUEIE != 0
    }

    /// Whether a transaction of `master` waits here for `RESUME`.
    pub fn waits(&self, master: usize) -> bool {
        self.banks
            .iter()
            .filter_map(|bank| bank.parked)
            .any(|parked| parked.master == master && parked.fate == Fate::Waits)
    }

    fn get(&self, offset: u32) -> u32 {
        place(offset).map_or(0, |index| self.kept[index])
    }

    fn set(&mut self, offset: u32, value: u32) {
        if let Some(index) = place(offset) {
            self.kept[index] = value & GLOBAL_KEPT[index].mask;
        }
    }

    fn misuse(&mut self, offset: u32, what: &'static str) {
        if self.misuses.len() < MISUSES {
            self.misuses.push(Misuse { unit: self.config.name.clone(), offset, what });
        }
    }

    fn place(&self, offset: u32) -> Result<Place, &'static str> {
        if !offset.is_multiple_of(4) {
            return Err("not a multiple of four");
        }
        if let Some(offset) = offset.checked_sub(self.config.global_offset) {
            return if offset < PAGE {
                Ok(Place::Global { offset })
            } else {
                Err("past the global registers")
            };
        }
        let bank = (offset / PAGE) as usize;
        if bank < self.banks.len() {
            Ok(Place::Context { bank, offset: offset % PAGE })
        } else {
            Err("in a context bank that does not exist")
        }
    }

    /// Reads the register at `offset` in the window.
    pub fn read(&mut self, offset: u32) -> u32 {
        let value = match self.place(offset) {
            Ok(Place::Context { bank, offset }) => {
                self.banks[bank].read(offset).ok_or("no register that can be read")
            }
            Ok(Place::Global { offset }) => self.read_global(offset).ok_or("no register that can be read"),
            Err(what) => Err(what),
        };
        value.unwrap_or_else(|what| {
            self.misuse(offset, what);
            0
        })
    }

    fn read_global(&self, offset: u32) -> Option<u32> {
        match offset {
            global::M2VCBR..global::CBACR => self.m2vcbr.get((offset / 4) as usize).copied(),
            global::CBACR..global::TLBRSW => self.cbacr.get(((offset - global::CBACR) / 4) as usize).copied(),
            global::TLBTR0 | global::TLBTR1 | global::TLBTR2 => Some(self.read_tlb(offset)),
            global::ESR => Some(self.esr),
            // Revision 1.0; which ones were built is not public.
            global::REV => Some(0x10),
            global::IDR => {
                let tlb_size = (self.tlb.capacity() as u32).next_power_of_two().trailing_zeros();
                let banks = self.banks.len() as u32 - 1;
                let lines = u32::from(self.config.interrupt_lines);
                // HTW: it walks tables in hardware.
                Some((self.m2vcbr.len() as u32 - 1) | 1 << 9 | tlb_size << 12 | banks << 16 | lines << 24)
            }
            _ => place(offset).map(|index| self.kept[index]),
        }
    }

    /// Shows the TLB entry that `TLBRSW` selects. The encoding of the sizes is not public: 0 to 3 from 4K to 16M.
    fn read_tlb(&self, offset: u32) -> u32 {
        let Some(entry) = self.tlb.get((self.get(global::TLBRSW) & 0xff) as usize) else { return 0 };
        match offset {
            global::TLBTR0 => {
                let size = (entry.size.trailing_zeros() - 12) / 4;
                let shareable = u32::from(entry.attributes.shareability != Shareability::NonShareable);
                let inner = u32::from(entry.attributes.shareability == Shareability::Inner);
                u32::from(entry.rights.bits())
                    | u32::from(entry.non_secure) << 6
                    | inner << 7
                    | shareable << 8
                    | translate::type_code(entry.attributes.memory_type) << 9
                    | size << 16
                    | size << 20
            }
            global::TLBTR1 => u32::from(entry.tag.vmid) | entry.pa as u32 & 0xffff_f000,
            _ => u32::from(entry.tag.asid) | 1 << 8 | entry.va as u32 & 0xffff_f000,
        }
    }

    /// Writes the register at `offset` in the window.
    pub fn write(&mut self, bus: &mut Bus, offset: u32, value: u32) {
        let outcome = match self.place(offset) {
            Ok(Place::Context { bank, offset }) => self.write_context(bus, bank, offset, value),
            Ok(Place::Global { offset }) => self.write_global(offset, value),
            Err(what) => Err(what),
        };
        if let Err(what) = outcome {
            self.misuse(offset, what);
        }
    }

    fn write_global(&mut self, offset: u32, value: u32) -> Result<(), &'static str> {
        match offset {
            global::M2VCBR..global::CBACR => {
                let entry = self.m2vcbr.get_mut((offset / 4) as usize).ok_or("no such master id")?;
                *entry = value & M2VCBR_MASK;
            }
            global::CBACR..global::TLBRSW => {
                let index = ((offset - global::CBACR) / 4) as usize;
                *self.cbacr.get_mut(index).ok_or("no such context bank")? = value & CBACR_MASK;
            }
            global::GLOBAL_TLBIALL => self.invalidate(|_| true),
            global::TLBIVMID => self.invalidate(|entry| u32::from(entry.tag.vmid) == value & 0x1f),
            global::ESR => self.esr &= !value,
            global::ESRRESTORE => self.esr = value & ESR_MASK,
            global::TLBTR0 | global::TLBTR1 | global::TLBTR2 | global::REV | global::IDR => {
                return Err("a register that cannot be written");
            }
            _ if place(offset).is_some() => self.set(offset, value),
            _ => return Err("no register"),
        }
        Ok(())
    }

    fn write_context(
        &mut self,
        bus: &mut Bus,
        bank: usize,
        offset: u32,
        value: u32,
    ) -> Result<(), &'static str> {
        let vmid = self.bank_vmid(bank);
        let asid = self.banks[bank].asid();
        let of_page = move |entry: &Entry| u64::from(value) & !(entry.size - 1) & !0xfff == entry.va;
        match offset {
            context::FSR => self.banks[bank].clear_faults(value),
            context::FSRRESTORE => self.banks[bank].restore_faults(value),
            context::V2PSR => return Err("a register that cannot be written"),
            context::TLBLKCR if self.get(global::CR) & CR_TLBLKCRWE == 0 => {
                return Err("TLBLKCR is locked by CR.TLBLKCRWE");
            }
            context::CTX_TLBIALL => self.invalidate(move |entry| {
                entry.tag.vmid == vmid && (entry.reach == Reach::Global || entry.tag.asid == asid)
            }),
            context::TLBIASID => self.invalidate(move |entry| {
                entry.tag == Tag { vmid, asid: value as u8 } && entry.reach == Reach::AddressSpace
            }),
            context::TLBIVA => self.invalidate(move |entry| {
                entry.tag.vmid == vmid
                    && of_page(entry)
                    && (entry.reach == Reach::Global || entry.tag.asid == value as u8)
            }),
            context::TLBIVAA => {
                self.invalidate(move |entry| entry.tag.vmid == vmid && of_page(entry));
            }
            context::V2PPR => self.look_up(bus, bank, value, Access::Read, Privilege::Supervisor),
            context::V2PPW => self.look_up(bus, bank, value, Access::Write, Privilege::Supervisor),
            context::V2PUR => self.look_up(bus, bank, value, Access::Read, Privilege::User),
            context::V2PUW => self.look_up(bus, bank, value, Access::Write, Privilege::User),
            context::RESUME => self.resume(bank, value),
            _ if self.banks[bank].read(offset).is_some() => self.banks[bank].set(offset, value),
            _ => return Err("no register"),
        }
        Ok(())
    }

    fn bank_vmid(&self, bank: usize) -> u8 {
        (self.cbacr[bank] >> CBACR_CBVMID & 0x1f) as u8
    }

    fn invalidate(&mut self, which: impl Fn(&Entry) -> bool) {
        if self.invalidations == Invalidations::Obeyed {
            self.tlb.invalidate(which);
        }
    }

    /// Retries or terminates the transaction that waits in `bank`. With none waiting, nothing happens.
    fn resume(&mut self, bank: usize, value: u32) {
        self.banks[bank].clear_faults(SS);
        let parked = &mut self.banks[bank].parked;
        let Some(waiting) = parked.as_mut().filter(|waiting| waiting.fate == Fate::Waits) else { return };
        if value & 1 == 0 {
            // The master tries again by itself.
            *parked = None;
        } else {
            waiting.fate = Fate::Terminated;
        }
    }
}
