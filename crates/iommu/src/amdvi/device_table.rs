//! The device table in memory.

use super::spec::{self, DeviceEntry0, DeviceEntry1, DeviceTableBase};
use crate::{SharedMemory, StreamId, Tables};
use vcm::PhysicalAddress;

/// How a domain translates, with the number that tags what is cached of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Domain {
    pub(super) number: u16,
    pub(super) way: Path,
}

/// How a domain translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Path {
    /// Device addresses are physical ones.
    Identity,
    /// By a table.
    Table { table: Tables, levels: u8 },
}

/// First word of a stream that may do nothing. It is valid: without that, everything would pass.
const BLOCKED: DeviceEntry0 = DeviceEntry0::new().with_v(true).with_tv(true);

impl Domain {
    const fn entry(&self) -> DeviceEntry0 {
        let open = BLOCKED.with_ir(true).with_iw(true);
        match self.way {
            Path::Identity => open,
            Path::Table { table, levels } => open.with_mode(levels).with_root(table.root.raw() >> 12),
        }
    }
}

/// The device table.
#[derive(Debug)]
pub(super) struct DeviceTable {
    base: PhysicalAddress,
    last: u16,
}

impl DeviceTable {
    /// Bytes of a table that reaches `last`.
    pub(super) const fn bytes(last: u16) -> u64 {
        ((last as u64 + 1) * spec::DEVICE_ENTRY_BYTES).next_multiple_of(spec::PAGE)
    }

    pub(super) const fn new(base: PhysicalAddress, last: u16) -> Self {
        Self { base, last }
    }

    pub(super) const fn last(&self) -> StreamId {
        StreamId(self.last as u32)
    }

    /// What the register must hold.
    pub(super) const fn pointer(&self) -> DeviceTableBase {
        let pages = Self::bytes(self.last) / spec::PAGE;
        DeviceTableBase::new().with_page(self.base.raw() >> 12).with_pages_minus_1(pages as u16 - 1)
    }

    fn put(&self, memory: &mut impl SharedMemory, stream: StreamId, word: u64, value: u64) {
        let at = self.base.raw() + u64::from(stream.0) * spec::DEVICE_ENTRY_BYTES + word * 8;
        memory.write64(PhysicalAddress::new(at), value);
    }

    /// Blocks every stream that there is an entry for; of a table that is all zero.
    pub(super) fn block_all(&self, memory: &mut impl SharedMemory) {
        for stream in 0..(Self::bytes(self.last) / spec::DEVICE_ENTRY_BYTES) as u32 {
            self.block(memory, StreamId(stream));
        }
    }

    /// Blocks a stream, by one write.
    pub(super) fn block(&self, memory: &mut impl SharedMemory, stream: StreamId) {
        self.put(memory, stream, 0, BLOCKED.into_bits());
    }

    /// Lets a stream that is blocked translate: by the last of two writes, while the first changes nothing for it.
    pub(super) fn open(&self, memory: &mut impl SharedMemory, stream: StreamId, domain: &Domain) {
        self.put(memory, stream, 1, DeviceEntry1::new().with_domain(domain.number).into_bits());
        self.put(memory, stream, 0, domain.entry().into_bits());
    }
}
