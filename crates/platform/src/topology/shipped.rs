//! The device trees that come with the crate.

/// Name and blob; the source of each lies beside it in `device-trees/`.
const SHIPPED: [(&str, &[u8]); 3] = [
    ("apq8064-like", include_bytes!("../../device-trees/apq8064-like.dtb")),
    ("msm8x60", include_bytes!("../../device-trees/msm8x60.dtb")),
    ("two-banks", include_bytes!("../../device-trees/two-banks.dtb")),
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
