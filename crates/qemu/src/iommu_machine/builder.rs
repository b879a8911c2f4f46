//! Starting a machine with an IOMMU.

use super::{IommuMachine, IommuModel, Layout};
use crate::bus::Bus;
use crate::error::Error;
use crate::machine::Machine;
use crate::pci::Pci;
use crate::ram::Ram;
use crate::version::Version;
use std::time::Duration;
use vcm::Span;

/// The oldest QEMU whose machines do; 10.0 is the first with a RISC-V IOMMU on the system bus.
pub(crate) const NEEDED: Version = Version::new(10, 0);

/// The devices' slots; those below and above may be the machine's own.
const SLOTS: std::ops::RangeInclusive<u8> = 2..=30;

/// Firmware for a PC: 64 KiB that end at the reset vector's page, in which the CPU halts without interrupts.
const FIRMWARE_LEN: u64 = 64 << 10;
/// Where a PC starts within it: 16 bytes before the end (Intel 64 and IA-32 Architectures Software Developer's Manual,
/// volume 3, "First Instruction Executed").
const RESET_VECTOR: usize = 0xfff0;
/// cli; hlt; jmp to the hlt.
const PARK: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfd];

/// A bus master behind the IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// QEMU's educational device: [`crate::Edu`].
    Edu {
        /// Its device number on bus 0: 2 to 30.
        slot: u8,
    },
    /// A SCSI controller without disks, which copies memory: [`crate::Lsi`].
    Lsi {
        /// Its device number on bus 0: 2 to 30.
        slot: u8,
    },
    /// An NVMe controller with one namespace, whose disk is [`IommuMachine::disk`], all zero.
    Nvme {
        /// Its device number on bus 0: 2 to 30.
        slot: u8,
        /// The size of its disk in MiB, 1 at least.
        mebibytes: u32,
    },
}

impl Device {
    /// Its device number on bus 0.
    pub const fn slot(self) -> u8 {
        match self {
            Self::Edu { slot } | Self::Lsi { slot } | Self::Nvme { slot, .. } => slot,
        }
    }
}

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct IommuMachineBuilder {
    model: IommuModel,
    program: Option<String>,
    devices: Vec<Device>,
    arguments: Vec<String>,
    layout: Layout,
    memory: u64,
    timeout: Duration,
}

impl IommuMachineBuilder {
    pub(super) fn new(model: IommuModel) -> Self {
        Self {
            model,
            program: None,
            devices: Vec::new(),
            arguments: Vec::new(),
            layout: model.layout(),
            memory: 512 << 20,
            timeout: Duration::from_secs(10),
        }
    }

    /// Adds devices.
    pub fn devices(mut self, devices: &[Device]) -> Self {
        self.devices.extend_from_slice(devices);
        self
    }

    /// Another program than [`IommuModel::program`].
    pub fn program(mut self, program: &str) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Adds arguments to QEMU's command line, after the others.
    pub fn arguments<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Says what is where, if not as [`IommuModel::layout`] has it.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The size of RAM in MiB: 512 unless this says otherwise.
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = u64::from(mebibytes) << 20;
        self
    }

    /// How long the start and each request may take: 10 s unless this says otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts QEMU and sets its PCI bus up.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for slots that cannot be, and for too little or too much memory; those of
    /// [`MachineBuilder::start`](crate::MachineBuilder::start) and of the connections.
    pub fn start(self) -> Result<IommuMachine, Error> {
        let Self { model, layout, .. } = self;
        let taken = layout.ram_taken_first.saturating_add(layout.ram_taken_last);
        let usable = layout.ram.raw().checked_add(layout.ram_taken_first);
        let usable = usable.and_then(|first| Span::new(first, self.memory.saturating_sub(taken)));
        let usable = usable.ok_or_else(|| {
            Error::argument(format!(
                "{} bytes of memory are too few: {model:?} uses {taken} itself",
                self.memory
            ))
        })?;
        // What does not fit there a PC has above 4 GiB, at addresses of its own (hw/i386/pc_q35.c).
        let room = layout.ecam.raw().checked_sub(layout.ram.raw());
        if room.is_some_and(|room| self.memory >= room) {
            let (memory, ecam) = (self.memory, layout.ecam);
            return Err(Error::argument(format!(
                "{memory} bytes of memory are too many: they reach PCI's configuration space at {ecam}"
            )));
        }
        let program = self.program.as_deref().unwrap_or(model.program());
        let arguments: Vec<String> =
            model.arguments().into_iter().map(String::from).chain(self.arguments).collect();
        let mut builder = Machine::builder(program)
            .needs(NEEDED)
            .timeout(self.timeout)
            .memory(layout.ram, self.memory)
            .arguments(arguments.iter().cloned());
        if model.needs_parking_firmware() {
            let mut firmware = vec![0; RESET_VECTOR];
            firmware.extend(PARK);
            builder = builder.file("firmware", "-bios", "", &firmware, FIRMWARE_LEN);
        }
        let mut used = 0_u32;
        for &device in &self.devices {
            let slot = device.slot();
            if !SLOTS.contains(&slot) || used >> slot & 1 == 1 {
                return Err(Error::argument(format!("{device:?}: a slot of its own in {SLOTS:?} is needed")));
            }
            used |= 1 << slot;
            match device {
                Device::Edu { slot } => {
                    // As it is, it could reach 28 bits of addresses.
                    let edu = format!("edu,addr={slot:#x}.0,dma_mask=0xffffffffffffffff");
                    builder = builder.arguments(["-device".into(), edu]);
                }
                Device::Lsi { slot } => {
                    builder = builder.arguments(["-device".into(), format!("lsi53c895a,addr={slot:#x}.0")]);
                }
                Device::Nvme { slot, mebibytes } => {
                    let len = u64::from(mebibytes.max(1)) << 20;
                    let drive = format!("if=none,id=drive{slot},format=raw,file=");
                    let nvme = format!("nvme,serial=vcm{slot},drive=drive{slot},addr={slot:#x}.0");
                    builder = builder.file(&disk_name(slot), "-drive", &drive, &[], len);
                    builder = builder.arguments(["-device".into(), nvme]);
                }
            }
        }
        let bus = Bus::new(builder.start()?);
        let ram = Ram::new(&bus, usable)?;
        let program = program.to_string();
        let mut machine = IommuMachine { bus, ram, pci: Pci::default(), layout, model, arguments, program };
        machine.set_up()?;
        Ok(machine)
    }
}

/// The name of the file that is the disk of the controller in `slot`.
pub(super) fn disk_name(slot: u8) -> String {
    format!("disk{slot}")
}
