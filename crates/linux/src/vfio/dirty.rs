//! Which pages devices may have written, by type 1 containers.
//!
//! Type 1 knows only what is pinned: unless a driver in the kernel pins page by page, every page that is mapped for writing
//! is reported each time (drivers/vfio/vfio_iommu_type1.c, `vfio_iommu_populate_bitmap_full`). iommufd asks the hardware.

use super::call;
use super::container::{Container, OBJECT};
use crate::Error;
use std::mem::offset_of;
use vcm::Span;
use vfio_bindings::bindings::vfio::{
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, vfio_bitmap,
    vfio_iommu_type1_dirty_bitmap_get, vfio_iommu_type1_info_cap_migration,
};

/// Whether a container notes dirty pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirtyTracking {
    /// It does, from now on.
    On,
    /// It does not.
    Off,
}

/// `struct vfio_iommu_type1_dirty_bitmap` with what GET_BITMAP has behind it.
#[repr(C)]
struct DirtyPages {
    argsz: u32,
    flags: u32,
    get: vfio_iommu_type1_dirty_bitmap_get,
}

impl Container {
    /// The page size that dirty pages are told in, and the most bytes of a bitmap for one call.
    fn dirty_limits(&self) -> Result<(u64, u64), Error> {
        let answer = self.information()?;
        let capabilities = answer.capabilities(Self::first_capability(&answer)?)?;
        let migration = capabilities
            .iter()
            .find(|found| u32::from(found.id) == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION)
            .ok_or_else(|| {
                Error::not_supported("dirty tracking by a container", "the kernel does not offer it")
            })?;
        let sizes = migration.u64_at(offset_of!(vfio_iommu_type1_info_cap_migration, pgsize_bitmap));
        let most = migration.u64_at(offset_of!(vfio_iommu_type1_info_cap_migration, max_dirty_bitmap_size));
        match (sizes, most) {
            (Some(sizes), Some(most)) if sizes != 0 => Ok((sizes & sizes.wrapping_neg(), most)),
            _ => Err(answer.garbage("no page size for dirty pages")),
        }
    }

    #[allow(unsafe_code, reason = "an ioctl")]
    fn dirty_pages(&self, flags: u32, get: vfio_iommu_type1_dirty_bitmap_get) -> Result<(), Error> {
        let mut pages = DirtyPages { argsz: size_of::<DirtyPages>() as u32, flags, get };
        // SAFETY: the call's structure, with its size. The only address in it is that of the bitmap, which the caller below
        // has for as long as this takes, with the size that it says.
        unsafe { call::IOMMU_DIRTY_PAGES.with(&self.descriptor, OBJECT, &mut pages) }?;
        Ok(())
    }

    /// Switches the tracking of dirty pages.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the kernel cannot; the kernel's.
    pub fn set_dirty_tracking(&mut self, tracking: DirtyTracking) -> Result<(), Error> {
        self.dirty_limits()?;
        let flags = match tracking {
            DirtyTracking::On => VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
            DirtyTracking::Off => VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        };
        self.dirty_pages(flags, no_bitmap())
    }

    /// The parts of `span` that devices may have written since tracking was switched on or this was asked last, in order.
    ///
    /// # Errors
    /// [`Error::Argument`] when `span` is too long for one call; [`Error::NotSupported`]; the kernel's, as EINVAL when
    /// tracking is off or `span` cuts a mapping.
    pub fn dirty(&mut self, span: Span) -> Result<Vec<Span>, Error> {
        let (page, most) = self.dirty_limits()?;
        let wrong = |why: String| Error::argument(format!("dirty pages of {span:?}"), why);
        if !span.is_aligned(page) {
            return Err(wrong(format!("the pages have {page:#x} bytes")));
        }
        let pages = span.len() / u128::from(page);
        let words = pages.div_ceil(64);
        if words * 8 > u128::from(most) {
            return Err(wrong(format!("the kernel tells of {:#x} pages at once", u128::from(most) * 8)));
        }
        let mut bits = Vec::new();
        bits.try_reserve_exact(words as usize).map_err(|_| wrong("there is no memory for it".into()))?;
        bits.resize(words as usize, 0_u64);
        let bitmap = vfio_bitmap { pgsize: page, size: (words * 8) as u64, data: bits.as_mut_ptr() };
        let size = (pages * u128::from(page)) as u64;
        let get = vfio_iommu_type1_dirty_bitmap_get { iova: span.first(), size, bitmap };
        self.dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, get)?;
        Ok(spans(span.first(), page, &bits, pages as u64))
    }
}

fn no_bitmap() -> vfio_iommu_type1_dirty_bitmap_get {
    let bitmap = vfio_bitmap { pgsize: 0, size: 0, data: std::ptr::null_mut() };
    vfio_iommu_type1_dirty_bitmap_get { iova: 0, size: 0, bitmap }
}

/// The runs of set bits, as addresses.
fn spans(first: u64, page: u64, bits: &[u64], pages: u64) -> Vec<Span> {
    let is_set =
        |index: u64| bits.get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 != 0);
    let mut found = Vec::new();
    let mut start = None;
    for index in 0..=pages {
        let set = index < pages && is_set(index);
        match (start, set) {
            (None, true) => start = Some(index),
            (Some(from), false) => {
                found.extend(Span::new(first + from * page, (index - from) * page));
                start = None;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_become_spans() {
        let span = |first, len| Span::new(first, len).unwrap();
        let bits = [0b1011 | 1 << 63, 0b11];
        assert_eq!(
            spans(0x10_0000, 0x1000, &bits, 66),
            [span(0x10_0000, 0x2000), span(0x10_3000, 0x1000), span(0x13_f000, 0x3000)]
        );
        assert!(spans(0, 0x1000, &[u64::MAX], 0).is_empty());
    }
}
