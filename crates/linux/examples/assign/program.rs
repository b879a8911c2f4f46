//! What the guest does: a driver of a few dozen instructions for the educational device, in 32-bit protected mode without
//! paging (Intel SDM volume 2; Intel 82093AA for the I/O APIC).

use vcm::Iova;
use vcm_devices::edu::{Direction, EduCompletion, EduDma, spec};
use vcm_linux::kvm::vcpu::Start;

/// Where the guest has memory: its own physical addresses, and the device's.
pub(crate) const RAM: u32 = 0x10_0000;
pub(crate) const RAM_LEN: u64 = 8 << 20;
/// Where it finds the device's registers.
pub(crate) const REGISTERS: u32 = 0xe000_0000;
/// The pin that the device's interrupt comes by.
pub(crate) const GSI: u32 = 10;

/// What the device copies, and where to: a page each.
pub(crate) const SOURCE: u32 = RAM + 0x10_0000;
pub(crate) const DESTINATION: u32 = RAM + 0x20_0000;
pub(crate) const COPIED: u64 = 4096;

// What it tells this process, and is told: 64 bits each, of which it uses 32.
const MAILBOX: u32 = RAM + 0x2000;
/// 1 when its device has copied, and it takes interrupts.
pub(crate) const READY: u32 = MAILBOX;
/// How many interrupts it has served.
pub(crate) const SERVED: u32 = MAILBOX + 8;
/// How many came, and the device wanted nothing.
pub(crate) const SPURIOUS: u32 = MAILBOX + 16;
/// How many more it is to have its device raise, one after the other.
pub(crate) const MORE: u32 = MAILBOX + 24;

const DESCRIPTORS: u32 = RAM;
const GATES: u32 = RAM + 0x1000;
const STACK_END: u32 = RAM + 0x4000;
const CODE: u32 = RAM + 0x4000;
const VECTOR: u32 = 0x40;
/// The vector of interrupts that are withdrawn at the last moment.
const WITHDRAWN: u32 = 0xff;

// Intel SDM volume 3, table 12-1.
const TASK_PRIORITY: u32 = 0xfee0_0080;
const END_OF_INTERRUPT: u32 = 0xfee0_00b0;
const SPURIOUS_VECTOR: u32 = 0xfee0_00f0;
const LINT0: u32 = 0xfee0_0350;
const LINT1: u32 = 0xfee0_0360;
const MASKED: u32 = 1 << 16;
// 82093AA, 3.1 and 3.2.
const IO_APIC_SELECT: u32 = 0xfec0_0000;
const IO_APIC_WINDOW: u32 = 0xfec0_0010;
const LEVEL: u32 = 1 << 15;

/// The bit of the device's interrupt status that the driver uses.
pub(crate) const REQUEST: u32 = 1;

/// `mov esp, ebp; sti; hlt`, over and over. A handler ends here too: what it interrupted was this.
const WAIT: [u8; 6] = [0x89, 0xec, 0xfb, 0xf4, 0xeb, 0xfa];

/// Where the guest begins.
pub(crate) const START: Start =
    Start { instruction: CODE, stack: STACK_END, descriptors: DESCRIPTORS, interrupts: GATES, argument: 0 };

/// The guest's memory before it runs: what is where.
pub(crate) fn image() -> Vec<(u32, Vec<u8>)> {
    let start = start();
    let wait = CODE + (start.len() - WAIT.len()) as u32;
    let handler = CODE + start.len() as u32;
    // None; flat code; flat data (Intel SDM volume 3, 3.4.5).
    let segments = [0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff];
    vec![
        (DESCRIPTORS, segments.iter().flat_map(|segment| segment.to_le_bytes()).collect()),
        (GATES + VECTOR * 8, gate(handler)),
        (GATES + WITHDRAWN * 8, gate(wait)),
        (CODE, [start, self::handler()].concat()),
    ]
}

/// An interrupt gate (Intel SDM volume 3, 6.11).
fn gate(handler: u32) -> Vec<u8> {
    let halves = [handler & 0xffff | 8 << 16, handler & 0xffff_0000 | 0x8e00];
    halves.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Sets up the interrupt controllers, has the device copy a page, and waits for interrupts.
fn start() -> Vec<u8> {
    let dma = |memory: u32, direction| {
        let memory = Iova::new(memory.into());
        let dma = EduDma { memory, offset: 0, len: COPIED, direction };
        let registers = dma.writes(EduCompletion::Silent).into_iter();
        let stores: Vec<u8> =
            registers.flat_map(|(register, value)| store(REGISTERS + register, value as u32)).collect();
        [stores, wait_while_set(REGISTERS + spec::COMMAND, spec::RUN as u32)].concat()
    };
    [
        store(SPURIOUS_VECTOR, 1 << 8 | WITHDRAWN),
        // The PICs stay out of it: nobody programs them.
        store(LINT0, MASKED),
        store(LINT1, MASKED),
        store(TASK_PRIORITY, 0),
        // To vCPU 0, whose local APIC is number 0.
        store(IO_APIC_SELECT, 0x11 + 2 * GSI),
        store(IO_APIC_WINDOW, 0),
        store(IO_APIC_SELECT, 0x10 + 2 * GSI),
        store(IO_APIC_WINDOW, VECTOR | LEVEL),
        // The device is told the guest's own addresses.
        dma(SOURCE, Direction::ToDevice),
        dma(DESTINATION, Direction::FromDevice),
        store(READY, 1),
        WAIT.to_vec(),
    ]
    .concat()
}

/// Quiets the device, ends the interrupt, and has the device ask once more if it is to.
fn handler() -> Vec<u8> {
    let more = [at([0xff, 0x0d], MORE), store(REGISTERS + spec::INTERRUPT_RAISE, REQUEST)].concat();
    let serve = [
        // mov [acknowledge], eax
        at([0xa3], REGISTERS + spec::INTERRUPT_ACKNOWLEDGE),
        store(END_OF_INTERRUPT, 0),
        // cmp dword ptr [more], 0
        at([0x83, 0x3d], MORE),
        vec![0],
        skip_if_zero(&more),
        more,
        // Last: whoever sees that all are served may ask for more.
        increment(SERVED),
        WAIT.to_vec(),
    ]
    .concat();
    [
        // mov eax, [status]; test eax, eax
        at([0xa1], REGISTERS + spec::INTERRUPT_STATUS),
        vec![0x85, 0xc0],
        skip_if_zero(&serve),
        serve,
        store(END_OF_INTERRUPT, 0),
        increment(SPURIOUS),
        WAIT.to_vec(),
    ]
    .concat()
}

/// An instruction with an address.
fn at<const N: usize>(opcode: [u8; N], address: u32) -> Vec<u8> {
    [&opcode[..], &address.to_le_bytes()].concat()
}

/// `mov dword ptr [address], value`
fn store(address: u32, value: u32) -> Vec<u8> {
    [at([0xc7, 0x05], address), value.to_le_bytes().to_vec()].concat()
}

/// `lock inc dword ptr [address]`
fn increment(address: u32) -> Vec<u8> {
    at([0xf0, 0xff, 0x05], address)
}

/// `again: test dword ptr [address], bits; jnz again`
fn wait_while_set(address: u32, bits: u32) -> Vec<u8> {
    let test = [at([0xf7, 0x05], address), bits.to_le_bytes().to_vec()].concat();
    let back = (test.len() as u8 + 2).wrapping_neg();
    [test, vec![0x75, back]].concat()
}

/// `jz` over these instructions, of less than 128 bytes.
fn skip_if_zero(over: &[u8]) -> Vec<u8> {
    vec![0x74, over.len() as u8]
}
