//! A domain, and what is mapped in it.

use super::request::Request;
use super::spec;
use vcm::{List, OutOfMemory, Span};

/// What endpoints of a domain see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// All of memory, untranslated.
    Bypass,
    /// What was mapped.
    Mapped,
}

/// What was mapped with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapping {
    pub(super) span: Span,
    pub(super) physical: u64,
    /// `spec::MAP_READ` and its like.
    pub(super) flags: u32,
}

impl Mapping {
    pub(super) const fn request(&self, domain: u32) -> Request {
        let (first, last) = (self.span.first(), self.span.last());
        Request::Map { domain, first, last, physical: self.physical, flags: self.flags }
    }
}

/// A domain. The device knows of it only while an endpoint is attached; the driver always does.
#[derive(Debug)]
pub(super) struct Domain {
    /// The device's number for it.
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// By address, none overlapping.
    mappings: List<Mapping>,
}

impl Domain {
    pub(super) const fn new(number: u32, kind: Kind) -> Self {
        Self { number, kind, mappings: List::new() }
    }

    pub(super) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    pub(super) const fn attach_flags(&self) -> u32 {
        match self.kind {
            Kind::Bypass => spec::ATTACH_BYPASS,
            Kind::Mapped => 0,
        }
    }

    /// The mapping that has the byte at `address`.
    pub(super) fn at(&self, address: u64) -> Option<&Mapping> {
        let first = self.mappings.partition_point(|mapping| mapping.span.last() < address);
        self.mappings.get(first).filter(|mapping| mapping.span.contains(address))
    }

    /// The mappings that share a byte with `span`.
    pub(super) fn within(&self, span: Span) -> core::ops::Range<usize> {
        let first = self.mappings.partition_point(|mapping| mapping.span.last() < span.first());
        let end = self.mappings.partition_point(|mapping| mapping.span.first() <= span.last());
        first..end
    }

    /// Makes room for `additional` more mappings.
    pub(super) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        self.mappings.reserve(additional)
    }

    /// Adds mappings, in order and one after the other, where nothing is; their room was made.
    pub(super) fn insert(&mut self, mappings: impl Iterator<Item = Mapping>) {
        let before = self.mappings.len();
        for mapping in mappings {
            self.mappings.push_reserved(mapping);
        }
        let count = self.mappings.len() - before;
        if let Some(new) = self.mappings.get(before) {
            let (old, at) = (&self.mappings[..before], new.span.first());
            let place = old.partition_point(|mapping| mapping.span.first() < at);
            self.mappings[place..].rotate_right(count);
        }
    }

    /// Takes the mappings with these numbers out.
    pub(super) fn remove(&mut self, range: core::ops::Range<usize>) {
        self.mappings.copy_within(range.end.., range.start);
        self.mappings.truncate(self.mappings.len() - range.len());
    }
}
