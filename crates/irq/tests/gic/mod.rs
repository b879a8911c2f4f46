//! Windows for the back-ends to work on, written from the manuals and without the crate's constants.
#![allow(dead_code, reason = "each test program uses some of it")]

use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use vcm_irq::gic::Registers;
use vcm_irq::vgic::{Completion, Group, ListRegister, LrState};
use vcm_irq::{GuestInterrupt, HostInterrupt};

/// An access that a back-end made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read(u32),
    Write(u32, u32),
    Byte(u32, u8),
}

/// Two arrays that show the same bits: a 1 written sets in the first and clears in the second.
pub(crate) type Pair = (u32, u32, u32);

/// The pairs of a distributor and, 64 KiB further, of a redistributor (Arm IHI 0048B.b table 4-1, Arm IHI 0069H 12.8):
/// first offset, second offset, length.
pub(crate) const PAIRS: &[Pair] = &[
    (0x100, 0x180, 0x80),
    (0x200, 0x280, 0x80),
    (0x300, 0x380, 0x80),
    (0x1200, 0x1400, 0x80),
    (0x1600, 0x1800, 0x80),
    (0x1A00, 0x1C00, 0x80),
    (0x1_0100, 0x1_0180, 0x80),
    (0x1_0200, 0x1_0280, 0x80),
    (0x1_0300, 0x1_0380, 0x80),
];

/// A window that remembers.
#[derive(Default)]
pub(crate) struct Window {
    memory: RefCell<BTreeMap<u32, u32>>,
    fixed: RefCell<BTreeMap<u32, u32>>,
    busy: RefCell<BTreeMap<u32, (u32, u32)>>,
    pairs: &'static [Pair],
    log: RefCell<Vec<Access>>,
}

impl Window {
    pub(crate) fn controller() -> Self {
        Self { pairs: PAIRS, ..Self::default() }
    }

    /// Makes a register answer this whatever is written.
    pub(crate) fn fix(&self, offset: u32, value: u32) {
        self.fixed.borrow_mut().insert(offset, value);
    }

    /// Sets these bits in the next `reads` reads of a register.
    pub(crate) fn keep_busy(&self, offset: u32, bits: u32, reads: u32) {
        self.busy.borrow_mut().insert(offset, (bits, reads));
    }

    /// What was done since the last call.
    pub(crate) fn log(&self) -> Vec<Access> {
        self.log.take()
    }

    /// The writes since the last call.
    pub(crate) fn writes(&self) -> Vec<Access> {
        self.log().into_iter().filter(|access| !matches!(access, Access::Read(_))).collect()
    }

    /// Reads without a note.
    pub(crate) fn peek(&self, offset: u32) -> u32 {
        let offset = self.canonical(offset).0;
        self.memory.borrow().get(&offset).copied().unwrap_or(0)
    }

    /// Writes without a note, as the hardware does by itself.
    pub(crate) fn poke(&self, offset: u32, value: u32) {
        self.memory.borrow_mut().insert(offset, value);
    }

    fn canonical(&self, offset: u32) -> (u32, Option<bool>) {
        for &(set, clear, len) in self.pairs {
            if (set..set + len).contains(&offset) {
                return (offset, Some(true));
            }
            if (clear..clear + len).contains(&offset) {
                return (offset - clear + set, Some(false));
            }
        }
        (offset, None)
    }
}

impl Registers for Window {
    fn read(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0, "{offset:#x}");
        self.log.borrow_mut().push(Access::Read(offset));
        let mut value = self.fixed.borrow().get(&offset).copied().unwrap_or_else(|| self.peek(offset));
        if let Some((bits, reads)) = self.busy.borrow_mut().get_mut(&offset)
            && *reads > 0
        {
            *reads -= 1;
            value |= *bits;
        }
        value
    }

    fn write(&self, offset: u32, value: u32) {
        assert_eq!(offset % 4, 0, "{offset:#x}");
        self.log.borrow_mut().push(Access::Write(offset, value));
        let (target, kind) = self.canonical(offset);
        let before = self.peek(target);
        self.poke(
            target,
            match kind {
                None => value,
                Some(true) => before | value,
                Some(false) => before & !value,
            },
        );
    }

    fn write_byte(&self, offset: u32, value: u8) {
        self.log.borrow_mut().push(Access::Byte(offset, value));
        let shift = offset % 4 * 8;
        let word = self.peek(offset & !3);
        self.poke(offset & !3, word & !(0xFF << shift) | u32::from(value) << shift);
    }
}

/// A source of nonsense, the same for the same seed.
pub(crate) struct Nonsense(Cell<u64>);

impl Nonsense {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state
    }
}

/// A window of `len` bytes that answers with nonsense, and fails on accesses outside or not aligned.
pub(crate) struct Junk {
    pub(crate) nonsense: Nonsense,
    pub(crate) len: u32,
}

impl Junk {
    pub(crate) fn new(seed: u64, len: u32) -> Self {
        Self { nonsense: Nonsense::new(seed), len }
    }
}

impl Registers for Junk {
    fn read(&self, offset: u32) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < self.len, "{offset:#x}");
        (self.nonsense.next() >> 16) as u32
    }

    fn write(&self, offset: u32, _: u32) {
        assert!(offset.is_multiple_of(4) && offset < self.len, "{offset:#x}");
    }

    fn write_byte(&self, offset: u32, _: u8) {
        assert!(offset < self.len, "{offset:#x}");
    }
}

/// Numbers near every border, and others.
pub(crate) fn numbers() -> impl Strategy<Value = u32> {
    let borders = [
        0,
        15,
        16,
        31,
        32,
        63,
        64,
        987,
        988,
        991,
        992,
        1019,
        1020,
        1023,
        1024,
        1055,
        1056,
        1087,
        1088,
        1119,
        1120,
        4095,
        4096,
        4127,
        4128,
        5119,
        5120,
        8191,
        8192,
        65535,
        1 << 24,
    ];
    prop_oneof![prop::sample::select(borders.to_vec()), 0..6000_u32, any::<u32>()]
}

/// List registers, sound and unsound ones.
pub(crate) fn list_registers() -> impl Strategy<Value = ListRegister> {
    let states = vec![LrState::Empty, LrState::Pending, LrState::Active, LrState::PendingAndActive];
    let completion = prop_oneof![
        numbers().prop_map(|number| Completion::Physical(HostInterrupt(number))),
        (16..1020_u32).prop_map(|number| Completion::Physical(HostInterrupt(number))),
        Just(Completion::Maintenance),
        Just(Completion::Silent),
    ];
    (
        prop_oneof![0..16_u32, 0..1020_u32, numbers()],
        prop::sample::select(states),
        any::<u8>(),
        prop::sample::select(vec![Group::Zero, Group::One]),
        completion,
        prop_oneof![3 => Just(0_u8), 2 => 0..8_u8, 1 => any::<u8>()],
    )
        .prop_map(|(number, state, priority, group, completion, source)| ListRegister {
            interrupt: GuestInterrupt(number),
            state,
            priority,
            group,
            completion,
            source,
        })
}

/// What the manuals allow in a list register, by a predicate for the physical numbers.
pub(crate) fn is_sound(register: &ListRegister, completes: impl Fn(u32) -> bool) -> bool {
    let physical = matches!(register.completion, Completion::Physical(_));
    let host_is_sound = match register.completion {
        Completion::Physical(host) => completes(host.0) && register.state != LrState::PendingAndActive,
        Completion::Maintenance | Completion::Silent => true,
    };
    let source_is_sound =
        register.source == 0 || (register.source < 8 && register.interrupt.0 < 16 && !physical);
    register.interrupt.0 < 1020 && host_is_sound && source_is_sound
}

/// A list register that is in order.
pub(crate) fn forwarded(host: u32, guest: u32) -> ListRegister {
    ListRegister {
        interrupt: GuestInterrupt(guest),
        state: LrState::Pending,
        priority: 0xA0,
        group: Group::Zero,
        completion: Completion::Physical(HostInterrupt(host)),
        source: 0,
    }
}
