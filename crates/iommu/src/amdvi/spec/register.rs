//! Memory-mapped registers, all of 64 bits: section 3.4.

use bitfield_struct::bitfield;

/// Device table base address: [`DeviceTableBase`].
pub const DEVICE_TABLE_BASE: u32 = 0x0000;
/// Command buffer base address: [`BufferBase`].
pub const COMMAND_BASE: u32 = 0x0008;
/// Event log base address: [`BufferBase`].
pub const EVENT_BASE: u32 = 0x0010;
/// Control: [`Control`].
pub const CONTROL: u32 = 0x0018;
/// Exclusion range: bit 0 enables it, bit 1 lets every device use it. Addresses in it are not translated.
pub const EXCLUSION_BASE: u32 = 0x0020;
/// Last page of the exclusion range.
pub const EXCLUSION_LIMIT: u32 = 0x0028;
/// Extended features, read-only: [`Features`].
pub const FEATURES: u32 = 0x0030;
/// Command buffer head: bits 18:4 are the offset in bytes of what the IOMMU fetches next.
pub const COMMAND_HEAD: u32 = 0x2000;
/// Command buffer tail: bits 18:4 are the offset in bytes of what software writes next.
pub const COMMAND_TAIL: u32 = 0x2008;
/// Event log head: bits 18:4 are the offset in bytes of what software reads next.
pub const EVENT_HEAD: u32 = 0x2010;
/// Event log tail: bits 18:4 are the offset in bytes of what the IOMMU writes next.
pub const EVENT_TAIL: u32 = 0x2018;
/// Status: [`Status`].
pub const STATUS: u32 = 0x2020;

/// The bits of heads and tails that are an offset.
pub const OFFSET_MASK: u64 = 0x7_fff0;

/// Bytes of the register window without performance counters.
pub const WINDOW: u32 = 0x4000;

/// Device table base address: section 3.4.1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DeviceTableBase {
    /// \[8:0\] The size in pages of 4 KiB, minus 1.
    #[bits(9)]
    pub pages_minus_1: u16,
    #[bits(3)]
    __: u8,
    /// \[51:12\] Page number.
    #[bits(40)]
    pub page: u64,
    #[bits(12)]
    __: u16,
}

/// Command buffer and event log base address: sections 3.4.2 and 3.4.3. Writing it clears head and tail.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct BufferBase {
    #[bits(12)]
    __: u16,
    /// \[51:12\] Page number.
    #[bits(40)]
    pub page: u64,
    #[bits(4)]
    __: u8,
    /// \[59:56\] The number of entries of 16 bytes, as its logarithm to base 2: 8 to 15.
    #[bits(4)]
    pub log2: u8,
    #[bits(4)]
    __: u8,
}

/// Control: section 3.4.4.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Control {
    /// \[0\] The IOMMU is on. 0: all requests pass, untranslated.
    pub iommu_en: bool,
    /// \[1\] HyperTransport tunnels are translated. Firmware's choice.
    pub ht_tun_en: bool,
    /// \[2\] Events are logged.
    pub event_log_en: bool,
    /// \[3\] Logged events interrupt.
    pub event_int_en: bool,
    /// \[4\] Completed waits interrupt.
    pub com_wait_int_en: bool,
    /// \[7:5\] How long a device may take to invalidate its translations. Firmware's choice.
    #[bits(3)]
    pub inv_time_out: u8,
    /// \[8\] Requests may pass posted writes. Firmware's choice.
    pub pass_pw: bool,
    /// \[9\] Responses may pass posted writes. Firmware's choice.
    pub res_pass_pw: bool,
    /// \[10\] The device table is read coherently. Firmware's choice.
    pub coherent: bool,
    /// \[11\] Isochronous requests. Firmware's choice.
    pub isoc: bool,
    /// \[12\] Commands are fetched.
    pub cmd_buf_en: bool,
    /// Page requests, guest translations, interrupts to guests and newer things, all off while 0.
    #[bits(51)]
    pub rest: u64,
}

/// Extended features: section 3.4.7.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    /// \[0\] Prefetch commands.
    pub pref_sup: bool,
    /// \[1\] Page requests.
    pub ppr_sup: bool,
    /// \[2\] x2APIC.
    pub xt_sup: bool,
    /// \[3\] Protection from execution.
    pub nx_sup: bool,
    /// \[4\] Guest translations.
    pub gt_sup: bool,
    #[bits(1)]
    __: u8,
    /// \[6\] [`INVALIDATE_IOMMU_ALL`](super::INVALIDATE_IOMMU_ALL).
    pub ia_sup: bool,
    /// \[7\] Interrupts to guests.
    pub ga_sup: bool,
    /// \[8\] Registers of hardware errors.
    pub he_sup: bool,
    /// \[9\] Performance counters.
    pub pc_sup: bool,
    /// \[11:10\] Host tables have at most 4 levels (0), 5 (1) or 6 (2).
    #[bits(2)]
    pub hats: u8,
    /// \[13:12\] Guest tables have at most 4 levels (0), 5 (1) or 6 (2).
    #[bits(2)]
    pub gats: u8,
    /// What this driver does not ask for.
    #[bits(50)]
    pub rest: u64,
}

/// Status: section 3.4.13. The first three fields are cleared by writing 1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// \[0\] An event found the log full. None is logged until this is cleared and logging is enabled anew.
    pub event_overflow: bool,
    /// \[1\] An event was logged.
    pub event_log_int: bool,
    /// \[2\] A wait has completed.
    pub com_wait_int: bool,
    /// \[3\] Events are being logged.
    pub event_log_run: bool,
    /// \[4\] Commands are being fetched. 0 while [`Control::cmd_buf_en`] is set: an error has stopped that.
    pub cmd_buf_run: bool,
    /// Page requests and interrupts to guests.
    #[bits(59)]
    pub rest: u64,
}
