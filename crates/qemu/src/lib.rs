//! QEMU's devices as independent hardware: registers and interrupt lines of machine models that others wrote, for
//! testing drivers and our own models against. No guest code runs; the CPU is parked, and this process accesses
//! registers over QEMU's qtest socket.
//!
//! ```no_run
//! use vcm_qemu::{ArmVirt, Frame, Level};
//!
//! let mut virt = ArmVirt::start()?;
//!
//! // Interrupt 40: level-sensitive by default, priority 0xa0, enabled; then distributor and CPU interface.
//! let mut batch = virt.batch();
//! batch.write8(Frame::Distributor, 0x400 + 40, 0xa0)?;
//! batch.write32(Frame::Distributor, 0x104, 1 << 8)?;
//! batch.write32(Frame::Distributor, 0x000, 1)?;
//! batch.write32(Frame::CpuInterface, 0x004, 0xf0)?;
//! batch.write32(Frame::CpuInterface, 0x000, 1)?;
//! batch.run()?; // One round trip.
//!
//! virt.set_line(40, Level::High)?; // What a device does.
//! assert_eq!(virt.outputs()?.irq, Level::High);
//! assert_eq!(virt.read32(Frame::CpuInterface, 0x00c)?, 40); // GICC_IAR: acknowledged.
//!
//! virt.reset()?; // As new, in about a millisecond.
//! # Ok::<(), vcm_qemu::Error>(())
//! ```
//!
//! With an IOMMU and devices behind it, each of which does DMA as it is told:
//!
//! ```no_run
//! use vcm::Iova;
//! use vcm_iommu::Registers;
//! use vcm_qemu::{Device, IommuMachine, IommuModel};
//!
//! let mut machine = IommuMachine::start(IommuModel::Smmuv3, &[Device::Edu { slot: 2 }])?;
//! let ram = machine.ram().clone(); // Page tables, queues and buffers, by an allocator.
//! let buffer = ram.allocate(0x2000, 0x1000)?;
//! ram.write_bytes(buffer, b"some bytes")?;
//!
//! // The registers that a driver is given. Until it enables the SMMU, addresses pass as they are.
//! let mut registers = machine.iommu_registers()?;
//! assert_eq!(registers.read(0x20), 0); // SMMU_CR0
//! let edu = machine.edu(2)?;
//! edu.copy(Iova::new(buffer.raw()), Iova::new(buffer.raw() + 0x1000), 10)?;
//!
//! machine.reset()?; // As new, in some milliseconds.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A driver, an address space and a bus master behind an IOMMU that others wrote:
//!
//! ```no_run
//! use vcm::{Attributes, Iova, Segment, Segments};
//! use vcm_iommu::{AddressSpace, Iommu, StreamId, smmuv3};
//! use vcm_qemu::{Device, IommuMachine, IommuModel};
//!
//! let machine = IommuMachine::start(IommuModel::Smmuv3, &[Device::Edu { slot: 2 }])?;
//! let mut ram = machine.ram().clone(); // For queues, tables and buffers.
//! let config = smmuv3::Config::new("smmu");
//! let mut smmu = smmuv3::Smmu::probe(machine.iommu_registers()?, ram.clone(), config)?;
//!
//! let buffer = ram.allocate(0x1000, 0x1000)?;
//! ram.write_bytes(buffer, b"over the bus")?;
//! let mut space = AddressSpace::new(&mut smmu, &mut ram)?;
//! let block = [Segment { base: buffer, len: 0x1000 }];
//! space.map(&mut smmu, &mut ram, 0x10_0000, Segments::new(&block, 0, 0x1000), Attributes::READ_WRITE)?;
//!
//! let edu = machine.edu(2)?;
//! let stream = StreamId(edu.function().address.requester_id().into());
//! space.attach(&mut smmu, stream)?;
//! edu.dma_to_device(Iova::new(0x10_0000), 0, 12)?; // Memory to the device ...
//! edu.dma_from_device(Iova::new(0x10_0800), 0, 12)?; // ... and back, elsewhere.
//! edu.dma_to_device(Iova::new(0x20_0000), 0, 12)?; // Nothing is mapped there.
//! println!("{}", smmu.next_fault()?.expect("the SMMU noticed"));
//!
//! space.destroy(&mut smmu, &mut ram).map_err(|(_, error)| error)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Machine`] starts any QEMU and has its parts: [`Qtest`], [`Qmp`] and [`Memory`]. [`ArmVirt`] is the Arm machine
//! with a GICv2, [`IommuMachine`] one with an IOMMU, whose [`Bus`] several can use at a time. Every wait for QEMU's answer has a time-out, and every error says what was asked and what QEMU printed. QEMU is killed
//! when its [`Machine`] is dropped, and by a watchdog when this process is killed.
//!
//! # Versions
//!
//! QEMU 7.2 and newer. Before 8.2 QEMU cannot report the GIC's own outputs; [`ArmVirt`] then watches the CPU's inputs
//! and reads two GICH registers for the maintenance interrupt. The machines with an IOMMU need 10.0.
//!
//! # Where QEMU's GICv2 deviates
//!
//! All but the crash are held by tests of this crate, on QEMU 10.0; the reasons are in QEMU's hw/intc/arm_gic.c.
//!
//! - When the guest deactivates a physical interrupt through a list register with the HW bit, the physical side is
//!   not looked at again: a level that is still there, or an edge that came meanwhile, is signalled only after the next
//!   write to GICD or GICC. Writing GICC_PMR its own value is enough. Real hardware signals at once.
//! - After a reset the outputs keep their levels until the next write, and the active priorities (GICC_APRn,
//!   GICC_NSAPRn, GICH_APR) keep their values. [`ArmVirt::reset`] does such writes.
//! - GICC_AIAR, GICC_AEOIR and GICC_AHPPIR do not exist; they read as zero.
//! - GICH_LR4, one past the last of its four list registers, can be written and read, and does nothing.
//! - With several CPUs an access from the socket crashes QEMU, as it belongs to no CPU. [`ArmVirt`] has one.
//! - There is one CPU, so GICD_ITARGETSR reads as zero and ignores writes, as Arm IHI 0048B.b 4.3.12 wants.
//! - A list register with the HW bit that names an interrupt which is not active is accepted in silence.
#![forbid(unsafe_code)]

mod arm_virt;
mod batch;
mod bus;
mod devices;
mod emulated;
mod error;
mod failure;
mod gic_v2m;
mod interrupt_lines;
mod iommu_machine;
mod line_socket;
mod machine;
mod memory;
mod pci;
mod ports;
mod process;
mod qmp;
mod qtest;
mod ram;
mod version;

pub use arm_virt::{
    ArmVirt, Frame, GicBatch, GicStep, MAINTENANCE_INTERRUPT, Outputs, RAM, SHARED_INTERRUPTS, Watch,
};
pub use batch::{Batch, Step};
pub use bus::{Bus, WideAccess, Window};
pub use devices::{
    Direction, DmaPage, Edu, EduCompletion, EduDma, Lsi, LsiMove, Nvme, NvmeConfig, NvmeError,
    NvmeInformation, NvmeMessages, NvmeQueue, NvmeQueueConfig, NvmeRejected,
};
pub use emulated::{Emulated, EmulatedError, Invalidations};
pub use error::Error;
pub use gic_v2m::GicV2m;
pub use interrupt_lines::{InterruptEvent, InterruptLines, Level, REPORTED_LINES};
pub use iommu_machine::{
    Device, IommuMachine, IommuMachineBuilder, IommuModel, IommuPlace, Layout, device_tree,
};
pub use machine::{Machine, MachineBuilder};
pub use memory::Memory;
pub use pci::{
    Bar, Capability, ConfigurationSpace, Decoding, Ecam, MSI, MSIX, Message, PassedOver, Pci, PciAddress,
    PciFunction, PciWindow, Skipped, VENDOR, VirtioStructure, VirtioStructureKind,
};
pub use qmp::{Property, Qmp};
pub use qtest::{Qtest, Width};
pub use ram::Ram;
pub use version::Version;
