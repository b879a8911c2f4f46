//! A machine that keeps its page tables in maps, has a TLB that remembers, and fails when it is told to.
//!
//! It checks the graph while it serves it: a mapping over another one, a space that is given up while a device
//! is attached, memory that goes back to its pool while anything still leads to it, and a stale TLB entry that
//! reaches such memory are panics.

use super::allocator::exempt;
pub(crate) use super::formats::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use vcm::{
    Attributes, DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, Part,
    PhysicalAddress, Quiesced, RegionKind, SIZE_4K, Segment, Segments, SpaceHandle, Span, Unfinished,
};

/// How a hardware call goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// Nothing happened. Set-ups say why; teardowns are unfinished.
    Refused(HardwareErrorKind),
    /// It stopped half-way: half of the pages, the tables without the TLB, an attachment that stays.
    HalfDone,
    /// Teardowns do nothing and give a receipt for something else. Set-ups are refused.
    WrongReceipt,
    /// Teardowns deal with the first page only, and say so. Set-ups are refused.
    ShortReceipt,
}

/// Whether the machine recovers by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// Only one call goes wrong.
    Passing,
    /// From then on no teardown is finished, until [`FakeMachine::repair`].
    Lasting,
}

/// Why an access did not go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocked {
    /// No space is attached for the address.
    NoContext,
    /// Nothing is mapped there.
    Translation,
}

/// An address space, page by page.
#[derive(Clone, Debug)]
pub(crate) struct FakeSpace {
    pub(crate) kind: RegionKind,
    pub(crate) format: Format,
    pub(crate) span: Span,
    pub(crate) pages: BTreeMap<u64, (u64, Attributes)>,
}

/// The machine.
#[derive(Debug, Default)]
pub(crate) struct FakeMachine {
    pub(crate) spaces: BTreeMap<SpaceHandle, FakeSpace>,
    pub(crate) attached: Vec<(DeviceHandle, Part, SpaceHandle)>,
    next_space: u32,
    /// What was used once stays, until it is invalidated.
    tlb: BTreeMap<(DeviceHandle, u64), (SpaceHandle, u64)>,
    /// Pages that are allocated.
    pub(crate) taken: BTreeSet<u64>,
    /// Pages that went back to their pool.
    returned: BTreeSet<u64>,
    /// The fallible calls so far.
    calls: Cell<u64>,
    /// At which call what goes wrong.
    plan: Cell<Option<(u64, Failure, Trouble)>>,
    /// No teardown is finished.
    broken: Cell<bool>,
    /// How many calls went wrong.
    failures: Cell<u64>,
}

/// What the machine does with a call.
enum Step {
    Normal,
    Fails(Failure),
}

pub(super) fn error(kind: HardwareErrorKind) -> HardwareError {
    HardwareError { kind, at: "fake machine".into() }
}

fn unfinished() -> Unfinished {
    Unfinished { error: error(HardwareErrorKind::Unresponsive) }
}

fn pages_of(span: Span) -> impl Iterator<Item = u64> {
    (span.first() / SIZE_4K..=span.last() / SIZE_4K).map(|page| page * SIZE_4K)
}

impl FakeMachine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets the `nth` fallible call from now on (counted from 1) go wrong.
    pub(crate) fn fail_at(&mut self, nth: u64, failure: Failure, trouble: Trouble) {
        self.plan.set(Some((self.calls.get() + nth, failure, trouble)));
        self.failures.set(0);
    }

    /// From now on no teardown is finished.
    pub(crate) fn break_down(&mut self) {
        self.broken.set(true);
    }

    /// Everything works again.
    pub(crate) fn repair(&mut self) {
        self.broken.set(false);
        self.plan.set(None);
    }

    /// How many calls went wrong since [`FakeMachine::fail_at`].
    pub(crate) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The fallible calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn step(&self) -> Step {
        self.calls.set(self.calls.get() + 1);
        match self.plan.get() {
            Some((call, failure, trouble)) if call == self.calls.get() => {
                self.plan.set(None);
                self.failures.set(self.failures.get() + 1);
                if trouble == Trouble::Lasting {
                    self.broken.set(true);
                }
                Step::Fails(failure)
            }
            _ => Step::Normal,
        }
    }

    /// As [`FakeMachine::step`], for teardowns.
    fn teardown_step(&self) -> Step {
        let was_broken = self.broken.get();
        match self.step() {
            Step::Normal if was_broken => Step::Fails(Failure::Refused(HardwareErrorKind::Unresponsive)),
            step => step,
        }
    }

    /// A set-up that fails: `half` is what then happens half-way.
    fn set_up(&mut self, half: impl FnOnce(&mut Self)) -> Result<(), HardwareError> {
        match self.step() {
            Step::Normal => Ok(()),
            Step::Fails(Failure::Refused(kind)) => Err(error(kind)),
            Step::Fails(Failure::WrongReceipt | Failure::ShortReceipt) => {
                Err(error(HardwareErrorKind::Unresponsive))
            }
            Step::Fails(Failure::HalfDone) => {
                half(self);
                Err(error(HardwareErrorKind::HalfDone))
            }
        }
    }

    fn space_of(&self, device: DeviceHandle, address: u64) -> Option<SpaceHandle> {
        let here = |part| format_of(device, part).is_ok_and(|format| format.addresses.contains(address));
        let mut candidates = self
            .attached
            .iter()
            .filter(|(who, part, _)| *who == device && here(*part))
            .map(|(_, _, space)| *space);
        // A CPU has several spaces, side by side.
        let first = candidates.clone().next();
        candidates.find(|space| self.spaces[space].span.contains(address)).or(first)
    }

    /// A transaction of `device`: where it arrives. What it used stays in the TLB.
    pub(crate) fn access(&mut self, device: DeviceHandle, address: u64) -> Result<u64, Blocked> {
        let page = address & !(SIZE_4K - 1);
        let physical = match self.tlb.get(&(device, page)) {
            Some((_, physical)) => *physical,
            None => {
                let space = self.space_of(device, address).ok_or(Blocked::NoContext)?;
                let (physical, _) = self.spaces[&space].pages.get(&page).ok_or(Blocked::Translation)?;
                self.tlb.insert((device, page), (space, *physical));
                *physical
            }
        };
        assert!(
            !self.returned.contains(&physical),
            "ORACLE: {device:?} at {address:#x} reached {physical:#x}, which was given back to its pool"
        );
        Ok(physical + (address - page))
    }

    /// The number of TLB entries.
    pub(crate) fn tlb_len(&self) -> usize {
        self.tlb.len()
    }

    /// All tables and attachments, run by run: equal texts are equal machines.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for (handle, space) in &self.spaces {
            writeln!(text, "{handle:?} {} {} {}", space.kind, space.format.name, space.span).unwrap();
            let mut run: Option<(u64, u64, u64, Attributes)> = None;
            let mut flush = |run: Option<(u64, u64, u64, Attributes)>| {
                if let Some((at, to, len, attributes)) = run {
                    writeln!(text, "  {at:#x} -> {to:#x} {len:#x} [{attributes}]").unwrap();
                }
            };
            for (page, (physical, attributes)) in &space.pages {
                run = match run {
                    Some((at, to, len, with))
                        if at + len == *page && to + len == *physical && with == *attributes =>
                    {
                        Some((at, to, len + SIZE_4K, with))
                    }
                    before => {
                        flush(before);
                        Some((*page, *physical, SIZE_4K, *attributes))
                    }
                };
            }
            flush(run);
        }
        for (device, part, space) in &self.attached {
            writeln!(text, "{device:?} {part} through {space:?}").unwrap();
        }
        writeln!(text, "{} pages taken", self.taken.len()).unwrap();
        text
    }

    fn map_pages(&mut self, space: SpaceHandle, at: u64, segments: Segments<'_>, attributes: Attributes) {
        let space = self.spaces.get_mut(&space).expect("map: the space is gone");
        let mut next = at;
        for segment in segments {
            assert!(segment.len.is_multiple_of(SIZE_4K), "map: {segment} is not whole pages");
            for page in pages_of(segment.span().expect("map: an empty segment")) {
                assert!(space.span.contains(next), "map: {next:#x} is outside of {}", space.span);
                let before = space.pages.insert(next, (page, attributes));
                assert_eq!(before, None, "map: {next:#x} was mapped already");
                next = next.wrapping_add(SIZE_4K);
            }
        }
    }

    fn invalidate(&mut self, space: SpaceHandle, span: Span) {
        self.tlb.retain(|(_, page), (of, _)| *of != space || !span.contains(*page));
    }
}

impl Hardware for FakeMachine {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        exempt(|| match self.step() {
            Step::Normal => format_of(device, part),
            Step::Fails(Failure::Refused(kind)) => Err(error(kind)),
            Step::Fails(_) => Err(error(HardwareErrorKind::Unresponsive)),
        })
    }

    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError> {
        exempt(|| {
            assert_ne!(kind, RegionKind::OneToOne, "one-to-one regions have no spaces");
            assert!(format.addresses.covers(span), "a space that its format cannot translate");
            self.set_up(|_| {})?;
            self.next_space += 1;
            let handle = SpaceHandle(self.next_space);
            self.spaces.insert(handle, FakeSpace { kind, format, span, pages: BTreeMap::new() });
            Ok(handle)
        })
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        exempt(|| {
            let user = self.attached.iter().find(|(.., of)| *of == space);
            assert_eq!(user, None, "a space is given up while a device is attached");
            let stale = self.tlb.iter().find(|(_, (of, _))| *of == space);
            assert_eq!(stale, None, "a space is given up while a TLB holds entries of it");
            assert!(self.spaces.remove(&space).is_some(), "{space:?} is given up twice");
        });
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        exempt(|| {
            let all: Vec<Segment> = segments.clone().collect();
            let given: u64 = all.iter().map(|segment| segment.len).sum();
            assert_eq!(given, segments.remaining(), "map: fewer bytes than promised");
            let half = (given / 2).next_multiple_of(SIZE_4K);
            self.set_up(|machine| machine.map_pages(space, at, Segments::new(&all, 0, half), attributes))?;
            self.map_pages(space, at, segments, attributes);
            Ok(())
        })
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        exempt(|| {
            let step = self.teardown_step();
            let found = self.spaces.get_mut(&space).expect("unmap: the space is gone");
            match step {
                Step::Fails(Failure::Refused(_)) => return Err(unfinished()),
                Step::Fails(Failure::WrongReceipt) => {
                    let other = Span::new(span.first() ^ SIZE_4K, SIZE_4K).expect("one page");
                    return Ok(Quiesced::after_invalidation(space, other));
                }
                Step::Fails(Failure::ShortReceipt) if span.len() > u128::from(SIZE_4K) => {
                    found.pages.remove(&span.first());
                    let first = Span::new(span.first(), SIZE_4K).expect("one page");
                    self.invalidate(space, first);
                    return Ok(Quiesced::after_invalidation(space, first));
                }
                Step::Normal | Step::Fails(Failure::HalfDone | Failure::ShortReceipt) => {
                    found.pages.retain(|page, _| !span.contains(*page));
                }
            }
            if matches!(step, Step::Fails(Failure::HalfDone)) {
                return Err(unfinished());
            }
            self.invalidate(space, span);
            Ok(Quiesced::after_invalidation(space, span))
        })
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        exempt(|| {
            assert!(self.spaces.contains_key(&space), "attach: the space is gone");
            let several = device == CPU;
            let held = self
                .attached
                .iter()
                .find(|(who, other, _)| *who == device && !several && !part.is_beside(*other));
            assert_eq!(held, None, "attach: {device:?} is attached already");
            self.set_up(|machine| machine.attached.push((device, part, space)))?;
            self.attached.push((device, part, space));
            Ok(())
        })
    }

    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished> {
        exempt(|| {
            let span = self.spaces[&space].span;
            match self.teardown_step() {
                Step::Fails(Failure::Refused(_)) => return Err(unfinished()),
                Step::Fails(Failure::WrongReceipt) => {
                    return Ok(Quiesced::after_invalidation(SpaceHandle(u32::MAX), span));
                }
                Step::Fails(Failure::ShortReceipt) => {
                    let first = Span::new(span.first(), SIZE_4K).expect("one page");
                    self.tlb.retain(|(who, page), (of, _)| {
                        *who != device || *of != space || !first.contains(*page)
                    });
                    return Ok(Quiesced::after_invalidation(space, first));
                }
                // The context is off, but the TLB was not waited for.
                Step::Fails(Failure::HalfDone) => {
                    self.attached.retain(|one| *one != (device, part, space));
                    return Err(unfinished());
                }
                Step::Normal => {}
            }
            self.attached.retain(|one| *one != (device, part, space));
            self.tlb.retain(|(who, _), (of, _)| *who != device || *of != space);
            Ok(Quiesced::after_invalidation(space, span))
        })
    }

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        if matches!(device, ETHERNET | CAMERA) {
            return Err(error(HardwareErrorKind::NotSupported));
        }
        let space = self.space_of(device, address).ok_or(error(HardwareErrorKind::Address))?;
        self.walk(space, address).ok_or(error(HardwareErrorKind::Address))
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        let page = address & !(SIZE_4K - 1);
        let (physical, _) = self.spaces.get(&space)?.pages.get(&page)?;
        Some(PhysicalAddress::new(physical + (address - page)))
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        let space = &self.spaces[&space];
        let mut count = LeafCount::default();
        let mut at = span.first();
        while span.contains(at) {
            let Some((physical, _)) = space.pages.get(&at) else {
                at += SIZE_4K;
                continue;
            };
            let fits = |size: &u64| {
                (at | physical) & (size - 1) == 0
                    && Span::new(at, *size).is_some_and(|leaf| {
                        span.covers(leaf)
                            && pages_of(leaf).all(|page| {
                                space.pages.get(&page).is_some_and(|to| to.0 == physical + (page - at))
                            })
                    })
            };
            let size = space.format.page_sizes.descending().find(fits).expect("the smallest page fits");
            count.add(size);
            match at.checked_add(size) {
                Some(next) => at = next,
                None => break,
            }
        }
        count
    }

    fn memory_taken(&mut self, memory: Segment) {
        exempt(|| {
            for page in pages_of(memory.span().expect("an empty block")) {
                assert!(self.taken.insert(page), "ORACLE: {page:#x} was handed out twice");
                self.returned.remove(&page);
            }
        });
    }

    fn memory_returned(&mut self, memory: Segment) {
        exempt(|| {
            let span = memory.span().expect("an empty block");
            for page in pages_of(span) {
                assert!(self.taken.remove(&page), "ORACLE: {page:#x} came back without having been taken");
                self.returned.insert(page);
            }
            for (handle, space) in &self.spaces {
                let mapped = space.pages.iter().find(|(_, (physical, _))| span.contains(*physical));
                assert_eq!(mapped, None, "ORACLE: {memory} came back while {handle:?} maps it");
            }
            let stale = self.tlb.iter().find(|(_, (_, physical))| span.contains(*physical));
            assert_eq!(stale, None, "ORACLE: {memory} came back while a TLB leads to it");
        });
    }
}
