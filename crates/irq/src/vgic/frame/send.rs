//! Registers that act on a CPU interface's behalf: sending software-generated interrupts, and deactivation.

use super::affinity::{CLUSTER, vcpu_at};
use crate::VcpuId;
use crate::field::Field;
use crate::vgic::interface::Group;
use crate::vgic::vm::{Machine, Model, Vm};

/// `GICD_SGIR` \[25:24\]: 0 to those of the list, 1 to all others, 2 to the sender (Arm IHI 0048B.b 4.3.15).
const SGIR_FILTER: Field = Field::new(25, 24);
/// `GICD_SGIR` \[23:16\]: a bit for each CPU.
const SGIR_TARGETS: Field = Field::new(23, 16);
/// `GICD_SGIR` \[3:0\]: the interrupt.
const SGIR_INTERRUPT: Field = Field::new(3, 0);

/// `ICC_SGI1R_EL1` \[15:0\]: a bit for each CPU of the cluster (Arm IHI 0069H 12.2).
const SGI1R_TARGETS: Field = Field::new(15, 0);
/// `ICC_SGI1R_EL1` \[23:16\]: the cluster's affinity level 1.
const SGI1R_AFFINITY_1: Field = Field::new(23, 16);
/// `ICC_SGI1R_EL1` \[27:24\]: the interrupt.
const SGI1R_INTERRUPT: Field = Field::new(27, 24);
/// `ICC_SGI1R_EL1` \[39:32\]: the cluster's affinity level 2.
const SGI1R_AFFINITY_2: Field = Field::new(39, 32);
/// `ICC_SGI1R_EL1` \[40\]: to all others (`IRM`).
const SGI1R_ALL_OTHERS: Field = Field::new(40, 40);
/// `ICC_SGI1R_EL1` \[55:48\]: the cluster's affinity level 3.
const SGI1R_AFFINITY_3: Field = Field::new(55, 48);

/// `GICV_DIR` \[9:0\]: the interrupt (Arm IHI 0048B.b 5.5, 4.4.15).
const V2_DIR_INTERRUPT: Field = Field::new(9, 0);
/// `ICC_DIR_EL1` \[23:0\]: the interrupt (Arm IHI 0069H 12.2).
const V3_DIR_INTERRUPT: Field = Field::new(23, 0);

/// One of the system registers by which a `GICv3` guest sends software-generated interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SgiRegister {
    /// `ICC_SGI0R_EL1`.
    Sgi0,
    /// `ICC_SGI1R_EL1`.
    Sgi1,
    /// `ICC_ASGI1R_EL1`: group 1 of the other Security state, which a guest with one does not have.
    AliasSgi1,
}

impl SgiRegister {
    /// Whether it sends an interrupt that its target has in `group` (Arm IHI 0069H 12.1, with one Security
    /// state; Linux's `vgic_v3_dispatch_sgi` reads it likewise).
    const fn sends(self, group: Group) -> bool {
        match self {
            Self::Sgi1 => true,
            Self::Sgi0 | Self::AliasSgi1 => matches!(group, Group::Zero),
        }
    }
}

impl<M: Machine> Vm<M> {
    /// The guest's write to one of the registers that send software-generated interrupts, by the vCPU `by`. Counted as
    /// [ignored](Vm::ignored_accesses) if it is no `GICv3` guest's.
    pub fn write_sgi_register(&self, by: VcpuId, register: SgiRegister, value: u64) {
        if self.config.model != Model::V3 || by.0 >= self.config.vcpus {
            self.ignore();
            return;
        }
        let interrupt = SGI1R_INTERRUPT.get_wide(value);
        let send = |to: VcpuId| {
            if self.word(to, interrupt).is_some_and(|word| register.sends(word.load().group())) {
                self.send(by, to, interrupt);
            }
        };
        if SGI1R_ALL_OTHERS.get_wide(value) != 0 {
            (0..self.config.vcpus).map(VcpuId).filter(|to| *to != by).for_each(send);
            return;
        }
        // Bits 47:44 select a range of affinities above 15, which no vCPU has: the field is reserved.
        let cluster = SGI1R_AFFINITY_3.get_wide(value) << 24
            | SGI1R_AFFINITY_2.get_wide(value) << 16
            | SGI1R_AFFINITY_1.get_wide(value) << 8;
        let targets = SGI1R_TARGETS.get_wide(value);
        (0..u32::from(CLUSTER))
            .filter(|number| targets & 1 << number != 0)
            .filter_map(|number| vcpu_at(cluster | number, self.config.vcpus))
            .for_each(send);
    }

    /// The guest's write to its deactivation register (`ICC_DIR_EL1`, `GICV_DIR`), trapped because
    /// [`Loaded::trap_deactivation`](crate::vgic::Loaded) asked for that.
    pub fn write_deactivation_register(&self, by: VcpuId, value: u64) {
        let field = match self.config.model {
            Model::V2 => V2_DIR_INTERRUPT,
            Model::V3 => V3_DIR_INTERRUPT,
        };
        self.deactivate(by, field.get_wide(value));
    }

    /// A write to `GICD_SGIR`.
    pub(super) fn send_by_mask(&self, by: VcpuId, value: u32) {
        let (others, own) = (!(1 << by.0), 1 << by.0);
        let targets = match SGIR_FILTER.get(value) {
            0 => SGIR_TARGETS.get(value),
            1 => others,
            2 => own,
            // Reserved.
            _ => 0,
        };
        for to in 0..self.config.vcpus.min(8) {
            if targets & 1 << to != 0 {
                self.send(by, VcpuId(to), SGIR_INTERRUPT.get(value));
            }
        }
    }
}
