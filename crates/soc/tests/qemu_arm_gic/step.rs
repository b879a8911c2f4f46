//! A step of a sequence: an access or a change of a line, and what it does to either GIC.

use std::fmt;
use vcm_qemu::{GicBatch, GicStep, Level, Outputs};
use vcm_soc::hardware;
use vcm_soc::hardware::gic::{Frame, Gic, Width};

/// The one CPU: QEMU's GIC with several cannot be accessed from outside.
const CPU: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Read { frame: Frame, offset: u32, width: Width },
    Write { frame: Frame, offset: u32, width: Width, value: u32 },
    Line { interrupt: u32, level: Level },
}

/// What a step gives: `value` of a read, and the five outputs after it.
pub(crate) type Answer = GicStep;

impl Step {
    pub(crate) fn on_model(self, gic: &mut Gic) -> Answer {
        let value = match self {
            Self::Read { frame, offset, width } => Some(gic.read(CPU, frame, offset, width)),
            Self::Write { frame, offset, width, value } => {
                gic.write(CPU, frame, offset, width, value);
                None
            }
            Self::Line { interrupt, level } => {
                let level = match level {
                    Level::Low => hardware::Level::Low,
                    Level::High => hardware::Level::High,
                };
                gic.set_line(interrupt, level).unwrap();
                None
            }
        };
        Answer { value, outputs: outputs(gic) }
    }

    /// Queues it for QEMU.
    pub(crate) fn queue(self, batch: &mut GicBatch<'_>) -> Result<(), vcm_qemu::Error> {
        match self {
            Self::Read { frame, offset, width: Width::Byte } => {
                batch.read8(frame_of_qemu(frame), offset.into())
            }
            Self::Read { frame, offset, width: Width::Word } => {
                batch.read32(frame_of_qemu(frame), offset.into())
            }
            Self::Write { frame, offset, width: Width::Byte, value } => {
                batch.write8(frame_of_qemu(frame), offset.into(), value as u8)
            }
            Self::Write { frame, offset, width: Width::Word, value } => {
                batch.write32(frame_of_qemu(frame), offset.into(), value)
            }
            Self::Line { interrupt, level } => batch.set_line(interrupt, level),
        }
    }
}

/// The model's outputs.
pub(crate) fn outputs(gic: &Gic) -> Outputs {
    let level = |level| match level {
        hardware::Level::Low => Level::Low,
        hardware::Level::High => Level::High,
    };
    Outputs {
        irq: level(gic.irq(CPU)),
        fiq: level(gic.fiq(CPU)),
        virtual_irq: level(gic.virtual_irq(CPU)),
        virtual_fiq: level(gic.virtual_fiq(CPU)),
        maintenance: level(gic.maintenance(CPU)),
    }
}

const fn frame_of_qemu(frame: Frame) -> vcm_qemu::Frame {
    match frame {
        Frame::Distributor => vcm_qemu::Frame::Distributor,
        Frame::CpuInterface => vcm_qemu::Frame::CpuInterface,
        Frame::VirtualInterface => vcm_qemu::Frame::VirtualControl,
        Frame::VirtualCpuInterface => vcm_qemu::Frame::VirtualCpuInterface,
    }
}

/// Reads a word of the model without an effect on it.
pub(crate) fn peek(gic: &Gic, frame: Frame, offset: u32) -> u32 {
    gic.clone().read(CPU, frame, offset, Width::Word)
}

const fn prefix(frame: Frame) -> &'static str {
    match frame {
        Frame::Distributor => "GICD",
        Frame::CpuInterface => "GICC",
        Frame::VirtualInterface => "GICH",
        Frame::VirtualCpuInterface => "GICV",
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read { frame, offset, width } => {
                write!(f, "{} + {offset:#05x}: read a {width}", prefix(frame))
            }
            Self::Write { frame, offset, width, value } => {
                write!(f, "{} + {offset:#05x}: write the {width} {value:#x}", prefix(frame))
            }
            Self::Line { interrupt, level } => write!(f, "line of interrupt {interrupt}: {level:?}"),
        }
    }
}

/// An answer as reports show it.
pub(crate) fn show(answer: &Answer) -> String {
    let Outputs { irq, fiq, virtual_irq, virtual_fiq, maintenance } = answer.outputs;
    let lines = [("IRQ", irq), ("FIQ", fiq), ("vIRQ", virtual_irq), ("vFIQ", virtual_fiq)];
    let lines = lines.into_iter().chain([("maintenance", maintenance)]);
    let high: Vec<&str> = lines.filter(|(_, level)| *level == Level::High).map(|(name, _)| name).collect();
    let high = if high.is_empty() { "none".to_owned() } else { high.join(" ") };
    match answer.value {
        Some(value) => format!("value {value:#x}, high: {high}"),
        None => format!("high: {high}"),
    }
}
