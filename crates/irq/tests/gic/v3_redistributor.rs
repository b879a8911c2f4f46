//! What a redistributor does that a distributor does not.

use crate::Access::Write;
use crate::gic::Window;
use std::cell::Cell;
use vcm_irq::HostInterrupt;
use vcm_irq::gic::v3::{self, Affinity, PATIENCE};
use vcm_irq::gic::{InitError, Registers};
use vcm_irq::host::Controller as _;

#[test]
fn a_redistributor_tells_whose_it_is() {
    let window = Window::controller();
    window.fix(0x0_0008, 0x0000_0510);
    window.fix(0x0_000C, 0x0102_0304);
    let redistributor = v3::Redistributor::new(&window);
    assert_eq!(redistributor.affinity(), Affinity(0x0102_0304));
    assert_eq!(redistributor.processor_number(), 5);
    assert!(redistributor.is_last());
}

/// `GICR_WAKER` as hardware has it: its answer comes some reads after the request.
struct Waker {
    sleep: Cell<bool>,
    children_asleep: Cell<bool>,
    delay: Cell<u32>,
    writes: Cell<u32>,
}

impl Registers for Waker {
    fn read(&self, offset: u32) -> u32 {
        if offset != 0x0_0014 {
            return 0;
        }
        match self.delay.get() {
            0 => self.children_asleep.set(self.sleep.get()),
            delay => self.delay.set(delay - 1),
        }
        1 << 31 | u32::from(self.children_asleep.get()) << 2 | u32::from(self.sleep.get()) << 1
    }

    fn write(&self, offset: u32, value: u32) {
        assert_eq!(offset, 0x0_0014);
        assert_eq!(value >> 31, 1, "what belongs to the implementation is kept");
        let sleep = value & 2 != 0;
        assert!(sleep || self.children_asleep.get(), "unpredictable: woken before it slept");
        self.sleep.set(sleep);
        self.delay.set(10);
        self.writes.set(self.writes.get() + 1);
    }

    fn write_byte(&self, offset: u32, _: u8) {
        panic!("{offset:#x}");
    }
}

#[test]
fn a_redistributor_wakes_up() {
    // Awake; asleep; on its way to sleep.
    for (sleep, children_asleep, writes) in [(false, false, 0), (true, true, 1), (true, false, 1)] {
        let waker = Waker {
            sleep: Cell::new(sleep),
            children_asleep: Cell::new(children_asleep),
            delay: Cell::new(10),
            writes: Cell::new(0),
        };
        let redistributor = v3::Redistributor::new(&waker);
        redistributor.wake().unwrap();
        assert!(!waker.sleep.get() && !waker.children_asleep.get());
        assert_eq!((waker.writes.get(), redistributor.timeouts()), (writes, 0));
    }
    // As Non-secure software sees it: all zeros, awake.
    v3::Redistributor::new(&Window::controller()).wake().unwrap();
}

#[test]
fn a_redistributor_that_does_not_do_its_part_is_given_up() {
    let window = Window::controller();
    let redistributor = v3::Redistributor::new(&window);
    // Never quiet on its way to sleep: not woken, since that would be unpredictable.
    window.fix(0x0_0014, 2);
    window.log();
    assert_eq!(redistributor.wake(), Err(InitError::Asleep(2)));
    assert_eq!(window.writes(), []);
    // Never awake.
    window.fix(0x0_0014, 4);
    assert_eq!(redistributor.wake(), Err(InitError::Asleep(4)));
    window.log();
    assert_eq!(redistributor.timeouts(), 2);
    window.fix(0x0_0000, 1 << 3);
    redistributor.disable(HostInterrupt(25));
    assert_eq!(window.log().len(), 1 + PATIENCE as usize);
    assert_eq!(redistributor.timeouts(), 3);
    assert_eq!(redistributor.init(), Err(InitError::WritePending(1 << 3)));
    assert_eq!(redistributor.timeouts(), 4);
}

#[test]
fn init_of_a_redistributor_leaves_a_known_state() {
    let window = Window::controller();
    window.fix(0x0_0008, 1 << 27);
    let redistributor = v3::Redistributor::new(&window);
    window.log();
    redistributor.init().unwrap();
    let mut expected = vec![
        Write(0x1_0180, 0xFFFF_0000),
        Write(0x1_0280, 0xFFFF_0000),
        Write(0x1_0380, !0),
        Write(0x1_0080, !0),
    ];
    expected.extend((0..8).map(|word| Write(0x1_0400 + 4 * word, 0xA0A0_A0A0)));
    expected.extend([0x1_0184, 0x1_0284, 0x1_0384, 0x1_0084].map(|offset| Write(offset, !0)));
    expected.extend([Write(0x1_0C08, 0), Write(0x1_0C0C, 0)]);
    expected.extend((8..16).map(|word| Write(0x1_0400 + 4 * word, 0xA0A0_A0A0)));
    expected.push(Write(0x1_0100, 0x0000_FFFF));
    assert_eq!(window.writes(), expected);
}
