//! A device that remembers and logs, and that checks at every write what must hold at every moment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vcm::PhysicalAddress;
use vcm_iommu::Registers;
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Config, ContextId, MasterId, Smmu, TableRoots};

/// An access as the device saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Read(u32),
    Write(u32, u32),
}

/// A table that TLB entries may come from: which half, its split, its register.
type Table = (char, u8, u32);

#[derive(Default, Debug)]
pub(crate) struct Device {
    values: BTreeMap<u32, u32>,
    pub(crate) log: Vec<Seen>,
    /// Accesses until the device falls silent.
    pub(crate) lives: Option<usize>,
    /// What a silent device reads.
    pub(crate) silence: u32,
    /// What a translation of a page answers, instead of a fault.
    pub(crate) translations: BTreeMap<(u32, u32), u32>,
    /// By ASID, the tables that the TLB may hold entries of: those that any bank translated with under the
    /// ASID since it was last invalidated. It is the worst case: entries never go by themselves.
    cached: BTreeMap<u8, BTreeSet<Table>>,
    pub(crate) resumed: Vec<(u32, u32)>,
}

impl Device {
    pub(crate) fn peek(&self, offset: u32) -> u32 {
        self.values.get(&offset).copied().unwrap_or(0)
    }

    pub(crate) fn poke(&mut self, offset: u32, value: u32) {
        self.values.insert(offset, value);
    }

    pub(crate) fn bank(&self, bank: u8, register: u32) -> u32 {
        self.peek(context_register(bank, register))
    }

    pub(crate) fn m2vcbr(&self, master: u16) -> spec::M2vcbr {
        spec::M2vcbr::from_bits(self.peek(spec::m2vcbr(master)))
    }

    /// Revives a silent device in the state that it fell silent in.
    pub(crate) fn revive(&mut self) {
        self.lives = None;
    }

    /// Cuts the power: every register but the identification loses its value, and the TLB is empty.
    pub(crate) fn lose_state(&mut self) {
        self.values.retain(|offset, _| *offset == spec::IDR);
        self.cached.clear();
    }

    /// What was written since the last call, in order.
    pub(crate) fn writes(&mut self) -> Vec<(u32, u32)> {
        let seen = std::mem::take(&mut self.log);
        seen.into_iter()
            .filter_map(|seen| match seen {
                Seen::Write(offset, value) => Some((offset, value)),
                Seen::Read(_) => None,
            })
            .collect()
    }

    fn answers(&mut self) -> bool {
        match &mut self.lives {
            None => true,
            Some(0) => false,
            Some(lives) => {
                *lives -= 1;
                true
            }
        }
    }

    /// The TLB loads what it can, and must not be able to mix two tables.
    fn load(&mut self) {
        let idr = spec::Idr::from_bits(self.peek(spec::IDR));
        // Masters reach it; the liveness probe enables a bank that none reaches.
        let routed: BTreeSet<u8> = (0..idr.masters()).map(|master| self.m2vcbr(master).cbndx()).collect();
        for bank in routed {
            let sctlr = spec::Sctlr::from_bits(self.bank(bank, spec::SCTLR));
            if u32::from(bank) >= idr.banks() || !sctlr.m() {
                continue;
            }
            let asid = self.bank(bank, spec::CONTEXTIDR) as u8;
            let control = spec::Ttbcr::from_bits(self.bank(bank, spec::TTBCR));
            let mut tables = Vec::new();
            if !control.pd0() {
                tables.push(('l', control.n(), self.bank(bank, spec::TTBR0)));
            }
            if control.n() > 0 && !control.pd1() {
                tables.push(('h', control.n(), self.bank(bank, spec::TTBR1)));
            }
            let cached = self.cached.entry(asid).or_default();
            cached.extend(tables);
            let mixed =
                cached.iter().any(|a| cached.iter().any(|b| a.1 != b.1 || (a.0 == b.0 && a.2 != b.2)));
            assert!(!mixed, "the TLB may mix tables under asid {asid}: {cached:x?}");
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.log.push(Seen::Write(offset, value));
        if !self.answers() {
            return;
        }
        let idr = spec::Idr::from_bits(self.peek(spec::IDR));
        let (bank, register) = (offset / spec::BANK_STRIDE, offset % spec::BANK_STRIDE);
        match offset {
            spec::IDR => panic!("the identification is written"),
            spec::ESR => self.poke(spec::ESR, self.peek(spec::ESR) & !value),
            spec::ESRRESTORE => self.poke(spec::ESR, value),
            spec::GLOBAL_TLBIALL => self.cached.clear(),
            _ if offset >= spec::GLOBAL => {
                self.values.insert(offset, value);
            }
            _ => {
                assert!(bank < idr.banks(), "there is no bank {bank}");
                match register {
                    spec::FSR => self.poke(offset, self.peek(offset) & !value),
                    spec::FSRRESTORE => self.poke(bank * spec::BANK_STRIDE + spec::FSR, value),
                    spec::TLBIASID => {
                        self.cached.remove(&(value as u8));
                    }
                    // By the worst case, all that the TLB held is loaded again at once.
                    spec::CTX_TLBIALL | spec::TLBIVA | spec::TLBIVAA => {}
                    spec::V2PPR | spec::V2PPW | spec::V2PUR | spec::V2PUW => {
                        let fault = spec::Fsr::new().with_tf(true).into_bits() | 1;
                        let par = self.translations.get(&(register, value)).copied().unwrap_or(fault);
                        self.poke(bank * spec::BANK_STRIDE + spec::PAR, par);
                    }
                    spec::RESUME => self.resumed.push((bank, value)),
                    _ => {
                        self.values.insert(offset, value);
                    }
                }
            }
        }
        let loads = [spec::SCTLR, spec::CONTEXTIDR, spec::TTBR0, spec::TTBR1, spec::TTBCR, spec::TLBIASID];
        let routes = (spec::GLOBAL..spec::cbacr(0)).contains(&offset);
        if routes || (offset < spec::GLOBAL && loads.contains(&register)) {
            self.load();
        }
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.log.push(Seen::Read(offset));
        if self.answers() { self.peek(offset) } else { self.silence }
    }
}

/// The device, as the driver and the test share it.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Rc<RefCell<Device>>);

impl Fake {
    pub(crate) fn new(banks: u8, masters: u16) -> Self {
        let mut device = Device { silence: u32::MAX, ..Device::default() };
        let idr = spec::Idr::new().with_ncb(banks - 1).with_nm2vcbmt(masters - 1).with_nirpt(2);
        device.poke(spec::IDR, idr.into_bits());
        Self(Rc::new(RefCell::new(device)))
    }

    pub(crate) fn device(&self) -> std::cell::RefMut<'_, Device> {
        self.0.borrow_mut()
    }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        self.device().read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.device().write(offset, value);
    }
}

/// A probed SMMU with one context for each master.
pub(crate) fn smmu(banks: u8, masters: u16) -> (Fake, Smmu<Fake>, Vec<ContextId>) {
    let fake = Fake::new(banks, masters);
    let mut smmu = Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let contexts = (0..masters).map(|master| smmu.create_context(&[MasterId(master)]).unwrap()).collect();
    fake.device().log.clear();
    (fake, smmu, contexts)
}

/// The `n`-th table.
pub(crate) fn table(n: u64) -> PhysicalAddress {
    PhysicalAddress::new(0x8000_0000 + n * 0x4000)
}

/// The `n`-th table, for all addresses.
pub(crate) fn roots(n: u64) -> TableRoots {
    TableRoots::whole(table(n))
}

/// Where `(offset, value)` is in `writes`, after `from`.
#[track_caller]
pub(crate) fn position(writes: &[(u32, u32)], from: usize, write: (u32, u32)) -> usize {
    let found = writes[from..].iter().position(|seen| *seen == write);
    from + found.unwrap_or_else(|| panic!("{write:x?} is not in {:x?}", &writes[from..]))
}

/// Checks that `expected` are in `writes` in this order, with any others between.
#[track_caller]
pub(crate) fn in_order(writes: &[(u32, u32)], expected: &[(u32, u32)]) {
    let mut from = 0;
    for write in expected {
        from = position(writes, from, *write) + 1;
    }
}
