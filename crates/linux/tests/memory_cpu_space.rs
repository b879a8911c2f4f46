//! This process's own region, against a naive model of it.
#![allow(unsafe_code, reason = "what is mapped is looked at by address")]

use proptest::prelude::*;
use rustix::io::Errno;
use std::sync::Arc;
use vcm::{Access, CpuAddress, Span};
use vcm_linux::Error;
use vcm_linux::memory::{CpuSpace, MemoryFile, MemoryPiece, MemoryRequest, Sealing, Stitched};

const PAGE: u64 = 4096;

fn at(space: &CpuSpace, page: u64) -> CpuAddress {
    CpuAddress::new(space.span().first() + page * PAGE)
}

fn pages(space: &CpuSpace, first: u64, count: u64) -> Span {
    Span::new(space.span().first() + first * PAGE, count * PAGE).unwrap()
}

/// What the kernel says of each page of the space: the permissions, and the offset in the file where there is one.
fn kernel_view(space: &CpuSpace) -> Vec<(String, Option<u64>)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut view = Vec::new();
    let span = space.span();
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let (start, end) = words[0].split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end, offset) = (number(start), number(end), number(words[2]));
        for address in (start..end).step_by(PAGE as usize).filter(|address| span.contains(*address)) {
            let file = (words[4] != "0").then(|| offset + (address - start));
            view.push((words[1].to_owned(), file));
        }
    }
    view
}

#[test]
fn one_memory_is_seen_at_several_addresses() {
    let memory = MemoryFile::new("memory", 4 * PAGE).unwrap();
    let mut space = CpuSpace::reserve(16 * PAGE, PAGE).unwrap();
    let whole = memory.range(0, 4 * PAGE).unwrap();
    space.back(at(&space, 1), &[whole], Access::READ_WRITE).unwrap();
    space.back(at(&space, 8), &[whole], Access::READ).unwrap();
    space.write(CpuAddress::new(at(&space, 1).raw() + 5), b"seen").unwrap();
    let mut bytes = [0; 4];
    space.read(CpuAddress::new(at(&space, 8).raw() + 5), &mut bytes).unwrap();
    assert_eq!(&bytes, b"seen");
    memory.read(5, &mut bytes).unwrap();
    assert_eq!(&bytes, b"seen");
    let error = space.write(at(&space, 8), b"no").unwrap_err();
    assert_eq!(error.errno(), Errno::FAULT);
    assert!(error.to_string().contains("is mapped as r--, not for -w-"), "{error}");
    // The mapping keeps the memory, whoever else forgets it.
    drop(memory);
    space.read(CpuAddress::new(at(&space, 1).raw() + 5), &mut bytes).unwrap();
    assert_eq!(&bytes, b"seen");
}

#[test]
fn what_is_not_backed_is_a_fault_and_not_a_signal() {
    let memory = MemoryFile::new("memory", 2 * PAGE).unwrap();
    let mut space = CpuSpace::reserve(8 * PAGE, PAGE).unwrap();
    space.back(at(&space, 2), &[memory.range(0, 2 * PAGE).unwrap()], Access::READ_WRITE).unwrap();
    let mut bytes = [0; 8];
    for address in [
        space.span().first(),
        at(&space, 2).raw() - 1,
        at(&space, 4).raw() - 7,
        at(&space, 4).raw(),
        space.span().last(),
        0,
        u64::MAX,
    ] {
        let error = space.read(CpuAddress::new(address), &mut bytes).unwrap_err();
        assert_eq!(error.errno(), Errno::FAULT, "{address:#x}: {error}");
        assert_eq!(space.write(CpuAddress::new(address), &bytes).unwrap_err().errno(), Errno::FAULT);
    }
    space.read(CpuAddress::new(at(&space, 4).raw() - 8), &mut bytes).unwrap();
}

#[test]
fn several_parts_are_backed_whole_or_not_at_all() {
    let memory = MemoryFile::new("memory", 4 * PAGE).unwrap();
    let sealed = MemoryRequest::new("sealed", PAGE).sealing(Sealing::SizeAndNewWriters).create().unwrap();
    let mut space = CpuSpace::reserve(8 * PAGE, PAGE).unwrap();
    let before = kernel_view(&space);
    // The third part is refused by the kernel, when the first two are there.
    let parts = [
        memory.range(0, PAGE).unwrap(),
        memory.range(2 * PAGE, PAGE).unwrap(),
        sealed.range(0, PAGE).unwrap(),
    ];
    let error = space.back(at(&space, 1), &parts, Access::READ_WRITE).unwrap_err();
    assert_eq!(error.errno(), Errno::PERM);
    assert!(error.to_string().contains("`sealed`"), "{error}");
    assert_eq!(kernel_view(&space), before);
    assert_eq!((space.backed().count(), space.leaving().count()), (0, 0));
    // For reading it may be.
    space.back(at(&space, 1), &parts, Access::READ).unwrap();
    assert_eq!(space.backed().count(), 3);
    // Neither can it be made writable, and then the others are not either.
    let error = space.protect(pages(&space, 1, 3), Access::READ_WRITE).unwrap_err();
    assert_eq!(error.errno(), Errno::ACCESS);
    assert!(space.backed().all(|(_, access)| access == Access::READ));
    assert!(kernel_view(&space)[1..4].iter().all(|(permissions, _)| permissions == "r--s"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_changes() {
    let memory = MemoryFile::new("memory", 4 * PAGE).unwrap();
    let mut space = CpuSpace::reserve(8 * PAGE, PAGE).unwrap();
    let range = memory.range(0, 2 * PAGE).unwrap();
    space.back(at(&space, 3), &[range], Access::READ).unwrap();
    let before = kernel_view(&space);
    let refused = [
        space.back(CpuAddress::new(at(&space, 0).raw() + 8), &[range], Access::READ),
        space.back(at(&space, 0), &[memory.range(8, PAGE).unwrap()], Access::READ),
        space.back(at(&space, 0), &[memory.range(0, PAGE - 8).unwrap()], Access::READ),
        space.back(at(&space, 0), &[range], Access::WRITE),
        space.back(at(&space, 0), &[range], Access::empty()),
        space.back(at(&space, 7), &[range], Access::READ),
        space.back(CpuAddress::new(0), &[range], Access::READ),
        space.back(CpuAddress::new(!(PAGE - 1)), &[range], Access::READ),
        space.unback(pages(&space, 0, 4)),
        space.unback(pages(&space, 4, 1)),
        space.protect(pages(&space, 4, 4), Access::READ),
        space.protect(pages(&space, 6, 2), Access::READ),
    ];
    for (index, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::Argument { .. })), "{index}: {result:?}");
    }
    // Several parts, of which a later one meets what is there, or the end of the space.
    let error = space.back(at(&space, 0), &[range, range], Access::READ).unwrap_err();
    assert_eq!(error.errno(), Errno::EXIST);
    assert!(space.back(at(&space, 5), &[range, range], Access::READ).is_err());
    assert_eq!(kernel_view(&space), before);
    for (len, alignment) in [(0, PAGE), (PAGE + 1, PAGE), (PAGE, 3), (1 << 63, PAGE), (1 << 50, PAGE)] {
        assert!(CpuSpace::reserve(len, alignment).is_err(), "{len:#x}, {alignment:#x}");
    }
}

#[test]
fn addresses_are_aligned_as_asked_and_nothing_beside_is_kept() {
    for bits in [12, 16, 21, 30] {
        let space = CpuSpace::reserve(3 * PAGE, 1 << bits).unwrap();
        assert!(space.span().first().is_multiple_of(1 << bits));
        assert_eq!(space.span().len(), u128::from(3 * PAGE));
        assert_eq!(kernel_view(&space), vec![("---p".to_owned(), None); 3]);
    }
}

#[test]
fn programs_can_be_run_where_that_was_asked_for() {
    let memory = MemoryFile::new("program", PAGE).unwrap();
    let mut space = CpuSpace::reserve(PAGE, PAGE).unwrap();
    let access = Access::READ | Access::EXECUTE;
    space.back(at(&space, 0), &[memory.range(0, PAGE).unwrap()], access).unwrap();
    assert_eq!(kernel_view(&space)[0].0, "r-xs");
    space.protect(space.span(), Access::READ).unwrap();
    assert_eq!(kernel_view(&space)[0].0, "r--s");
}

#[test]
fn scattered_pieces_read_as_if_they_were_one() {
    let files: Vec<_> =
        (0..3).map(|index| Arc::new(MemoryFile::new(&format!("file {index}"), 8 * PAGE).unwrap())).collect();
    let pieces: Vec<_> = [(2, 7, 1), (0, 0, 3), (1, 2, 2), (0, 5, 1), (0, 0, 1), (2, 0, 7)]
        .map(|(file, first, count)| {
            MemoryPiece::new(Arc::clone(&files[file]), first * PAGE, count * PAGE).unwrap()
        })
        .into();
    for (index, file) in files.iter().enumerate() {
        let bytes: Vec<u8> = (0..8 * PAGE).map(|at| (at / 97) as u8 ^ (index as u8) << 6).collect();
        file.write(0, &bytes).unwrap();
    }
    let mut expected = Vec::new();
    for piece in &pieces {
        let mut bytes = vec![0; piece.len() as usize];
        piece.file().read(piece.offset(), &mut bytes).unwrap();
        expected.extend(bytes);
    }
    let stitched = Stitched::new(pieces).unwrap();
    drop(files);
    assert_eq!((stitched.len(), stitched.pieces().len()), (15 * PAGE, 6));
    let mut bytes = vec![0; expected.len()];
    stitched.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, expected);
    // Across a seam, and by address, as the kernel sees it.
    stitched.write(4 * PAGE - 2, b"seam").unwrap();
    // SAFETY: the stretch is mapped; other accesses are of this thread.
    let byte = unsafe { stitched.address().as_ptr().add(4 * PAGE as usize).read_volatile() };
    assert_eq!(byte, b'a');
    let file = stitched.pieces()[2].file();
    assert_eq!(file.load::<u16>(2 * PAGE).unwrap().to_le_bytes(), *b"am");
    assert!(stitched.read(15 * PAGE - 1, &mut [0; 2]).is_err());
    assert!(stitched.read(u64::MAX, &mut [0; 2]).is_err());
    assert!(matches!(Stitched::new(Vec::new()), Err(Error::Argument { .. })));
}

#[test]
fn a_stitched_stretch_lies_where_huge_pages_can() {
    let file = Arc::new(MemoryFile::new("file", 16 << 20).unwrap());
    let stitched = Stitched::new(vec![
        MemoryPiece::new(Arc::clone(&file), (2 << 20) + 5 * PAGE, 6 << 20).unwrap(),
        MemoryPiece::new(file, 0, PAGE).unwrap(),
    ])
    .unwrap();
    assert_eq!(stitched.address().addr().get() as u64 % (2 << 20), 5 * PAGE);
}

/// Pages of the space in the property test.
const SPACE: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Back { page: u64, parts: Vec<(usize, u64, u64)>, access: Access },
    Unback { page: u64, count: u64 },
    Protect { page: u64, count: u64, access: Access },
    Write { at: u64, bytes: Vec<u8> },
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        4 => Just(Access::READ_WRITE),
        2 => Just(Access::READ),
        1 => Just(Access::WRITE),
        1 => Just(Access::READ | Access::EXECUTE),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let parts = prop::collection::vec((0..2_usize, 0..6_u64, 1..4_u64), 1..4);
    prop_oneof![
        3 => (0..SPACE, parts, access()).prop_map(|(page, parts, access)| Step::Back { page, parts, access }),
        2 => (0..SPACE, 1..12_u64).prop_map(|(page, count)| Step::Unback { page, count }),
        1 => (0..SPACE, 1..12_u64, access())
            .prop_map(|(page, count, access)| Step::Protect { page, count, access }),
        3 => (0..SPACE * PAGE, prop::collection::vec(any::<u8>(), 1..9000))
            .prop_map(|(at, bytes)| Step::Write { at, bytes }),
    ]
}

/// For each page what is there: the number of its backing, a page of a file, and the access.
#[derive(Default)]
struct Model {
    pages: Vec<Option<(u64, usize, u64, Access)>>,
    next: u64,
}

impl Model {
    /// The pages of `page..page + count` if no backing is partly among them, and how many there are.
    fn whole(&self, page: u64, count: u64) -> Option<usize> {
        let end = (page + count).min(SPACE);
        let inside = |index: u64| (page..end).contains(&index);
        let number = |index: u64| self.pages[index as usize].map(|(number, ..)| number);
        let cut = (0..SPACE).any(|a| {
            (0..SPACE).any(|b| inside(a) && !inside(b) && number(a).is_some() && number(a) == number(b))
        });
        (!cut).then(|| (page..end).filter(|&index| number(index).is_some()).count())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_maps_what_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let files = [MemoryFile::new("a", 8 * PAGE).unwrap(), MemoryFile::new("b", 8 * PAGE).unwrap()];
        let mut contents = [vec![0_u8; 8 * PAGE as usize], vec![0_u8; 8 * PAGE as usize]];
        let mut space = CpuSpace::reserve(SPACE * PAGE, PAGE).unwrap();
        let mut model = Model { pages: vec![None; SPACE as usize], next: 0 };
        for step in steps {
            match step {
                Step::Back { page, parts, access } => {
                    let ranges: Option<Vec<_>> =
                        parts.iter().map(|&(file, first, count)| files[file].range(first * PAGE, count * PAGE).ok()).collect();
                    let Some(ranges) = ranges else { continue };
                    let count: u64 = parts.iter().map(|part| part.2).sum();
                    let free = page + count <= SPACE
                        && (page..page + count).all(|index| model.pages[index as usize].is_none());
                    let possible = free && access.contains(Access::READ);
                    let result = space.back(at(&space, page), &ranges, access);
                    prop_assert_eq!(result.is_ok(), possible, "{:?}", result);
                    let mut next = page;
                    for (file, first, count) in parts.into_iter().filter(|_| possible) {
                        model.next += 1;
                        for index in 0..count {
                            model.pages[next as usize] = Some((model.next, file, first + index, access));
                            next += 1;
                        }
                    }
                }
                Step::Unback { page, count } => {
                    let count = count.min(SPACE - page);
                    let possible = model.whole(page, count).is_some();
                    prop_assert_eq!(space.unback(pages(&space, page, count)).is_ok(), possible);
                    if possible {
                        model.pages[page as usize..(page + count) as usize].fill(None);
                    }
                }
                Step::Protect { page, count, access } => {
                    let count = count.min(SPACE - page);
                    let possible =
                        model.whole(page, count).is_some_and(|found| found > 0) && access.contains(Access::READ);
                    prop_assert_eq!(space.protect(pages(&space, page, count), access).is_ok(), possible);
                    for entry in &mut model.pages[page as usize..(page + count) as usize] {
                        if let Some((.., now)) = entry.as_mut().filter(|_| possible) {
                            *now = access;
                        }
                    }
                }
                Step::Write { at, bytes } => {
                    let end = at + bytes.len() as u64;
                    let possible = end <= SPACE * PAGE
                        && (at / PAGE..=(end - 1) / PAGE).all(|page| {
                            model.pages[page as usize].is_some_and(|(.., access)| access.contains(Access::WRITE))
                        });
                    let address = CpuAddress::new(space.span().first() + at);
                    prop_assert_eq!(space.write(address, &bytes).is_ok(), possible);
                    for (index, byte) in bytes.iter().enumerate().filter(|_| possible) {
                        let at = at + index as u64;
                        let (_, file, page, _) = model.pages[(at / PAGE) as usize].unwrap();
                        contents[file][(page * PAGE + at % PAGE) as usize] = *byte;
                    }
                }
            }
        }
        let view = kernel_view(&space);
        prop_assert_eq!(view.len() as u64, SPACE, "all of it is mapped, as something or as nothing");
        for (index, ((permissions, offset), entry)) in view.iter().zip(&model.pages).enumerate() {
            let letters = entry.map_or("---p".into(), |(.., access)| format!("{access}s"));
            prop_assert_eq!(permissions, &letters, "page {}", index);
            prop_assert_eq!(*offset, entry.map(|(_, _, page, _)| page * PAGE), "page {}", index);
            let mut bytes = vec![0; PAGE as usize];
            let read = space.read(at(&space, index as u64), &mut bytes);
            prop_assert_eq!(read.is_ok(), entry.is_some());
            if let Some((_, file, page, _)) = entry {
                prop_assert_eq!(&bytes, &contents[*file][(page * PAGE) as usize..][..PAGE as usize]);
            }
        }
        for (file, content) in files.iter().zip(&contents) {
            let mut bytes = vec![0; content.len()];
            file.read(0, &mut bytes).unwrap();
            prop_assert_eq!(&bytes, content);
        }
    }
}
