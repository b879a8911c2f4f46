//! The other crates, each behind the same few calls.
#![allow(
    unsafe_code,
    reason = "the crates measured ask for raw tables and for promises that their functions need"
)]

use crate::{Call, Subject};
use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress as Output};
use aarch64_paging::paging::{
    Constraints, El1And0, MemoryRegion, PageTable as Aarch64Table, RootTable, Translation, VaRange,
};
use memory_addr::{PhysAddr as MultiarchPhys, VirtAddr as MultiarchVirt};
use page_table_entry::x86_64::X64PTE;
use page_table_multiarch::{MappingFlags, PageTable64, PagingHandler, PagingMetaData};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use vcm::{SIZE_2M, SIZE_4K};
use x86_64::structures::paging::mapper::{MappedPageTable, PageTableFrameMapping};
use x86_64::structures::paging::{
    FrameAllocator, Mapper, Page, PageTable as X86Table, PageTableFlags, PhysFrame, Size2MiB, Size4KiB,
    Translate as _,
};
use x86_64::{PhysAddr, VirtAddr};

/// A zeroed page for a table. Its pointer is its physical address.
fn table_page() -> *mut u8 {
    let layout = Layout::from_size_align(SIZE_4K as usize, SIZE_4K as usize).expect("a page is a layout");
    // SAFETY: the layout is not of size zero.
    let page = unsafe { alloc_zeroed(layout) };
    assert!(!page.is_null(), "out of memory");
    page
}

/// Gives a page of [`table_page`] back.
///
/// # Safety
/// `page` came from [`table_page`] and is not used any more.
unsafe fn free_table_page(page: *mut u8) {
    let layout = Layout::from_size_align(SIZE_4K as usize, SIZE_4K as usize).expect("a page is a layout");
    // SAFETY: by the function's contract it was allocated with this layout.
    unsafe { dealloc(page, layout) };
}

/// The crate `x86_64`.
pub(crate) struct X86 {
    table: MappedPageTable<'static, Pointers>,
}

/// Frames are where their address points.
struct Pointers;

// SAFETY: all frames come from `table_page`, whose pointer is taken for the physical address.
unsafe impl PageTableFrameMapping for Pointers {
    #[inline]
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut X86Table {
        frame.start_address().as_u64() as *mut X86Table
    }
}

struct Frames;

// SAFETY: each frame is allocated anew.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        Some(PhysFrame::containing_address(PhysAddr::new(table_page() as u64)))
    }
}

impl X86 {
    pub(crate) fn new() -> Self {
        let root = table_page().cast::<X86Table>();
        // SAFETY: a zeroed page is an empty table; it is leaked, so the reference is good for ever.
        let root = unsafe { &mut *root };
        // SAFETY: `Pointers` maps every frame that the table will ever hold.
        Self { table: unsafe { MappedPageTable::new(root, Pointers) } }
    }
}

const X86_FLAGS: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::USER_ACCESSIBLE)
    .union(PageTableFlags::NO_EXECUTE);

/// Whether a call is in blocks of 2 MiB.
fn is_block(call: Call) -> bool {
    (call.at | call.physical | call.len) & (SIZE_2M - 1) == 0
}

impl Subject for X86 {
    #[inline(never)]
    fn map(&mut self, call: Call) {
        if is_block(call) {
            for offset in (0..call.len).step_by(SIZE_2M as usize) {
                let page = Page::<Size2MiB>::containing_address(VirtAddr::new(call.at + offset));
                let frame = PhysFrame::containing_address(PhysAddr::new(call.physical + offset));
                // SAFETY: no hardware walks the table.
                let result = unsafe { self.table.map_to(page, frame, X86_FLAGS, &mut Frames) };
                result.expect("the page is free").ignore();
            }
            return;
        }
        for offset in (0..call.len).step_by(SIZE_4K as usize) {
            let page = Page::<Size4KiB>::containing_address(VirtAddr::new(call.at + offset));
            let frame = PhysFrame::containing_address(PhysAddr::new(call.physical + offset));
            // SAFETY: no hardware walks the table.
            let result = unsafe { self.table.map_to(page, frame, X86_FLAGS, &mut Frames) };
            result.expect("the page is free").ignore();
        }
    }

    #[inline(never)]
    fn unmap(&mut self, call: Call) {
        if is_block(call) {
            for offset in (0..call.len).step_by(SIZE_2M as usize) {
                let page = Page::<Size2MiB>::containing_address(VirtAddr::new(call.at + offset));
                self.table.unmap(page).expect("the page is mapped").1.ignore();
            }
            return;
        }
        for offset in (0..call.len).step_by(SIZE_4K as usize) {
            let page = Page::<Size4KiB>::containing_address(VirtAddr::new(call.at + offset));
            self.table.unmap(page).expect("the page is mapped").1.ignore();
        }
    }

    #[inline(never)]
    fn translate(&self, at: u64) -> u64 {
        self.table.translate_addr(VirtAddr::new(at)).map_or(0, PhysAddr::as_u64)
    }
}

/// The crate `page_table_multiarch`, with its x86-64 entries (the others are not built on this host).
pub(crate) struct PageTableMultiarch {
    table: PageTable64<FourLevels, X64PTE, Handler>,
}

struct FourLevels;

impl PagingMetaData for FourLevels {
    const LEVELS: usize = 4;
    const PA_MAX_BITS: usize = 52;
    const VA_MAX_BITS: usize = 48;
    type VirtAddr = MultiarchVirt;

    fn flush_tlb(_: Option<MultiarchVirt>) {}
}

struct Handler;

impl PagingHandler for Handler {
    fn alloc_frames(_: usize, _: usize) -> Option<MultiarchPhys> {
        Some(MultiarchPhys::from(table_page() as usize))
    }

    fn dealloc_frames(frame: MultiarchPhys, _: usize) {
        // SAFETY: the crate frees what `alloc_frames` gave, when it drops its table.
        unsafe { free_table_page(frame.as_usize() as *mut u8) };
    }

    #[inline]
    fn phys_to_virt(physical: MultiarchPhys) -> MultiarchVirt {
        MultiarchVirt::from(physical.as_usize())
    }
}

impl PageTableMultiarch {
    pub(crate) fn new() -> Self {
        Self { table: PageTable64::try_new().expect("there is memory for a root") }
    }
}

impl Subject for PageTableMultiarch {
    #[inline(never)]
    fn map(&mut self, call: Call) {
        let flags = MappingFlags::READ | MappingFlags::WRITE | MappingFlags::USER;
        let physical = |at: MultiarchVirt| {
            MultiarchPhys::from(at.as_usize() - call.at as usize + call.physical as usize)
        };
        let at = MultiarchVirt::from(call.at as usize);
        self.table
            .cursor()
            .map_region(at, physical, call.len as usize, flags, is_block(call))
            .expect("the range is free");
    }

    #[inline(never)]
    fn unmap(&mut self, call: Call) {
        let at = MultiarchVirt::from(call.at as usize);
        self.table.cursor().unmap_region(at, call.len as usize).expect("the range is mapped");
    }

    #[inline(never)]
    fn translate(&self, at: u64) -> u64 {
        self.table.query(MultiarchVirt::from(at as usize)).map_or(0, |found| found.0.as_usize() as u64)
    }
}

/// The crate `aarch64-paging`.
pub(crate) struct Aarch64Paging {
    table: RootTable<El1And0, Tables>,
}

struct Tables;

impl Translation<El1Attributes> for Tables {
    fn allocate_table(&mut self) -> (NonNull<Aarch64Table<El1Attributes>>, Output) {
        let page = table_page();
        (NonNull::new(page.cast()).expect("table_page checks"), Output(page as usize))
    }

    unsafe fn deallocate_table(&mut self, table: NonNull<Aarch64Table<El1Attributes>>) {
        // SAFETY: the caller frees what `allocate_table` gave, once.
        unsafe { free_table_page(table.as_ptr().cast()) };
    }

    #[inline]
    fn physical_to_virtual(&self, physical: Output) -> NonNull<Aarch64Table<El1Attributes>> {
        NonNull::new(physical.0 as *mut Aarch64Table<El1Attributes>).expect("no table is at 0")
    }
}

impl Aarch64Paging {
    pub(crate) fn new() -> Self {
        Self { table: RootTable::with_va_range(Tables, 0, El1And0, VaRange::Lower) }
    }

    fn write(&mut self, call: Call, flags: El1Attributes) {
        let range = MemoryRegion::new(call.at as usize, (call.at + call.len) as usize);
        let constraints = Constraints::NO_CONTIGUOUS_HINT;
        self.table
            .map_range(&range, Output(call.physical as usize), flags, constraints)
            .expect("the range is good");
    }
}

impl Subject for Aarch64Paging {
    #[inline(never)]
    fn map(&mut self, call: Call) {
        let flags = El1Attributes::VALID
            | El1Attributes::ACCESSED
            | El1Attributes::NON_GLOBAL
            | El1Attributes::INNER_SHAREABLE
            | El1Attributes::ATTRIBUTE_INDEX_5
            | El1Attributes::USER
            | El1Attributes::UXN
            | El1Attributes::PXN;
        self.write(call, flags);
    }

    #[inline(never)]
    fn unmap(&mut self, call: Call) {
        self.write(call, El1Attributes::empty());
    }

    #[inline(never)]
    fn translate(&self, at: u64) -> u64 {
        let page = (at & !(SIZE_4K - 1)) as usize;
        let mut found = 0;
        let range = MemoryRegion::new(page, page + SIZE_4K as usize);
        let walked = self.table.walk_range(&range, &mut |_, descriptor, _| {
            found = descriptor.output_address().0 as u64;
            Ok(())
        });
        walked.map_or(0, |()| found)
    }
}
