//! A list register: one virtual interrupt of a guest (Arm IHI 0048B.b 5.3.8).

use super::interface::Group;
use super::registers::cpu_interface::SPECIAL;

/// Bits that exist; 22 to 20 read as zero.
const MASK: u32 = 0xff8f_ffff;
const PENDING: u32 = 1 << 28;
const ACTIVE: u32 = 1 << 29;
const HARDWARE: u32 = 1 << 31;
const EOI: u32 = 1 << 19;

/// A list register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct ListRegister(u32);

impl ListRegister {
    /// What a write of `value` leaves.
    pub(super) const fn new(value: u32) -> Self {
        Self(value & MASK)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(super) const fn virtual_id(self) -> u32 {
        self.0 & 0x3ff
    }

    /// The distributor's number for it. Only with the HW bit.
    pub(super) const fn physical_id(self) -> u32 {
        self.0 >> 10 & 0x3ff
    }

    /// What `IAR` gives for it: an SGI comes with the CPU that sent it.
    pub(super) const fn acknowledged_as(self) -> u32 {
        let source = if self.virtual_id() < 16 && !self.is_hardware() { self.0 & 7 << 10 } else { 0 };
        self.virtual_id() | source
    }

    pub(super) const fn priority(self) -> u8 {
        (self.0 >> 23 & 0x1f) as u8 * 8
    }

    pub(super) const fn group(self) -> Group {
        Group::from_bit(self.0 >> 30)
    }

    pub(super) const fn is_hardware(self) -> bool {
        self.0 & HARDWARE != 0
    }

    pub(super) const fn is_active(self) -> bool {
        self.0 & ACTIVE != 0
    }

    /// Pending and not active.
    pub(super) const fn is_pending(self) -> bool {
        self.0 & (PENDING | ACTIVE) == PENDING
    }

    pub(super) const fn is_pending_and_active(self) -> bool {
        self.0 & (PENDING | ACTIVE) == PENDING | ACTIVE
    }

    /// Pending or active.
    pub(super) const fn is_valid(self) -> bool {
        self.0 & (PENDING | ACTIVE) != 0
    }

    /// Pending, with a number that an interrupt can have.
    pub(super) const fn is_deliverable(self) -> bool {
        self.is_pending() && self.virtual_id() < SPECIAL
    }

    /// It has ended, and the hypervisor wants to know (5.3.5).
    pub(super) const fn has_ended(self) -> bool {
        !self.is_valid() && !self.is_hardware() && self.0 & EOI != 0
    }

    /// Nothing is in it that the hypervisor has to look at (5.3.6).
    pub(super) const fn is_free(self) -> bool {
        !self.is_valid() && (self.is_hardware() || self.0 & EOI == 0)
    }

    /// From pending to active.
    pub(super) const fn acknowledge(&mut self) {
        self.0 = self.0 & !PENDING | ACTIVE;
    }

    /// From active to inactive, or from pending and active to pending.
    pub(super) const fn deactivate(&mut self) {
        self.0 &= !ACTIVE;
    }
}
