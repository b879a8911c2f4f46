//! Scattered memory in a container: one mapping.

mod vm_vfio_support;

use rustix::io::Errno;
use std::fs;
use std::sync::Arc;
use vcm::{
    Access, AllocationId, AllocationRequest, Attributes, Graph, Iova, Part, RegionId, RegionKind,
    RegionRequest, SIZE_4K, Span, Teardown,
};
use vcm_linux::Linux;
use vcm_linux::dma::DmaSpace;
use vcm_linux::memory::{MemoryFile, MemoryPiece, MemoryRequest, PageKind, Stitched};
use vcm_linux::platform::{DeviceRequest, Interface, MachineRequest, MemorySpec, View};
use vcm_linux::vfio::Way;
use vcm_platform::Inventory;
use vm_vfio_support::edu::Edu;
use vm_vfio_support::{EDU, Space, bind, bytes, pattern, ways};

const PAGE: u64 = SIZE_4K;
const COUNT: u64 = 300;
const AT: u64 = 0x100_0000;

/// A file of `COUNT` pages and one in between each, and these pages in another order.
fn scattered(name: &str) -> (Arc<MemoryFile>, Vec<MemoryPiece>) {
    let file = Arc::new(MemoryFile::new(name, 2 * COUNT * PAGE).unwrap());
    for page in 0..2 * COUNT {
        file.write(page * PAGE, &pattern(page as u8, PAGE as usize)).unwrap();
    }
    // 300 and 7 have no factor in common.
    let place = |index| 2 * (index * 7 % COUNT) * PAGE;
    let piece = |index| MemoryPiece::new(Arc::clone(&file), place(index), PAGE).unwrap();
    let pieces = (0..COUNT).map(piece).collect();
    (file, pieces)
}

/// How many stretches of this process's addresses lead to files of this name.
fn stretches(name: &str) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(&format!("memfd:{name} "))).count()
}

fn container(space: &mut Space) -> &mut vcm_linux::vfio::Container {
    match space {
        Space::Container(container) => container,
        Space::Ioas(..) => panic!("a container was asked for"),
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn scattered_pieces_are_one_mapping() {
    let mut space = Space::new(Way::Group);
    let device = space.open(EDU[0]);
    let mut edu = Edu::new(&device);
    let (file, pieces) = scattered("scattered");
    let plain = MemoryFile::new("plain", PAGE).unwrap();
    space.map(0x10_0000, &plain);
    let (left, before) = (container(&mut space).mappings_left().unwrap(), stretches("scattered"));

    container(&mut space).map_all(Iova::new(AT), &pieces, Access::READ_WRITE).unwrap();
    assert_eq!(container(&mut space).mappings_left(), Some(left - 1));
    assert!(stretches("scattered") >= COUNT as usize);
    // Across the border of two pieces, for reading and for writing.
    for index in [0, 148, COUNT - 2] {
        let [first, second] = [0, 1].map(|next| pieces[(index + next) as usize].offset());
        edu.load(AT + index * PAGE + PAGE / 2, 0, PAGE);
        edu.store(0x10_0000, 0, PAGE);
        let expected = [bytes(&file, first + PAGE / 2, 2048), bytes(&file, second, 2048)].concat();
        assert_eq!(bytes(&plain, 0, PAGE as usize), expected, "piece {index}");
    }
    plain.write(0, &pattern(77, PAGE as usize)).unwrap();
    edu.load(0x10_0000, 0, PAGE);
    edu.store(AT + 200 * PAGE + PAGE / 2, 0, PAGE);
    let [first, second] = [200, 201].map(|index: usize| pieces[index].offset());
    let written = [bytes(&file, first + PAGE / 2, 2048), bytes(&file, second, 2048)].concat();
    assert_eq!(written, pattern(77, PAGE as usize));

    // A part of it cannot go, the whole can, and everything is given back.
    let part = container(&mut space).unmap(Span::new(AT, PAGE).unwrap()).unwrap_err();
    assert_eq!(part.errno(), Errno::INVAL);
    assert!(stretches("scattered") >= COUNT as usize);
    space.unmap(AT, COUNT * PAGE);
    assert_eq!(container(&mut space).mappings_left(), Some(left));
    assert_eq!(stretches("scattered"), before);
    edu.store(AT + 10 * PAGE, 0, PAGE);
    assert_eq!(bytes(&file, pieces[10].offset(), 4096), pattern((pieces[10].offset() / PAGE) as u8, 4096));

    // One that others have too.
    let stitched = Arc::new(Stitched::new(pieces).unwrap());
    container(&mut space).map_stitched(Iova::new(AT), Arc::clone(&stitched), Access::READ).unwrap();
    assert_eq!((container(&mut space).mappings_left(), Arc::strong_count(&stitched)), (Some(left - 1), 2));
    container(&mut space).unmap_all().unwrap();
    assert_eq!((container(&mut space).mappings_left(), Arc::strong_count(&stitched)), (Some(left + 1), 1));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn all_pieces_or_none() {
    for way in ways() {
        let mut space = Space::new(way);
        let _device = space.open(EDU[0]);
        let (_file, pieces) = scattered("pieces");
        let before = stretches("pieces");
        let plain = MemoryFile::new("plain", PAGE).unwrap();
        // In the way of the 150th piece.
        space.map(AT + 150 * PAGE, &plain);
        let counted = |space: &Space| match space {
            Space::Container(container) => container.mappings_left().unwrap(),
            Space::Ioas(_, ioas) => ioas.mappings() as u64,
        };
        let count = counted(&space);
        let refused = space.dma().map_all(Iova::new(AT), &pieces, Access::READ_WRITE).unwrap_err();
        assert_eq!(refused.errno(), Errno::EXIST, "{way}: {refused}");
        assert_eq!((counted(&space), stretches("pieces")), (count, before), "{way}");
        let end = space.dma().map_all(Iova::new(u64::MAX - 0xfff), &pieces, Access::READ_WRITE).unwrap_err();
        assert_eq!((end.errno(), counted(&space)), (Errno::INVAL, count), "{way}: {end}");
        space.dma().map_all(Iova::new(AT), &[], Access::READ_WRITE).unwrap();
        // What is in the way is still there, and nothing else.
        space.unmap(AT + 150 * PAGE, PAGE);
        space.dma().map_all(Iova::new(AT), &pieces, Access::READ_WRITE).unwrap();
        space.unmap(AT, COUNT * PAGE);
        assert_eq!(stretches("pieces"), before);
    }
}

/// Parts of a huge page cannot be mapped side by side in this process; in a container they can.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn parts_of_huge_pages_are_mapped_one_by_one() {
    let mut space = Space::new(Way::Group);
    let device = space.open(EDU[0]);
    let mut edu = Edu::new(&device);
    let file = MemoryRequest::new("huge", 2 << 20).pages(PageKind::Huge2M).create().unwrap();
    let file = Arc::new(file);
    file.write(0, &pattern(9, 1 << 20)).unwrap();
    let pieces = [0x8000, 0x3000].map(|offset| MemoryPiece::new(Arc::clone(&file), offset, PAGE).unwrap());
    let container = container(&mut space);
    let left = container.mappings_left().unwrap();
    container.map_all(Iova::new(AT), &pieces, Access::READ_WRITE).unwrap();
    assert_eq!(container.mappings_left(), Some(left - 2));
    edu.load(AT + PAGE / 2, 0, PAGE);
    edu.store(AT, 0, PAGE);
    assert_eq!(bytes(&file, 0x8000, 2048), pattern(9, 1 << 20)[0x8800..0x9000]);
    assert_eq!(bytes(&file, 0x8800, 2048), pattern(9, 1 << 20)[0x3000..0x3800]);
    container.unmap(Span::new(AT, 2 * PAGE).unwrap()).unwrap();
    assert_eq!(container.mappings_left(), Some(left));
}

/// The limit of mappings, made small for containers that are made meanwhile.
struct Limit(String);

impl Limit {
    const FILE: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";

    fn new(count: u32) -> Self {
        let before = fs::read_to_string(Self::FILE).unwrap();
        fs::write(Self::FILE, count.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, &self.0);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn large_pieces_are_one_mapping_only_where_the_limit_wants_it() {
    let len = 2_u64 << 20;
    let file = Arc::new(MemoryFile::new("large", 24 * len).unwrap());
    let piece = |index: u64| MemoryPiece::new(Arc::clone(&file), (22 - 2 * index) * len, len).unwrap();
    let pieces: Vec<_> = (0..12).map(piece).collect();
    for (limit, left) in [(100, 88), (12, 0), (11, 10), (1, 0)] {
        let _limit = Limit::new(limit);
        let mut space = Space::new(Way::Group);
        let _device = space.open(EDU[0]);
        let container = container(&mut space);
        container.map_all(Iova::new(AT), &pieces, Access::READ_WRITE).unwrap();
        assert_eq!(container.mappings_left(), Some(left), "of {limit}");
        container.unmap(Span::new(AT, 12 * len).unwrap()).unwrap();
        assert_eq!(container.mappings_left(), Some(u64::from(limit)));
    }
}

struct World {
    linux: Linux,
    graph: Graph,
    region: RegionId,
    machine: Inventory,
}

impl World {
    fn new() -> Self {
        bind(EDU[0]);
        let memory = MemorySpec { name: "ram".into(), len: 2 * COUNT * PAGE, pages: PageKind::Ordinary };
        let device = DeviceRequest {
            name: "edu".into(),
            address: EDU[0].into(),
            view: View::Translated,
            interface: Interface::Container,
            overwrites: None,
        };
        let (memories, devices) = (vec![memory], vec![device]);
        let request = MachineRequest { name: "here".into(), memories, devices, ..MachineRequest::default() };
        let linux = Linux::start(&request).unwrap();
        let mut graph = Graph::new();
        let machine = Inventory::register(&mut graph, &linux).unwrap();
        let window = Span::new(AT, 1 << 30).unwrap();
        let request = RegionRequest::new("edu", RegionKind::Translated, window);
        let region = graph.create_region(&request).unwrap();
        Self { linux, graph, region, machine }
    }

    /// Memory of `COUNT` blocks: every second page stays taken.
    fn scattered(&mut self) -> AllocationId {
        let Self { linux, graph, machine, .. } = self;
        let mut page =
            || graph.allocate(machine.target(), &AllocationRequest::new("page", PAGE), linux).unwrap();
        let pages: Vec<_> = (0..2 * COUNT).map(|_| page()).collect();
        for page in pages.iter().step_by(2) {
            graph.free(*page, linux).unwrap();
        }
        let request = AllocationRequest::new("scattered", COUNT * PAGE);
        let memory = graph.allocate(machine.target(), &request, linux).unwrap();
        assert_eq!(graph.allocation(memory).unwrap().blocks.len(), COUNT as usize);
        memory
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_limit_of_mappings_does_not_bind_the_graph() {
    let _limit = Limit::new(8);
    let mut world = World::new();
    let memory = world.scattered();
    let World { linux, graph, region, machine } = &mut world;
    let edu = machine.device("edu").unwrap();
    let link = graph.associate(*region, edu, Part::Whole, linux).unwrap();
    graph.activate(link, linux).unwrap();
    for _ in 0..3 {
        let reservation = graph.reserve(*region, COUNT * PAGE, Attributes::READ_WRITE).unwrap();
        graph.back(reservation, memory, linux).unwrap();
        let at = graph.device_address(reservation).unwrap().raw();
        let known = graph.translate(edu, at + 5 * PAGE, linux).unwrap();
        assert_eq!(known.graph.unwrap(), known.hardware.unwrap());
        assert_eq!(graph.unback(reservation, linux), Teardown::Done);
    }
    assert_eq!(graph.deactivate(link, linux), Teardown::Done);
}
