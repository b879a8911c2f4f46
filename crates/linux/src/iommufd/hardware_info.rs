//! What the IOMMU of a device says of itself.
#![allow(unsafe_code, reason = "calls the kernel with structures")]

use super::{BoundDevice, Iommufd, command};
use crate::Error;
use iommufd_bindings as uapi;

/// Which IOMMU it is, with its registers as they are: the manuals of their makers say what the bits mean.
///
/// Source: include/uapi/linux/iommufd.h, `struct iommu_hw_info_vtd` and its like.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HardwareKind {
    /// Its driver does not tell.
    Untold,
    /// Intel VT-d.
    IntelVtd {
        /// Flags of the kernel's, errata.
        flags: u32,
        /// The capability register.
        capability: u64,
        /// The extended capability register.
        extended_capability: u64,
    },
    /// Arm SMMUv3.
    ArmSmmuV3 {
        /// `IDR0` to `IDR5`.
        identification: [u32; 6],
        /// `IIDR`.
        implementation: u32,
        /// `AIDR`.
        architecture: u32,
    },
    /// AMD-Vi.
    Amd {
        /// The extended feature register.
        features: u64,
        /// The second one.
        features_2: u64,
    },
    /// One that this crate does not know.
    Other {
        /// The kernel's number for its kind.
        kind: u32,
        /// What it says.
        data: Vec<u8>,
    },
}

/// What there is to know of the IOMMU of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HardwareInfo {
    /// Which one it is.
    pub kind: HardwareKind,
    /// Whether it notes what devices write to: [`DirtyTracking`](super::DirtyTracking) can be on.
    pub dirty_tracking: bool,
    /// How many bits a PASID of the device has; `None` when it has none.
    pub pasid_bits: Option<u8>,
}

impl Iommufd {
    /// Asks for the IOMMU of a device that is bound here.
    ///
    /// # Errors
    /// The kernel's: ENOENT when there is no such device.
    pub fn hardware_info(&self, device: BoundDevice) -> Result<HardwareInfo, Error> {
        let mut data = vec![0_u8; 256];
        let mut request = uapi::iommu_hw_info {
            size: size_of::<uapi::iommu_hw_info>() as u32,
            dev_id: device.0,
            data_len: data.len() as u32,
            data_uptr: data.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        // SAFETY: the kernel writes as many bytes as it is told that there is room for, and no more.
        unsafe { self.call(command::GET_HW_INFO, &mut request) }
            .map_err(|errno| Error::system(command::GET_HW_INFO.name, device.to_string(), errno))?;
        data.truncate(request.data_len as usize);
        // SAFETY: both of the union's numbers are the same one.
        let kind = unsafe { request.__bindgen_anon_1.out_data_type };
        let dirty = u64::from(uapi::iommufd_hw_capabilities_IOMMU_HW_CAP_DIRTY_TRACKING);
        Ok(HardwareInfo {
            kind: HardwareKind::decode(kind, data),
            dirty_tracking: request.out_capabilities & dirty != 0,
            pasid_bits: Some(request.out_max_pasid_log2).filter(|bits| *bits > 0),
        })
    }
}

impl HardwareKind {
    /// Takes apart what the kernel wrote, in the machine's own byte order. What is shorter than it should be stays as it is.
    fn decode(kind: u32, data: Vec<u8>) -> Self {
        let word = |offset: usize| Some(u32::from_ne_bytes(data.get(offset..offset + 4)?.try_into().ok()?));
        let long = |offset: usize| Some(u64::from_ne_bytes(data.get(offset..offset + 8)?.try_into().ok()?));
        let known = match kind {
            uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_NONE => Some(Self::Untold),
            uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_INTEL_VTD => (|| {
                Some(Self::IntelVtd { flags: word(0)?, capability: long(8)?, extended_capability: long(16)? })
            })(),
            uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_ARM_SMMUV3 => (|| {
                let identification = [word(8)?, word(12)?, word(16)?, word(20)?, word(24)?, word(28)?];
                Some(Self::ArmSmmuV3 { identification, implementation: word(32)?, architecture: word(36)? })
            })(),
            uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_AMD => {
                (|| Some(Self::Amd { features: long(0)?, features_2: long(8)? }))()
            }
            _ => None,
        };
        known.unwrap_or(Self::Other { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_offsets_are_those_of_the_structures() {
        assert_eq!(offset_of!(uapi::iommu_hw_info_vtd, cap_reg), 8);
        assert_eq!(offset_of!(uapi::iommu_hw_info_vtd, ecap_reg), 16);
        assert_eq!(offset_of!(uapi::iommu_hw_info_arm_smmuv3, idr), 8);
        assert_eq!(offset_of!(uapi::iommu_hw_info_arm_smmuv3, iidr), 32);
        assert_eq!(offset_of!(uapi::iommu_hw_info_arm_smmuv3, aidr), 36);
        assert_eq!(offset_of!(uapi::iommu_hw_info_amd, efr), 0);
        assert_eq!(offset_of!(uapi::iommu_hw_info_amd, efr2), 8);
    }

    #[test]
    fn each_kind_is_taken_apart() {
        let mut vtd = Vec::new();
        vtd.extend([1_u32, 0].into_iter().flat_map(u32::to_ne_bytes));
        vtd.extend([0x11_u64, 0x22].into_iter().flat_map(u64::to_ne_bytes));
        let expected = HardwareKind::IntelVtd { flags: 1, capability: 0x11, extended_capability: 0x22 };
        assert_eq!(HardwareKind::decode(1, vtd.clone()), expected);
        let smmu: Vec<u8> = (0..10_u32).flat_map(u32::to_ne_bytes).collect();
        let expected = HardwareKind::ArmSmmuV3 {
            identification: [2, 3, 4, 5, 6, 7],
            implementation: 8,
            architecture: 9,
        };
        assert_eq!(HardwareKind::decode(2, smmu), expected);
        let amd: Vec<u8> = [5_u64, 6].into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(HardwareKind::decode(4, amd), HardwareKind::Amd { features: 5, features_2: 6 });
        assert_eq!(HardwareKind::decode(0, Vec::new()), HardwareKind::Untold);
        vtd.truncate(20);
        assert_eq!(HardwareKind::decode(1, vtd.clone()), HardwareKind::Other { kind: 1, data: vtd });
        assert_eq!(HardwareKind::decode(77, vec![1]), HardwareKind::Other { kind: 77, data: vec![1] });
    }
}
