//! Faults: read from the recording registers, the oldest first.

use super::{INTERRUPT_ADDRESSES, Vtd, spec};
use crate::{FaultRecord, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{FaultAccess, FaultReason, FaultState};

/// What the hardware recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A request for memory was refused.
    Fault(FaultRecord),
    /// A request for an interrupt was.
    BlockedInterrupt(BlockedInterrupt),
}

/// An interrupt that was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockedInterrupt {
    /// Whose request it was.
    pub stream: StreamId,
    /// The entry of the interrupt remapping table that it named; 0 where it named none.
    pub index: u16,
    /// Why it was blocked.
    pub reason: BlockedReason,
    /// What the reason is called.
    pub name: &'static str,
    /// The hardware's number for the reason.
    pub code: u8,
}

/// Why an interrupt was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockedReason {
    /// The entry is not present, or beyond the table.
    NoEntry,
    /// The entry is for another requester.
    OtherRequester,
    /// The request is in compatibility format: it names a vector, not an entry.
    CompatibilityFormat,
    /// The request, the entry or the table makes no sense to the hardware.
    Malformed,
}

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// The next thing that the hardware has recorded, the oldest first. As [`Iommu::next_fault`](crate::Iommu::next_fault),
    /// but telling refused interrupts from refused memory accesses.
    ///
    /// # Errors
    /// [`Unresponsive`]: the recording registers make no sense, or the hardware is gone.
    pub fn next_event(&mut self) -> Result<Option<Event>, Unresponsive> {
        let status = self.fault_status()?;
        if !status.ppf() {
            self.next_record = None;
            if status.pfo() {
                self.overflows += 1;
                self.registers.write(spec::FSTS, spec::FaultStatus::new().with_pfo(true).into_bits());
            }
            return Ok(None);
        }
        let count = self.capability.fault_records();
        // FRI tells of the first record only; the hardware fills the others in turn.
        let start = self.next_record.unwrap_or(u32::from(status.fri())) % count;
        for step in 0..count {
            let index = (start + step) % count;
            let at = self.capability.fault_record_offset(index);
            let raw = self.registers.read64(at + 8);
            let record = spec::FaultRecordHigh::from_bits(raw);
            if !record.fault() {
                continue;
            }
            let low = self.registers.read64(at);
            // A device that fell silent meanwhile said all ones: that is nobody's fault.
            self.fault_status()?;
            self.registers.write(at + 12, spec::FAULT_CLEAR);
            self.next_record = Some((index + 1) % count);
            return Ok(Some(decode(low, record)));
        }
        Err(self.unresponsive("FSTS tells of a fault, but no register holds one"))
    }

    fn fault_status(&mut self) -> Result<spec::FaultStatus, Unresponsive> {
        match self.registers.read(spec::FSTS) {
            u32::MAX => Err(self.unresponsive("gone: FSTS reads all ones")),
            raw => Ok(spec::FaultStatus::from_bits(raw)),
        }
    }

    /// Empties the recording registers of what was recorded before there was this driver.
    pub(super) fn discard_faults(&mut self) -> Result<(), Unresponsive> {
        for index in 0..self.capability.fault_records() {
            self.registers.write(self.capability.fault_record_offset(index) + 12, spec::FAULT_CLEAR);
        }
        let status = self.fault_status()?.with_iqe(false).with_ice(false).with_ite(false);
        self.registers.write(spec::FSTS, status.into_bits());
        Ok(())
    }

    /// Lets the hardware send an interrupt message when it records the first fault, or when an error stops the
    /// invalidation queue. Calling [`Iommu::next_fault`](crate::Iommu::next_fault) until there is none lets it send
    /// another one.
    ///
    /// The message is not remapped: `address` and `data` are in compatibility format.
    pub fn enable_fault_interrupt(&mut self, address: u64, data: u32) {
        self.fault_interrupt = Some((address, data));
        self.program_fault_interrupt();
    }

    /// Stops it from doing so.
    pub fn disable_fault_interrupt(&mut self) {
        self.fault_interrupt = None;
        self.program_fault_interrupt();
    }

    pub(super) fn program_fault_interrupt(&mut self) {
        self.registers.write(spec::FECTL, spec::FECTL_MASK);
        if let Some((address, data)) = self.fault_interrupt {
            self.registers.write(spec::FEDATA, data);
            self.registers.write(spec::FEADDR, address as u32);
            self.registers.write(spec::FEUADDR, (address >> 32) as u32);
            self.registers.write(spec::FECTL, 0);
        }
    }
}

fn decode(low: u64, record: spec::FaultRecordHigh) -> Event {
    let stream = StreamId(u32::from(record.sid()));
    let code = record.reason();
    if let Some(known) = find(&spec::INTERRUPT_FAULT_CODES, code) {
        return Event::BlockedInterrupt(BlockedInterrupt {
            stream,
            index: (low >> spec::FAULT_INTERRUPT_SHIFT) as u16,
            reason: match code {
                0x21 | 0x22 => BlockedReason::NoEntry,
                0x25 => BlockedReason::CompatibilityFormat,
                0x26 => BlockedReason::OtherRequester,
                _ => BlockedReason::Malformed,
            },
            name: known.name,
            code,
        });
    }
    let access = match (record.t1(), record.t2()) {
        (false, _) | (true, true) => FaultAccess::Write,
        (true, false) if record.execute() => FaultAccess::Execute,
        (true, false) => FaultAccess::Read,
    };
    Event::Fault(FaultRecord {
        stream,
        // Requests without a PASID are translated with that one, and may be recorded so.
        substream: (record.pasid_present() && record.pasid() != spec::RID_PASID).then_some(record.pasid()),
        address: low & spec::FAULT_PAGE,
        access,
        reason: reason(code),
        state: FaultState::Terminated,
        name: find(&spec::FAULT_CODES, code).map_or("unknown fault reason", |known| known.name),
        code: u32::from(code),
        stall: None,
    })
}

fn find(codes: &[spec::FaultCode], code: u8) -> Option<&spec::FaultCode> {
    codes.iter().find(|known| known.code == code)
}

/// What a fault reason is called elsewhere. One that is not known is taken for a wrong configuration.
const fn reason(code: u8) -> FaultReason {
    match code {
        // No root, context, PASID-directory or PASID-table entry.
        0x01 | 0x02 | 0x39 | 0x41 | 0x51 | 0x59 => FaultReason::NoContext,
        0x04 | 0x74 | 0x80 | 0x83 | 0x84 => FaultReason::AddressSize,
        // The second stage says the same of entries that are not used: it has no bit for "present".
        0x05 | 0x06 | 0x79 | 0x81 | 0x82 | 0x85 | 0x86 => FaultReason::Permission,
        0x71 => FaultReason::Translation,
        0x07 | 0x08 | 0x09 | 0x38 | 0x40 | 0x50 | 0x58 | 0x70 | 0x73 | 0x75 | 0x76 | 0x77 | 0x78 | 0x7b => {
            FaultReason::TableWalk
        }
        // Interrupt addresses: the translation leads to where there is no memory.
        0x0e | 0x87 => FaultReason::Bus,
        // Flags that hardware would have to set, where it cannot.
        0x7c | 0x90 | 0x91 => FaultReason::AccessFlag,
        _ => FaultReason::Configuration,
    }
}

impl BlockedInterrupt {
    /// As a refused write to the first of [`INTERRUPT_ADDRESSES`].
    pub(super) const fn as_fault(self) -> FaultRecord {
        FaultRecord {
            stream: self.stream,
            substream: None,
            address: INTERRUPT_ADDRESSES.first(),
            access: FaultAccess::Write,
            reason: match self.reason {
                BlockedReason::NoEntry => FaultReason::Translation,
                BlockedReason::OtherRequester | BlockedReason::CompatibilityFormat => FaultReason::Permission,
                BlockedReason::Malformed => FaultReason::Configuration,
            },
            state: FaultState::Terminated,
            name: self.name,
            code: self.code as u32,
            stall: None,
        }
    }
}
