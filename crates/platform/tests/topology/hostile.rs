//! Bytes from anywhere: an error or a sound topology, never a panic, and bounded memory.

use crate::edit::{Dt, assemble};
use crate::invariants;
use dtoolkit::fdt::Fdt;
use proptest::prelude::*;
use vcm_platform::topology::{Topology, TopologyError, qemu_tree, qemu_tree_names, shipped, shipped_names};

const REAL: &[u8] = include_bytes!("real-shapes.dtb");
const BINDINGS: &[u8] = include_bytes!("bindings.dtb");

fn blobs() -> impl Iterator<Item = &'static [u8]> {
    let qemu = qemu_tree_names().map(|name| qemu_tree(name).unwrap());
    shipped_names().map(|name| shipped(name).unwrap()).chain([REAL, BINDINGS]).chain(qemu)
}

/// Reads the bytes; what comes out must be sound, or be an error that says something.
fn read(bytes: &[u8]) -> Result<(), TopologyError> {
    match Topology::from_device_tree(bytes) {
        Ok(topology) => {
            invariants::check(&topology);
            Ok(())
        }
        Err(error) => {
            assert!(error.to_string().contains(", expected "));
            Err(error)
        }
    }
}

#[test]
fn a_blob_that_is_cut_anywhere_is_refused() {
    for blob in blobs() {
        for len in 0..blob.len() {
            assert!(matches!(read(&blob[..len]), Err(TopologyError::Blob { .. })), "{len} bytes");
        }
    }
}

/// As above, but the header is made to agree with what is left, so that the cut is found further in.
#[test]
fn a_structure_that_is_cut_anywhere_is_refused() {
    for blob in blobs() {
        let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        let (structure, strings) = (&blob[word(8)..][..word(36)], &blob[word(12)..][..word(32)]);
        for len in 0..structure.len() {
            assert!(read(&assemble(&structure[..len], strings)).is_err(), "{len} bytes of structure");
        }
        for len in 0..strings.len() {
            let error = read(&assemble(structure, &strings[..len])).unwrap_err();
            assert!(matches!(error, TopologyError::Blob { .. }), "{len} bytes of strings");
        }
    }
}

/// Every property of every node in turn takes values that it should not have.
#[test]
fn no_value_of_any_property_is_too_strange() {
    let cells = |cells: &[u32]| cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<u8>>();
    for blob in blobs() {
        let tree = Dt::read(blob);
        for path in tree.paths("") {
            let mut changed = tree.clone();
            for position in 0..changed.at(&path).properties.len() {
                let good = changed.at(&path).properties[position].clone();
                let doubled = [good.1.as_slice(), good.1.as_slice()].concat();
                let strange = [
                    vec![],
                    vec![0],
                    vec![0xff; 3],
                    cells(&[0]),
                    cells(&[1]),
                    cells(&[2]),
                    cells(&[3]),
                    cells(&[u32::MAX]),
                    cells(&[0x8000_0000]),
                    cells(&[1, 1]),
                    cells(&[u32::MAX; 6]),
                    cells(&[0; 300]),
                    doubled,
                    good.1[..good.1.len().saturating_sub(4)].to_vec(),
                ];
                for value in strange {
                    changed.at(&path).properties[position].1 = value;
                    let _ = read(&changed.blob());
                }
                changed.at(&path).properties.remove(position);
                let _ = read(&changed.blob());
                changed.at(&path).properties.insert(position, good);
            }
        }
    }
}

#[test]
fn a_tree_is_as_deep_as_64_levels_and_no_deeper() {
    let nested = |levels: usize| {
        let below = (1..levels).fold(None, |child: Option<Dt>, _| {
            let mut node = Dt::new("n");
            node.children.extend(child);
            Some(node)
        });
        let mut root = Dt::new("");
        root.children.extend(below);
        root.blob()
    };
    read(&nested(64)).unwrap();
    let error = read(&nested(65)).unwrap_err().to_string();
    assert!(error.contains("a node at depth 64, expected 64 levels at most"), "{error}");
    // Far deeper than a stack could follow: 100000 nodes open and none closed.
    let open: Vec<u8> =
        [1u32, u32::from_be_bytes(*b"n\0\0\0")].iter().flat_map(|word| word.to_be_bytes()).collect();
    let root: Vec<u8> = [1u32, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    read(&assemble(&[root, open.repeat(100_000)].concat(), b"")).unwrap_err();
}

#[test]
fn names_and_paths_have_a_limit() {
    let named = |levels: usize, len: usize| {
        let mut root = Dt::new("");
        let mut node = &mut root;
        for _ in 0..levels {
            node = node.child(&"n".repeat(len));
        }
        root.blob()
    };
    read(&named(4, 255)).unwrap();
    assert!(read(&named(1, 256)).unwrap_err().to_string().contains("no end of a node's name"));
    assert!(read(&named(5, 255)).unwrap_err().to_string().contains("paths of 1024 bytes"));
}

/// The largest blob, full of what is passed over: the list of it ends, and says how much is missing.
#[test]
fn what_is_passed_over_does_not_pile_up() {
    let mut root = Dt::new("");
    let bus = root.child("bus");
    for number in 0..30_000 {
        bus.child(&format!("i{number}")).cells("#iommu-cells", &[0]);
    }
    let topology = Topology::from_device_tree(&root.blob()).unwrap();
    assert_eq!(topology.passed_over.len(), 4097);
    assert_eq!(topology.passed_over[4096].reason, "and 25904 more");
}

#[test]
fn memories_and_reservations_have_a_limit() {
    let mut root = Dt::new("");
    root.cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    for number in 0..257 {
        let memory = root.child(&format!("memory@{number:x}"));
        memory.string("device_type", "memory").cells("reg", &[number << 16, 0x1_0000]);
    }
    assert!(read(&root.blob()).unwrap_err().to_string().contains("256 at most"));
    root.children.pop();
    read(&root.blob()).unwrap();
    let reserved = root.child("reserved-memory").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    reserved.set("ranges", &[]);
    for number in 0..1025 {
        reserved.child(&format!("r{number}")).cells("reg", &[0, 0x200_0000]);
    }
    assert!(read(&root.blob()).unwrap_err().to_string().contains("1024 at most"));
    root.at("/reserved-memory").children.pop();
    read(&root.blob()).unwrap();
}

/// Whether an error is about a rule that the other parser does not have.
fn own_rule(error: &TopologyError) -> bool {
    let text = error.to_string();
    ["phandle", "an end within 64 bits", "64 levels"].iter().any(|rule| text.contains(rule))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What another parser takes for a device tree is one for us as well.
    #[test]
    fn flipped_bits_are_found_or_harmless(
        which in 0usize..9,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..8),
    ) {
        let good = blobs().nth(which).unwrap();
        let mut blob = good.to_vec();
        for (at, bit) in flips {
            let at = at.index(blob.len());
            blob[at] ^= 1 << bit;
        }
        let ours = read(&blob);
        // The other one reads on where the header says that the structure block ends.
        let same_size = blob[36..40] == good[36..40];
        if let (true, Ok(_), Err(error @ TopologyError::Blob { .. })) = (same_size, Fdt::new(&blob), &ours) {
            prop_assert!(own_rule(error), "{error}");
        }
    }

    #[test]
    fn replaced_words_are_found_or_harmless(
        which in 0usize..9,
        words in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0u32..16, any::<u32>()]), 1..6),
    ) {
        let mut blob = blobs().nth(which).unwrap().to_vec();
        for (at, value) in words {
            let at = at.index(blob.len() / 4) * 4;
            blob[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let _ = read(&blob);
    }

    #[test]
    fn random_structures_are_refused_or_sound(
        words in prop::collection::vec(prop_oneof![1u32..5, 8u32..10, 0u32..64, any::<u32>()], 0..200),
    ) {
        let structure: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let _ = read(&assemble(&structure, b"reg\0compatible\0phandle\0iommus\0"));
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}
