//! What the guest does: at its start, and with an interrupt.

use super::code::Code;
use super::counters::place;
use super::{Interrupt, Kind, Order, Value};

// Local APIC (Intel SDM volume 3, table 12-1).
const LOCAL_APIC: u32 = 0xfee0_0000;
const LOCAL_APIC_ID: u32 = LOCAL_APIC + 0x20;
const TASK_PRIORITY: u32 = LOCAL_APIC + 0x80;
const END_OF_INTERRUPT: u32 = LOCAL_APIC + 0xb0;
const SPURIOUS_VECTOR: u32 = LOCAL_APIC + 0xf0;
const LINT0: u32 = LOCAL_APIC + 0x350;
const LINT1: u32 = LOCAL_APIC + 0x360;
/// Enables the local APIC, in the register of the spurious vector.
const ENABLE: u32 = 1 << 8;
/// Masks an entry of a local vector table, and of the I/O APIC's.
const MASKED: u32 = 1 << 16;

/// The vector of interrupts that are withdrawn at the last moment.
pub(super) const SPURIOUS: u8 = 255;

// I/O APIC (Intel 82093AA, 3.1 and 3.2).
const SELECT: u32 = 0xfec0_0000;
const WINDOW: u32 = 0xfec0_0010;
const LEVEL: u32 = 1 << 15;

/// The low half of a pin's entry.
const fn entry(pin: u32) -> u32 {
    0x10 + 2 * pin
}

/// Which vCPU takes an interrupt: they take them in turn, by their order.
pub(super) const fn taker(interrupt: usize, vcpus: u32) -> u32 {
    interrupt as u32 % vcpus
}

/// The start, for every vCPU. Its number is in EDI.
pub(super) fn start(interrupts: &[Interrupt], vcpus: u32, counters: u32) -> Code {
    let mut code = Code::default();
    code.store(SPURIOUS_VECTOR, ENABLE | SPURIOUS as u32);
    // The PICs stay out of it: nobody programs them.
    code.store(LINT0, MASKED);
    code.store(LINT1, MASKED);
    code.store(TASK_PRIORITY, 0);
    code.increment(counters + place::READY);
    code.test_edi();
    let others = code.jump_if_not_zero();
    // A pin is unmasked when the one whom it interrupts listens.
    code.wait_until_equal(counters + place::READY, vcpus);
    for (number, interrupt) in interrupts.iter().enumerate() {
        if let Kind::Level { gsi } = interrupt.kind {
            // Masked and an edge: an end that an earlier guest did not come to is made up for by that.
            code.store(SELECT, entry(gsi));
            code.store(WINDOW, MASKED);
            code.store(SELECT, entry(gsi) + 1);
            code.store(WINDOW, taker(number, vcpus) << 24);
            code.store(SELECT, entry(gsi));
            code.store(WINDOW, u32::from(interrupt.vector) | LEVEL);
        }
    }
    code.store(counters + place::SET_UP, 1);
    code.land(others);
    code.wait_for_interrupts();
    code
}

/// The handler of one interrupt.
pub(super) fn handler(number: usize, interrupt: &Interrupt, counters: u32) -> Code {
    let mut code = Code::default();
    code.store(counters + place::in_service(number), 1);
    code.load(LOCAL_APIC_ID);
    code.shift_eax_right_24();
    code.store_eax(counters + place::vcpu(number));
    // EBX: what the device wants.
    match interrupt.status {
        Some(status) => {
            code.load(status.at);
            code.and_eax(status.mask);
            code.ebx_from_eax();
        }
        None => code.set_ebx(1),
    }
    match interrupt.order {
        Order::QuietThenEnd => {
            quiet(&mut code, number, interrupt, counters);
            code.store(END_OF_INTERRUPT, 0);
        }
        Order::EndThenQuiet => {
            code.store(END_OF_INTERRUPT, 0);
            quiet(&mut code, number, interrupt, counters);
        }
        Order::Oneshot => {
            mask(&mut code, interrupt, counters, MASKED);
            code.store(END_OF_INTERRUPT, 0);
            quiet(&mut code, number, interrupt, counters);
            mask(&mut code, interrupt, counters, 0);
        }
    }
    code.store(counters + place::in_service(number), 0);
    code.wait_for_interrupts();
    code
}

/// Quiets the device, if it wants something, and counts.
fn quiet(code: &mut Code, number: usize, interrupt: &Interrupt, counters: u32) {
    code.test_ebx();
    let nothing = code.jump_if_zero();
    if let Some(acknowledgement) = interrupt.acknowledgement {
        match acknowledgement.value {
            Value::Constant(value) => code.store(acknowledgement.at, value),
            Value::Status => {
                code.eax_from_ebx();
                code.store_eax(acknowledgement.at);
            }
        }
    }
    code.increment(counters + place::delivered(number));
    let done = code.jump_always();
    code.land(nothing);
    code.increment(counters + place::spurious(number));
    code.land(done);
}

/// Masks or unmasks the pin. The other vCPUs are kept from the two registers meanwhile.
fn mask(code: &mut Code, interrupt: &Interrupt, counters: u32, masked: u32) {
    if let Kind::Level { gsi } = interrupt.kind {
        code.take_lock(counters + place::LOCK);
        code.store(SELECT, entry(gsi));
        code.load(WINDOW);
        code.and_eax(!MASKED);
        code.or_eax(masked);
        code.store_eax(WINDOW);
        code.store(counters + place::LOCK, 0);
    }
}
