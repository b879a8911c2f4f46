//! The fault queue, and what its records mean.

use super::Interrupts;
use super::port::Port;
use super::spec::{self, FaultCsr, FaultHeader, Ipsr, QueueBase};
use crate::{FaultRecord, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{FaultAccess, FaultReason, FaultState, PhysicalAddress};

/// The fault queue.
#[derive(Debug)]
pub(super) struct FaultQueue {
    base: PhysicalAddress,
    log2: u8,
    head: u32,
    /// The tail when it was read last.
    tail: u32,
    /// How often the hardware said that it lost records.
    pub(super) overflows: u64,
}

impl FaultQueue {
    pub(super) const fn new(base: PhysicalAddress, log2: u8) -> Self {
        Self { base, log2, head: 0, tail: 0, overflows: 0 }
    }

    const fn entries(&self) -> u32 {
        1 << self.log2
    }

    /// `fqcsr` of a queue that is on.
    fn enabled(interrupts: Interrupts) -> FaultCsr {
        FaultCsr::new().with_fqen(true).with_fie(interrupts != Interrupts::Off)
    }

    /// Switches the queue off. Afterwards the hardware does not access it.
    pub(super) fn stop<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        let busy = FaultCsr::new().with_busy(true).into_bits();
        port.wait(spec::FQCSR, busy, 0, "fqcsr stays busy")?;
        port.registers.write(spec::FQCSR, 0);
        let on = FaultCsr::new().with_busy(true).with_fqon(true).into_bits();
        port.wait(spec::FQCSR, on, 0, "the fault queue does not stop")?;
        Ok(())
    }

    /// Switches a stopped queue on, empty.
    pub(super) fn start<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        let base =
            QueueBase::new().with_log2_minus_1(self.log2 - 1).with_ppn(self.base.raw() >> 12).into_bits();
        port.write64(spec::FQB, base);
        if port.registers.read64(spec::FQB) != base {
            return Err(port.unresponsive("fqb does not keep what is written"));
        }
        port.registers.write(spec::FQH, 0);
        (self.head, self.tail) = (0, 0);
        port.registers.write(spec::FQCSR, Self::enabled(port.config.interrupts).into_bits());
        let mask = FaultCsr::new().with_busy(true).with_fqon(true).into_bits();
        let on = FaultCsr::new().with_fqon(true).into_bits();
        port.wait(spec::FQCSR, mask, on, "the fault queue does not start")?;
        Ok(())
    }

    /// Takes the oldest record.
    pub(super) fn next<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<Option<FaultRecord>, Unresponsive> {
        if self.head == self.tail {
            self.look(port)?;
            if self.head == self.tail {
                return Ok(None);
            }
        }
        let at = self.base.raw() + u64::from(self.head) * spec::FAULT_BYTES;
        let header = FaultHeader::from_bits(port.memory.read64(PhysicalAddress::new(at)));
        let address = port.memory.read64(PhysicalAddress::new(at + 16));
        self.head = (self.head + 1) % self.entries();
        port.registers.write(spec::FQH, self.head);
        Ok(Some(decode(header, address)))
    }

    /// Looks for new records.
    fn look<R: Registers, M: SharedMemory>(&mut self, port: &mut Port<R, M>) -> Result<(), Unresponsive> {
        self.read_tail(port)?;
        if self.tail != self.head {
            return Ok(());
        }
        // All are taken: there is room for what comes after an overflow.
        let interrupts = port.config.interrupts;
        let csr = FaultCsr::from_bits(port.read(spec::FQCSR)?);
        if !csr.fqon() {
            return Err(port.unresponsive("the fault queue is off"));
        }
        if csr.fqof() || csr.fqmf() {
            self.overflows = self.overflows.saturating_add(1);
            let busy = FaultCsr::new().with_busy(true).into_bits();
            port.wait(spec::FQCSR, busy, 0, "fqcsr stays busy")?;
            let clear = Self::enabled(interrupts).with_fqof(csr.fqof()).with_fqmf(csr.fqmf());
            port.registers.write(spec::FQCSR, clear.into_bits());
        }
        if interrupts != Interrupts::Off {
            // Before the tail is read again: a record that comes after that interrupts again.
            port.registers.write(spec::IPSR, Ipsr::new().with_fip(true).into_bits());
        }
        self.read_tail(port)
    }

    fn read_tail<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        let tail = port.read(spec::FQT)?;
        if tail >= self.entries() {
            return Err(port.unresponsive("fqt is beyond the fault queue"));
        }
        self.tail = tail;
        Ok(())
    }
}

/// What a cause is called, what it says of the access, and why the transaction was refused.
type Meaning = (&'static str, Option<FaultAccess>, FaultReason);

fn meaning(cause: u16) -> Meaning {
    use FaultAccess::{Execute, Read, Write};
    use FaultReason::{Bus, Configuration, NoContext, TableWalk, Translation};
    match cause {
        spec::CAUSE_EXECUTE_ACCESS => ("instruction access fault", Some(Execute), TableWalk),
        spec::CAUSE_READ_MISALIGNED => ("read address misaligned", Some(Read), Bus),
        spec::CAUSE_READ_ACCESS => ("read access fault", Some(Read), TableWalk),
        spec::CAUSE_WRITE_MISALIGNED => ("write address misaligned", Some(Write), Bus),
        spec::CAUSE_WRITE_ACCESS => ("write access fault", Some(Write), TableWalk),
        spec::CAUSE_EXECUTE_PAGE => ("instruction page fault", Some(Execute), Translation),
        spec::CAUSE_READ_PAGE => ("read page fault", Some(Read), Translation),
        spec::CAUSE_WRITE_PAGE => ("write page fault", Some(Write), Translation),
        spec::CAUSE_EXECUTE_GUEST_PAGE => ("instruction guest-page fault", Some(Execute), Translation),
        spec::CAUSE_READ_GUEST_PAGE => ("read guest-page fault", Some(Read), Translation),
        spec::CAUSE_WRITE_GUEST_PAGE => ("write guest-page fault", Some(Write), Translation),
        spec::CAUSE_ALL_DISALLOWED => ("all inbound transactions disallowed", None, NoContext),
        spec::CAUSE_DDT_LOAD => ("DDT entry load access fault", None, TableWalk),
        spec::CAUSE_DDT_INVALID => ("DDT entry not valid", None, NoContext),
        spec::CAUSE_DDT_MISCONFIGURED => ("DDT entry misconfigured", None, Configuration),
        spec::CAUSE_TYPE_DISALLOWED => ("transaction type disallowed", None, NoContext),
        spec::CAUSE_MSI_LOAD => ("MSI PTE load access fault", Some(Write), TableWalk),
        spec::CAUSE_MSI_INVALID => ("MSI PTE not valid", Some(Write), Translation),
        spec::CAUSE_MSI_MISCONFIGURED => ("MSI PTE misconfigured", Some(Write), Configuration),
        spec::CAUSE_MRIF_ACCESS => ("MRIF access fault", Some(Write), Bus),
        spec::CAUSE_PDT_LOAD => ("PDT entry load access fault", None, TableWalk),
        spec::CAUSE_PDT_INVALID => ("PDT entry not valid", None, NoContext),
        spec::CAUSE_PDT_MISCONFIGURED => ("PDT entry misconfigured", None, Configuration),
        spec::CAUSE_DDT_CORRUPT => ("DDT data corruption", None, TableWalk),
        spec::CAUSE_PDT_CORRUPT => ("PDT data corruption", None, TableWalk),
        spec::CAUSE_MSI_CORRUPT => ("MSI PT data corruption", Some(Write), TableWalk),
        spec::CAUSE_MRIF_CORRUPT => ("MSI MRIF data corruption", Some(Write), Bus),
        spec::CAUSE_INTERNAL => ("internal data path error", None, Bus),
        spec::CAUSE_MSI_WRITE => ("IOMMU MSI write access fault", Some(Write), Bus),
        spec::CAUSE_TABLE_CORRUPT => ("page table data corruption", None, TableWalk),
        _ => ("unknown cause", None, Bus),
    }
}

/// A record as the driver reports it. What the cause says of the access goes before the transaction type, which
/// QEMU gets wrong for reads.
fn decode(header: FaultHeader, address: u64) -> FaultRecord {
    let (name, access, reason) = meaning(header.cause());
    let of_type = match header.ttyp() {
        spec::TTYP_EXECUTE | spec::TTYP_TRANSLATED_EXECUTE => FaultAccess::Execute,
        spec::TTYP_WRITE | spec::TTYP_TRANSLATED_WRITE | spec::TTYP_MESSAGE_REQUEST => FaultAccess::Write,
        _ => FaultAccess::Read,
    };
    // A message's code and the address of the IOMMU's own interrupt are no addresses of the stream.
    let carries_address = !matches!(header.ttyp(), spec::TTYP_NONE | spec::TTYP_MESSAGE_REQUEST);
    FaultRecord {
        stream: StreamId(header.did()),
        substream: header.pv().then_some(header.pid()),
        address: if carries_address { address } else { 0 },
        access: access.unwrap_or(of_type),
        reason,
        state: FaultState::Terminated,
        name,
        code: u32::from(header.cause()),
        stall: None,
    }
}
