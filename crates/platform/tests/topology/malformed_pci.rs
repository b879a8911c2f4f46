//! Trees whose modern IOMMUs or PCI hosts contradict themselves.

use crate::edit::Dt;
use crate::malformed::refused;

const BLOB: &[u8] = include_bytes!("bindings.dtb");
const HOST: &str = "/bus/pcie@60000000";
const SMMU: &str = "/iommu@2b400000";
const FUNCTION: &str = "/pcie@40000000/iommu@1,0";
const GIC: &str = "/interrupt-controller@2c001000";

fn changed(path: &str, change: impl FnOnce(&mut Dt) -> &mut Dt) -> Dt {
    let mut tree = Dt::read(BLOB);
    change(tree.at(path));
    tree
}

fn with(path: &str, property: &str, cells: &[u32]) -> Dt {
    changed(path, |node| node.cells(property, cells))
}

#[test]
fn an_iommu_has_a_window_and_one_cell() {
    refused(&changed(SMMU, |node| node.remove("reg")), SMMU, Some("reg"), "nothing");
    refused(&with(SMMU, "#iommu-cells", &[2]), SMMU, Some("#iommu-cells"), "expected 1");
    refused(&with(FUNCTION, "#iommu-cells", &[0]), FUNCTION, Some("#iommu-cells"), "expected 1");
    let over_memory = with(SMMU, "reg", &[8, 0x8000_0000, 0, 0x2_0000]);
    refused(&over_memory, "/memory@880000000", Some("reg"), "which overlaps");
}

#[test]
fn an_iommu_on_a_pci_bus_is_a_function_of_it() {
    let reg = Some("reg");
    refused(&changed(FUNCTION, |node| node.remove("reg")), FUNCTION, reg, "0 cells");
    refused(&with(FUNCTION, "reg", &[0x800, 0, 0]), FUNCTION, reg, "3 cells");
    // A memory address, and a bus that the host does not have.
    refused(&with(FUNCTION, "reg", &[0x0200_0810, 0, 0, 0, 0]), FUNCTION, reg, "0x02000810");
    refused(&with(FUNCTION, "reg", &[0x10_0000, 0, 0, 0, 0]), FUNCTION, reg, "on buses 0..=15");
    // A device of the SoC is none.
    let tree = changed(FUNCTION, |node| node.string("compatible", "riscv,iommu"));
    refused(&tree, FUNCTION, reg, "not at addresses of memory");
}

#[test]
fn streams_are_as_wide_as_their_iommu_has_them() {
    let mut tree = Dt::read(BLOB);
    let riscv = tree.at("/iommu@1bccd000").phandle();
    tree.at("/master1").cells("iommus", &[riscv, 0xff_ffff]);
    vcm_platform::topology::Topology::from_device_tree(&tree.blob()).unwrap();
    tree.at("/master1").cells("iommus", &[riscv, 0x100_0000]);
    refused(&tree, "/master1", Some("iommus"), "stream id 16777216, expected 0 to 16777215");
    let mut tree = Dt::read(BLOB);
    tree.at(HOST).cells("iommu-map", &[0, riscv, 0xff_ffff, 2]);
    refused(&tree, HOST, Some("iommu-map"), "0xffffff as the last one at most");
    let smmu = tree.at(SMMU).phandle();
    tree.at(HOST).cells("iommu-map", &[0, smmu, u32::MAX, 2]);
    refused(&tree, HOST, Some("iommu-map"), "0xffffffff as the last one at most");
    tree.at(HOST).cells("iommu-map", &[0, smmu, u32::MAX, 1]);
    vcm_platform::topology::Topology::from_device_tree(&tree.blob()).unwrap();
}

#[test]
fn requester_ids_lead_to_iommus() {
    let mut tree = Dt::read(BLOB);
    let (smmu, gic) = (tree.at(SMMU).phandle(), tree.at(GIC).phandle());
    let map = Some("iommu-map");
    let mapped = |cells: &[u32]| with(HOST, "iommu-map", cells);
    refused(&mapped(&[0, 0x99, 0, 1]), HOST, map, "phandle 0x99");
    refused(&mapped(&[0, gic, 0, 1]), HOST, map, "which is not an IOMMU");
    refused(&mapped(&[0, smmu, 0]), HOST, map, "3 cells");
    refused(&mapped(&[0, smmu, 0, 0x1_0001]), HOST, map, "0x10001 requester ids from 0x0");
    refused(&mapped(&[0xffff, smmu, 0, 2]), HOST, map, "an end within 0x10000");
    refused(&mapped(&[u32::MAX, smmu, 0, u32::MAX]), HOST, map, "an end within 0x10000");
    refused(&mapped(&[0, smmu, 0, 9, 8, smmu, 8, 1]), HOST, map, "requester id 0x8 a second time");
    refused(&mapped(&[8, smmu, 8, 1, 0, smmu, 0, 0x1_0000]), HOST, map, "a second time");
    let mut masked = mapped(&[0x8, smmu, 0, 8]);
    masked.at(HOST).cells("iommu-map-mask", &[0xfff0]);
    refused(&masked, HOST, map, "which the mask 0xfff0 hides");
    refused(&with(HOST, "iommu-map-mask", &[1, 2]), HOST, Some("iommu-map-mask"), "2 cells");
    refused(&with(HOST, "msi-map", &[0, 0x99, 0, 1]), HOST, Some("msi-map"), "phandle 0x99");
    refused(&mapped(&[0, smmu, 0, 0].repeat(4097)), HOST, map, "4096 ranges at most");
}

#[test]
fn a_host_has_a_pci_bus() {
    refused(&with(HOST, "#address-cells", &[2]), HOST, Some("#address-cells"), "2, expected 3");
    refused(&changed(HOST, |node| node.remove("#size-cells")), HOST, Some("#size-cells"), "nothing");
    refused(&changed(HOST, |node| node.remove("reg")), HOST, Some("reg"), "nothing");
    refused(&with(HOST, "reg", &[0x9000_0000, 0x100_0000]), HOST, Some("reg"), "in no window of /bus");
    refused(&with(HOST, "reg", &[0x6000_0000, 0xf_ffff]), HOST, Some("reg"), "0xfffff bytes");
    refused(&with(HOST, "bus-range", &[2, 1]), HOST, Some("bus-range"), "[2, 1]");
    refused(&with(HOST, "bus-range", &[0x100, 0x1ff]), HOST, Some("bus-range"), "[100, 1ff]");
    refused(&with(HOST, "bus-range", &[1]), HOST, Some("bus-range"), "[1]");
    let over_memory = with("/pcie@40000000", "reg", &[8, 0x8000_0000, 0, 0x100_0000]);
    refused(&over_memory, "/memory@880000000", Some("reg"), "which overlaps");
}

#[test]
fn the_windows_of_a_host_end() {
    let ranges = Some("ranges");
    refused(&with(HOST, "ranges", &[0x0200_0000, 0, 0]), HOST, ranges, "a multiple of 6");
    let long = [0x0300_0000, 0, 0, 0x6000_0000, u32::MAX, u32::MAX];
    refused(&with(HOST, "ranges", &long), HOST, ranges, "an end within 64 bits");
    let on_the_bus = [0x0300_0000, u32::MAX, u32::MAX, 0x6000_0000, 0, 2];
    refused(&with(HOST, "ranges", &on_the_bus), HOST, ranges, "an end within 64 bits");
}

#[test]
fn wired_interrupts_are_well_formed() {
    let gic = Dt::read(BLOB).at(GIC).phandle();
    let map = Some("interrupt-map");
    let mapped = |cells: &[u32]| with(HOST, "interrupt-map", cells);
    refused(&mapped(&[0, 0, 0, 1]), HOST, map, "4 cells at its end");
    refused(&mapped(&[0, 0, 0, 1, 0x99]), HOST, map, "phandle 0x99");
    refused(&mapped(&[0, 0, 0, 1, gic, 0, 5]), HOST, map, "2 cells, expected 0 and 3");
    refused(&mapped(&[0, 0, 0, 1, gic, 9, 5, 4]), HOST, map, "interrupt type 9");
    refused(&mapped(&[0, 0, 0, 1, gic, 0, 988, 4]), HOST, map, "0 to 987");
    let mask = Some("interrupt-map-mask");
    refused(&with(HOST, "interrupt-map-mask", &[0, 0, 7]), HOST, mask, "3 cells, expected 4");
    refused(&with(HOST, "#interrupt-cells", &[2]), HOST, Some("#interrupt-cells"), "expected 1");
    refused(&with(GIC, "#address-cells", &[5]), GIC, Some("#address-cells"), "expected 0 to 4");
    let mut tree = Dt::read(BLOB);
    let memory = tree.at("/memory@880000000").cells("phandle", &[0x99]).phandle();
    tree.at(HOST).cells("interrupt-map", &[0, 0, 0, 1, memory, 0]);
    refused(&tree, "/memory@880000000", None, "no #interrupt-cells");
}

#[test]
fn messages_go_to_controllers() {
    let frame = "/v2m@2c1c0000";
    refused(&changed(frame, |node| node.remove("reg")), frame, Some("reg"), "nothing");
    refused(&with(frame, "arm,msi-num-spis", &[]), frame, Some("arm,msi-num-spis"), "0 cells");
    refused(&with(SMMU, "msi-parent", &[0x99]), SMMU, Some("msi-parent"), "phandle 0x99");
    let its = Dt::read(BLOB).at("/interrupt-controller@2f000000/msi-controller@2f020000").phandle();
    refused(&with(SMMU, "msi-parent", &[its, 1, its]), SMMU, Some("msi-parent"), "0 cells, expected 1 after");
}
