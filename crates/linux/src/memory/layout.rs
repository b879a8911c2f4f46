//! Where memories are in the graph.

use super::{MemoryFile, MemoryPiece, MemoryRange};
use crate::Error;
use std::sync::Arc;
use vcm::range::{Alignment, RangeError, RangeKey, Ranges, Request};
use vcm::{PhysicalAddress, SIZE_1G, SIZE_4K, Span};

/// Gives each memory a window of addresses of its own.
///
/// A process does not learn where its memory is on the bus, and need not: the graph's physical addresses are made up here, and
/// lead back to a memory and an offset in it.
#[derive(Debug)]
pub struct Layout {
    windows: Ranges<Arc<MemoryFile>>,
}

impl Default for Layout {
    /// From 256 GiB to 512 GiB: above what is likely to be reserved in a device's space, and within the 39 bits that any IOMMU
    /// translates, so that a device can see a memory at the same addresses.
    fn default() -> Self {
        Self { windows: Ranges::new(WINDOWS, SIZE_4K) }
    }
}

const WINDOWS: Span = match Span::inclusive(1 << 38, (1 << 39) - 1) {
    Some(span) => span,
    None => unreachable!(),
};

impl Layout {
    /// Windows inside `span`.
    ///
    /// # Errors
    /// [`Error::Argument`] when its ends are not multiples of 4 KiB.
    pub fn within(span: Span) -> Result<Self, Error> {
        if !span.is_aligned(SIZE_4K) {
            return Err(Error::argument(format!("windows in {span}"), "not in multiples of 4 KiB"));
        }
        Ok(Self { windows: Ranges::new(span, SIZE_4K) })
    }

    /// Gives `file` a window wherever there is room, aligned to the power of two that it fills, 1 GiB at most, and to its
    /// pages: as large pages as the memory has can map it at its own addresses.
    ///
    /// # Errors
    /// EEXIST when it has one already. ENOSPC when there is no room.
    pub fn add(&mut self, file: Arc<MemoryFile>) -> Result<Span, Error> {
        self.check_new(&file)?;
        let alignment =
            file.len().checked_next_power_of_two().unwrap_or(SIZE_1G).min(SIZE_1G).max(file.page_len());
        let request = Request {
            len: u128::from(file.len()),
            alignment: Alignment::Exactly(alignment),
            within: self.windows.window(),
        };
        let placed = self.windows.place(&request, Arc::clone(&file));
        self.placed(&file, placed)
    }

    /// Gives `file` the window at `at`.
    ///
    /// # Errors
    /// EEXIST when it has one already, or when another memory's is in the way. [`Error::Argument`] when `at` is not a multiple
    /// of its page size, or outside of all windows.
    pub fn add_at(&mut self, at: PhysicalAddress, file: Arc<MemoryFile>) -> Result<Span, Error> {
        self.check_new(&file)?;
        let what = || format!("a window for `{}` at {at}", file.name());
        if !at.is_aligned(file.page_len()) {
            return Err(Error::argument(what(), format!("its pages have {:#x} bytes", file.page_len())));
        }
        let span = Span::new(at.raw(), file.len());
        let span = span.ok_or_else(|| Error::argument(what(), "it passes the end of the space"))?;
        let placed = self.windows.place_at(span, Arc::clone(&file));
        self.placed(&file, placed)
    }

    fn check_new(&self, file: &MemoryFile) -> Result<(), Error> {
        match self.window(file) {
            Some(span) => Err(Error::system("window", file.name(), rustix::io::Errno::EXIST)
                .with_help(format!("it has the window {span} already"))),
            None => Ok(()),
        }
    }

    fn placed(&self, file: &MemoryFile, placed: Result<RangeKey, RangeError>) -> Result<Span, Error> {
        let failed = |errno, error: RangeError| {
            Err(Error::system("window", file.name(), errno).with_help(error.to_string()))
        };
        match placed {
            Ok(key) => self.windows.span_of(key).ok_or_else(|| Error::Garbage {
                object: "the list of windows".into(),
                what: "what was placed is not there".into(),
            }),
            Err(error @ RangeError::Occupied { key, .. }) => {
                let by = self.windows.get(key).map_or("another", |file| file.name());
                Err(Error::system("window", file.name(), rustix::io::Errno::EXIST)
                    .with_help(format!("{error}, of `{by}`")))
            }
            Err(error @ RangeError::NoSpace { .. }) => failed(rustix::io::Errno::NOSPC, error),
            Err(error @ RangeError::OutOfMemory(_)) => failed(rustix::io::Errno::NOMEM, error),
            Err(error) => Err(Error::argument(format!("a window for `{}`", file.name()), error.to_string())),
        }
    }

    /// Takes the window of `file` back; `None` when it has none.
    pub fn remove(&mut self, file: &MemoryFile) -> Option<Span> {
        let key = self.entry(file)?.0;
        self.windows.remove(key).map(|(span, _)| span)
    }

    /// The window of `file`.
    pub fn window(&self, file: &MemoryFile) -> Option<Span> {
        self.entry(file).map(|(_, span)| span)
    }

    fn entry(&self, file: &MemoryFile) -> Option<(RangeKey, Span)> {
        let mut windows = self.windows.iter();
        windows.find(|(_, _, other)| std::ptr::eq(other.as_ref(), file)).map(|(key, span, _)| (key, span))
    }

    /// All windows, in the order of their addresses.
    pub fn windows(&self) -> impl Iterator<Item = (Span, &Arc<MemoryFile>)> {
        self.windows.iter().map(|(_, span, file)| (span, file))
    }

    /// The part of a memory that the `len` bytes at `at` are. In O(log n).
    ///
    /// # Errors
    /// [`Error::Argument`] when they are not all of one memory, or for no bytes.
    pub fn find(&self, at: PhysicalAddress, len: u64) -> Result<MemoryRange<'_>, Error> {
        let (file, offset) = self.locate(at)?;
        file.range(offset, len)
    }

    /// As [`find`](Self::find), holding the memory.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn piece(&self, at: PhysicalAddress, len: u64) -> Result<MemoryPiece, Error> {
        let (file, offset) = self.locate(at)?;
        MemoryPiece::new(Arc::clone(file), offset, len)
    }

    /// The parts of memories that the `len` bytes at `at` are, in order: windows may touch, and what the graph calls one
    /// stretch may be of two memories.
    ///
    /// # Errors
    /// [`Error::Argument`] when not all of them are of memories, or for no bytes.
    pub fn pieces(&self, at: PhysicalAddress, len: u64) -> Result<Vec<MemoryPiece>, Error> {
        let span = Span::new(at.raw(), len);
        let span =
            span.ok_or_else(|| Error::argument(format!("{len:#x} bytes at {at}"), "no such addresses"))?;
        let mut pieces = Vec::new();
        let mut next = Some(span.first());
        while let Some(first) = next.filter(|first| *first <= span.last()) {
            let (file, offset) = self.locate(PhysicalAddress::new(first))?;
            let len = (file.len() - offset).min(span.last() - first + 1);
            pieces.push(MemoryPiece::new(Arc::clone(file), offset, len)?);
            next = first.checked_add(len);
        }
        Ok(pieces)
    }

    fn locate(&self, at: PhysicalAddress) -> Result<(&Arc<MemoryFile>, u64), Error> {
        let found = self.windows.find(at.raw());
        let found = found.map(|(_, span, file)| (file, at.raw() - span.first()));
        found.ok_or_else(|| Error::argument(format!("the address {at}"), "no memory has a window there"))
    }
}
