//! How a controller and its queues are used, and what a controller tells of itself.

use super::spec::LIST;
use std::fmt;
use std::time::Duration;

/// Whether the controller sends messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NvmeMessages {
    /// No. Its interrupts by wire are masked, and completions are polled for.
    #[default]
    None,
    /// By MSI-X, which the caller has switched on. The admin queue's completions come with vector 0.
    Msix,
}

/// How a controller is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvmeConfig {
    /// Pairs of I/O queues to ask for, 1 to 65535. [`NvmeInformation::queues`] tells how many there are.
    pub queues: u16,
    /// The size of the pages that the controller works with: a power of two from 4096 to 1 << 27 bytes. Larger ones make
    /// shorter lists; that the memory of a transfer is contiguous for the controller is enough for any size.
    pub page_len: u64,
    /// How long anything may take.
    pub timeout: Duration,
    /// Whether completions are told by messages.
    pub messages: NvmeMessages,
}

impl NvmeConfig {
    /// How many pages [`Nvme::start`](super::Nvme::start) takes.
    pub const PAGES: usize = 3;
}

impl Default for NvmeConfig {
    fn default() -> Self {
        Self { queues: 1, page_len: 0x1000, timeout: Duration::from_secs(10), messages: NvmeMessages::None }
    }
}

/// How a pair of I/O queues is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvmeQueueConfig {
    /// Entries of both queues: from 2 to as many commands of 64 bytes as fit into a page.
    pub entries: u16,
    /// How many commands may be under way: 1 to 63, and fewer than entries.
    pub in_flight: u16,
    /// The MSI-X vector that tells of completions. `None`: nothing does.
    pub vector: Option<u16>,
}

impl NvmeQueueConfig {
    /// How many pages of `page_len` bytes the queues take: one each, and those for lists.
    pub const fn pages(&self, page_len: u64) -> usize {
        2 + (self.in_flight as u64 * LIST).div_ceil(page_len) as usize
    }
}

impl Default for NvmeQueueConfig {
    fn default() -> Self {
        Self { entries: 64, in_flight: 8, vector: None }
    }
}

/// What a controller and its first namespace tell of themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NvmeInformation {
    /// The serial number.
    pub serial: String,
    /// The model's name.
    pub model: String,
    /// How many blocks the namespace has.
    pub blocks: u64,
    /// The size of a block in bytes, a power of two from 512 to 4096.
    pub block_len: u64,
    /// How many bytes one command transfers at most.
    pub longest_transfer: u64,
    /// How many pairs of I/O queues it gives us, at most as many as asked for.
    pub queues: u16,
    /// How many entries its I/O queues have at most.
    pub entries: u32,
}

impl fmt::Display for NvmeInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, model, blocks, block_len, longest_transfer, queues, entries } = self;
        write!(
            f,
            "{model} {serial}: {blocks} blocks of {block_len} bytes; pairs of queues: {queues}, of at most {entries} entries; at \
             most {longest_transfer} bytes a command"
        )
    }
}
