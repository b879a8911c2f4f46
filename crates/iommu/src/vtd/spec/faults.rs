//! Faults.

use bitfield_struct::bitfield;

/// `FSTS_REG`, what went wrong.
///
/// Source: the specification, *Fault Status Register*.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FaultStatus {
    /// \[0\] PFO: a fault was lost since no record was free, and none is recorded until this is cleared, by writing 1.
    pub pfo: bool,
    /// \[1\] PPF: one of the records holds a fault.
    pub ppf: bool,
    /// \[2\] AFO: the fault log overflowed.
    pub afo: bool,
    /// \[3\] APF: the fault log holds faults.
    pub apf: bool,
    /// \[4\] IQE: the descriptor at the queue's head cannot be fetched, or is wrong. Nothing is fetched until this is
    /// cleared, by writing 1.
    pub iqe: bool,
    /// \[5\] ICE: a device completed an invalidation that it was not asked for. As IQE.
    pub ice: bool,
    /// \[6\] ITE: a device did not complete an invalidation. As IQE; waits that were fetched are given up.
    pub ite: bool,
    /// \[7\] PRO: a page request was lost.
    pub pro: bool,
    /// \[15:8\] FRI: the record that was first to hold a fault when PPF was set.
    pub fri: u8,
    __: u16,
}

/// The bits of [`FaultStatus`] at which the invalidation queue stands still.
pub const QUEUE_ERRORS: FaultStatus = FaultStatus::new().with_iqe(true).with_ice(true).with_ite(true);

/// A fault recording register, high 64 bits of 128. The low half is the address of the page ([`FAULT_PAGE`]), or the
/// index of the interrupt ([`FAULT_INTERRUPT_SHIFT`]).
///
/// Source: the specification, *Fault Recording Registers*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct FaultRecordHigh {
    /// \[79:64\] SID: the requester.
    pub sid: u16,
    #[bits(12)]
    __: u16,
    /// \[92\] T2: with T1 clear a page request, with T1 set an atomic operation.
    pub t2: bool,
    /// \[93\] PRIV: it asked for supervisor privilege.
    pub supervisor: bool,
    /// \[94\] EXE: it asked to execute.
    pub execute: bool,
    /// \[95\] PP: it carried a PASID.
    pub pasid_present: bool,
    /// \[103:96\] FR: the reason, [`FaultCode`].
    pub reason: u8,
    /// \[123:104\] PV: the PASID.
    #[bits(20)]
    pub pasid: u32,
    /// \[125:124\] AT: the address type of the request.
    #[bits(2)]
    pub address_type: u8,
    /// \[126\] T1: a read; else a write.
    pub t1: bool,
    /// \[127\] F: the record holds a fault. Cleared by writing 1.
    pub fault: bool,
}

/// Bits of the address in the low half of a fault recording register.
pub const FAULT_PAGE: u64 = !0xfff;
/// Where the interrupt's index starts in the low half of a fault recording register: bits 63:48.
pub const FAULT_INTERRUPT_SHIFT: u32 = 48;
/// The F field in the last 32 bits of a fault recording register, 12 bytes from its start.
pub const FAULT_CLEAR: u32 = 1 << 31;

/// A fault reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultCode {
    /// [`FaultRecordHigh::reason`].
    pub code: u8,
    /// What it says.
    pub name: &'static str,
}

const fn fault(code: u8, name: &'static str) -> FaultCode {
    FaultCode { code, name }
}

/// Every fault reason of requests for memory, by their codes: 0x01 to 0x0e in legacy mode, 0x30 and above in scalable
/// mode.
///
/// Source: the specification, *Fault Reason Encodings*; `dmar.c` of Linux and `VTDFaultReason` of QEMU.
pub const FAULT_CODES: [FaultCode; 61] = [
    fault(0x01, "root entry not present"),
    fault(0x02, "context entry not present"),
    fault(0x03, "context entry invalid"),
    fault(0x04, "address too wide"),
    fault(0x05, "no write permission"),
    fault(0x06, "no read permission"),
    fault(0x07, "page table not readable"),
    fault(0x08, "root table not readable"),
    fault(0x09, "context table not readable"),
    fault(0x0a, "reserved field in root entry"),
    fault(0x0b, "reserved field in context entry"),
    fault(0x0c, "reserved field in page table"),
    fault(0x0d, "request type blocked"),
    fault(0x0e, "leads to interrupt addresses"),
    fault(0x30, "root table address invalid"),
    fault(0x31, "request with PASID in legacy mode"),
    fault(0x32, "page group request in legacy mode"),
    fault(0x38, "root table not readable"),
    fault(0x39, "root entry not present"),
    fault(0x3a, "reserved field in root entry"),
    fault(0x40, "context table not readable"),
    fault(0x41, "context entry not present"),
    fault(0x42, "reserved field in context entry"),
    fault(0x43, "context entry invalid"),
    fault(0x44, "translation requests not enabled"),
    fault(0x45, "PASIDs not enabled"),
    fault(0x46, "PASID too large"),
    fault(0x47, "page requests not enabled"),
    fault(0x48, "RID_PASID invalid"),
    fault(0x50, "PASID directory not readable"),
    fault(0x51, "PASID directory entry not present"),
    fault(0x52, "reserved field in PASID directory"),
    fault(0x58, "PASID table not readable"),
    fault(0x59, "PASID entry not present"),
    fault(0x5a, "reserved field in PASID entry"),
    fault(0x5b, "PASID entry invalid"),
    fault(0x5c, "execute requests not enabled"),
    fault(0x5d, "supervisor requests not enabled"),
    fault(0x70, "first-stage table not readable"),
    fault(0x71, "first-stage entry not present"),
    fault(0x72, "reserved field in first-stage table"),
    fault(0x73, "first-stage root not readable"),
    fault(0x74, "first-stage table's address too wide"),
    fault(0x75, "first-stage root not permitted by second stage"),
    fault(0x76, "first-stage table not permitted by second stage"),
    fault(0x77, "first-stage flags not writable in second stage"),
    fault(0x78, "second-stage table not readable"),
    fault(0x79, "second stage does not permit it"),
    fault(0x7a, "reserved field in second-stage table"),
    fault(0x7b, "second-stage root not readable"),
    fault(0x7c, "second-stage flags not writable"),
    fault(0x80, "address not canonical"),
    fault(0x81, "not a user page"),
    fault(0x82, "no execute permission"),
    fault(0x83, "address too wide"),
    fault(0x84, "second-stage address too wide"),
    fault(0x85, "no write permission"),
    fault(0x86, "no read permission"),
    fault(0x87, "leads to interrupt addresses"),
    fault(0x90, "first-stage flags not writable"),
    fault(0x91, "first-stage flags not writable"),
];

/// Fault reasons of requests for interrupts.
///
/// Source: the specification, *Interrupt Remapping Fault Conditions*.
pub const INTERRUPT_FAULT_CODES: [FaultCode; 7] = [
    fault(0x20, "reserved field in interrupt request"),
    fault(0x21, "interrupt index too large"),
    fault(0x22, "interrupt entry not present"),
    fault(0x23, "interrupt table not readable"),
    fault(0x24, "reserved field in interrupt entry"),
    fault(0x25, "compatibility-format interrupt blocked"),
    fault(0x26, "interrupt of another requester"),
];
