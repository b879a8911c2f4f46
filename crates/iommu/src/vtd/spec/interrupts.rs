//! Interrupt remapping.

use bitfield_struct::bitfield;

/// `IRTA_REG`, where the interrupt remapping table is.
///
/// Source: the specification, *Interrupt Remapping Table Address Register*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InterruptTableAddress {
    /// \[3:0\] S: it has 2^(S + 1) entries.
    #[bits(4)]
    pub size: u8,
    #[bits(7)]
    __: u8,
    /// \[11\] EIME: destinations have 32 bits.
    pub eime: bool,
    /// \[63:12\] IRTA: its address / 4096.
    #[bits(52)]
    pub page: u64,
}

/// Bytes of an entry of the interrupt remapping table.
pub const INTERRUPT_ENTRY_BYTES: u64 = 16;

/// An entry of the interrupt remapping table, low 64 bits of 128.
///
/// Source: the specification, *Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InterruptEntryLow {
    /// \[0\] P: it is present.
    pub present: bool,
    /// \[1\] FPD: faults are not recorded.
    pub fpd: bool,
    /// \[2\] DM: the destination is logical.
    pub logical: bool,
    /// \[3\] RH: one of several destinations is chosen.
    pub redirection_hint: bool,
    /// \[4\] TM: level triggered.
    pub level: bool,
    /// \[7:5\] DLM: how it is delivered.
    #[bits(3)]
    pub delivery: u8,
    /// \[11:8\] Ignored.
    #[bits(4)]
    pub available: u8,
    #[bits(3)]
    __: u8,
    /// \[15\] IM: it is posted, not remapped.
    pub posted: bool,
    /// \[23:16\] V: the vector.
    pub vector: u8,
    __: u8,
    /// \[63:32\] DST: the destination. Where destinations have 8 bits, they are bits 15:8 of it.
    pub destination: u32,
}

/// An entry of the interrupt remapping table, high 64 bits.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InterruptEntryHigh {
    /// \[79:64\] SID: the requester that may use it.
    pub sid: u16,
    /// \[81:80\] SQ: bits of its function that do not count. 0: all do.
    #[bits(2)]
    pub sq: u8,
    /// \[83:82\] SVT: [`SVT_REQUESTER`].
    #[bits(2)]
    pub svt: u8,
    #[bits(44)]
    __: u64,
}

/// [`InterruptEntryHigh::svt`]: the requester is compared with SID and SQ.
pub const SVT_REQUESTER: u8 = 0b01;

/// The address of a message-signalled interrupt in remappable format.
///
/// Source: the specification, *Interrupt Requests in Remappable Format*.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct MessageAddress {
    #[bits(2)]
    __: u8,
    /// \[2\] Bit 15 of the handle.
    #[bits(1)]
    pub handle_high: u8,
    /// \[3\] SHV: the low 16 bits of the data are added to the handle.
    pub subhandle_valid: bool,
    /// \[4\] The format: 1, remappable.
    pub remappable: bool,
    /// \[19:5\] Bits 14:0 of the handle.
    #[bits(15)]
    pub handle_low: u16,
    /// \[31:20\] [`INTERRUPT_WINDOW`].
    #[bits(12)]
    pub window: u16,
}

/// Bits 31:20 of addresses that devices' writes raise interrupts at: 0xfee0_0000 to 0xfeef_ffff. They are never
/// translated, and no translation may lead there.
///
/// Source: the specification, *Handling Requests to Interrupt Address Range*.
pub const INTERRUPT_WINDOW: u16 = 0xfee;
