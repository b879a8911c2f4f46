//! A device's registers for a guest: mapped in this process once more, for KVM.
//!
//! # Taking them away
//! Before each access of its own this process looks whether the device answers ([`BarMapping`](super::BarMapping)). Nobody
//! does so for a guest, and none of this ends the process:
//! - While the device does not answer (memory decoding is off, D3, a reset), the kernel has taken the pages away, and gives
//!   none (drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_mmap_huge_fault`). A guest that accesses them then comes out of
//!   `KVM_RUN` with EFAULT (arch/x86/kvm/mmu/mmu.c, `kvm_handle_error_pfn`). Later accesses find them by themselves.
//! - When the device is torn down, nothing can be accessed there any more, with the same effect. The device is let go,
//!   though a guest has its registers still: who waits for it at its driver's `unbind` waits no longer.
//!
//! A guest that is to live on is given something else first: with the mapping [unmapped](crate::kvm::GuestMemory::unmap), its
//! accesses come to the VMM.
#![allow(unsafe_code, reason = "registers of a device are mapped, for a guest")]

use super::device::Device;
use super::inner::Inner;
use super::mapping::Mapped;
use crate::Error;
use crate::kvm::HostMapping;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::sync::{Arc, PoisonError, Weak};
use vcm::Span;

/// A part of a region that is mapped for a guest.
#[derive(Debug)]
pub(super) struct GuestView {
    mapped: Mapped,
}

// SAFETY: nothing is reached through it here. Its addresses are replaced by one call of the kernel's, whoever makes it.
unsafe impl Sync for GuestView {}

impl GuestView {
    /// Lets nothing be accessed at its addresses any more. They stay taken until it is dropped.
    fn revoke(&self) {
        let (base, len) = self.mapped.place();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: exactly the addresses of the mapping, which are this one's as long as it lives. No reference points there:
        // they were given to KVM only.
        // It fails when the kernel has no memory for it; then the device is let go when the guest lets go.
        let _ = unsafe { mmap_anonymous(base.as_ptr().cast(), len, ProtFlags::empty(), flags) };
    }
}

impl Device {
    /// Maps a part of the region `index` for a guest, which then drives the device without this process:
    /// [`GuestMemory::map`](crate::kvm::GuestMemory::map). Whole pages, of what the region says is
    /// [mappable](super::Region::mappable). A VMM leaves a table of MSI-X out: interrupts are set up by calls.
    ///
    /// It ends with the mapping, and when the device is torn down: a guest that accesses it afterwards comes out of `KVM_RUN`
    /// with EFAULT, as it does while the device does not answer. A VMM unmaps it before it lets the device go.
    ///
    /// # Errors
    /// [`Error::Argument`] for a part that cannot be mapped; [`Error::Missing`] when the device was torn down; the kernel's.
    pub fn host_mapping(&self, index: u32, part: Span) -> Result<HostMapping, Error> {
        let inner = &self.inner;
        let region = inner.region(index)?;
        let page = rustix::param::page_size() as u64;
        let whole = part.first().is_multiple_of(page) && part.len().is_multiple_of(page.into());
        if !whole || part.is_empty() || !region.mappable.iter().any(|span| span.covers(part)) {
            return Err(Error::argument(
                format!("{part} of region {index} of {} for a guest", inner.name),
                format!("whole pages of {page:#x} bytes can be mapped, in {:?}", region.mappable),
            ));
        }
        // The list is locked until it is in it: tearing down waits for it, or has begun.
        let mut views = inner.guest_views.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.is_closed() {
            return Err(inner.is_gone());
        }
        let mapped = Mapped::new(inner, &region, part)?;
        let (base, len) = mapped.place();
        let view = Arc::new(GuestView { mapped });
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&view));
        // SAFETY: the addresses are mapped shared to the device's registers, and at last to nothing, until `view` is dropped.
        // Nobody else knows them: no reference points there.
        Ok(unsafe { HostMapping::from_raw(base, len as u64, view) })
    }
}

impl Inner {
    /// Takes all of them away.
    pub(super) fn revoke_guest_views(&self) {
        let views = self.guest_views.lock().unwrap_or_else(PoisonError::into_inner);
        views.iter().filter_map(Weak::upgrade).for_each(|view| view.revoke());
    }
}
