//! What a kernel's KVM can do, as far as it matters here.

use kvm_ioctls::Cap;

/// What KVM answers to `KVM_CHECK_EXTENSION` (include/uapi/linux/kvm.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// How many memory slots a virtual machine has (`KVM_CAP_NR_MEMSLOTS`).
    pub memory_slots: u32,
    /// How many virtual CPUs it may have (`KVM_CAP_MAX_VCPUS`).
    pub vcpus: u32,
    /// How many entries its table of GSIs has (`KVM_CAP_IRQ_ROUTING`); 0 where there is none.
    pub interrupt_routes: u32,
    /// Whether eventfds raise interrupts (`KVM_CAP_IRQFD`).
    pub irqfd: bool,
    /// Whether the end of a level-sensitive interrupt is told by eventfd (`KVM_CAP_IRQFD_RESAMPLE`).
    pub resample: bool,
    /// Whether memory can be read-only for the guest (`KVM_CAP_READONLY_MEM`).
    pub read_only_memory: bool,
    /// Whether KVM has an interrupt controller of its own (`KVM_CAP_IRQCHIP`).
    pub interrupt_controller: bool,
    /// Whether it can be told of VFIO devices (`KVM_CAP_DEVICE_CTRL`).
    pub devices: bool,
}

impl Capabilities {
    /// Reads them by `check`, which answers a number for each.
    pub(super) fn read(check: impl Fn(Cap) -> i32) -> Self {
        let number = |cap| check(cap).max(0) as u32;
        let has = |cap| check(cap) > 0;
        Self {
            // A kernel without this capability has 32 (kvm-ioctls' and the documentation's fallback).
            memory_slots: match number(Cap::NrMemslots) {
                0 => 32,
                slots => slots,
            },
            vcpus: number(Cap::MaxVcpus).max(number(Cap::NrVcpus)).max(1),
            interrupt_routes: number(Cap::IrqRouting),
            irqfd: has(Cap::Irqfd),
            resample: has(Cap::IrqfdResample),
            read_only_memory: has(Cap::ReadonlyMem),
            interrupt_controller: has(Cap::Irqchip),
            devices: has(Cap::DeviceCtrl),
        }
    }
}
