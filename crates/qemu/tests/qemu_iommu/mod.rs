//! What the tests on QEMU's IOMMU machines have in common.
#![allow(dead_code, unreachable_pub)] // It is a module of several tests.

use vcm::{Iova, PhysicalAddress};
use vcm_qemu::{Device, DmaPage, IommuMachine, IommuModel, Ram};

pub const EDU: u8 = 2;
pub const OTHER_EDU: u8 = 5;
pub const EDUS: [Device; 2] = [Device::Edu { slot: EDU }, Device::Edu { slot: OTHER_EDU }];

/// Whether transactions pass untranslated after a reset. Only RISC-V's IOMMU blocks all: its ddtp.iommu_mode, which may
/// be Off or Bare then, is Off in QEMU.
pub fn passes_after_reset(model: IommuModel) -> bool {
    !matches!(model, IommuModel::Riscv | IommuModel::RiscvPci)
}

/// Whether to go without these machines.
pub fn without_qemu_iommus() -> bool {
    let without = std::env::var_os("VCM_WITHOUT_QEMU_IOMMUS").is_some();
    if without {
        println!("SKIPPED TIER: qemu-iommu: VCM_WITHOUT_QEMU_IOMMUS is set");
    }
    without
}

pub fn start(model: IommuModel, devices: &[Device]) -> IommuMachine {
    IommuMachine::start(model, devices).unwrap_or_else(|error| {
        panic!("{model:?}: {error}. Install QEMU 10.0 or newer, or set VCM_WITHOUT_QEMU_IOMMUS to go without")
    })
}

/// Bytes that do not repeat within reach.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// What a device sees at `address` while nothing translates.
pub fn untranslated(address: PhysicalAddress) -> Iova {
    Iova::new(address.raw())
}

pub fn page(ram: &Ram) -> Option<DmaPage> {
    let memory = ram.allocate(4096, 4096).ok()?;
    Some(DmaPage { device: untranslated(memory), memory })
}

pub fn bytes(ram: &Ram, address: PhysicalAddress, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ram.read_bytes(address, &mut bytes).unwrap();
    bytes
}
