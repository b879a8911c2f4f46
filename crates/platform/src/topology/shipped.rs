//! The device trees that come with the crate; the source of each blob lies beside it in `device-trees/`.

/// Name and blob of the machines that can be simulated.
const SHIPPED: [(&str, &[u8]); 3] = [
    ("apq8064-like", include_bytes!("../../device-trees/apq8064-like.dtb")),
    ("msm8x60", include_bytes!("../../device-trees/msm8x60.dtb")),
    ("two-banks", include_bytes!("../../device-trees/two-banks.dtb")),
];

/// Name and blob of machines as QEMU makes them.
const QEMU: [(&str, &[u8]); 4] = [
    ("qemu-riscv-iommu-pci", include_bytes!("../../device-trees/qemu-riscv-iommu-pci.dtb")),
    ("qemu-riscv-iommu-sys", include_bytes!("../../device-trees/qemu-riscv-iommu-sys.dtb")),
    ("qemu-virt-smmuv3", include_bytes!("../../device-trees/qemu-virt-smmuv3.dtb")),
    ("qemu-virt-virtio-iommu", include_bytes!("../../device-trees/qemu-virt-virtio-iommu.dtb")),
];

/// The device tree blob that comes with the crate under this name.
///
/// - `msm8x60`: the SoC that the original Virtual Contiguous Memory Manager ran on, in the original binding.
/// - `apq8064-like`: its successor's shape, in mainline Linux's binding.
/// - `two-banks`: one small IOMMU with fewer context banks than masters, for context switching.
pub fn shipped(name: &str) -> Option<&'static [u8]> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, blob)| *blob)
}

/// The names that [`shipped`] knows, in alphabetical order.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The device tree blob of a machine that QEMU 10.0 models, with one processor and 512 MiB of memory.
///
/// | name | machine and options |
/// |---|---|
/// | `qemu-riscv-iommu-pci` | `qemu-system-riscv64 -M virt -device riscv-iommu-pci` |
/// | `qemu-riscv-iommu-sys` | `qemu-system-riscv64 -M virt,iommu-sys=on` |
/// | `qemu-virt-smmuv3` | `qemu-system-aarch64 -M virt,iommu=smmuv3,gic-version=2,highmem-ecam=off` |
/// | `qemu-virt-virtio-iommu` | the same with `-device virtio-iommu-pci` for `iommu=smmuv3` |
pub fn qemu_tree(name: &str) -> Option<&'static [u8]> {
    QEMU.iter().find(|(known, _)| *known == name).map(|(_, blob)| *blob)
}

/// The names that [`qemu_tree`] knows, in alphabetical order.
pub fn qemu_tree_names() -> impl Iterator<Item = &'static str> {
    QEMU.iter().map(|(name, _)| *name)
}
