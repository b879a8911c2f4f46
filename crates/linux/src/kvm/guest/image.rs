//! The guest's memory, as it is before it runs.

use super::Interrupt;
use super::code::Code;
use super::handler::{SPURIOUS, handler, start};

const PAGE: u32 = 4096;
/// Enough for one interrupt: its handler is not interrupted, and pushes nothing: the CPU pushes 12 bytes.
const STACK: u32 = 256;

/// Where everything is, in bytes from the start of the guest's memory.
#[derive(Debug)]
pub(super) struct Image {
    /// Segments, the interrupt descriptor table, and the code, each with its place.
    pub(super) parts: Vec<(u32, Vec<u8>)>,
    /// The first instruction.
    pub(super) entry: u32,
    /// The length of all, whole pages.
    pub(super) len: u32,
}

pub(super) const DESCRIPTORS: u32 = 0;
pub(super) const INTERRUPTS: u32 = PAGE;
pub(super) const COUNTERS: u32 = 2 * PAGE;
const STACKS: u32 = 3 * PAGE;

/// The end of a vCPU's stack.
pub(super) const fn stack(vcpu: u32) -> u32 {
    STACKS + (vcpu + 1) * STACK
}

impl Image {
    /// For a guest whose memory begins at `base`.
    pub(super) fn new(base: u32, vcpus: u32, interrupts: &[Interrupt]) -> Self {
        let counters = base + COUNTERS;
        let code = STACKS + (vcpus * STACK).next_multiple_of(PAGE);
        let mut gates = vec![0; 256 * 8];
        let mut parts = Vec::new();
        let mut next = code;
        let mut place = |code: Code| {
            let at = next;
            next += (code.len() as u32).next_multiple_of(16);
            parts.push((at, code.into_bytes()));
            at
        };
        let entry = place(start(interrupts, vcpus, counters));
        for (number, interrupt) in interrupts.iter().enumerate() {
            let at = place(handler(number, interrupt, counters));
            gate(&mut gates, interrupt.vector, base + at);
        }
        let mut nothing = Code::default();
        nothing.wait_for_interrupts();
        gate(&mut gates, SPURIOUS, base + place(nothing));
        let len = next.next_multiple_of(PAGE);
        parts.push((INTERRUPTS, gates));
        // None; flat code; flat data (Intel SDM volume 3, 3.4.5).
        let segments = [0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff];
        parts.push((DESCRIPTORS, segments.iter().flat_map(|segment| segment.to_le_bytes()).collect()));
        Self { parts, entry, len }
    }
}

/// Writes an interrupt gate (Intel SDM volume 3, 6.11).
fn gate(gates: &mut [u8], vector: u8, handler: u32) {
    let low = handler & 0xffff | 8 << 16;
    let high = handler & 0xffff_0000 | 0x8e00;
    let at = usize::from(vector) * 8;
    gates[at..at + 4].copy_from_slice(&low.to_le_bytes());
    gates[at + 4..at + 8].copy_from_slice(&high.to_le_bytes());
}
