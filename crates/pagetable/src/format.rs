//! What a format tells the engine: its levels, and how each encodes its entries.

use crate::{ConfigError, Unrepresentable, Word};
use core::fmt;
use core::marker::PhantomData;
use vcm::{Attributes, PageSizes, PhysicalAddress, Span};

/// A page-table format.
///
/// A value of the type is the format as configured. All that decides the shape of the loops (word, number and size
/// of entries, which levels hold pages) is constant.
pub trait Format: Copy + fmt::Debug + 'static {
    /// What entries are made of.
    type Word: Word;
    /// What is chosen when a table is made.
    type Config: Copy + fmt::Debug;
    /// The highest level that a table of this format may start at.
    type Top: Level<Format = Self, Word = Self::Word>;
    /// Attributes, encoded once and placed into the entries of any level.
    type Bits: Copy + fmt::Debug;
    /// What is known of a table beside its address: what the entry that leads to it says about all pages below it,
    /// and of a root that is longer than other tables, how long it is.
    type Inherited: Copy + Default + fmt::Debug;

    /// All sizes of pages that a table of the format may have. The smallest is the unit of all that is mapped.
    const PAGE_SIZES: PageSizes;
    /// The size in bytes, and the alignment, of every table but the root.
    const TABLE_BYTES: u64;

    /// The format as configured.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that the architecture does not have.
    fn new(config: Self::Config) -> Result<Self, ConfigError>;

    /// How many levels below [`Top`](Self::Top) the root is: 0 to 3.
    fn start(&self) -> u32;

    /// The size in bytes, and the alignment, of the root: a power of two. It has an entry for every address up to
    /// [`input`](Self::input)'s last. If it is longer than [`Level::ENTRIES`], [`root`](Self::root) must tell.
    fn root_bytes(&self) -> u64;

    /// What is known of the root.
    #[inline]
    fn root(&self) -> Self::Inherited {
        Self::Inherited::default()
    }

    /// The sizes of pages that this table has: those of [`PAGE_SIZES`](Self::PAGE_SIZES) that the root is high enough
    /// for, and that the configuration permits; always with the smallest.
    #[inline]
    fn page_sizes(&self) -> PageSizes {
        Self::PAGE_SIZES
    }

    /// The addresses that a table translates: 63 bits at most.
    fn input(&self) -> Span;

    /// The last physical address that an entry can point to.
    fn physical_limit(&self) -> u64;

    /// Encodes attributes.
    ///
    /// # Errors
    /// The part that has no encoding.
    fn encode(&self, attributes: &Attributes) -> Result<Self::Bits, Unrepresentable>;

    /// The attributes that `bits` encode.
    fn decode(&self, bits: Self::Bits) -> Attributes;

    /// Whether a page with `bits` may be below an entry that says `inherited`.
    #[inline]
    fn allows(inherited: Self::Inherited, bits: Self::Bits) -> bool {
        let _ = (inherited, bits);
        true
    }
}

/// One level of a format. Each level is a type, with a type for its descriptors, so that the entry of one level
/// cannot be taken for another's.
pub trait Level: Sized + 'static {
    /// The format it belongs to.
    type Format: Format<Word = Self::Word>;
    /// What its entries are made of.
    type Word: Word;
    /// The level below; of the last level, itself.
    type Child: Level<Format = Self::Format, Word = Self::Word>;
    /// An entry.
    type Descriptor: Copy + From<Self::Word> + Into<Self::Word>;

    /// How many levels above it a format may have.
    const DEPTH: u32;
    /// Whether no table follows.
    const LAST: bool;
    /// log2 of the bytes that an entry covers.
    const SHIFT: u32;
    /// The number of entries of a full table.
    const ENTRIES: usize;
    /// Whether an entry may be a page. (Whether it is one in a table is for [`Format::page_sizes`] to say.)
    const LEAF: bool;
    /// Which groups of neighbouring entries may be one larger page: bit n for 2^n entries, n from 1 on. A group starts
    /// at a multiple of its size, in both address spaces.
    const GROUPS: u32 = 0;
    /// What the entries of a group are to each other.
    const GROUP_ENTRIES: GroupEntries = GroupEntries::Identical;
    /// An entry is a page of its own (not one of a group) when its bits under the first word are the second.
    const LEAF_TEST: (Self::Word, Self::Word);

    /// The number of entries of a table that `inherited` is known of: a power of two, and more than
    /// [`ENTRIES`](Self::ENTRIES) for a longer root only.
    #[inline]
    fn entries(inherited: Inherited<Self>) -> usize {
        let _ = inherited;
        Self::ENTRIES
    }

    /// As [`LEAF_TEST`](Self::LEAF_TEST), for one of a group of 2^`log2` entries. Only asked for groups in [`GROUPS`](Self::GROUPS).
    #[inline]
    fn group_test(log2: u32) -> (Self::Word, Self::Word) {
        let _ = log2;
        Self::LEAF_TEST
    }

    /// How much more than an entry the next one is, when both are pages and the second's memory follows the first's: what
    /// an entry covers, unless entries hold shifted addresses.
    #[inline]
    fn step() -> Self::Word {
        Self::Word::truncate(1 << Self::SHIFT)
    }

    /// The entry of a page of its own.
    fn leaf(physical: u64, bits: Bits<Self>) -> Self::Descriptor;

    /// An entry of a group of 2^`log2` entries. `physical` is where the group's memory starts if its entries are
    /// [`Identical`](GroupEntries::Identical), and this entry's own if they are [`Successive`](GroupEntries::Successive).
    #[inline]
    fn group(physical: u64, bits: Bits<Self>, log2: u32) -> Self::Descriptor {
        let _ = log2;
        Self::leaf(physical, bits)
    }

    /// The entry that leads to a table of pages with `bits`.
    fn table(table: PhysicalAddress, bits: Bits<Self>) -> Self::Descriptor;

    /// What an entry says.
    fn entry(descriptor: Self::Descriptor) -> Entry<Self>;

    /// The attributes of a page's entry, in a table whose own entry says `inherited`.
    fn bits(descriptor: Self::Descriptor, inherited: Inherited<Self>) -> Bits<Self>;
}

/// The encoded attributes of a level's format.
pub type Bits<L> = <<L as Level>::Format as Format>::Bits;
/// What tables of a level's format inherit.
pub type Inherited<L> = <<L as Level>::Format as Format>::Inherited;

/// What an entry says.
#[derive(Debug)]
pub enum Entry<L: Level> {
    /// Nothing is translated here.
    Free,
    /// A page.
    Leaf {
        /// Where its memory starts; of a group of [`Identical`](GroupEntries::Identical) entries, where the memory of the
        /// whole group starts.
        physical: u64,
        /// Whether it is a page by itself or one of a group.
        size: LeafSize,
    },
    /// A table of the next level.
    Table(Table<L::Child>),
}

/// Which of a level's pages an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeafSize {
    /// What one entry covers.
    Single,
    /// What a group of entries covers (see [`Level::GROUPS`]).
    Group {
        /// log2 of the number of entries.
        log2: u32,
    },
}

impl LeafSize {
    /// log2 of the number of entries.
    #[inline]
    pub const fn log2(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Group { log2 } => log2,
        }
    }
}

/// What the entries of a group are to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupEntries {
    /// All say the same.
    Identical,
    /// Each says where its own memory is: one entry's size further than the entry before it.
    Successive,
}

/// A table whose entries are of level `L`.
#[derive(Debug)]
pub struct Table<L: Level> {
    /// Where it is.
    pub address: PhysicalAddress,
    /// What the entry that leads to it says about its pages.
    pub inherited: Inherited<L>,
    level: PhantomData<fn() -> L>,
}

impl<L: Level> Table<L> {
    /// The table at `address`, whose entry says `inherited`.
    #[inline]
    pub const fn new(address: PhysicalAddress, inherited: Inherited<L>) -> Self {
        Self { address, inherited, level: PhantomData }
    }
}

impl<L: Level> Clone for Table<L> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: Level> Copy for Table<L> {}
