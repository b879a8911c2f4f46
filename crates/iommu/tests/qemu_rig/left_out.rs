//! Whether QEMU's IOMMU machines are meant to be left out.

/// Whether `VCM_WITHOUT_QEMU_IOMMUS=1` says so.
pub(crate) fn left_out() -> bool {
    let without = std::env::var("VCM_WITHOUT_QEMU_IOMMUS").is_ok_and(|value| value == "1");
    if without {
        println!("SKIPPED TIER: qemu-iommu: VCM_WITHOUT_QEMU_IOMMUS is set");
    }
    without
}
