//! Trees that contradict themselves: the error says which node, which property and why.

use crate::edit::{Dt, assemble};
use vcm_platform::topology::{Topology, TopologyError};

/// The error of `tree`, which must be about the property of the node at `path`.
#[track_caller]
pub(crate) fn refused(tree: &Dt, path: &str, property: Option<&str>, words: &str) {
    let error = Topology::from_device_tree(&tree.blob()).expect_err("a malformed tree was taken");
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    let TopologyError::Node { path: at, property: of, .. } = error else { panic!("{text}") };
    assert_eq!((at.as_str(), of.as_deref()), (path, property), "{text}");
}

const IOMMU: &str = "/soc/iommu@10100000";
const CAPTURE: &str = "/soc/capture@10200000";
const CODEC: &str = "/soc/iommu@7a00000";
const STREAM: &str = "/soc/iommu@7a00000/iommu-ctx@7a00000";
const MM1: &str = "/soc/iommu@7a00000/iommu-ctx@7a01000";

fn two_banks(path: &str, change: impl FnOnce(&mut Dt) -> &mut Dt) -> Dt {
    let mut tree = Dt::shipped("two-banks");
    change(tree.at(path));
    tree
}

fn msm8x60(path: &str, change: impl FnOnce(&mut Dt) -> &mut Dt) -> Dt {
    let mut tree = Dt::shipped("msm8x60");
    change(tree.at(path));
    tree
}

#[test]
fn an_error_reads_as_where_what_and_what_was_expected() {
    let tree = two_banks(IOMMU, |node| node.cells("qcom,ncb", &[1, 2]));
    let error = Topology::from_device_tree(&tree.blob()).unwrap_err();
    assert_eq!(error.to_string(), "/soc/iommu@10100000: qcom,ncb: 2 cells, expected one");
}

#[test]
fn an_iommu_has_as_many_banks_as_its_binding_allows() {
    refused(&two_banks(IOMMU, |it| it.remove("qcom,ncb")), IOMMU, Some("qcom,ncb"), "nothing");
    refused(&two_banks(IOMMU, |it| it.cells("qcom,ncb", &[0])), IOMMU, None, "0 context banks");
    refused(
        &two_banks(IOMMU, |it| it.cells("qcom,ncb", &[5])),
        IOMMU,
        None,
        "5 context banks, expected 1 to 4",
    );
    refused(
        &msm8x60(CODEC, |it| it.cells("qcom,ncb", &[1])),
        CODEC,
        Some("qcom,ncb"),
        "a context owns bank 1",
    );
    refused(&msm8x60(CODEC, |it| it.cells("qcom,ncb", &[257])), CODEC, None, "257 context banks");
    let none = msm8x60(CODEC, |it| {
        it.children.clear();
        it.remove("qcom,ncb")
    });
    refused(&none, CODEC, None, "0 context banks");
}

#[test]
fn an_iommus_window_holds_its_banks_and_its_global_registers() {
    refused(&two_banks(IOMMU, |it| it.remove("reg")), IOMMU, Some("reg"), "nothing");
    refused(&two_banks(IOMMU, |it| it.cells("reg", &[0x1010_0000, 0])), IOMMU, Some("reg"), "nothing");
    refused(&two_banks(IOMMU, |it| it.cells("reg", &[0x1010_0000])), IOMMU, Some("reg"), "1 cells");
    refused(&two_banks(IOMMU, |it| it.set("reg", &[1, 2, 3])), IOMMU, Some("reg"), "3 bytes");
    refused(
        &two_banks(IOMMU, |it| it.cells("reg", &[0x1010_0000, 0xf_f000])),
        IOMMU,
        None,
        "inside the window",
    );
    refused(&msm8x60(CODEC, |it| it.cells("qcom,glb-offset", &[0x1000])), CODEC, None, "apart");
    let wrapping = two_banks(IOMMU, |it| it.cells("reg", &[u32::MAX, u32::MAX]));
    Topology::from_device_tree(&wrapping.blob()).expect("beyond 32 bits, and inside 64");
    let mut wide = Dt::shipped("two-banks");
    wide.cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    wide.at("/memory@20000000").cells("reg", &[u32::MAX, u32::MAX, 0, 2]);
    refused(&wide, "/memory@20000000", Some("reg"), "an end within 64 bits");
}

#[test]
fn a_context_owns_a_bank_of_its_own() {
    refused(
        &msm8x60(MM1, |it| it.cells("reg", &[0x07a0_0000, 0x1000])),
        MM1,
        Some("reg"),
        "bank 0 a second time",
    );
    refused(
        &msm8x60(MM1, |it| it.cells("reg", &[0x07a0_1004, 0x1000])),
        MM1,
        Some("reg"),
        "a multiple of 0x1000",
    );
    refused(&msm8x60(MM1, |it| it.cells("reg", &[0x0790_0000, 0x1000])), MM1, Some("reg"), "0x7900000");
    refused(&msm8x60(MM1, |it| it.cells("reg", &[0x07b0_0000, 0x1000])), MM1, Some("reg"), "banks 0 to 255");
    // Bank 5 of an IOMMU that says that it has 2.
    let beyond = msm8x60(MM1, |it| it.cells("reg", &[0x07a0_5000, 0x1000]));
    refused(&beyond, CODEC, Some("qcom,ncb"), "a context owns bank 5");
    let last = msm8x60(CODEC, |it| {
        it.remove("qcom,ncb");
        it.at("iommu-ctx@7a01000").cells("reg", &[0x07af_f000, 0x1000]);
        it
    });
    refused(&last, CODEC, None, "256 banks");
}

#[test]
fn a_stream_has_one_master() {
    let mids = "qcom,iommu-ctx-mids";
    refused(&msm8x60(MM1, |it| it.cells(mids, &[2])), MM1, Some(mids), "stream id 2, which is taken");
    refused(
        &msm8x60(STREAM, |it| it.cells(mids, &[5, 5])),
        STREAM,
        Some(mids),
        "stream id 5, which is taken",
    );
    refused(&msm8x60(MM1, |it| it.cells(mids, &[512])), MM1, Some(mids), "0 to 511");
    refused(&msm8x60(MM1, |it| it.remove(mids)), MM1, None, "no qcom,iommu-ctx-mids");
    let mut tree = Dt::shipped("two-banks");
    let smmu = tree.at(IOMMU).phandle();
    tree.at(CAPTURE).cells("iommus", &[smmu, 1]);
    refused(&tree, "/soc/scaler@10201000", Some("iommus"), "stream id 1, which is taken");
    tree.at(CAPTURE).cells("iommus", &[smmu, 600]);
    refused(&tree, CAPTURE, Some("iommus"), "stream id 600");
}

#[test]
fn a_master_refers_to_an_iommu() {
    let mut tree = Dt::shipped("two-banks");
    let smmu = tree.at(IOMMU).phandle();
    let gic = tree.at("/soc/interrupt-controller@10001000").phandle();
    let iommus = Some("iommus");
    refused(&two_banks(CAPTURE, |it| it.cells("iommus", &[0x77, 0])), CAPTURE, iommus, "phandle 0x77");
    refused(
        &two_banks(CAPTURE, |it| it.cells("iommus", &[gic, 0])),
        CAPTURE,
        iommus,
        "which is not an IOMMU",
    );
    refused(&two_banks(CAPTURE, |it| it.cells("iommus", &[smmu])), CAPTURE, iommus, "0 cells, expected 1");
    refused(&two_banks(CAPTURE, |it| it.cells("iommus", &[])), CAPTURE, iommus, "nothing");
    refused(&two_banks(CAPTURE, |it| it.set("iommus", &[0])), CAPTURE, iommus, "1 bytes");
    let direct = two_banks(CAPTURE, |it| it.set("vcm,direct-master", &[]));
    refused(&direct, CAPTURE, Some("vcm,direct-master"), "iommus as well");
    let cells = two_banks(IOMMU, |it| it.cells("#iommu-cells", &[2]));
    refused(&cells, IOMMU, Some("#iommu-cells"), "expected 1");
    let no_cells = two_banks(IOMMU, |it| it.remove("#iommu-cells"));
    refused(&no_cells, CAPTURE, iommus, "has no #iommu-cells");
    // The original binding has named contexts, and nothing to refer to.
    let mut tree = Dt::shipped("msm8x60");
    tree.at(CODEC).cells("phandle", &[0x55]);
    tree.at("/soc/dma-controller@18300000").remove("vcm,direct-master").cells("iommus", &[0x55, 3]);
    refused(&tree, "/soc/dma-controller@18300000", iommus, "has no #iommu-cells");
}

#[test]
fn names_that_devices_go_by_are_unique() {
    refused(&msm8x60(MM1, |it| it.string("label", "vcodec_a_stream")), MM1, None, "a second time");
    refused(&msm8x60(CODEC, |it| it.string("label", "rot")), CODEC, None, "a second time");
    refused(&msm8x60(MM1, |it| it.string("label", "")), MM1, Some("label"), "one that is not empty");
    refused(&msm8x60(MM1, |it| it.set("label", b"no end")), MM1, Some("label"), "6 bytes");
    refused(&msm8x60(MM1, |it| it.set("label", b"\xff\xfe\0")), MM1, Some("label"), "3 bytes");
    let adm = "/soc/dma-controller@18400000";
    refused(&msm8x60(adm, |it| it.string("label", "vcodec_a_mm1")), adm, None, "a second time");
    refused(
        &msm8x60("/memory@40000000", |it| it.string("label", "smi")),
        "/memory@40000000",
        None,
        "a second time",
    );
}

#[test]
fn interrupts_fit_their_controller() {
    let gic = "/soc/interrupt-controller@10001000";
    let change = |cells: &[u32]| two_banks(CAPTURE, |it| it.cells("interrupts", cells));
    let interrupts = Some("interrupts");
    refused(&change(&[0, 5]), CAPTURE, interrupts, "2 cells, expected a multiple of the 3");
    refused(&change(&[9, 5, 4]), CAPTURE, interrupts, "interrupt type 9");
    refused(&change(&[0, 988, 4]), CAPTURE, interrupts, "0 to 987");
    refused(&change(&[1, 16, 4]), CAPTURE, interrupts, "0 to 15");
    refused(&change(&[0, 5, 0xc]), CAPTURE, interrupts, "trigger flags 0xc");
    let mut tree = two_banks("/", |it| it.remove("interrupt-parent"));
    refused(&tree, IOMMU, interrupts, "no interrupt parent");
    tree.cells("interrupt-parent", &[0x99]);
    refused(&tree, "/", Some("interrupt-parent"), "phandle 0x99");
    refused(&two_banks(gic, |it| it.cells("#interrupt-cells", &[1])), IOMMU, interrupts, "1 cells for a GIC");
    refused(
        &two_banks(gic, |it| it.cells("#interrupt-cells", &[0])),
        IOMMU,
        interrupts,
        "a multiple of the 0",
    );
    let many = two_banks(gic, |it| it.cells("#interrupt-cells", &[9]));
    refused(&many, gic, Some("#interrupt-cells"), "8 at most");
    // Extended specifiers.
    let mut tree = Dt::shipped("two-banks");
    let phandle = tree.at(gic).phandle();
    let property = Some("interrupts-extended");
    let change = |cells: &[u32]| two_banks(CAPTURE, |it| it.cells("interrupts-extended", cells));
    refused(&change(&[0x99, 0, 5, 4]), CAPTURE, property, "phandle 0x99");
    refused(&change(&[phandle, 0, 5]), CAPTURE, property, "2 cells, expected 3");
    tree.at("/memory@80000000").cells("phandle", &[0x99]);
    tree.at(CAPTURE).cells("interrupts-extended", &[0x99]);
    refused(&tree, "/memory@80000000", None, "no #interrupt-cells");
}

#[test]
fn interrupt_parents_do_not_go_in_a_circle() {
    let mut tree = Dt::shipped("two-banks");
    tree.at(CAPTURE).cells("phandle", &[0x50]).cells("interrupt-parent", &[0x51]);
    tree.at("/memory@80000000").cells("phandle", &[0x51]).cells("interrupt-parent", &[0x50]);
    refused(&tree, CAPTURE, Some("interrupts"), "in a circle");
    tree.at(CAPTURE).cells("interrupt-parent", &[0x50]);
    refused(&tree, CAPTURE, Some("interrupts"), "in a circle");
}

#[test]
fn addresses_lie_in_a_window_of_every_bus() {
    let change = |cells: &[u32]| two_banks("/soc", |it| it.cells("ranges", cells));
    refused(&change(&[0, 0, 0x1010_0000]), IOMMU, Some("reg"), "in no window of /soc");
    refused(&change(&[0, 0]), "/soc", Some("ranges"), "2 cells, expected a multiple of 3");
    Topology::from_device_tree(&change(&[0, 0, 0x2000_0000]).blob()).expect("one window over all");
    let none = two_banks("/soc", |it| it.remove("ranges"));
    refused(&none, IOMMU, Some("reg"), "no `ranges`");
    let mut tree = two_banks("/soc", |it| it.cells("#address-cells", &[5]));
    refused(&tree, "/soc", Some("#address-cells"), "0 to 4");
    tree.at("/soc").cells("#address-cells", &[3]);
    refused(&tree, IOMMU, Some("reg"), "not at addresses of memory");
    let many = two_banks(CAPTURE, |it| it.cells("reg", &[0; 200]));
    refused(&many, CAPTURE, Some("reg"), "100 entries");
}

#[test]
fn memories_and_windows_lie_apart() {
    let (fast, main) = ("/memory@20000000", "/memory@80000000");
    let tree = two_banks(fast, |it| it.cells("reg", &[0x83ff_f000, 0x1000]));
    refused(&tree, fast, Some("reg"), "which overlaps 0x80000000-0x83ffffff of /memory@80000000");
    let twice = two_banks(main, |it| it.cells("reg", &[0x8000_0000, 0x1000, 0x8000_0000, 0x1000]));
    refused(&twice, main, Some("reg"), "overlaps");
    let over = two_banks(fast, |it| it.cells("reg", &[0x1010_0000, 0x1000]));
    refused(&over, IOMMU, Some("reg"), "of /memory@20000000");
}

#[test]
fn reserved_memory_is_well_formed() {
    let reserve = |change: &dyn Fn(&mut Dt) -> &mut Dt| {
        let mut tree = Dt::shipped("two-banks");
        let node = tree.child("reserved-memory").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
        change(node.set("ranges", &[]).child("part"));
        tree
    };
    let part = "/reserved-memory/part";
    refused(&reserve(&|it| it.cells("reg", &[0x8000_0000])), part, Some("reg"), "1 cells");
    let windows = Some("iommu-addresses");
    let change = |cells: &'static [u32]| reserve(&|it| it.cells("iommu-addresses", cells));
    refused(&change(&[0x99, 0, 0x1000]), part, windows, "phandle 0x99");
    let mut tree = Dt::shipped("two-banks");
    // The first phandle that dtc gave is the interrupt controller's or the IOMMU's; both sit on a bus of 1 and 1 cells.
    assert!((1..=2).contains(&tree.at(IOMMU).phandle()));
    refused(&change(&[1]), part, windows, "an address that is cut off");
    refused(&change(&[1, 0]), part, windows, "a size that is cut off");
    refused(&change(&[1, 0, 0]), part, windows, "a non-empty window");
}

#[test]
fn processors_have_an_id() {
    let cpu = "/cpus/cpu@0";
    refused(&two_banks(cpu, |it| it.cells("reg", &[])), cpu, Some("reg"), "0 cells");
    let single = two_banks(cpu, |it| it.remove("reg"));
    assert_eq!(Topology::from_device_tree(&single.blob()).unwrap().cpus[0].id, 0);
    refused(&two_banks("/cpus", |it| it.cells("#address-cells", &[0])), cpu, Some("reg"), "an id of 0 cells");
}

#[test]
fn a_tlb_has_entries() {
    let change = |count| two_banks(IOMMU, |it| it.cells("vcm,tlb-entries", &[count]));
    refused(&change(0), IOMMU, Some("vcm,tlb-entries"), "1 to 256");
    refused(&change(257), IOMMU, Some("vcm,tlb-entries"), "1 to 256");
}

/// The error of a blob that is broken below the level of nodes.
#[track_caller]
fn no_tree(blob: &[u8], at: usize, words: &str) {
    let error = Topology::from_device_tree(blob).expect_err("a broken blob was taken");
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    let TopologyError::Blob { offset, .. } = error else { panic!("{text}") };
    assert_eq!(offset, at, "{text}");
}

#[test]
fn the_header_is_checked() {
    let good = Dt::shipped("two-banks").blob();
    let word = |offset: usize, value: u32| {
        let mut blob = good.clone();
        blob[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        blob
    };
    no_tree(&[], 0, "the end of the block");
    no_tree(b"a text file, not a device tree, but long enough", 0, "expected the magic number 0xd00dfeed");
    no_tree(&word(4, 39), 4, "a total size of 0x27");
    no_tree(&word(4, 3 << 20), 4, "0x28 to 0x200000");
    no_tree(&word(4, 0x10_0000), 4, "as the header says");
    no_tree(&word(8, 2), 8, "a multiple of 4");
    no_tree(&word(8, 0x10_0000), 0x10_0000, "the structure block");
    no_tree(&word(12, u32::MAX), u32::MAX as usize, "the strings block");
    no_tree(&word(16, u32::MAX), u32::MAX as usize, "the memory reservation block");
    no_tree(&word(20, 16), 20, "version 16");
    no_tree(&word(24, 18), 20, "readable as 18");
    no_tree(&word(36, u32::MAX), 56, "the structure block");
}

#[test]
fn the_structure_is_checked() {
    let words = |words: &[u32]| {
        assemble(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>(), b"a\0")
    };
    let name = u32::from_be_bytes(*b"x\0\0\0");
    Topology::from_device_tree(&words(&[4, 1, 0, 4, 1, name, 2, 4, 2, 9]))
        .expect("with the token for nothing in between");
    no_tree(&words(&[]), 56, "the end of the block");
    no_tree(&words(&[9]), 56, "the end of the tree");
    no_tree(&words(&[2]), 56, "the end of a node");
    no_tree(&words(&[3, 0, 0]), 56, "properties before children, and inside a node");
    no_tree(&words(&[7]), 56, "token 0x7");
    no_tree(&words(&[1, 0, 9]), 64, "every node closed");
    no_tree(&words(&[1, 0, 2, 1, 0, 2, 9]), 68, "a second root");
    no_tree(&words(&[1, name, 2, 9]), 56, "a node named \"x\"");
    no_tree(&words(&[1, 0, 1, 0, 2, 2, 9]), 64, "a node named \"\"");
    no_tree(&words(&[1, 0, 1, u32::from_be_bytes(*b"x/y\0"), 2, 2, 9]), 68, "without a slash");
    no_tree(&words(&[1, 0, 1, name, 2, 3, 0, 0, 2, 9]), 76, "properties before children");
    no_tree(&words(&[1, 0, 3, 100, 0, 2, 9]), 76, "a property's value of 0x64 bytes");
    no_tree(&words(&[1, 0, 3, 0, 99, 2, 9]), 84 + 99, "no end of a property's name");
}

#[test]
fn phandles_are_unique_and_have_four_bytes() {
    let mut tree = Dt::shipped("two-banks");
    tree.at(CAPTURE).set("phandle", &[1, 2]);
    let blob = tree.blob();
    let error = Topology::from_device_tree(&blob).unwrap_err().to_string();
    assert!(error.contains("a phandle of 2 bytes"), "{error}");
    tree.at(CAPTURE).cells("phandle", &[1]);
    let error = Topology::from_device_tree(&tree.blob()).unwrap_err().to_string();
    assert!(error.contains("phandle 0x1 a second time"), "{error}");
    // The old spelling and the new one on one node are the same phandle.
    tree.at(CAPTURE).cells("phandle", &[0x77]).cells("linux,phandle", &[0x77]);
    Topology::from_device_tree(&tree.blob()).unwrap();
}
