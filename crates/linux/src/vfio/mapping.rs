//! Registers of a device in this process's addresses, and taking them away again.
//!
//! # What would end the process, and does not
//! An access to a BAR that does not answer ends in SIGBUS: the kernel takes the pages of every mapping away when memory
//! decoding is switched off, when the device is reset and when its power state goes to D3, and gives them back on the next
//! access only if the device decodes its memory then (drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_vmf_insert_pfn`). Whoever
//! does these things through this crate first stops all mappings of the device. Accesses wait meanwhile; afterwards, if the
//! device does not answer, they are not made: reads give all ones and writes go nowhere, as on a bus without the device.
//!
//! # What remains
//! Someone else who has the descriptor (another process that it was passed to, a guest that writes to the configuration space
//! by another way) can switch decoding off unseen. A signal handler could catch that; a library has no business to install
//! one. Only one process should drive a device.
#![allow(unsafe_code, reason = "registers of a device are mapped and reached by volatile accesses")]

use super::device::Device;
use super::inner::Inner;
use super::region::{Region, RegionFlags};
use crate::Error;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use vcm::Span;
use vcm_iommu::{NarrowRegisters, Registers};

/// Whether a mapping reaches the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoding {
    /// It does.
    Active,
    /// The device does not answer for now: memory decoding is off, or it is in D3.
    Stopped,
    /// The device was closed.
    Gone,
}

/// A region of a device, as registers.
///
/// What can be mapped of it is mapped, and reached without a system call; the rest is reached by one. Accesses outside of the
/// region, and accesses that are not aligned to their width, reach nothing: reads give all ones.
///
/// A driver with several threads takes a mapping for each: these share no lock. Clones do.
#[derive(Clone, Debug)]
pub struct BarMapping {
    window: Arc<Window>,
}

#[derive(Debug)]
pub(super) struct Window {
    inner: Arc<Inner>,
    region: Arc<Region>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    areas: Vec<Mapped>,
    decoding: Decoding,
}

/// A part of a region that is mapped. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapped {
    span: Span,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and is reached under the window's lock only.
unsafe impl Send for Mapped {}

impl Mapped {
    pub(super) fn new(inner: &Inner, region: &Region, span: Span) -> Result<Self, Error> {
        let object = || format!("region {} of {}", region.index, inner.name);
        let len = usize::try_from(span.len()).map_err(|_| {
            Error::argument(format!("mapping {}", object()), "it has more bytes than this process addresses")
        })?;
        let mut protection = ProtFlags::empty();
        for (flag, allowed) in [(RegionFlags::READ, ProtFlags::READ), (RegionFlags::WRITE, ProtFlags::WRITE)]
        {
            protection |= if region.flags.contains(flag) { allowed } else { ProtFlags::empty() };
        }
        inner.with(|descriptor| {
            // SAFETY: a new mapping at a place that the kernel chooses.
            let base = unsafe {
                mmap(
                    std::ptr::null_mut(),
                    len,
                    protection,
                    MapFlags::SHARED,
                    descriptor,
                    region.offset + span.first(),
                )
            };
            let base = base.map_err(|errno| Error::system("mmap", object(), errno))?;
            let base = NonNull::new(base.cast()).ok_or_else(|| Error::argument("mmap", "gave address 0"))?;
            Ok(Self { span, base, len })
        })
    }

    /// Its address in this process, and its length.
    pub(super) const fn place(&self) -> (NonNull<u8>, usize) {
        (self.base, self.len)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`. Whoever has this has the lock, or nobody else has the window any more.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl Device {
    /// Maps the region `index`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the device has no such region, and for the configuration space; the kernel's.
    pub fn map(&self, index: u32) -> Result<BarMapping, Error> {
        let inner = &self.inner;
        self.refuse_config("mapping", index)?;
        let region = inner.region(index)?;
        if region.len == 0 {
            return Err(Error::argument(
                format!("mapping region {index} of {}", inner.name),
                "it has no such region",
            ));
        }
        // The list is locked until the window is in it, so that a reset waits for it or is seen by it.
        let mut windows = inner.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.is_closed() {
            // What is mapped from now on would keep the device open.
            return Err(inner.is_gone());
        }
        let spans = region.mappable.iter();
        let areas = spans.map(|&span| Mapped::new(inner, &region, span)).collect::<Result<Vec<_>, _>>()?;
        let state = Mutex::new(State { areas, decoding: inner.decoding() });
        let window = Arc::new(Window { inner: Arc::clone(inner), region, state });
        windows.retain(|window| window.strong_count() > 0);
        windows.push(Arc::downgrade(&window));
        Ok(BarMapping { window })
    }
}

impl Inner {
    /// Does something that may make the device's memory not answer, while nobody reaches it through a mapping; and finds out
    /// whether it answers afterwards.
    pub(super) fn with_windows_stopped<R>(&self, f: impl FnOnce() -> R) -> R {
        self.with_states(|states| {
            let result = f();
            if !states.is_empty() {
                let decoding = self.decoding();
                states.iter_mut().for_each(|state| state.decoding = decoding);
            }
            result
        })
    }

    /// Takes all mappings away.
    pub(super) fn close_windows(&self) {
        self.with_states(|states| {
            for state in states {
                state.decoding = Decoding::Gone;
                state.areas.clear();
            }
        });
    }

    fn with_states<R>(&self, f: impl FnOnce(&mut [MutexGuard<'_, State>]) -> R) -> R {
        let list = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let windows: Vec<Arc<Window>> = list.iter().filter_map(Weak::upgrade).collect();
        // Nobody else takes two of them.
        let mut states: Vec<_> = windows.iter().map(|window| window.lock()).collect();
        f(&mut states)
    }
}

/// A register's width.
trait Value: Copy {
    const ONES: Self;
    type Bytes: AsMut<[u8]> + AsRef<[u8]> + Default;
    fn from_bytes(bytes: Self::Bytes) -> Self;
    fn into_bytes(self) -> Self::Bytes;
}

macro_rules! values {
    ($($value:ty)*) => { $(
        impl Value for $value {
            const ONES: Self = Self::MAX;
            type Bytes = [u8; size_of::<$value>()];
            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
            fn into_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
        }
    )* };
}
values! { u8 u16 u32 u64 }

/// Where an access goes.
enum Place {
    /// To mapped registers.
    Mapped(NonNull<u8>),
    /// Through a system call.
    Call,
    /// Nowhere.
    Nowhere,
}

impl State {
    fn place(&self, region: &Region, offset: u64, len: usize) -> Place {
        let Some(span) = Span::new(offset, len as u64) else { return Place::Nowhere };
        if span.last() >= region.len || !offset.is_multiple_of(len as u64) || self.decoding == Decoding::Gone
        {
            return Place::Nowhere;
        }
        let Some(area) = self.areas.iter().find(|area| area.span.covers(span)) else { return Place::Call };
        if self.decoding != Decoding::Active {
            return Place::Nowhere;
        }
        // SAFETY: the span is inside the area, which is mapped.
        Place::Mapped(unsafe { area.base.add((offset - area.span.first()) as usize) })
    }
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load<V: Value>(&self, offset: u32) -> V {
        let state = self.lock();
        match state.place(&self.region, offset.into(), size_of::<V>()) {
            Place::Mapped(address) if self.region.flags.contains(RegionFlags::READ) => {
                // SAFETY: mapped for reading, aligned (areas begin at pages), and it answers as long as the lock is held.
                let value = unsafe { address.cast::<V>().read_volatile() };
                super::barrier::after_read();
                value
            }
            Place::Call => {
                let mut bytes = V::Bytes::default();
                match self.inner.read(&self.region, offset.into(), bytes.as_mut()) {
                    Ok(()) => V::from_bytes(bytes),
                    Err(_) => V::ONES,
                }
            }
            _ => V::ONES,
        }
    }

    fn store<V: Value>(&self, offset: u32, value: V) {
        let state = self.lock();
        match state.place(&self.region, offset.into(), size_of::<V>()) {
            Place::Mapped(address) if self.region.flags.contains(RegionFlags::WRITE) => {
                super::barrier::before_write();
                // SAFETY: mapped for writing, aligned (areas begin at pages), and it answers as long as the lock is held.
                unsafe { address.cast::<V>().write_volatile(value) };
            }
            Place::Call => {
                super::barrier::before_write();
                // There is nobody to tell; a bus does not tell either.
                let _ = self.inner.write(&self.region, offset.into(), value.into_bytes().as_ref());
            }
            _ => {}
        }
    }
}

impl BarMapping {
    /// Whether it reaches the device now.
    pub fn decoding(&self) -> Decoding {
        self.window.lock().decoding
    }

    /// The region that it maps.
    pub fn region(&self) -> &Region {
        &self.window.region
    }
}

impl Registers for BarMapping {
    fn read(&mut self, offset: u32) -> u32 {
        self.window.load(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.window.store(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        self.window.load(offset)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        self.window.store(offset, value);
    }
}

impl NarrowRegisters for BarMapping {
    fn read8(&mut self, offset: u32) -> u8 {
        self.window.load(offset)
    }

    fn write8(&mut self, offset: u32, value: u8) {
        self.window.store(offset, value);
    }

    fn read16(&mut self, offset: u32) -> u16 {
        self.window.load(offset)
    }

    fn write16(&mut self, offset: u32, value: u16) {
        self.window.store(offset, value);
    }
}
