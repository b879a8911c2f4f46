//! The driver of the educational device on one that is made up.

use std::cell::RefCell;
use std::rc::Rc;
use vcm::Iova;
use vcm_devices::edu::spec;
use vcm_devices::{Direction, Edu, EduCompletion, EduDma, EduError};
use vcm_iommu::Registers;

/// A device whose DMA is over after it was asked so many times.
#[derive(Clone, Copy, Default)]
struct State {
    liveness: u32,
    raised: u32,
    dma: [u64; 4],
    looks_left: u32,
    gone: bool,
    made: Option<[u64; 4]>,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<State>>);

impl Fake {
    /// Time passes.
    fn look(&self) {
        let mut state = self.0.borrow_mut();
        if state.dma[3] & spec::RUN == 0 {
            return;
        }
        match state.looks_left {
            0 => {
                state.made = Some(state.dma);
                if state.dma[3] & spec::RAISE != 0 {
                    state.raised |= spec::DMA_INTERRUPT;
                }
                state.dma[3] &= !spec::RUN;
            }
            _ => state.looks_left -= 1,
        }
    }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        self.look();
        let state = self.0.borrow();
        match offset {
            _ if state.gone => u32::MAX,
            spec::IDENTIFICATION => 0x0100_00ed,
            spec::LIVENESS => state.liveness,
            spec::INTERRUPT_STATUS => state.raised,
            _ => panic!("{offset:#x} is read"),
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        let mut state = self.0.borrow_mut();
        match offset {
            spec::LIVENESS => state.liveness = !value,
            spec::INTERRUPT_RAISE => state.raised |= value,
            spec::INTERRUPT_ACKNOWLEDGE => state.raised &= !value,
            _ => panic!("{offset:#x} is written"),
        }
    }

    fn read64(&mut self, offset: u32) -> u64 {
        self.look();
        assert_eq!(offset, spec::COMMAND);
        let state = self.0.borrow();
        if state.gone { u64::MAX } else { state.dma[3] }
    }

    fn write64(&mut self, offset: u32, value: u64) {
        let mut state = self.0.borrow_mut();
        assert_eq!(state.dma[3] & spec::RUN, 0, "a DMA runs");
        state.dma[(offset - spec::SOURCE) as usize / 8] = value;
    }
}

const DMA: EduDma =
    EduDma { memory: Iova::new(0x1_2345_6000), offset: 0x20, len: 0x40, direction: Direction::ToDevice };

#[test]
fn a_dma_is_made_as_it_was_asked_for() {
    let fake = Fake::default();
    let mut edu = Edu::new(fake.clone()).unwrap();
    assert!(edu.is_alive());
    for (direction, expected) in [
        (Direction::ToDevice, [0x1_2345_6000, 0x4_0020, 0x40, 1]),
        (Direction::FromDevice, [0x4_0020, 0x1_2345_6000, 0x40, 3]),
    ] {
        fake.0.borrow_mut().looks_left = 5;
        edu.run(&EduDma { direction, ..DMA }).unwrap();
        assert_eq!(fake.0.borrow_mut().made.take(), Some(expected));
    }
    // One that nobody waits for.
    fake.0.borrow_mut().looks_left = 5;
    edu.start(&DMA, EduCompletion::Silent).unwrap();
    assert!(edu.is_running());
    assert!(matches!(edu.start(&DMA, EduCompletion::Silent), Err(EduError::Busy)));
    while edu.is_running() {}
    assert_eq!(edu.raised(), 0);
}

#[test]
fn interrupts_are_raised_and_waited_for() {
    let fake = Fake::default();
    let mut edu = Edu::new(fake.clone()).unwrap();
    edu.raise(0x5);
    assert_eq!(edu.raised(), 0x5);
    edu.acknowledge(0x1);
    assert_eq!(edu.raised(), 0x4);
    // What an earlier one left is not taken for this one's.
    edu.raise(spec::DMA_INTERRUPT);
    fake.0.borrow_mut().looks_left = 3;
    let mut waits = 0;
    edu.run_with(&DMA, |_| waits += 1).unwrap();
    assert!(waits > 0);
    assert!(fake.0.borrow().made.is_some());
    assert_eq!(edu.raised(), 0x4);
}

#[test]
fn what_cannot_be_is_refused() {
    let fake = Fake::default();
    let mut edu = Edu::new(fake.clone()).unwrap();
    let bad = [(0, 0, 4097), (0, 4096, 1), (0, u64::MAX, 1), (0, 1, u64::MAX), (u64::MAX, 0, 2)];
    for (memory, offset, len) in bad {
        let dma = EduDma { memory: Iova::new(memory), offset, len, ..DMA };
        assert!(matches!(edu.run(&dma), Err(EduError::Range { .. })), "{dma:?}");
    }
    assert!(fake.0.borrow().made.is_none());
    fake.0.borrow_mut().gone = true;
    assert!(!edu.is_alive());
    assert!(matches!(edu.run(&DMA), Err(EduError::Busy)));
    assert!(matches!(Edu::new(fake), Err(EduError::Identification { found: u32::MAX })));
}
