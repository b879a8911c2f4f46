//! Which machines there are, and what is where in them.

use crate::bus::{Bus, WideAccess};
use crate::error::Error;
use crate::qtest::Width;
use vcm::{PhysicalAddress, Span};

/// A machine by its IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IommuModel {
    /// Arm `virt` without one.
    NoneOnArm,
    /// Arm `virt` with Arm's SMMUv3, nested. After a reset everything passes untranslated.
    Smmuv3,
    /// A PC with Intel's VT-d in legacy mode. After a reset everything passes untranslated.
    VtdLegacy,
    /// A PC with Intel's VT-d, which can do scalable mode with the second stage.
    VtdScalable,
    /// A PC with Intel's VT-d, which can do scalable mode with the first stage.
    VtdScalableFirstStage,
    /// RISC-V `virt` with a RISC-V IOMMU on the system bus. After a reset nothing passes.
    Riscv,
    /// RISC-V `virt` with a RISC-V IOMMU that is a PCI function.
    RiscvPci,
    /// A PC with AMD's AMD-Vi. After a reset everything passes untranslated.
    AmdVi,
    /// Arm `virt` with virtio-iommu on PCI. After a reset everything passes untranslated.
    VirtioOnArm,
    /// A PC with virtio-iommu on PCI.
    VirtioOnPc,
}

/// Where the IOMMU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IommuPlace {
    /// Nowhere.
    None,
    /// Its registers are in memory.
    Registers {
        /// Where they start.
        start: PhysicalAddress,
        /// Which accesses of 64 bits all of them take.
        wide: WideAccess,
    },
    /// It is a PCI function.
    Function {
        /// The device number on bus 0.
        slot: u8,
    },
}

/// What is where in a machine. A device tree may say otherwise: [`IommuMachineBuilder::layout`].
///
/// [`IommuMachineBuilder::layout`]: super::IommuMachineBuilder::layout
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// PCI configuration space.
    pub ecam: PhysicalAddress,
    /// Where memory BARs may be, of 32 and of 64 bits: below 4 GiB.
    pub pci_memory: Span,
    /// The IOMMU.
    pub iommu: IommuPlace,
    /// Where RAM starts.
    pub ram: PhysicalAddress,
    /// How many bytes at the start of RAM the machine writes to by itself, as at a reset.
    pub ram_taken_first: u64,
    /// The same at its end.
    pub ram_taken_last: u64,
}

/// Which machine type there is below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Board {
    /// hw/arm/virt.c
    Arm,
    /// hw/i386/pc_q35.c
    Pc,
    /// hw/riscv/virt.c
    Riscv,
}

/// The slot of an IOMMU that is a PCI function.
const IOMMU_SLOT: u8 = 1;

/// Ports by which a PC reaches configuration space before ECAM is there (PCI Local Bus Specification 3.0, 3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// PCIEXBAR of the host bridge, 64 bits: where ECAM is, and bit 0, that it is there; bits 2 and 1 are zero for 256
/// buses (`MCH_HOST_BRIDGE_PCIEXBAR` and its fields in QEMU's include/hw/pci-host/q35.h).
const PCIEXBAR: u32 = 0x60;

/// From first to last; only for constants.
const fn span(first: u64, last: u64) -> Span {
    match Span::inclusive(first, last) {
        Some(span) => span,
        None => Span::ALL,
    }
}

impl IommuModel {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoneOnArm,
        Self::Smmuv3,
        Self::VtdLegacy,
        Self::VtdScalable,
        Self::VtdScalableFirstStage,
        Self::Riscv,
        Self::RiscvPci,
        Self::AmdVi,
        Self::VirtioOnArm,
        Self::VirtioOnPc,
    ];

    const fn board(self) -> Board {
        match self {
            Self::NoneOnArm | Self::Smmuv3 | Self::VirtioOnArm => Board::Arm,
            Self::Riscv | Self::RiscvPci => Board::Riscv,
            _ => Board::Pc,
        }
    }

    /// The program that has this machine.
    pub const fn program(self) -> &'static str {
        match self.board() {
            Board::Arm => "qemu-system-aarch64",
            Board::Pc => "qemu-system-x86_64",
            Board::Riscv => "qemu-system-riscv64",
        }
    }

    /// Whether QEMU makes a device tree for it.
    pub const fn has_device_tree(self) -> bool {
        !matches!(self.board(), Board::Pc)
    }

    pub(super) const fn needs_parking_firmware(self) -> bool {
        matches!(self.board(), Board::Pc)
    }

    /// QEMU's arguments, without those for RAM and devices. The CPU never runs.
    pub(crate) fn arguments(self) -> Vec<&'static str> {
        let mut arguments = match self.board() {
            // With `highmem-ecam=off` configuration space is below 4 GiB.
            Board::Arm => vec![
                "-machine",
                "virt,gic-version=2,virtualization=on,highmem-ecam=off",
                "-cpu",
                "cortex-a57",
                "-global",
                "cortex-a57-arm-cpu.start-powered-off=on",
            ],
            Board::Pc => vec!["-machine", "q35,hpet=off,pit=off", "-cpu", "qemu64"],
            Board::Riscv => {
                vec!["-machine", "virt", "-bios", "none", "-global", "rv64-riscv-cpu.start-powered-off=on"]
            }
        };
        arguments.extend_from_slice(match self {
            Self::NoneOnArm => &[],
            Self::Smmuv3 => &["-machine", "iommu=smmuv3"],
            Self::VtdLegacy => &["-device", "intel-iommu,intremap=on"],
            Self::VtdScalable => &["-device", "intel-iommu,intremap=on,x-scalable-mode=on"],
            Self::VtdScalableFirstStage => {
                &["-device", "intel-iommu,intremap=on,x-scalable-mode=on,x-flts=on"]
            }
            Self::Riscv => &["-machine", "iommu-sys=on"],
            Self::RiscvPci => &["-device", "riscv-iommu-pci,addr=1.0"],
            // With `pt=on` everything would pass.
            Self::AmdVi => &["-device", "amd-iommu,intremap=on,pt=off"],
            Self::VirtioOnArm | Self::VirtioOnPc => &["-device", "virtio-iommu-pci,addr=1.0"],
        });
        arguments
    }

    /// What is where, as QEMU 10.0 has it.
    pub const fn layout(self) -> Layout {
        let iommu = match self {
            Self::NoneOnArm => IommuPlace::None,
            // `VIRT_SMMU` in hw/arm/virt.c. Accesses of 64 bits: only where `smmu_writell` has them in hw/arm/smmuv3.c.
            Self::Smmuv3 => registers(0x0905_0000, WideAccess::Halves),
            // `Q35_HOST_BRIDGE_IOMMU_ADDR` in include/hw/i386/intel_iommu.h.
            Self::VtdLegacy | Self::VtdScalable | Self::VtdScalableFirstStage => {
                registers(0xfed9_0000, WideAccess::Whole)
            }
            // `VIRT_IOMMU_SYS` in hw/riscv/virt.c.
            Self::Riscv => registers(0x0301_0000, WideAccess::Whole),
            // `AMDVI_BASE_ADDR` in hw/i386/amd_iommu.h.
            Self::AmdVi => registers(0xfed8_0000, WideAccess::Whole),
            Self::RiscvPci | Self::VirtioOnArm | Self::VirtioOnPc => {
                IommuPlace::Function { slot: IOMMU_SLOT }
            }
        };
        match self.board() {
            // `base_memmap` in hw/arm/virt.c: `VIRT_PCIE_ECAM`, `VIRT_PCIE_MMIO`, `VIRT_MEM`. The device tree is at
            // the start of RAM.
            Board::Arm => Layout {
                ecam: PhysicalAddress::new(0x3f00_0000),
                pci_memory: span(0x1000_0000, 0x3efe_ffff),
                iommu,
                ram: PhysicalAddress::new(0x4000_0000),
                ram_taken_first: 2 << 20,
                ram_taken_last: 0,
            },
            // ECAM goes to `MCH_HOST_BRIDGE_PCIEXBAR_DEFAULT` of include/hw/pci-host/q35.h, 256 MiB; behind it is room up
            // to the interrupt controllers (hw/i386/pc_q35.c). The first MiB has holes and firmware.
            Board::Pc => Layout {
                ecam: PhysicalAddress::new(0xb000_0000),
                pci_memory: span(0xc000_0000, 0xf7ff_ffff),
                iommu,
                ram: PhysicalAddress::new(0),
                ram_taken_first: 2 << 20,
                ram_taken_last: 0,
            },
            // `virt_memmap` in hw/riscv/virt.c: `VIRT_PCIE_ECAM`, `VIRT_PCIE_MMIO`, `VIRT_DRAM`. The device tree is in
            // the last MiBs of RAM (`riscv_compute_fdt_addr` in hw/riscv/boot.c).
            Board::Riscv => Layout {
                ecam: PhysicalAddress::new(0x3000_0000),
                pci_memory: span(0x4000_0000, 0x7fff_ffff),
                iommu,
                ram: PhysicalAddress::new(0x8000_0000),
                ram_taken_first: 2 << 20,
                ram_taken_last: 4 << 20,
            },
        }
    }

    /// Switches ECAM on where a reset has switched it off.
    pub(super) fn open_ecam(self, bus: &Bus, layout: &Layout) -> Result<(), Error> {
        if self.board() != Board::Pc {
            return Ok(());
        }
        let start = layout.ecam.raw();
        let words = [(PCIEXBAR + 4, (start >> 32) as u32), (PCIEXBAR, start as u32 | 1)];
        bus.batch(|batch| {
            for (register, value) in words {
                batch.write_port(Width::Bits32, CONFIG_ADDRESS, 1 << 31 | register);
                batch.write_port(Width::Bits32, CONFIG_DATA, value);
            }
            Ok(())
        })
        .map(drop)
    }
}

const fn registers(start: u64, wide: WideAccess) -> IommuPlace {
    IommuPlace::Registers { start: PhysicalAddress::new(start), wide }
}
