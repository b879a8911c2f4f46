//! Registers and layouts: NVM Express Base Specification, revision 1.4.

/// CAP, controller capabilities, 64 bits (3.1.1).
pub(crate) const CAP: u32 = 0x00;
/// INTMS, interrupt mask set: for interrupts by wire and by MSI (3.1.3).
pub(crate) const INTMS: u32 = 0x0c;
/// CC, controller configuration (3.1.5).
pub(crate) const CC: u32 = 0x14;
/// CSTS, controller status (3.1.6).
pub(crate) const CSTS: u32 = 0x1c;
/// AQA, sizes of the admin queues, one less each: submission in bits 11 to 0, completion in 27 to 16 (3.1.8).
pub(crate) const AQA: u32 = 0x24;
/// ASQ, address of the admin submission queue, 64 bits (3.1.9).
pub(crate) const ASQ: u32 = 0x28;
/// ACQ, address of the admin completion queue, 64 bits (3.1.10).
pub(crate) const ACQ: u32 = 0x30;
/// The first doorbell (3.1.24).
pub(crate) const DOORBELLS: u32 = 0x1000;

/// CAP.MQES, bits 15 to 0: the greatest number of entries of an I/O queue, less one.
pub(crate) const fn cap_entries(cap: u64) -> u32 {
    (cap & 0xffff) as u32 + 1
}

/// CAP.DSTRD, bits 35 to 32: doorbells are 4 << DSTRD bytes apart.
pub(crate) const fn cap_doorbell_stride(cap: u64) -> u32 {
    4 << (cap >> 32 & 0xf)
}

/// CAP.MPSMIN, bits 51 to 48: the smallest page is 4096 << MPSMIN bytes.
pub(crate) const fn cap_smallest_page(cap: u64) -> u64 {
    0x1000 << (cap >> 48 & 0xf)
}

/// The size of the pages that this driver works with, in bytes.
pub(crate) const PAGE: u64 = 0x1000;

/// CC.EN, bit 0; the NVM command set (bits 6 to 4) and pages of 4096 bytes (bits 10 to 7) are zeros; entries of
/// submission queues are 1 << 6 bytes (bits 19 to 16), of completion queues 1 << 4 bytes (bits 23 to 20).
pub(crate) const CC_ENABLE: u32 = 1 | 6 << 16 | 4 << 20;
/// CSTS.RDY, bit 0.
pub(crate) const CSTS_READY: u32 = 1;
/// CSTS.CFS, bit 1: a fatal error.
pub(crate) const CSTS_FATAL: u32 = 1 << 1;

/// The size of a submission queue's entry, in bytes (4.2).
pub(crate) const SUBMISSION: u64 = 64;
/// The size of a completion queue's entry, in bytes (4.6).
pub(crate) const COMPLETION: u64 = 16;

/// Admin command: create an I/O submission queue (5.4).
pub(crate) const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
/// Admin command: create an I/O completion queue (5.3).
pub(crate) const CREATE_COMPLETION_QUEUE: u8 = 0x05;
/// Admin command: identify (5.15).
pub(crate) const IDENTIFY: u8 = 0x06;
/// NVM command: flush (6.8).
pub(crate) const FLUSH: u8 = 0x00;
/// NVM command: write (6.15).
pub(crate) const WRITE: u8 = 0x01;
/// NVM command: read (6.9).
pub(crate) const READ: u8 = 0x02;

/// CNS of [`IDENTIFY`]: the namespace (5.15.1).
pub(crate) const IDENTIFY_NAMESPACE: u32 = 0x00;
/// CNS of [`IDENTIFY`]: the controller (5.15.1).
pub(crate) const IDENTIFY_CONTROLLER: u32 = 0x01;

/// Identify controller, SN: 20 characters from byte 4 on (5.15.2.2).
pub(crate) const CONTROLLER_SERIAL: (u64, usize) = (4, 20);
/// Identify controller, MN: 40 characters from byte 24 on (5.15.2.2).
pub(crate) const CONTROLLER_MODEL: (u64, usize) = (24, 40);
/// Identify controller, MDTS: byte 77. The longest transfer is the smallest page << MDTS; zero is no limit (5.15.2.2).
pub(crate) const CONTROLLER_LONGEST: u64 = 77;
/// Identify namespace, NSZE: bytes 7 to 0, how many blocks there are (5.15.2.1).
pub(crate) const NAMESPACE_BLOCKS: u64 = 0;
/// Identify namespace, FLBAS: byte 26, bits 3 to 0, which format is in use (5.15.2.1).
pub(crate) const NAMESPACE_FORMAT: u64 = 26;
/// Identify namespace, LBAF0: byte 128, 4 bytes each; a block has 1 << LBADS bytes, bits 23 to 16 (5.15.2.1).
pub(crate) const NAMESPACE_FORMATS: u64 = 128;

/// The words of a command (4.2).
pub(crate) struct Command {
    /// CDW0 bits 7 to 0.
    pub(crate) opcode: u8,
    /// CDW1.
    pub(crate) namespace: u32,
    /// CDW6 to 9: PRP1 and PRP2.
    pub(crate) pages: [u64; 2],
    /// CDW10 to 12.
    pub(crate) words: [u32; 3],
}

impl Command {
    /// As it is in the queue, in pieces of 64 bits. `id` is CDW0 bits 31 to 16.
    pub(crate) const fn encode(&self, id: u16) -> [u64; 8] {
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

/// The upper half of an entry of a completion queue: DW2 and DW3 (4.6). The lower half is the command's own result,
/// which none of ours has.
#[derive(Clone, Copy)]
pub(crate) struct Completion(pub(crate) u64);

impl Completion {
    /// SQHD, DW2 bits 15 to 0: how far the submission queue was read.
    pub(crate) const fn submission_head(self) -> u16 {
        self.0 as u16
    }

    /// SQID, DW2 bits 31 to 16.
    pub(crate) const fn queue(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// CID, DW3 bits 15 to 0.
    pub(crate) const fn id(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The phase tag, DW3 bit 16.
    pub(crate) const fn phase(self) -> u64 {
        self.0 >> 48 & 1
    }

    /// SF, DW3 bits 31 to 17: zero is success. SC in bits 7 to 0, SCT in bits 10 to 8, DNR in bit 14 (4.6.1).
    pub(crate) const fn status(self) -> u16 {
        (self.0 >> 49) as u16
    }
}
