//! A stretch of this process's addresses as the region of a CPU.
#![allow(unsafe_code, reason = "what is mapped is read and written by address")]

use super::stretch::Stretch;
use super::{MemoryRange, copy};
use crate::Error;
use rustix::io::Errno;
use std::ptr::NonNull;
use vcm::range::{RangeKey, Ranges};
use vcm::{Access, CpuAddress, Span};

/// Addresses of this process that memory is backed at.
///
/// They are this value's from the beginning to the end: what is not backed is mapped as nothing (`PROT_NONE`), so that no other
/// part of the process is ever given an address in it.
#[derive(Debug)]
pub struct CpuSpace {
    stretch: Stretch,
    backings: Ranges<Backing>,
}

/// A mapping of a part of a memory.
#[derive(Clone, Copy, Debug)]
struct Backing {
    /// What the kernel lets this process do there.
    access: Access,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Backed,
    /// It was to go, and the kernel did not let it: it is as good as gone but for its addresses.
    Leaving,
}

impl CpuSpace {
    /// Reserves `len` bytes of addresses, from a multiple of `alignment` on: a power of two in bytes. Memory of huge pages
    /// needs addresses that are multiples of theirs.
    ///
    /// # Errors
    /// [`Error::Argument`] when `len` is not a multiple of the page size. ENOMEM when there are not so many addresses.
    pub fn reserve(len: u64, alignment: u64) -> Result<Self, Error> {
        let stretch = Stretch::reserve(len, alignment)?;
        let backings = Ranges::new(stretch.span(), super::stretch::system_page_len());
        Ok(Self { stretch, backings })
    }

    /// Its addresses.
    pub fn span(&self) -> Span {
        self.stretch.span()
    }

    pub(super) const fn base(&self) -> NonNull<u8> {
        self.stretch.base()
    }

    /// Maps `memory`, one part behind the other, from `at` on: all of it, or nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] when an address, an offset or a length is not a multiple of the memory's page size, when not all of
    /// it lies in this space, or for an access that is not expressible. EEXIST when something is backed there. EPERM for
    /// writing what is sealed against it. ENOMEM when the process has as many mappings as it may. Where not even a mapping
    /// of the first parts could be taken back after that, their addresses stay occupied until [`unback`](Self::unback).
    pub fn back(&mut self, at: CpuAddress, memory: &[MemoryRange<'_>], access: Access) -> Result<(), Error> {
        check_access(access)?;
        let spans = self.places(at, memory)?;
        let mut done = Vec::with_capacity(spans.len());
        for (span, range) in spans.into_iter().zip(memory) {
            match self.back_one(span, range, access) {
                Ok(key) => done.push(key),
                Err(error) => {
                    for key in done.into_iter().rev() {
                        let _ = self.remove(key);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Where each part goes; checks everything that can be known before.
    fn places(&self, at: CpuAddress, memory: &[MemoryRange<'_>]) -> Result<Vec<Span>, Error> {
        let mut spans = Vec::with_capacity(memory.len());
        let mut next = Some(at.raw());
        for range in memory {
            let what = || {
                format!("{:#x} bytes from {:#x} on of `{}`", range.len(), range.offset(), range.file().name())
            };
            let span = next.and_then(|first| Span::new(first, range.len()));
            let Some(span) = span.filter(|span| self.span().covers(*span)) else {
                let why = format!("not all of it lies in {}", self.span());
                return Err(Error::argument(format!("backing {at} with {}", what()), why));
            };
            let page_len = range.file().page_len();
            if !range.is_whole_pages() || !span.is_aligned(page_len) {
                let why = format!("not all of this is a multiple of its pages, which have {page_len:#x}");
                return Err(Error::argument(format!("backing {span} with {}", what()), why));
            }
            if let Some((_, by, _)) = self.backings.overlapping(span).next() {
                return Err(Error::system("back", span.to_string(), Errno::EXIST)
                    .with_help(format!("{by} is backed already")));
            }
            spans.push(span);
            next = span.last().checked_add(1);
        }
        Ok(spans)
    }

    fn back_one(&mut self, span: Span, range: &MemoryRange<'_>, access: Access) -> Result<RangeKey, Error> {
        // First what can fail without a trace.
        let key = self.backings.place_at(span, Backing { access, state: State::Backed });
        let key = key.map_err(|error| Error::argument(format!("backing {span}"), error.to_string()))?;
        let offset = span.first() - self.span().first();
        self.stretch.map(offset, range.len(), range.file(), range.offset(), access).map_err(|errno| {
            let _ = self.backings.remove(key);
            let error =
                Error::system("mmap", format!("{span} as {access} of `{}`", range.file().name()), errno);
            match errno {
                Errno::NOMEM => {
                    error.with_help("see /proc/sys/vm/max_map_count, the limit of mappings of a process")
                }
                Errno::PERM => error.with_help("the memory is sealed against new mappings for writing"),
                _ => error,
            }
        })?;
        Ok(key)
    }

    /// Ends the backings in `span`: whole ones, none or several. Holes are passed over. Their addresses are mapped as nothing
    /// from then on, and stay this value's.
    ///
    /// # Errors
    /// [`Error::Argument`] when a backing is only partly in `span`; nothing has changed then. ENOMEM when the kernel cannot,
    /// because the process has more mappings than it may: what it refused can be read and written no more by this value's
    /// functions, its addresses stay occupied, and the same call tries again.
    pub fn unback(&mut self, span: Span) -> Result<(), Error> {
        let keys = self.whole_in(span)?;
        let mut result = Ok(());
        for key in keys {
            if let Err(error) = self.remove(key) {
                result = Err(error);
            }
        }
        result
    }

    /// The backings in `span`, none of which may pass its ends.
    fn whole_in(&self, span: Span) -> Result<Vec<RangeKey>, Error> {
        let mut keys = Vec::new();
        for (key, backed, _) in self.backings.overlapping(span) {
            if !span.covers(backed) {
                let why = format!("the backing {backed} is only partly in it");
                return Err(Error::argument(format!("the addresses {span}"), why));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn remove(&mut self, key: RangeKey) -> Result<(), Error> {
        let Some(span) = self.backings.span_of(key) else { return Ok(()) };
        let (offset, len) = self.place(span);
        match self.stretch.clear(offset, len) {
            Ok(()) => {
                let _ = self.backings.remove(key);
                Ok(())
            }
            Err(errno) => {
                // This needs no further mapping, unless the kernel has joined the backing with its neighbour.
                let _ = self.stretch.protect(offset, len, Access::empty());
                if let Some(backing) = self.backings.get_mut(key) {
                    *backing = Backing { access: Access::empty(), state: State::Leaving };
                }
                Err(Error::system("mmap", format!("{span} as nothing"), errno))
            }
        }
    }

    /// Offset and length in the stretch.
    fn place(&self, span: Span) -> (u64, u64) {
        (span.first() - self.span().first(), span.len() as u64)
    }

    /// Changes what may be done with the backings in `span`, whole ones: with all of them, or with none.
    ///
    /// # Errors
    /// [`Error::Argument`] when a backing is only partly in `span`, when there is none, or for an access that is not
    /// expressible. EACCES for writing what is sealed against it. ENOMEM as for [`back`](Self::back).
    pub fn protect(&mut self, span: Span, access: Access) -> Result<(), Error> {
        check_access(access)?;
        let keys = self.whole_in(span)?;
        if keys.is_empty() {
            return Err(Error::argument(format!("protecting {span}"), "nothing is backed there"));
        }
        let mut done: Vec<(RangeKey, Access)> = Vec::with_capacity(keys.len());
        for key in keys {
            let before = self.backings.get(key).filter(|backing| backing.state == State::Backed);
            let Some(before) = before.map(|backing| backing.access) else { continue };
            match self.protect_one(key, access) {
                Ok(()) => done.push((key, before)),
                Err(error) => {
                    // Where this is refused as well, what is noted is what is so.
                    for (key, before) in done.into_iter().rev() {
                        let _ = self.protect_one(key, before);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn protect_one(&mut self, key: RangeKey, access: Access) -> Result<(), Error> {
        let Some(span) = self.backings.span_of(key) else { return Ok(()) };
        let (offset, len) = self.place(span);
        self.stretch
            .protect(offset, len, access)
            .map_err(|errno| Error::system("mprotect", format!("{span} as {access}"), errno))?;
        if let Some(backing) = self.backings.get_mut(key) {
            backing.access = access;
        }
        Ok(())
    }

    /// What is backed, in the order of the addresses, and what this process may do there. Neighbours are not joined.
    pub fn backed(&self) -> impl Iterator<Item = (Span, Access)> {
        let all = self.backings.iter();
        all.filter(|(_, _, backing)| backing.state == State::Backed)
            .map(|(_, span, backing)| (span, backing.access))
    }

    /// The addresses that are not backed and cannot be: the kernel did not let them go. [`unback`](Self::unback) tries again.
    pub fn leaving(&self) -> impl Iterator<Item = Span> {
        let all = self.backings.iter();
        all.filter(|(_, _, backing)| backing.state == State::Leaving).map(|(_, span, _)| span)
    }

    /// Reads as this process does at `at`, whatever is backed there.
    ///
    /// # Errors
    /// EFAULT when not all of it can be read there, where the process itself would be ended by a signal.
    pub fn read(&self, at: CpuAddress, bytes: &mut [u8]) -> Result<(), Error> {
        let Some(from) = self.reachable(at, bytes.len(), Access::READ)? else { return Ok(()) };
        // SAFETY: every byte is mapped for reading now, and stays so while `self` is borrowed. No reference is ever made to it.
        unsafe { copy::read(from.as_ptr(), bytes) };
        Ok(())
    }

    /// Writes as this process does at `at`, whatever is backed there.
    ///
    /// # Errors
    /// EFAULT when not all of it can be written there; nothing is written then.
    pub fn write(&self, at: CpuAddress, bytes: &[u8]) -> Result<(), Error> {
        let Some(to) = self.reachable(at, bytes.len(), Access::WRITE)? else { return Ok(()) };
        // SAFETY: as in `read`, for writing.
        unsafe { copy::write(to.as_ptr(), bytes) };
        Ok(())
    }

    /// A pointer to `at` when all `len` bytes there are backed for `access`; none for no bytes.
    fn reachable(&self, at: CpuAddress, len: usize, access: Access) -> Result<Option<NonNull<u8>>, Error> {
        if len == 0 {
            return Ok(None);
        }
        let fault = |address: u64, why: String| {
            Err(Error::system("access", format!("{address:#x} of {}", self.span()), Errno::FAULT)
                .with_help(why))
        };
        let Some(span) = Span::new(at.raw(), len as u64) else {
            return fault(at.raw(), "it passes the end of the space".into());
        };
        let mut next = span.first();
        for (_, backed, backing) in self.backings.overlapping(span) {
            if backed.first() > next {
                break;
            }
            if !backing.access.contains(access) {
                return fault(next, format!("{backed} is mapped as {}, not for {access}", backing.access));
            }
            if backed.last() >= span.last() {
                let offset = span.first() - self.span().first();
                // SAFETY: the span is inside the backings, and these inside the stretch.
                return Ok(Some(unsafe { self.stretch.base().add(offset as usize) }));
            }
            next = backed.last() + 1;
        }
        fault(next, "nothing is backed there".into())
    }
}

/// The processors' page tables know no writing without reading, and the kernel's execution without reading is not certain.
fn check_access(access: Access) -> Result<(), Error> {
    if access.contains(Access::READ) {
        return Ok(());
    }
    Err(Error::argument(format!("the access {access}"), "a process maps memory for reading at least"))
}
