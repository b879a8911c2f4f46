//! `arm_vgic` over a back-end that does nothing.

use crate::rounds::{FIRST, Guest, Shape, Subject};
use arm_vgic::{
    CpuInterfaceState, GicAffinity, GicV3Backend, GicV3BackendError, GicV3Config, GicV3Controller,
    GicV3MmioRegion, GicV3SpiOwnership, GicV3VcpuBinding, GicV3VcpuWake, GicVcpuId, InterruptState,
    ListRegisterBacking, PhysicalInterruptBinding, PhysicalIrqId, SpiId, VgicResult,
};
use axvm_types::AccessWidth;
use std::hint::black_box;
use std::sync::Arc;

/// `GICD_CTLR`, and in it the enable of group 1 (Arm IHI 0069H 12.9.4).
const GICD_CTLR: u64 = 0;
const ENABLE_GROUP_1: u64 = 1 << 1;
/// The first `GICD_ISENABLER` (Arm IHI 0069H 12.9.24).
const GICD_ISENABLER: u64 = 0x100;

struct Backend {
    guest: Guest,
}

impl GicV3Backend for Backend {
    fn load_cpu_interface(&self, _: GicVcpuId, state: &CpuInterfaceState) -> Result<(), GicV3BackendError> {
        black_box(state);
        Ok(())
    }

    fn save_cpu_interface(
        &self,
        _: GicVcpuId,
        state: &mut CpuInterfaceState,
    ) -> Result<(), GicV3BackendError> {
        match self.guest {
            Guest::Ends => state.list_registers_mut().fill(None),
            Guest::Acknowledges => {
                for register in state.list_registers_mut().iter_mut().flatten() {
                    register.set_state(InterruptState::Active);
                }
            }
        }
        Ok(())
    }

    fn deactivate_physical_interrupt(
        &self,
        _: GicVcpuId,
        binding: PhysicalInterruptBinding,
    ) -> Result<(), GicV3BackendError> {
        black_box(binding);
        Ok(())
    }

    fn bind_physical_interrupt(&self, binding: PhysicalInterruptBinding) -> Result<(), GicV3BackendError> {
        black_box(binding);
        Ok(())
    }

    fn set_physical_interrupt_enabled(
        &self,
        binding: PhysicalInterruptBinding,
        _: bool,
    ) -> Result<(), GicV3BackendError> {
        black_box(binding);
        Ok(())
    }

    fn unbind_physical_interrupt(&self, binding: PhysicalInterruptBinding) -> Result<(), GicV3BackendError> {
        black_box(binding);
        Ok(())
    }
}

/// A wake-up that does nothing.
struct Wake;

impl GicV3VcpuWake for Wake {
    fn wake(&self) -> VgicResult {
        Ok(())
    }
}

/// A virtual machine on `arm_vgic`.
pub(crate) struct ArmVgic {
    controller: GicV3Controller,
    /// Made before, since making one checks it.
    interrupts: Vec<SpiId>,
    target: fn(u32) -> u16,
}

impl ArmVgic {
    fn interrupt(&self, number: u32) -> SpiId {
        self.interrupts[(number - FIRST) as usize]
    }

    fn bind(&self, number: u32) {
        let target = GicVcpuId::new(usize::from((self.target)(number)));
        let host = PhysicalIrqId::new(u64::from(number));
        self.controller.bind_physical_spi(self.interrupt(number), host, target).expect("neither is bound");
    }
}

fn config(list_registers: usize) -> VgicResult<GicV3Config> {
    GicV3Config::new(
        GicV3SpiOwnership::Explicit,
        GicV3MmioRegion::new(0x0800_0000, 0x1_0000)?,
        GicV3MmioRegion::new(0x080a_0000, 0x4_0000)?,
        0x2_0000,
        2,
    )?
    .with_spi_count(988)?
    .with_list_register_count(list_registers)
}

impl Subject for ArmVgic {
    type Vcpu = GicV3VcpuBinding;

    fn new(shape: Shape) -> (Self, [GicV3VcpuBinding; 2]) {
        let config = config(shape.list_registers).expect("the architecture allows it");
        let controller = GicV3Controller::new(config, Arc::new(Backend { guest: shape.guest }))
            .expect("there can be such a virtual machine");
        let vcpus = [0, 1].map(|id| {
            let affinity = GicAffinity::new(0, 0, 0, id);
            controller
                .attach_vcpu(GicVcpuId::new(usize::from(id)), affinity, Arc::new(Wake))
                .expect("it is not attached")
        });
        let interrupts =
            (FIRST..FIRST + shape.bound).map(|number| SpiId::new(number).expect("it exists")).collect();
        let subject = Self { controller, interrupts, target: shape.target };
        subject
            .controller
            .write_distributor(GICD_CTLR, AccessWidth::Dword, ENABLE_GROUP_1)
            .expect("it can be written");
        for number in FIRST..FIRST + shape.bound {
            subject.bind(number);
            let (offset, bit) = (GICD_ISENABLER + u64::from(number / 32 * 4), 1 << (number % 32));
            subject.controller.write_distributor(offset, AccessWidth::Dword, bit).expect("it can be written");
        }
        (subject, vcpus)
    }

    fn forward(&self, _: &mut GicV3VcpuBinding, number: u32) {
        self.deliver(number);
    }

    #[inline(never)]
    fn deliver(&self, number: u32) {
        self.controller.forward_physical_spi(self.interrupt(number)).expect("it is bound");
    }

    #[inline(never)]
    fn load(&self, vcpu: &mut GicV3VcpuBinding) {
        vcpu.load().expect("it is not loaded");
    }

    #[inline(never)]
    fn save(&self, vcpu: &mut GicV3VcpuBinding) {
        vcpu.save().expect("it is loaded");
    }

    #[inline(never)]
    fn rebind(&self, number: u32) {
        self.controller.unbind_physical_spi(self.interrupt(number)).expect("it is idle");
        self.bind(number);
    }

    fn loaded(&self, vcpu: &GicV3VcpuBinding) -> Vec<u32> {
        let state = vcpu.cpu_interface_snapshot().expect("it is attached");
        let number = |backing| match backing {
            ListRegisterBacking::Physical(host) => host.raw() as u32,
            ListRegisterBacking::Software => panic!("it is not forwarded"),
        };
        state.list_registers().iter().flatten().map(|register| number(register.backing())).collect()
    }
}
