//! The fields of the registers that tell of faults and answer them.

#[cfg(doc)]
use super::{M2vcbr, RESUME};
use bitfield_struct::bitfield;

/// `FSR`, fault status. A field is cleared by writing it as 1.
///
/// The words behind the abbreviations are (open); they follow the comments of `msm_iommu.c` ("TLB miss
/// configuration", "HTW") and the Arm names for the same events.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Fsr {
    #[bits(1)]
    __: u8,
    /// \[1\] Translation fault: nothing is mapped.
    pub tf: bool,
    /// \[2\] Access flag fault.
    pub aff: bool,
    /// \[3\] Access permission fault.
    pub apf: bool,
    /// \[4\] TLB miss fault: the TLB missed, and it is configured not to walk.
    pub tlbmf: bool,
    /// \[5\] Hardware table walk, decode error: no memory answers at a table's address.
    pub htwdeef: bool,
    /// \[6\] Hardware table walk, slave error: the memory of a table answers with an error.
    pub htwseef: bool,
    /// \[7\] Multiple hit fault: TLB entries contradict each other.
    pub mhf: bool,
    #[bits(8)]
    __: u8,
    /// \[16\] The walk failed at the second level.
    pub sl: bool,
    #[bits(13)]
    __: u16,
    /// \[30\] The transaction is stalled and waits for [`RESUME`].
    pub ss: bool,
    /// \[31\] More faults came before this one was cleared; the first is the one described.
    pub multi: bool,
}

/// `FSYNR0`, who issued the transaction of a context fault.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Fsynr0 {
    /// \[7:0\] Its master id.
    pub amid: u8,
    /// \[12:8\] Its port id.
    #[bits(5)]
    pub apid: u8,
    /// \[15:13\] Its bus id.
    #[bits(3)]
    pub abid: u8,
    #[bits(8)]
    __: u8,
    /// \[31:24\] Its transaction id.
    pub atid: u8,
}

/// `FSYNR1`, what the transaction of a context fault was.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Fsynr1 {
    /// \[2:0\] Memory type.
    #[bits(3)]
    pub amemtype: u8,
    /// \[3\] Shareable.
    pub ashared: bool,
    /// \[4\] Inner shareable.
    pub ainnershared: bool,
    /// \[5\] Privileged.
    pub apriv: bool,
    /// \[6\] Non-secure.
    pub aprotns: bool,
    /// \[7\] Instruction fetch.
    pub ainst: bool,
    /// \[8\] Write.
    pub awrite: bool,
    #[bits(1)]
    __: u8,
    /// \[10\] Burst kind.
    pub aburst: bool,
    #[bits(1)]
    __: u8,
    /// \[15:12\] Burst length.
    #[bits(4)]
    pub alen: u8,
    /// \[18:16\] Size of a beat.
    #[bits(3)]
    pub asize: u8,
    #[bits(1)]
    __: u8,
    /// \[21:20\] Exclusive or locked.
    #[bits(2)]
    pub alock: u8,
    #[bits(2)]
    __: u8,
    /// \[24\] Full line.
    pub afull: bool,
    #[bits(7)]
    __: u8,
}

/// `RESUME`, answers a stalled transaction.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Resume {
    /// \[0\] Terminate, not retry: 0 retries, 1 terminates.
    pub tnr: bool,
    #[bits(31)]
    __: u32,
}

/// `ESR`, global fault status. (open) Taken to be cleared by writing ones, as `FSR` is; both have a companion
/// that writes them as they are.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Esr {
    /// \[0\] Configuration fault: the master's entry of the tables makes no sense.
    pub cfg: bool,
    /// \[1\] A transaction was to bypass and must not: see [`M2vcbr::bypassd`].
    pub bypass: bool,
    #[bits(29)]
    __: u32,
    /// \[31\] More faults came before this one was cleared; the first is the one described.
    pub multi: bool,
}

/// `ESYNR0`, who issued the transaction of a global fault.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Esynr0 {
    /// \[7:0\] Its master id.
    pub amid: u8,
    /// \[12:8\] Its port id.
    #[bits(5)]
    pub apid: u8,
    /// \[15:13\] Its bus id.
    #[bits(3)]
    pub abid: u8,
    /// \[20:16\] Its VMID.
    #[bits(5)]
    pub avmid: u8,
    #[bits(3)]
    __: u8,
    /// \[31:24\] Its transaction id.
    pub atid: u8,
}

/// `ESYNR1`, what the transaction of a global fault was.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Esynr1 {
    /// \[2:0\] Memory type.
    #[bits(3)]
    pub amemtype: u8,
    /// \[3\] Shareable.
    pub ashared: bool,
    /// \[4\] Inner shareable.
    pub ainnershared: bool,
    /// \[5\] Privileged.
    pub apriv: bool,
    /// \[6\] Non-secure.
    pub aprotns: bool,
    /// \[7\] Instruction fetch.
    pub ainst: bool,
    /// \[8\] Write.
    pub awrite: bool,
    #[bits(1)]
    __: u8,
    /// \[10\] Burst kind.
    pub aburst: bool,
    #[bits(1)]
    __: u8,
    /// \[15:12\] Burst length.
    #[bits(4)]
    pub alen: u8,
    /// \[16\] Size of a beat; the header gives it one bit here and three in `FSYNR1`.
    pub asize: bool,
    #[bits(3)]
    __: u8,
    /// \[21:20\] Exclusive or locked.
    #[bits(2)]
    pub alock: u8,
    /// \[22\] Out of order.
    pub aooo: bool,
    #[bits(1)]
    __: u8,
    /// \[24\] Full line.
    pub afull: bool,
    #[bits(5)]
    __: u8,
    /// \[30\] (open) By its place beside DCD, an access control error of the register protection unit.
    pub ac: bool,
    /// \[31\] (open) By the name of `CR.DCDEE`, a decode error.
    pub dcd: bool,
}
