//! Transactions through the SMMU, and translations that software asks for.

use super::Smmu;
use super::bank::{Bank, Fate, Parked};
use super::registers::{
    ACTLR_CFCFG, ACTLR_TLBMCFG, ACTLR_V2PCFG, AFF, APF, CR_CLIENTPD, CR_STALLD, ESR_BYPASS, FAULTS, HTWDEEF,
    M2VCBR_BYPASSD, M2VCBR_CBNDX, M2VCBR_VMID, MHF, MULTI, PAR_F, PAR_MT, PAR_NOS, PAR_NS, PAR_SH,
    PAR_SUPERSECTION, SCTLR_AFFD, SCTLR_HAF, SL, SS, TF, TLBMF, context, global,
};
use crate::hardware::bus::{Bus, Witness};
use crate::hardware::oracle::{Access, Cause, Story};
use crate::hardware::short_descriptor::{self, AccessFlag, Leaf, Level, WalkFaultKind};
use crate::hardware::tlb::{Entry, Found, Reach, Tag};
use vcm::{CachePolicy, FaultReason, MemoryType, Privilege, SIZE_1M, Shareability};

/// A transaction that a bus master puts to an SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which master; one has at most one transaction under way.
    pub master: usize,
    /// The master id that it comes with.
    pub mid: u16,
    /// Where it goes; it does not cross a 4 KiB boundary.
    pub address: u32,
    /// Bytes, at least one.
    pub len: u32,
    /// What it does.
    pub access: Access,
    /// As whom.
    pub privilege: Privilege,
}

/// How a transaction that passes was translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translated {
    /// Not at all.
    Bypassed,
    /// By an entry that the TLB held.
    Hit,
    /// By a walk.
    Walked,
}

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on to the physical address.
    Pass {
        /// Where.
        physical: u64,
        /// How that was found.
        translated: Translated,
    },
    /// It faulted, and waits for `RESUME`.
    Stalled,
    /// It still waits: for `RESUME`, or for another transaction of its context that does.
    Waits,
    /// It is over, and its master is told.
    Terminated {
        /// Why.
        reason: FaultReason,
    },
    /// The oracle caught it.
    Caught,
}

/// A fault of a context.
struct ContextFault {
    bits: u32,
    reason: FaultReason,
}

impl ContextFault {
    const fn new(bits: u32, reason: FaultReason, level: Level) -> Self {
        Self { bits: if matches!(level, Level::Second) { bits | SL } else { bits }, reason }
    }
}

/// A translation found.
struct Candidate {
    entry: Entry,
    /// Its place in the TLB.
    index: usize,
    hit: bool,
}

/// Who asks for a translation, and how.
#[derive(Clone, Copy)]
struct Asker {
    bank: usize,
    tag: Tag,
    va: u32,
    access: Access,
    cause: Cause,
    /// 3 walks the tables on a miss (`msm_iommu.c`); what else there is, is not public: nothing else walks here.
    on_miss: u32,
}

/// The memory type's code in `PAR.MT` (Arm ARM DDI 0406C B4.1.112, Inner\[2:0\]).
pub(super) const fn type_code(memory_type: MemoryType) -> u32 {
    match memory_type {
        MemoryType::Normal(CachePolicy::NotCached) => 0,
        MemoryType::StronglyOrdered => 1,
        MemoryType::Device => 3,
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) => 5,
        MemoryType::Normal(CachePolicy::WriteThrough) => 6,
        MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate) => 7,
    }
}

impl Smmu {
    /// Decides about a transaction. A master whose transaction waits asks again with the same request.
    pub fn transact(&mut self, bus: &mut Bus, request: &Request) -> Verdict {
        let own = |bank: &&mut Bank| bank.parked.is_some_and(|parked| parked.master == request.master);
        if let Some(bank) = self.banks.iter_mut().find(own)
            && let Some(parked) = bank.parked
        {
            return match parked.fate {
                Fate::Waits => Verdict::Waits,
                Fate::Terminated => {
                    bank.parked = None;
                    Verdict::Terminated { reason: parked.reason }
                }
            };
        }
        let bypass = Verdict::Pass { physical: u64::from(request.address), translated: Translated::Bypassed };
        let route = self.m2vcbr.get(usize::from(request.mid)).copied();
        let Some(route) = route.filter(|_| self.get(global::CR) & CR_CLIENTPD == 0) else {
            self.counters.bypassed += 1;
            return bypass;
        };
        let index = (route >> M2VCBR_CBNDX & 0xff) as usize;
        if !self.banks.get(index).is_some_and(Bank::enabled) {
            if route & M2VCBR_BYPASSD == 0 {
                self.counters.bypassed += 1;
                return bypass;
            }
            self.refuse(request, route);
            return Verdict::Terminated { reason: FaultReason::NoContext };
        }
        if self.banks[index].parked.is_some() {
            return Verdict::Waits;
        }
        let asker = Asker {
            bank: index,
            tag: Tag { vmid: (route & M2VCBR_VMID) as u8, asid: self.banks[index].asid() },
            va: request.address,
            access: request.access,
            cause: Cause::Client { mid: request.mid, context: index as u8 },
            on_miss: self.banks[index].get(context::ACTLR) >> ACTLR_TLBMCFG & 3,
        };
        self.counters.lookups += 1;
        let found = self.find(bus, &asker);
        match &found {
            Ok(Candidate { hit: true, .. }) => self.counters.hits += 1,
            Ok(_) => self.counters.misses += 1,
            Err(fault) if fault.bits & MHF == 0 => self.counters.misses += 1,
            Err(_) => {}
        }
        let privilege = self.banks[index].privilege(request.privilege);
        let found = found.and_then(|found| {
            let level = if found.entry.size < SIZE_1M { Level::Second } else { Level::First };
            if found.entry.rights.permits(request.access, privilege) {
                Ok(found)
            } else {
                Err(ContextFault::new(APF, FaultReason::Permission, level))
            }
        });
        match found {
            Ok(found) => self.pass(bus, &asker, &found),
            Err(fault) => self.fault(request, index, &fault),
        }
    }

    fn pass(&self, bus: &mut Bus, asker: &Asker, found: &Candidate) -> Verdict {
        let physical = found.entry.physical(u64::from(asker.va));
        let regime = self.banks[asker.bank].regime();
        let checked = bus.check_target(self.witness(asker), physical, &found.entry.story, |memory| {
            short_descriptor::walk(memory, &regime, asker.va).ok().map(|leaf| leaf.physical(asker.va))
        });
        let translated = if found.hit { Translated::Hit } else { Translated::Walked };
        match checked {
            Ok(()) => Verdict::Pass { physical, translated },
            Err(_) => Verdict::Caught,
        }
    }

    fn witness(&self, asker: &Asker) -> Witness<'_> {
        Witness {
            unit: &self.config.name,
            cause: asker.cause,
            access: asker.access,
            address: u64::from(asker.va),
        }
    }

    /// Finds a translation in the TLB or in the tables.
    fn find(&mut self, bus: &mut Bus, asker: &Asker) -> Result<Candidate, ContextFault> {
        match self.tlb.lookup(asker.tag, u64::from(asker.va)) {
            Found::Hit(index) => {
                if let Some(entry) = self.tlb.get(index) {
                    return Ok(Candidate { entry: *entry, index, hit: true });
                }
            }
            Found::Conflict(..) => {
                return Err(ContextFault::new(MHF, FaultReason::TlbConflict, Level::First));
            }
            Found::Miss => {}
        }
        if asker.on_miss != 3 {
            return Err(ContextFault::new(TLBMF, FaultReason::Translation, Level::First));
        }
        if matches!(asker.cause, Cause::Client { .. }) {
            self.counters.walks += 1;
        }
        let bank = &self.banks[asker.bank];
        let result = short_descriptor::walk(&bus.memory, &bank.regime(), asker.va);
        let trail = match &result {
            Ok(leaf) => leaf.trail,
            Err(fault) => fault.trail,
        };
        self.banks[asker.bank].show_walk(&trail);
        bus.check_walk(self.witness(asker), &trail);
        let leaf = match result {
            Ok(leaf) => leaf,
            Err(fault) => {
                return Err(match fault.kind {
                    WalkFaultKind::Translation => {
                        ContextFault::new(TF, FaultReason::Translation, fault.level)
                    }
                    WalkFaultKind::External => {
                        ContextFault::new(HTWDEEF, FaultReason::TableWalk, fault.level)
                    }
                });
            }
        };
        self.check_access_flag(bus, asker.bank, &leaf)?;
        let entry = Entry {
            va: u64::from(leaf.va),
            size: u64::from(leaf.size),
            pa: leaf.pa,
            tag: asker.tag,
            reach: if leaf.not_global { Reach::AddressSpace } else { Reach::Global },
            rights: leaf.rights,
            attributes: leaf.attributes,
            non_secure: leaf.non_secure,
            story: Story { filled_at: bus.now(), cause: asker.cause, trail },
        };
        // A translation that will turn out not to be permitted is held as well: permissions are checked at each use.
        let index = self.tlb.insert(entry);
        Ok(Candidate { entry, index, hit: false })
    }

    /// A leaf whose access flag is clear: the hardware sets it (HAF), lets it be (AFFD) or faults.
    fn check_access_flag(&self, bus: &mut Bus, bank: usize, leaf: &Leaf) -> Result<(), ContextFault> {
        let sctlr = self.banks[bank].get(context::SCTLR);
        if leaf.access_flag == AccessFlag::Set {
            return Ok(());
        }
        if sctlr & SCTLR_HAF == 0 {
            let fault = ContextFault::new(AFF, FaultReason::AccessFlag, leaf.level);
            return if sctlr & SCTLR_AFFD == 0 { Err(fault) } else { Ok(()) };
        }
        let flag = match leaf.level {
            Level::First => 1_u32 << 10,
            Level::Second => 1 << 4,
        };
        let Some(descriptor) = leaf.trail.last() else { return Ok(()) };
        let mut value = descriptor.value as u32 | flag;
        if sctlr & super::registers::SCTLR_BE != 0 {
            value = value.swap_bytes();
        }
        bus.memory
            .write_u32(descriptor.address, value)
            .map_err(|_| ContextFault::new(HTWDEEF, FaultReason::TableWalk, leaf.level))
    }

    /// Records a transaction that no context took.
    fn refuse(&mut self, request: &Request, route: u32) {
        self.counters.faults += 1;
        if self.esr != 0 {
            self.esr |= MULTI;
            return;
        }
        self.esr = ESR_BYPASS;
        self.set(global::EAR, request.address);
        self.set(global::ESYNR0, who(request) | (route & M2VCBR_VMID) << 16);
        self.set(global::ESYNR1, what(request, request.privilege));
    }

    /// Records a fault of a context, and stalls or ends the transaction.
    fn fault(&mut self, request: &Request, index: usize, fault: &ContextFault) -> Verdict {
        self.counters.faults += 1;
        let may_stall = self.get(global::CR) & CR_STALLD == 0;
        let bank = &mut self.banks[index];
        if bank.fsr & FAULTS == 0 {
            bank.fsr |= fault.bits;
            bank.set(context::FAR, request.address);
            bank.set(context::FSYNR0, who(request));
            bank.set(context::FSYNR1, what(request, bank.privilege(request.privilege)));
        } else {
            bank.fsr |= MULTI;
        }
        if may_stall && bank.get(context::ACTLR) & ACTLR_CFCFG != 0 {
            bank.fsr |= SS;
            bank.parked = Some(Parked { master: request.master, reason: fault.reason, fate: Fate::Waits });
            return Verdict::Stalled;
        }
        Verdict::Terminated { reason: fault.reason }
    }

    /// Translates for software; the result is in `PAR`. It raises no fault.
    pub(super) fn look_up(
        &mut self,
        bus: &mut Bus,
        index: usize,
        value: u32,
        access: Access,
        privilege: Privilege,
    ) {
        let bank = &self.banks[index];
        let va = value & 0xffff_f000;
        if !bank.enabled() {
            self.misuse(
                index as u32 * super::PAGE + context::V2PPR,
                "a translation by a context that is off",
            );
            self.banks[index].set(context::PAR, PAR_F | TF);
            return;
        }
        bus.begin();
        let asker = Asker {
            bank: index,
            tag: Tag { vmid: self.bank_vmid(index), asid: bank.asid() },
            va,
            access,
            cause: Cause::Lookup { context: index as u8 },
            on_miss: bank.get(context::ACTLR) >> ACTLR_V2PCFG & 3,
        };
        let found = self.find(bus, &asker);
        let bank = &mut self.banks[index];
        bank.v2psr = match &found {
            Ok(Candidate { index, hit: true, .. }) => 1 | (*index as u32 & 0xff) << 8,
            _ => 0,
        };
        let par = match found {
            Err(fault) => PAR_F | fault.bits,
            Ok(found) if !found.entry.rights.permits(access, privilege) => {
                PAR_F | APF | if found.entry.size < SIZE_1M { SL } else { 0 }
            }
            Ok(found) => par(&found.entry, va),
        };
        bank.set(context::PAR, par);
    }
}

/// `PAR` of a translation that was found.
fn par(entry: &Entry, va: u32) -> u32 {
    let physical = entry.physical(u64::from(va)) as u32;
    let place = if entry.size == 1 << 24 {
        physical & 0xff00_0000 | PAR_SUPERSECTION
    } else {
        physical & 0xffff_f000
    };
    let shared = match entry.attributes.shareability {
        Shareability::NonShareable => 0,
        Shareability::Inner => PAR_SH | PAR_NOS,
        Shareability::Outer => PAR_SH,
    };
    let non_secure = if entry.non_secure { PAR_NS } else { 0 };
    place | shared | non_secure | type_code(entry.attributes.memory_type) << PAR_MT
}

/// Who made a transaction, as `FSYNR0` and `ESYNR0` have it: AMID, and the master's number as ATID.
fn who(request: &Request) -> u32 {
    u32::from(request.mid & 0xff) | (request.master as u32 & 0xff) << 24
}

/// What a transaction was, as `FSYNR1` and `ESYNR1` have it: APRIV, AINST, AWRITE, and ALEN in beats of eight bytes
/// less one.
fn what(request: &Request, privilege: Privilege) -> u32 {
    let privileged = u32::from(privilege == Privilege::Supervisor) << 5;
    let instruction = u32::from(request.access == Access::Fetch) << 7;
    let write = u32::from(request.access == Access::Write) << 8;
    let beats = (request.len.div_ceil(8).saturating_sub(1) & 0xf) << 12;
    privileged | instruction | write | beats
}
