//! The device directory in memory.

use super::spec::{self, DirectoryEntry};
use crate::{SharedMemory, StreamId};
use vcm::{OutOfMemory, PhysicalAddress};

/// The words of a device context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Context {
    pub(super) tc: spec::Tc,
    pub(super) iohgatp: spec::Iohgatp,
    pub(super) ta: spec::Ta,
    pub(super) fsc: spec::Iosatp,
}

/// Which form device contexts have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// 32 bytes.
    Base,
    /// 64 bytes.
    Extended,
}

impl Form {
    const fn bytes(self) -> u64 {
        match self {
            Self::Base => spec::BASE_CONTEXT_BYTES,
            Self::Extended => spec::EXTENDED_CONTEXT_BYTES,
        }
    }

    /// Bits of a device id that choose a context in its page: `DDI[0]`.
    const fn leaf_bits(self) -> u32 {
        (spec::PAGE / self.bytes()).ilog2()
    }

    /// Bits of the device ids that `levels` levels tell apart.
    pub(super) const fn id_bits(self, levels: u8) -> u32 {
        match levels {
            1 => self.leaf_bits(),
            2 => self.leaf_bits() + spec::MIDDLE_INDEX_BITS,
            _ => spec::DEVICE_ID_BITS,
        }
    }
}

/// The device directory: a root page, and pages below it that are made when they are first needed and then stay.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) root: PhysicalAddress,
    pub(super) form: Form,
    /// 1 to 3.
    pub(super) levels: u8,
}

impl Directory {
    pub(super) const fn last(&self) -> StreamId {
        StreamId((1 << self.form.id_bits(self.levels)) - 1)
    }

    /// `ddtp` for it.
    pub(super) const fn pointer(&self) -> spec::Ddtp {
        spec::Ddtp::new().with_mode(self.levels + 1).with_ppn(self.root.raw() >> 12)
    }

    /// Where the context of `stream` is, in pages that are made if need be.
    pub(super) fn place(
        &self,
        memory: &mut impl SharedMemory,
        stream: StreamId,
    ) -> Result<PhysicalAddress, OutOfMemory> {
        let mut page = self.root.raw();
        for level in (1..self.levels).rev() {
            let shift = self.form.leaf_bits() + spec::MIDDLE_INDEX_BITS * u32::from(level - 1);
            let index = u64::from(stream.0 >> shift) % (spec::PAGE / 8);
            let at = PhysicalAddress::new(page + index * 8);
            let entry = DirectoryEntry::from_bits(memory.read64(at));
            page = if entry.v() {
                entry.ppn() << 12
            } else {
                let new = memory.allocate(spec::PAGE, spec::PAGE)?;
                // An entry that is not valid is not cached: nothing is to be invalidated.
                memory.write64(at, DirectoryEntry::new().with_v(true).with_ppn(new.raw() >> 12).into_bits());
                new.raw()
            };
        }
        let index = u64::from(stream.0) % (spec::PAGE / self.form.bytes());
        Ok(PhysicalAddress::new(page + index * self.form.bytes()))
    }

    /// Writes a context where none was valid: it becomes valid last.
    pub(super) fn write(&self, memory: &mut impl SharedMemory, at: PhysicalAddress, context: &Context) {
        let mut put = |offset, word| memory.write64(PhysicalAddress::new(at.raw() + offset), word);
        if self.form == Form::Extended {
            for offset in (spec::MSIPTP..spec::EXTENDED_CONTEXT_BYTES).step_by(8) {
                put(offset, 0);
            }
        }
        put(spec::IOHGATP, context.iohgatp.into_bits());
        put(spec::TA, context.ta.into_bits());
        put(spec::FSC, context.fsc.into_bits());
        put(spec::TC, context.tc.into_bits());
    }

    /// Makes a context invalid.
    pub(super) fn clear(memory: &mut impl SharedMemory, at: PhysicalAddress) {
        memory.write64(PhysicalAddress::new(at.raw() + spec::TC), 0);
    }
}
