//! A page table: the operations, and the checks before each.

use crate::engine::{self, Merge, Range, Recent, Run, Unmapped};
use crate::format::{Format, Level, Table};
use crate::{Gather, MapError, ProtectError, TableMemory, UnmapError, Unrepresentable, Word};
use core::fmt;
use vcm::{Attributes, Bytes, PageSizes, PhysicalAddress, Span};

/// One contiguous stretch of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it starts.
    pub physical: PhysicalAddress,
    /// Its length in bytes.
    pub len: u64,
}

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address of the byte that was asked for.
    pub physical: PhysicalAddress,
    /// The size of its page, in bytes.
    pub page_size: u64,
    /// The attributes of its page.
    pub attributes: Attributes,
}

/// A page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The device address of its first byte.
    pub at: u64,
    /// Where its memory starts.
    pub physical: PhysicalAddress,
    /// Its size in bytes.
    pub size: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

/// As `0x1000 -> 0x80000000 (4K, rw- user ...)`.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} -> {} ({}, {})", self.at, self.physical, Bytes(self.size), self.attributes)
    }
}

/// A page table of format `F`, with its root.
///
/// Its tables live in a [`TableMemory`] that every operation is given: always the same one. Dropping a `PageTable`
/// does nothing, since a device may still walk it: [`destroy`](Self::destroy) frees the tables.
#[derive(Debug)]
#[must_use = "dropping a page table leaks its tables: see `destroy`"]
pub struct PageTable<F: Format> {
    format: F,
    root: PhysicalAddress,
    /// Where the short ways begin. Forgotten before tables are unlinked.
    recent: Recent<F>,
}

/// Calls a function of the engine with the root as a table of the level that it is of.
macro_rules! at_root {
    ($this:ident, $function:ident($($argument:expr),*)) => {
        match $this.format.start() {
            0 => engine::$function($this.top::<F::Top>(), $($argument),*),
            1 => engine::$function($this.top::<Below<F::Top>>(), $($argument),*),
            2 => engine::$function($this.top::<Below<Below<F::Top>>>(), $($argument),*),
            _ => engine::$function($this.top::<Below<Below<Below<F::Top>>>>(), $($argument),*),
        }
    };
}

/// The level below; of the last level, itself.
type Below<L> = <L as Level>::Child;

impl<F: Format> PageTable<F> {
    /// An empty table.
    ///
    /// # Errors
    /// [`MapError::Config`] or [`MapError::Table`].
    pub fn new(config: F::Config, memory: &mut impl TableMemory<F::Word>) -> Result<Self, MapError> {
        Self::of_format(F::new(config)?, memory)
    }

    /// An empty table of `format`, for what its configuration alone does not say.
    ///
    /// # Errors
    /// [`MapError::Table`].
    pub fn of_format(format: F, memory: &mut impl TableMemory<F::Word>) -> Result<Self, MapError> {
        let root = engine::allocate_table(&format, memory, format.root_bytes())?;
        Ok(Self { format, root, recent: Recent::none() })
    }

    /// The root's address, for the register of the hardware.
    #[inline]
    pub const fn root(&self) -> PhysicalAddress {
        self.root
    }

    /// The format as configured.
    #[inline]
    pub const fn format(&self) -> &F {
        &self.format
    }

    /// The addresses that the table translates.
    #[inline]
    pub fn input_span(&self) -> Span {
        self.format.input()
    }

    /// The sizes of pages.
    #[inline]
    pub fn page_sizes(&self) -> PageSizes {
        self.format.page_sizes()
    }

    /// Maps `segments`, one after the other, from the device address `at` on, in the largest pages that addresses
    /// and lengths allow; segments that follow each other in physical memory count as one.
    ///
    /// Done whole or not at all. The iterator is cloned and run through more than once, and must yield the same
    /// each time. No invalidation is needed after it: translation caches do not hold what translates nothing
    /// (Arm ARM DDI 0406C, chapter B3, and DDI 0487, chapter D8, on TLB maintenance).
    ///
    /// # Errors
    /// [`MapError`]; nothing was written but to new tables, and those are free again.
    #[inline]
    pub fn map(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        at: u64,
        segments: impl Iterator<Item = Segment> + Clone,
        attributes: Attributes,
    ) -> Result<(), MapError> {
        let bits = self.format.encode(&attributes);
        let mut rest = segments.clone();
        if let (Some(segment), None) = (rest.next(), rest.next()) {
            if let Ok(bits) = bits
                && self.reaches(segment)
                && engine::map_page(&self.recent, memory, at, segment, bits)
            {
                return Ok(());
            }
            return self.map_one(memory, at, segment, attributes, bits);
        }
        self.map_list(memory, at, segments, attributes, bits)
    }

    /// Maps one segment.
    #[inline(never)]
    fn map_one(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        at: u64,
        segment: Segment,
        attributes: Attributes,
        bits: Result<F::Bits, Unrepresentable>,
    ) -> Result<(), MapError> {
        let len = self.check_segments(at, core::iter::once(segment))?;
        let bits = bits.map_err(|what| MapError::Unrepresentable { attributes, what })?;
        let run = Run { at, physical: segment.physical.raw(), len, bits };
        self.seek(memory, at);
        if engine::map_run(&self.recent, &self.format, memory, run) {
            return Ok(());
        }
        let range = Range { at, end: at + len };
        let result = at_root!(self, map(&self.format, memory, range, core::iter::once(run), bits));
        result.map_err(|refusal| self.blame(memory, at, len, refusal))
    }

    /// Maps several segments, or none.
    #[inline(never)]
    fn map_list(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        at: u64,
        segments: impl Iterator<Item = Segment> + Clone,
        attributes: Attributes,
        bits: Result<F::Bits, Unrepresentable>,
    ) -> Result<(), MapError> {
        let len = self.check_segments(at, segments.clone())?;
        let bits = bits.map_err(|what| MapError::Unrepresentable { attributes, what })?;
        let runs = Merge::new(at, segments, bits);
        let range = Range { at, end: at + len };
        let result = at_root!(self, map(&self.format, memory, range, runs, bits));
        result.map_err(|refusal| self.blame(memory, at, len, refusal))
    }

    /// Unmaps `span`, all of which must be mapped. A page of which only part goes is split; the rest of it keeps
    /// translating as before, in smaller pages, without a gap.
    ///
    /// What must be invalidated is added to `gather`; see there for what follows. Hardware that does not bear a
    /// page changing its size while in use (break-before-make: Arm ARM DDI 0487, chapter D8, where `FEAT_BBM` is not at
    /// level 2; DDI 0406C, chapter B3) must not be using a page that is split until the invalidation is done. That
    /// goes for a group of entries too, of which all are rewritten: on AArch64 the contiguous bit of those that stay
    /// changes, and the architecture asks the same of such a change.
    ///
    /// # Errors
    /// [`UnmapError`]; nothing was changed.
    #[inline]
    pub fn unmap(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        span: Span,
        gather: &mut Gather,
    ) -> Result<(), UnmapError> {
        let range = Range { at: span.first(), end: span.last().wrapping_add(1) };
        if engine::unmap_page(&self.recent, &self.format, memory, range, gather) {
            return Ok(());
        }
        self.unmap_any(memory, span, gather)
    }

    /// Unmaps any span.
    #[inline(never)]
    fn unmap_any(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        span: Span,
        gather: &mut Gather,
    ) -> Result<(), UnmapError> {
        self.check_span(span)?;
        let range = Range { at: span.first(), end: span.last() + 1 };
        self.seek(memory, range.at);
        let unmapped = engine::unmap_run(&self.recent, &self.format, memory, range, gather);
        if unmapped == Unmapped::Yes {
            return Ok(());
        }
        // From here on tables may be unlinked.
        self.recent = Recent::none();
        if unmapped == Unmapped::Last {
            at_root!(self, prune(&self.format, memory, range, gather.tables_mut()));
            return Ok(());
        }
        at_root!(self, unmap(&self.format, memory, range, gather))
    }

    /// Makes the lowest table on the way to `at`, which is translated, the recent one.
    #[inline]
    fn seek(&mut self, memory: &impl TableMemory<F::Word>, at: u64) {
        if !self.recent.is_lowest(at) {
            at_root!(self, seek(&self.format, memory, at, &mut self.recent));
        }
    }

    /// Gives all pages in `span`, all of which must be mapped, other attributes. A page that is only partly in the
    /// span is split, as by [`unmap`](Self::unmap).
    ///
    /// # Errors
    /// [`ProtectError`]; nothing was changed.
    pub fn protect(
        &mut self,
        memory: &mut impl TableMemory<F::Word>,
        span: Span,
        attributes: Attributes,
        gather: &mut Gather,
    ) -> Result<(), ProtectError> {
        self.check_span(span)?;
        let bits = self
            .format
            .encode(&attributes)
            .map_err(|what| ProtectError::Unrepresentable { attributes, what })?;
        let range = Range { at: span.first(), end: span.last() + 1 };
        at_root!(self, protect(&self.format, memory, range, bits, gather))
    }

    /// Where the address `at` leads, if anywhere.
    #[inline]
    pub fn translate(&self, memory: &impl TableMemory<F::Word>, at: u64) -> Option<Translation> {
        if !self.format.input().contains(at) {
            return None;
        }
        let found = at_root!(self, find(memory, at))?;
        Some(Translation {
            physical: PhysicalAddress::new(found.physical),
            page_size: found.size,
            attributes: self.format.decode(found.bits),
        })
    }

    /// Calls `visit` with every page that has a byte in `span`, in ascending order.
    pub fn leaves(&self, memory: &impl TableMemory<F::Word>, span: Span, mut visit: impl FnMut(Leaf)) {
        let Some(span) = span.intersection(self.format.input()) else {
            return;
        };
        let mut each = |page: engine::Page<F::Bits>| {
            visit(Leaf {
                at: page.at,
                physical: PhysicalAddress::new(page.physical),
                size: page.size,
                attributes: self.format.decode(page.bits),
            });
        };
        let range = Range { at: span.first(), end: span.last() + 1 };
        at_root!(self, leaves(memory, range, &mut each));
    }

    /// Frees all tables, whatever they map. To be called when no hardware walks the table any more and the
    /// invalidation of all it translated has completed.
    pub fn destroy(self, memory: &mut impl TableMemory<F::Word>) {
        let words = (self.format.root_bytes() / <F::Word as Word>::BYTES) as usize;
        at_root!(self, free_below(memory, words));
        memory.free(self.root, self.format.root_bytes());
    }

    /// The root, as a table of whatever level the caller says the root is of.
    #[inline]
    fn top<L: Level<Format = F>>(&self) -> Table<L> {
        Table::new(self.root, self.format.root())
    }

    /// Whether entries can point to all of `segment`, which is not empty.
    #[inline]
    fn reaches(&self, segment: Segment) -> bool {
        let (physical, limit) = (segment.physical.raw(), self.format.physical_limit());
        physical <= limit && segment.len.wrapping_sub(1) <= limit - physical
    }

    /// The length of all segments together.
    fn check_segments(&self, at: u64, segments: impl Iterator<Item = Segment>) -> Result<u64, MapError> {
        let unit = F::PAGE_SIZES.smallest();
        let input = self.format.input();
        let mut len = 0_u64;
        for segment in segments {
            let physical = segment.physical.raw();
            if segment.len == 0 {
                return Err(MapError::Empty { at });
            }
            if (at | physical | segment.len) & (unit - 1) != 0 {
                let at = at.wrapping_add(len);
                return Err(MapError::Misaligned { at, physical: segment.physical, len: segment.len, unit });
            }
            if !self.reaches(segment) {
                let limit = self.format.physical_limit();
                let Segment { physical, len } = segment;
                return Err(MapError::PhysicalOutOfRange { physical, len, limit });
            }
            len = len.checked_add(segment.len).ok_or(MapError::OutOfRange { at, len: u64::MAX, input })?;
        }
        if len == 0 {
            return Err(MapError::Empty { at });
        }
        match Span::new(at, len) {
            Some(span) if input.covers(span) => Ok(len),
            _ => Err(MapError::OutOfRange { at, len, input }),
        }
    }

    /// That `span` is translated and in whole pages. Then one past its end is a number, since no format has a
    /// 64-bit input.
    #[inline]
    fn check_span(&self, span: Span) -> Result<(), UnmapError> {
        let input = self.format.input();
        if !input.covers(span) {
            return Err(UnmapError::OutOfRange { span, input });
        }
        let unit = F::PAGE_SIZES.smallest();
        if (span.first() | (span.last() + 1)) & (unit - 1) != 0 {
            return Err(UnmapError::Misaligned { span, unit });
        }
        Ok(())
    }

    /// The error for what the engine refused, with the page that is in the way.
    #[cold]
    fn blame(
        &self,
        memory: &impl TableMemory<F::Word>,
        at: u64,
        len: u64,
        refusal: engine::MapRefusal,
    ) -> MapError {
        match refusal {
            engine::MapRefusal::MixedSecurity { at } => MapError::MixedSecurity { at },
            engine::MapRefusal::Table(error) => MapError::Table(error),
            engine::MapRefusal::Occupied => {
                let mut first = None;
                if let Some(span) = Span::new(at, len) {
                    self.leaves(memory, span, |leaf| {
                        first.get_or_insert(leaf);
                    });
                }
                match first {
                    Some(by) => MapError::Occupied { at: at.max(by.at), by },
                    // An entry that is neither free nor a page nor a table: not one of ours.
                    None => MapError::Foreign { at },
                }
            }
        }
    }
}
