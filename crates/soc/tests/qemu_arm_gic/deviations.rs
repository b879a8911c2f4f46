//! Everything in which QEMU's GICv2 is known to differ, by name: what is avoided, what is corrected, and nothing
//! else. The reasons are in `src/hardware/gic/deviations.md`.

use crate::step::{Answer, Step, peek};
use vcm_soc::hardware::gic::registers::{
    cpu_interface as gicc, distributor as gicd, virtual_interface as gich,
};
use vcm_soc::hardware::gic::{Frame, Gic, Width};

/// Why a step is not made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Avoided {
    /// QEMU keeps eight bits of priority.
    PriorityBits,
    /// QEMU's least binary points are lower.
    LeastBinaryPoint,
    /// QEMU compares a whole priority with a group priority: the same, unless binary points differ or change.
    BinaryPointInUse,
    /// QEMU lets an interrupt of a group that is not forwarded hide others, and acknowledges it.
    OneGroupForwarded,
    /// QEMU acknowledges and shows an interrupt of a group that the interface has disabled.
    OneGroupEnabled,
    /// QEMU makes an SGI pending without a source, and aborts when it is acknowledged.
    SoftwareInterruptWithoutSource,
    /// QEMU keeps sources of SGIs that do not exist.
    AbsentSource,
    /// QEMU sends with the reserved filter 3.
    ReservedFilter,
    /// QEMU allows narrow accesses everywhere.
    NarrowAccess,
    /// QEMU has no aliased registers.
    AliasedRegister,
    /// QEMU has 128 active priorities.
    ActivePriorities,
    /// Who made it.
    Identification,
    /// QEMU signals virtual numbers that are none.
    SpecialVirtualNumber,
    /// QEMU takes bits of the physical number for the source.
    HardwareForSoftwareInterrupt,
    /// QEMU finds the list register by its number.
    DuplicateVirtualNumber,
}

/// Why nothing can be learnt from `step`, after what `gic` has seen.
pub(crate) fn avoided(gic: &Gic, step: Step) -> Option<Avoided> {
    match step {
        Step::Line { .. } => None,
        Step::Read { frame, offset, width } => either(frame, offset, width).or_else(|| {
            let interface = matches!(frame, Frame::CpuInterface | Frame::VirtualCpuInterface);
            let ctlr = || peek(gic, frame, gicc::CTLR);
            match offset {
                gicc::IAR | gicc::HPPIR if interface && ONE_GROUP.contains(&(ctlr() & GROUPS)) => {
                    Some(Avoided::OneGroupEnabled)
                }
                gicc::IAR if interface && !common_point(gic, frame) => Some(Avoided::BinaryPointInUse),
                _ => None,
            }
        }),
        Step::Write { frame, offset, width, value } => either(frame, offset, width).or_else(|| match frame {
            Frame::Distributor => distributor_write(offset, width, value),
            Frame::VirtualInterface => virtual_interface_write(gic, offset, value),
            Frame::CpuInterface | Frame::VirtualCpuInterface => interface_write(gic, frame, offset, value),
        }),
    }
}

const GROUPS: u32 = gicc::CTLR_ENABLE_GROUP_0 | gicc::CTLR_ENABLE_GROUP_1;
const ONE_GROUP: [u32; 2] = [gicc::CTLR_ENABLE_GROUP_0, gicc::CTLR_ENABLE_GROUP_1];

/// Reads and writes.
fn either(frame: Frame, offset: u32, width: Width) -> Option<Avoided> {
    match (frame, offset) {
        (Frame::Distributor, gicd::IPRIORITYR..gicd::ICFGR | gicd::CPENDSGIR..gicd::SPENDSGIR_END) => None,
        _ if width == Width::Byte => Some(Avoided::NarrowAccess),
        (Frame::Distributor, gicd::IIDR | gicd::IDENTIFICATION..) => Some(Avoided::Identification),
        (Frame::CpuInterface | Frame::VirtualCpuInterface, gicc::IIDR) => Some(Avoided::Identification),
        (Frame::CpuInterface | Frame::VirtualCpuInterface, gicc::AIAR | gicc::AEOIR | gicc::AHPPIR) => {
            Some(Avoided::AliasedRegister)
        }
        (Frame::CpuInterface, gicc::APR..gicc::IIDR) => Some(Avoided::ActivePriorities),
        _ => None,
    }
}

fn distributor_write(offset: u32, width: Width, value: u32) -> Option<Avoided> {
    let bytes = value.to_le_bytes();
    let mut bytes = bytes.iter().take(if width == Width::Byte { 1 } else { 4 });
    match offset {
        gicd::CTLR if ONE_GROUP.contains(&(value & GROUPS)) => Some(Avoided::OneGroupForwarded),
        gicd::IPRIORITYR..gicd::ITARGETSR if bytes.any(|byte| byte % 8 != 0) => Some(Avoided::PriorityBits),
        gicd::SGIR if value >> 24 & 3 == 3 => Some(Avoided::ReservedFilter),
        gicd::SPENDSGIR..gicd::SPENDSGIR_END if bytes.clone().any(|byte| *byte == 0) => {
            Some(Avoided::SoftwareInterruptWithoutSource)
        }
        gicd::SPENDSGIR..gicd::SPENDSGIR_END if bytes.any(|byte| *byte != 1) => Some(Avoided::AbsentSource),
        _ => None,
    }
}

/// Whether both groups have one binary point.
fn common_point(gic: &Gic, frame: Frame) -> bool {
    peek(gic, frame, gicc::CTLR) & gicc::CTLR_COMMON_BINARY_POINT != 0
        || peek(gic, frame, gicc::BPR) + 1 == peek(gic, frame, gicc::ABPR)
}

fn runs(gic: &Gic, frame: Frame) -> bool {
    peek(gic, frame, gicc::RPR) != 0xff
}

/// `GICC` and `GICV`.
fn interface_write(gic: &Gic, frame: Frame, offset: u32, value: u32) -> Option<Avoided> {
    let changes = |bits| (peek(gic, frame, offset) ^ value) & bits != 0;
    match offset {
        gicc::PMR if !value.is_multiple_of(8) => Some(Avoided::PriorityBits),
        gicc::BPR if value & 7 < u32::from(gicc::BPR_LEAST) => Some(Avoided::LeastBinaryPoint),
        gicc::ABPR if value & 7 < u32::from(gicc::ABPR_LEAST) => Some(Avoided::LeastBinaryPoint),
        gicc::BPR | gicc::ABPR if changes(7) && runs(gic, frame) => Some(Avoided::BinaryPointInUse),
        gicc::CTLR if changes(gicc::CTLR_COMMON_BINARY_POINT) && runs(gic, frame) => {
            Some(Avoided::BinaryPointInUse)
        }
        gicc::APR => active_priorities_write(gic, value),
        _ => None,
    }
}

/// A running priority that is none of a group.
fn active_priorities_write(gic: &Gic, value: u32) -> Option<Avoided> {
    let step = 1 << (peek(gic, Frame::VirtualCpuInterface, gicc::BPR) - u32::from(gicc::BPR_LEAST));
    let whole = (0..32).step_by(step).fold(0, |bits, bit| bits | 1 << bit);
    (value & !whole != 0 || !common_point(gic, Frame::VirtualCpuInterface))
        .then_some(Avoided::BinaryPointInUse)
}

fn virtual_interface_write(gic: &Gic, offset: u32, value: u32) -> Option<Avoided> {
    match offset {
        gich::APR => active_priorities_write(gic, value),
        gich::VMCR => {
            let points = 0x3f << gich::VMCR_ABPR | gicc::CTLR_COMMON_BINARY_POINT;
            let changed = (peek(gic, Frame::VirtualInterface, gich::VMCR) ^ value) & points != 0;
            let least = u32::from(gicc::BPR_LEAST);
            if value >> gich::VMCR_BPR & 7 < least || value >> gich::VMCR_ABPR & 7 < least + 1 {
                Some(Avoided::LeastBinaryPoint)
            } else {
                (changed && runs(gic, Frame::VirtualCpuInterface)).then_some(Avoided::BinaryPointInUse)
            }
        }
        gich::LR.. => list_register_write(gic, offset, value),
        _ => None,
    }
}

/// The state of a list register: pending, active (5.3.8).
const LR_STATE: u32 = 3 << 28;

fn list_register_write(gic: &Gic, offset: u32, value: u32) -> Option<Avoided> {
    let number = value & 0x3ff;
    let same = |other: u32| {
        let other_value = peek(gic, Frame::VirtualInterface, other);
        other != offset && other_value & LR_STATE != 0 && other_value & 0x3ff == number
    };
    if number >= gicc::SPECIAL {
        Some(Avoided::SpecialVirtualNumber)
    } else if value >> 31 == 1 && number < 16 {
        Some(Avoided::HardwareForSoftwareInterrupt)
    } else if value & LR_STATE != 0 && crate::LIST_REGISTERS.map(|index| gich::LR + 4 * index).any(same) {
        Some(Avoided::DuplicateVirtualNumber)
    } else {
        None
    }
}

/// Binary points are other ones after a reset ([`Avoided::LeastBinaryPoint`]): every sequence begins with these.
pub(crate) const BEGINNING: [Step; 3] = [
    write(Frame::CpuInterface, gicc::BPR, gicc::BPR_LEAST as u32),
    write(Frame::CpuInterface, gicc::ABPR, gicc::ABPR_LEAST as u32),
    write(
        Frame::VirtualInterface,
        gich::VMCR,
        (gicc::ABPR_LEAST as u32) << gich::VMCR_ABPR | (gicc::BPR_LEAST as u32) << gich::VMCR_BPR,
    ),
];

const fn write(frame: Frame, offset: u32, value: u32) -> Step {
    Step::Write { frame, offset, width: Width::Word, value }
}

/// What is done to QEMU alone after `step`, before its outputs are looked at. After a guest's deactivation of a
/// physical interrupt QEMU has stale outputs until something is written: here, nothing is enabled.
pub(crate) fn stale_after(step: Step) -> Option<Step> {
    match step {
        Step::Write { frame: Frame::VirtualCpuInterface, offset: gicc::EOIR | gicc::DIR, .. } => {
            Some(write(Frame::Distributor, gicd::ISENABLER, 0))
        }
        _ => None,
    }
}

/// `qemu`'s answer as it would be without what is known to be wrong with it; `gic` gave `model`.
pub(crate) fn corrected(gic: &Gic, step: Step, model: &Answer, qemu: &Answer) -> Answer {
    let (Step::Read { frame, offset, .. }, Some(expected), Some(value)) = (step, model.value, qemu.value)
    else {
        return *qemu;
    };
    if !matches!(frame, Frame::CpuInterface | Frame::VirtualCpuInterface) {
        return *qemu;
    }
    // QEMU does not look whether a group 1 interrupt is urgent enough before it says that one is there.
    let one_not_urgent = offset == gicc::IAR && (expected, value) == (gicc::SPURIOUS, gicc::GROUP_1_PENDING);
    // QEMU does not show an interrupt that the priority mask hides.
    let masked = offset == gicc::HPPIR
        && (expected != gicc::SPURIOUS && value == gicc::SPURIOUS)
        && is_masked(gic, frame);
    // QEMU does not show an SGI's source.
    let without_source = offset == gicc::HPPIR && expected & 0x3ff == value && value < 16;
    let known = one_not_urgent || masked || without_source;
    let value = if known { expected } else { value };
    Answer { value: Some(value), ..*qemu }
}

/// Whether the most urgent pending interrupt is too little urgent for the mask.
fn is_masked(gic: &Gic, frame: Frame) -> bool {
    // With this bit a group 1 interrupt is shown by its number.
    let mut gic = gic.clone();
    let ctlr = peek(&gic, frame, gicc::CTLR) | gicc::CTLR_ACKNOWLEDGE;
    write(frame, gicc::CTLR, ctlr).on_model(&mut gic);
    let id = peek(&gic, frame, gicc::HPPIR) & 0x3ff;
    let priority = if frame == Frame::CpuInterface {
        let word = peek(&gic, Frame::Distributor, gicd::IPRIORITYR + (id & !3));
        u32::from(word.to_le_bytes()[id as usize % 4])
    } else {
        let mut registers =
            crate::LIST_REGISTERS.map(|index| peek(&gic, Frame::VirtualInterface, gich::LR + 4 * index));
        let pending = registers.find(|register| register & (LR_STATE | 0x3ff) == 1 << 28 | id);
        pending.map_or(0, |register| (register >> 23 & 0x1f) * 8)
    };
    priority >= peek(&gic, frame, gicc::PMR)
}
