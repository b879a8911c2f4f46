//! Registers and layouts: NVM Express Base Specification, revision 1.4.

/// CAP, controller capabilities, 64 bits (3.1.1).
pub(super) const CAP: u32 = 0x00;
/// INTMS, interrupt mask set: for interrupts by wire and by MSI (3.1.3).
pub(super) const INTMS: u32 = 0x0c;
/// CC, controller configuration (3.1.5).
pub(super) const CC: u32 = 0x14;
/// CSTS, controller status (3.1.6).
pub(super) const CSTS: u32 = 0x1c;
/// AQA, sizes of the admin queues, one less each: submission in bits 11 to 0, completion in 27 to 16 (3.1.8).
pub(super) const AQA: u32 = 0x24;
/// ASQ, address of the admin submission queue, 64 bits (3.1.9).
pub(super) const ASQ: u32 = 0x28;
/// ACQ, address of the admin completion queue, 64 bits (3.1.10).
pub(super) const ACQ: u32 = 0x30;
/// The first doorbell (3.1.24).
pub(super) const DOORBELLS: u32 = 0x1000;

/// CAP.MQES, bits 15 to 0: the greatest number of entries of an I/O queue, less one.
pub(super) const fn cap_entries(cap: u64) -> u32 {
    (cap & 0xffff) as u32 + 1
}

/// CAP.DSTRD, bits 35 to 32: doorbells are 4 << DSTRD bytes apart.
pub(super) const fn cap_doorbell_stride(cap: u64) -> u32 {
    4 << (cap >> 32 & 0xf)
}

/// CAP.MPSMIN, bits 51 to 48: the smallest page is 4096 << MPSMIN bytes.
pub(super) const fn cap_smallest_page(cap: u64) -> u64 {
    0x1000 << (cap >> 48 & 0xf)
}

/// CAP.MPSMAX, bits 55 to 52: the largest page is 4096 << MPSMAX bytes.
pub(super) const fn cap_largest_page(cap: u64) -> u64 {
    0x1000 << (cap >> 52 & 0xf)
}

/// The room for the list of a command in bytes: of 512 pages.
pub(super) const LIST: u64 = 0x1000;

/// CC.EN, bit 0; CC.MPS, bits 10 to 7: pages of 4096 << MPS bytes; the NVM command set (bits 6 to 4) is zero; entries of
/// submission queues are 1 << 6 bytes (bits 19 to 16), of completion queues 1 << 4 bytes (bits 23 to 20).
pub(super) const fn cc_enable(page_len: u64) -> u32 {
    1 | (page_len.trailing_zeros() - 12) << 7 | 6 << 16 | 4 << 20
}
/// CSTS.RDY, bit 0.
pub(super) const CSTS_READY: u32 = 1;
/// CSTS.CFS, bit 1: a fatal error.
pub(super) const CSTS_FATAL: u32 = 1 << 1;

/// The size of a submission queue's entry, in bytes (4.2).
pub(super) const SUBMISSION: u64 = 64;
/// The size of a completion queue's entry, in bytes (4.6).
pub(super) const COMPLETION: u64 = 16;

/// Admin command: delete an I/O submission queue, and abort what is under way in it (5.6).
pub(super) const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
/// Admin command: create an I/O submission queue (5.4).
pub(super) const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
/// Admin command: delete an I/O completion queue (5.5).
pub(super) const DELETE_COMPLETION_QUEUE: u8 = 0x04;
/// Admin command: create an I/O completion queue (5.3).
pub(super) const CREATE_COMPLETION_QUEUE: u8 = 0x05;
/// Admin command: identify (5.15).
pub(super) const IDENTIFY: u8 = 0x06;
/// Admin command: set a feature (5.21).
pub(super) const SET_FEATURES: u8 = 0x09;
/// NVM command: flush (6.8).
pub(super) const FLUSH: u8 = 0x00;
/// NVM command: write (6.15).
pub(super) const WRITE: u8 = 0x01;
/// NVM command: read (6.9).
pub(super) const READ: u8 = 0x02;

/// FID of [`SET_FEATURES`]: the number of queues. CDW11, and dword 0 of the completion: submission queues, less one, in
/// bits 15 to 0, completion queues in bits 31 to 16 (5.21.1.7).
pub(super) const NUMBER_OF_QUEUES: u32 = 0x07;

/// CNS of [`IDENTIFY`]: the namespace (5.15.1).
pub(super) const IDENTIFY_NAMESPACE: u32 = 0x00;
/// CNS of [`IDENTIFY`]: the controller (5.15.1).
pub(super) const IDENTIFY_CONTROLLER: u32 = 0x01;

/// Identify controller, SN: 20 characters from byte 4 on (5.15.2.2).
pub(super) const CONTROLLER_SERIAL: (u64, usize) = (4, 20);
/// Identify controller, MN: 40 characters from byte 24 on (5.15.2.2).
pub(super) const CONTROLLER_MODEL: (u64, usize) = (24, 40);
/// Identify controller, MDTS: byte 77. The longest transfer is the smallest page << MDTS; zero is no limit (5.15.2.2).
pub(super) const CONTROLLER_LONGEST: u64 = 77;
/// Identify namespace, NSZE: bytes 7 to 0, how many blocks there are (5.15.2.1).
pub(super) const NAMESPACE_BLOCKS: u64 = 0;
/// Identify namespace, FLBAS: byte 26, bits 3 to 0, which format is in use (5.15.2.1).
pub(super) const NAMESPACE_FORMAT: u64 = 26;
/// Identify namespace, LBAF0: byte 128, 4 bytes each; a block has 1 << LBADS bytes, bits 23 to 16 (5.15.2.1).
pub(super) const NAMESPACE_FORMATS: u64 = 128;

/// The only namespace in use.
pub(super) const NAMESPACE: u32 = 1;

/// The words of a command (4.2).
#[derive(Default)]
pub(super) struct Command {
    /// CDW0 bits 7 to 0.
    pub(super) opcode: u8,
    /// CDW1.
    pub(super) namespace: u32,
    /// CDW6 to 9: PRP1 and PRP2.
    pub(super) pages: [u64; 2],
    /// CDW10 to 12.
    pub(super) words: [u32; 3],
}

impl Command {
    /// As it is in the queue, in pieces of 64 bits. `id` is CDW0 bits 31 to 16.
    pub(super) const fn encode(&self, id: u16) -> [u64; 8] {
        let [word10, word11, word12] = self.words;
        [
            self.opcode as u64 | (id as u64) << 16 | (self.namespace as u64) << 32,
            0,
            0,
            self.pages[0],
            self.pages[1],
            word10 as u64 | (word11 as u64) << 32,
            word12 as u64,
            0,
        ]
    }
}

/// An entry of a completion queue (4.6).
#[derive(Clone, Copy)]
pub(super) struct Completion {
    /// DW0 and DW1: the command's own result.
    pub(super) result: u64,
    /// DW2 and DW3.
    pub(super) state: u64,
}

impl Completion {
    /// SQHD, DW2 bits 15 to 0: how far the submission queue was read.
    pub(super) const fn submission_head(self) -> u16 {
        self.state as u16
    }

    /// SQID, DW2 bits 31 to 16.
    pub(super) const fn queue(self) -> u16 {
        (self.state >> 16) as u16
    }

    /// CID, DW3 bits 15 to 0.
    pub(super) const fn id(self) -> u16 {
        (self.state >> 32) as u16
    }

    /// The phase tag, DW3 bit 16.
    pub(super) const fn phase(self) -> u64 {
        self.state >> 48 & 1
    }

    /// SF, DW3 bits 31 to 17: zero is success. SC in bits 7 to 0, SCT in bits 10 to 8, DNR in bit 14 (4.6.1).
    pub(super) const fn status(self) -> u16 {
        (self.state >> 49) as u16
    }
}
