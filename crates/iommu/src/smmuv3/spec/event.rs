//! Event records: 32 bytes each (Arm IHI 0070, 7.3).

use bitfield_struct::bitfield;

/// Bytes of an event record.
pub const EVENT_BYTES: u64 = 32;

/// The transaction is of a kind that the SMMU does not support (7.3.2).
pub const F_UUT: u8 = 0x01;
/// The stream table has no such stream (7.3.3).
pub const C_BAD_STREAMID: u8 = 0x02;
/// The stream's entry could not be read (7.3.4).
pub const F_STE_FETCH: u8 = 0x03;
/// The stream's entry is invalid (7.3.5).
pub const C_BAD_STE: u8 = 0x04;
/// An ATS request that is not permitted (7.3.6).
pub const F_BAD_ATS_TREQ: u8 = 0x05;
/// The stream is disabled for transactions without, or with this, substream (7.3.7).
pub const F_STREAM_DISABLED: u8 = 0x06;
/// A translated ATS transaction that is not permitted (7.3.8).
pub const F_TRANSL_FORBIDDEN: u8 = 0x07;
/// There is no such substream (7.3.9).
pub const C_BAD_SUBSTREAMID: u8 = 0x08;
/// The context descriptor could not be read (7.3.10).
pub const F_CD_FETCH: u8 = 0x09;
/// The context descriptor is invalid (7.3.11).
pub const C_BAD_CD: u8 = 0x0a;
/// A page table could not be read (7.3.12).
pub const F_WALK_EABT: u8 = 0x0b;
/// Nothing is mapped at the address (7.3.13).
pub const F_TRANSLATION: u8 = 0x10;
/// An address is too wide (7.3.14).
pub const F_ADDR_SIZE: u8 = 0x11;
/// The access flag is clear (7.3.15).
pub const F_ACCESS: u8 = 0x12;
/// What is mapped does not permit this access (7.3.16).
pub const F_PERMISSION: u8 = 0x13;
/// The TLB has entries that contradict each other (7.3.17).
pub const F_TLB_CONFLICT: u8 = 0x20;
/// The configuration cache has entries that contradict each other (7.3.18).
pub const F_CFG_CONFLICT: u8 = 0x21;
/// A device hints that it will need a page; nothing was refused (7.3.19).
pub const E_PAGE_REQUEST: u8 = 0x24;
/// The structure of a virtual machine could not be read (7.3.20).
pub const F_VMS_FETCH: u8 = 0x25;

/// The first word of a record.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct EventStart {
    /// \[7:0\] What happened.
    pub kind: u8,
    #[bits(3)]
    __: u8,
    /// \[11\] The transaction had a substream.
    pub ssv: bool,
    /// \[31:12\] Which.
    #[bits(20)]
    pub ssid: u32,
    /// \[63:32\] Whose transaction it was.
    pub stream: u32,
}

/// The second word of the records of translation, and, without the stall, of others with an address.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct EventDetail {
    /// \[15:0\] The tag of a stalled transaction.
    pub stag: u16,
    #[bits(15)]
    __: u16,
    /// \[31\] The transaction waits.
    pub stall: bool,
    #[bits(1)]
    __: u8,
    /// \[33\] It was privileged.
    pub pnu: bool,
    /// \[34\] It fetched an instruction.
    pub ind: bool,
    /// \[35\] It read.
    pub rnw: bool,
    #[bits(3)]
    __: u8,
    /// \[39\] Stage 2 refused it.
    pub s2: bool,
    /// \[41:40\] What was being translated: 0 the address of a context descriptor, 1 that of a table, 2 the input.
    #[bits(2)]
    pub class: u8,
    #[bits(22)]
    __: u32,
}
