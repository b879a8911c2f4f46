//! The addresses that memories have in the graph, and drivers' memory.

use proptest::prelude::*;
use rustix::io::Errno;
use std::sync::Arc;
use vcm::{PhysicalAddress, Span};
use vcm_iommu::SharedMemory;
use vcm_linux::Error;
use vcm_linux::memory::{DriverMemory, Layout, MemoryFile, MemoryPiece};

const PAGE: u64 = 4096;

fn file(name: &str, pages: u64) -> Arc<MemoryFile> {
    Arc::new(MemoryFile::new(name, pages * PAGE).unwrap())
}

#[test]
fn a_window_is_aligned_to_the_power_of_two_that_it_fills() {
    let mut layout = Layout::default();
    for (pages, alignment) in [(1, PAGE), (3, 4 * PAGE), (512, 2 << 20), (513, 4 << 20), (400_000, 1 << 30)] {
        let file = file("memory", pages);
        let span = layout.add(Arc::clone(&file)).unwrap();
        assert!(span.first().is_multiple_of(alignment), "{pages} pages at {span}");
        assert_eq!(span.len(), u128::from(pages * PAGE));
        assert!(span.first() >= 1 << 38 && span.last() < 1 << 39, "{span}");
        assert_eq!(layout.window(&file), Some(span));
    }
    let all: Vec<_> = layout.windows().map(|(span, _)| span).collect();
    assert!(all.windows(2).all(|pair| pair[0].last() < pair[1].first()), "{all:?}");
}

#[test]
fn an_address_leads_to_its_memory() {
    let mut layout = Layout::default();
    let (first, second) = (file("first", 4), file("second", 2));
    layout.add_at(PhysicalAddress::new(1 << 38), Arc::clone(&first)).unwrap();
    layout.add_at(PhysicalAddress::new((1 << 38) + 4 * PAGE), Arc::clone(&second)).unwrap();
    let base = 1_u64 << 38;
    let found = layout.find(PhysicalAddress::new(base + 5 * PAGE + 7), 9).unwrap();
    assert!(std::ptr::eq(found.file(), &raw const *second));
    assert_eq!((found.offset(), found.len()), (PAGE + 7, 9));
    let piece = layout.piece(PhysicalAddress::new(base), 4 * PAGE).unwrap();
    assert!(Arc::ptr_eq(piece.file(), &first));
    // From one into the other: not one part, but two.
    let seam = PhysicalAddress::new(base + 3 * PAGE);
    assert!(layout.find(seam, 2 * PAGE).is_err());
    let pieces = layout.pieces(seam, 2 * PAGE).unwrap();
    let told: Vec<_> =
        pieces.iter().map(|piece| (piece.file().name(), piece.offset(), piece.len())).collect();
    assert_eq!(told, [("first", 3 * PAGE, PAGE), ("second", 0, PAGE)]);
    for (at, len) in
        [(base - 1, 2), (base + 6 * PAGE, 1), (base + 5 * PAGE, PAGE + 1), (base, 0), (u64::MAX, 2)]
    {
        let at = PhysicalAddress::new(at);
        assert!(matches!(layout.find(at, len), Err(Error::Argument { .. })), "{at}");
        assert!(matches!(layout.pieces(at, len), Err(Error::Argument { .. })), "{at}");
    }
    assert_eq!(layout.remove(&first).unwrap().first(), base);
    assert_eq!(layout.remove(&first), None);
    assert!(layout.find(PhysicalAddress::new(base), 1).is_err());
}

#[test]
fn conflicts_name_who_is_there() {
    let mut layout = Layout::within(Span::new(0x10000, 8 * PAGE).unwrap()).unwrap();
    let (first, second) = (file("first", 4), file("second", 4));
    layout.add_at(PhysicalAddress::new(0x12000), Arc::clone(&first)).unwrap();
    let error = layout.add_at(PhysicalAddress::new(0x10000), Arc::clone(&second)).unwrap_err();
    assert_eq!(error.errno(), Errno::EXIST);
    assert!(error.to_string().contains("of `first`"), "{error}");
    let error = layout.add(Arc::clone(&first)).unwrap_err();
    assert!(error.to_string().contains("it has the window 0x12000-0x15fff already"), "{error}");
    assert_eq!(layout.add(Arc::clone(&second)).unwrap_err().errno(), Errno::NOSPC);
    for at in [0x10008, 0x8000, 0x17000, u64::MAX - 0xfff] {
        let result = layout.add_at(PhysicalAddress::new(at), Arc::clone(&second));
        assert!(matches!(result, Err(Error::Argument { .. })), "{at:#x}: {result:?}");
    }
    assert_eq!(layout.windows().count(), 1);
    assert!(Layout::within(Span::new(8, PAGE).unwrap()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_address_leads_where_the_windows_say(
        steps in prop::collection::vec((any::<bool>(), 1..40_u64, 0..8_usize), 1..24),
    ) {
        let mut layout = Layout::within(Span::new(1 << 20, 256 * PAGE).unwrap()).unwrap();
        let mut model: Vec<(Span, Arc<MemoryFile>)> = Vec::new();
        for (add, pages, victim) in steps {
            if add {
                let file = file("f", pages);
                match layout.add(Arc::clone(&file)) {
                    Ok(span) => {
                        prop_assert!(model.iter().all(|(other, _)| !other.overlaps(span)));
                        prop_assert!(span.first().is_multiple_of(file.len().next_power_of_two()));
                        model.push((span, file));
                    }
                    Err(error) => prop_assert_eq!(error.errno(), Errno::NOSPC),
                }
            } else if !model.is_empty() {
                let (span, file) = model.swap_remove(victim % model.len());
                prop_assert_eq!(layout.remove(&file), Some(span));
            }
        }
        for page in 0..256 {
            let address = (1 << 20) + page * PAGE + 17;
            let expected = model.iter().find(|(span, _)| span.contains(address));
            let found = layout.find(PhysicalAddress::new(address), 1).ok();
            prop_assert_eq!(found.map(|range| range.offset()), expected.map(|(span, _)| address - span.first()));
            if let (Some(found), Some((_, file))) = (found, expected) {
                prop_assert!(std::ptr::eq(found.file(), &raw const **file));
            }
        }
    }
}

fn driver_memory() -> (Arc<MemoryFile>, DriverMemory) {
    let file = file("queues", 4);
    file.write(0, &[0xff; 4 * PAGE as usize]).unwrap();
    let piece = MemoryPiece::new(Arc::clone(&file), PAGE, 2 * PAGE).unwrap();
    (file, DriverMemory::new(piece, PhysicalAddress::new(0x8000_0000)).unwrap())
}

#[test]
fn a_queue_is_zero_aligned_and_where_the_device_sees_it() {
    let (file, mut memory) = driver_memory();
    let small = memory.allocate(16, 4).unwrap();
    let queue = memory.allocate(PAGE, PAGE).unwrap();
    assert!(queue.is_aligned(PAGE) && memory.span().contains(queue.raw()));
    assert_eq!(memory.read64(queue), 0);
    memory.write64(queue, 0x0102_0304_0506_0708);
    memory.write32(PhysicalAddress::new(queue.raw() + 12), 0x1122_3344);
    let offset = PAGE + (queue.raw() - 0x8000_0000);
    assert_eq!(file.load::<u64>(offset).unwrap(), 0x0102_0304_0506_0708);
    assert_eq!(memory.read32(PhysicalAddress::new(queue.raw() + 12)), 0x1122_3344);
    file.store(offset + 64, 7_u32).unwrap();
    assert_eq!(memory.read32(PhysicalAddress::new(queue.raw() + 64)), 7);
    assert!(memory.allocate(2 * PAGE, 64).is_err(), "there is not so much");
    memory.free(small, 16);
    memory.free(queue, PAGE);
    assert_eq!(memory.free_bytes(), u128::from(2 * PAGE));
    let all = memory.allocate(2 * PAGE, PAGE).unwrap();
    assert_eq!(memory.read64(PhysicalAddress::new(all.raw() + 8)), 0, "zero again");
    // The pages before and behind are not the drivers'.
    assert_eq!(file.load::<u64>(PAGE - 8).unwrap(), u64::MAX);
    assert_eq!(file.load::<u64>(3 * PAGE).unwrap(), u64::MAX);
}

#[test]
fn outside_of_a_drivers_memory_are_ones() {
    let (file, mut memory) = driver_memory();
    for address in [0, 0x8000_0000 - 8, 0x8000_2000, 0x8000_1ffc + 1, u64::MAX - 7, u64::MAX] {
        let address = PhysicalAddress::new(address);
        assert_eq!(memory.read64(address), u64::MAX, "{address}");
        assert_eq!(memory.read32(address), u32::MAX, "{address}");
        memory.write64(address, 0);
        memory.write32(address, 0);
    }
    let mut bytes = vec![0; 4 * PAGE as usize];
    file.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0xff));
    assert!(
        memory.allocate(0, 64).is_err()
            && memory.allocate(u64::MAX, 64).is_err()
            && memory.allocate(64, 3).is_err()
    );
    let piece = MemoryPiece::whole(Arc::clone(&file));
    assert!(DriverMemory::new(piece.clone(), PhysicalAddress::new(8)).is_err());
    assert!(DriverMemory::new(piece, PhysicalAddress::new(u64::MAX - 63)).is_err());
}
