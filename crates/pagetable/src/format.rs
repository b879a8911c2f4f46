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
    /// What the entry that leads to a table says about all pages below it.
    type Inherited: Copy + Default + fmt::Debug;

    /// The sizes of pages.
    const PAGE_SIZES: PageSizes;
    /// The size in bytes, and the alignment, of every table but the root.
    const TABLE_BYTES: u64;

    /// The format as configured.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that the architecture does not have.
    fn new(config: Self::Config) -> Result<Self, ConfigError>;

    /// How many levels below [`Top`](Self::Top) the root is: 0 or 1.
    fn start(&self) -> u32;

    /// The size in bytes, and the alignment, of the root.
    fn root_bytes(&self) -> u64;

    /// The addresses that a table translates.
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
    /// Whether an entry may be a page.
    const LEAF: bool;
    /// The number of identical entries that make a larger page; 1 where there is none such.
    const GROUP: usize;
    /// An entry is a page of its own (not one of a group) when its bits under the first word are the second.
    const LEAF_TEST: (Self::Word, Self::Word);
    /// The same for one of a group. Not asked where [`GROUP`](Self::GROUP) is 1.
    const GROUP_TEST: (Self::Word, Self::Word);

    /// The entry of a page of its own.
    fn leaf(physical: u64, bits: Bits<Self>) -> Self::Descriptor;

    /// Each of the [`GROUP`](Self::GROUP) entries of a larger page.
    fn group(physical: u64, bits: Bits<Self>) -> Self::Descriptor;

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
        /// Where its memory starts; of a group, where the memory of the whole group starts.
        physical: u64,
        /// Whether it is a page by itself or one of a group.
        size: LeafSize,
    },
    /// A table of the next level.
    Table(Table<L::Child>),
}

/// Which of a level's two pages an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeafSize {
    /// What one entry covers.
    Single,
    /// What [`Level::GROUP`] identical entries cover.
    Group,
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
