//! Where vCPUs of a `GICv3` guest are.

use crate::VcpuId;

/// How many vCPUs have the same affinity levels 3 to 1. A write that sends a software-generated interrupt has a bit for
/// each of so many (Arm IHI 0069H 12.2).
pub(super) const CLUSTER: u16 = 16;

/// The affinity of a vCPU: level 3 in bits 31:24 to level 0 in bits 7:0, as in `GICR_TYPER[63:32]`. The vCPU's
/// `MPIDR_EL1` is to say the same.
pub const fn affinity(vcpu: VcpuId) -> u32 {
    ((vcpu.0 / CLUSTER) as u32) << 8 | (vcpu.0 % CLUSTER) as u32
}

/// The vCPU at an affinity, if a virtual machine with so many has one.
pub(super) const fn vcpu_at(affinity: u32, vcpus: u16) -> Option<VcpuId> {
    let (cluster, number) = (affinity >> 8, affinity & 0xFF);
    if number >= CLUSTER as u32 || cluster >= vcpus as u32 {
        return None;
    }
    let vcpu = cluster * CLUSTER as u32 + number;
    if vcpu < vcpus as u32 { Some(VcpuId(vcpu as u16)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vcpu_is_where_it_is_found() {
        for vcpu in 0..512 {
            assert_eq!(vcpu_at(affinity(VcpuId(vcpu)), 512), Some(VcpuId(vcpu)));
            assert_eq!(vcpu_at(affinity(VcpuId(vcpu)), vcpu), None, "one fewer");
        }
        assert_eq!(affinity(VcpuId(35)), 0x0203);
        for nowhere in [0x10, 0xFF, 0x1_0000, 0x0100_0000, u32::MAX, 0x2000] {
            assert_eq!(vcpu_at(nowhere, 512), None, "{nowhere:#x}");
        }
    }
}
