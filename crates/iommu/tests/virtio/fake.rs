//! The device: status, features and two split queues (sections 2 and 3 of the specification), honest or not.

use crate::iommu::FakeIommu;
use crate::memory::Memory;
use std::collections::VecDeque;

pub(crate) const VERSION_1: u64 = 1 << 32;
/// All of an IOMMU's own but the old BYPASS.
pub(crate) const ALL: u64 = 0b111_0111 | VERSION_1;

/// What happens to a request instead of being done and completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trick {
    /// Nothing.
    Honest,
    /// It is done and completed when [`Device::release`] is called.
    Withhold,
    /// It is not done, and gets this status.
    Status(u8),
    /// It is done; the used ring names another chain.
    Head(u32),
    /// It is done; the used ring has another length.
    Len(u32),
    /// It is done; the used ring's index is this much too large.
    Index(u16),
    /// The device says that it needs a reset.
    NeedsReset,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct FakeQueue {
    pub(crate) max: u16,
    pub(crate) size: u16,
    pub(crate) addresses: [u64; 3],
    pub(crate) enabled: bool,
    seen: u16,
    pub(crate) used: u16,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) memory: Memory,
    pub(crate) status: u8,
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    /// Features without which it does not work.
    pub(crate) insists: u64,
    pub(crate) select: [u32; 3],
    pub(crate) queues: [FakeQueue; 2],
    pub(crate) config: [u8; 40],
    pub(crate) generation: u8,
    /// Whether the configuration changes with every look.
    pub(crate) restless: bool,
    /// Whether `bypass` stays as it is.
    pub(crate) stubborn: bool,
    /// Whether a reset never ends.
    pub(crate) hung: bool,
    pub(crate) notify_off: u16,
    pub(crate) iommu: FakeIommu,
    pub(crate) tricks: VecDeque<Trick>,
    withheld: Vec<u16>,
    /// The first byte of each request.
    pub(crate) log: Vec<u8>,
    pub(crate) notifications: usize,
    pub(crate) interrupt: u32,
    /// Accesses until the device falls silent.
    pub(crate) lives: Option<usize>,
    pub(crate) accesses: usize,
}

impl Device {
    /// Endpoints 8, 16 and 24; pages of 4 KiB; 48 bits of addresses; domains 1 to 9; 256 bytes of properties.
    pub(crate) fn new(memory: Memory) -> Self {
        let iommu = FakeIommu {
            endpoints: [8, 16, 24].into(),
            granule: 0x1000,
            input: (0x1000, 0xffff_ffff_ffff),
            domain_range: (1, 9),
            ..FakeIommu::default()
        };
        let queue = FakeQueue { max: 256, size: 256, ..FakeQueue::default() };
        let mut device = Device {
            memory,
            status: 0x0f,
            offered: ALL,
            accepted: 0,
            insists: 0,
            select: [0; 3],
            queues: [queue.clone(), queue],
            config: [0; 40],
            generation: 0,
            restless: false,
            stubborn: false,
            hung: false,
            notify_off: 3,
            iommu,
            tricks: VecDeque::new(),
            withheld: Vec::new(),
            log: Vec::new(),
            notifications: 0,
            interrupt: 0,
            lives: None,
            accesses: 0,
        };
        device.set_config(0, &0xffff_ffff_ffff_f000_u64.to_le_bytes());
        device.set_config(8, &0x1000_u64.to_le_bytes());
        device.set_config(16, &0xffff_ffff_ffff_u64.to_le_bytes());
        device.set_config(24, &1_u32.to_le_bytes());
        device.set_config(28, &9_u32.to_le_bytes());
        device.set_config(32, &256_u32.to_le_bytes());
        device.set_config(36, &[1]);
        device
    }

    pub(crate) fn set_config(&mut self, at: usize, bytes: &[u8]) {
        self.config[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn set_status(&mut self, status: u8) {
        if status == 0 {
            if !self.hung {
                self.reset();
            }
            return;
        }
        assert_eq!(status & self.status & 0x3f, self.status & 0x3f, "status bits are taken back");
        self.status |= status;
        if status & 8 != 0
            && (self.accepted & !self.offered != 0 || self.accepted & self.insists != self.insists)
        {
            self.status &= !8;
        }
        self.iommu.mmio = self.accepted & 1 << 5 != 0;
        self.iommu.bypass_config = self.accepted & 1 << 6 != 0;
    }

    fn reset(&mut self) {
        self.status = 0;
        self.accepted = 0;
        self.withheld.clear();
        for queue in &mut self.queues {
            *queue = FakeQueue { max: queue.max, size: queue.max, ..FakeQueue::default() };
        }
        self.iommu.attached.clear();
        self.iommu.domains.clear();
    }

    /// Whether an access is answered.
    pub(crate) fn answers(&mut self) -> bool {
        self.accesses += 1;
        match &mut self.lives {
            None => true,
            Some(0) => false,
            Some(lives) => {
                *lives -= 1;
                true
            }
        }
    }

    pub(crate) fn enable(&mut self, number: usize) {
        assert_eq!(self.status & 0x0c, 8, "a queue is enabled between FEATURES_OK and DRIVER_OK");
        let queue = &mut self.queues[number];
        let size = u64::from(queue.size);
        assert!(queue.size <= queue.max && queue.size.is_power_of_two(), "a queue of {size}");
        let parts = [(16 * size, 16), (6 + 2 * size, 2), (6 + 8 * size, 4)];
        for (&at, (len, align)) in queue.addresses.iter().zip(parts) {
            assert!(at.is_multiple_of(align) && self.memory.is_allocated(at, len), "{len} bytes at {at:#x}");
        }
        queue.enabled = true;
    }

    pub(crate) fn notify(&mut self, number: u16) {
        self.notifications += 1;
        // After a reset that the driver does not know of, it does.
        assert!(self.status & 4 != 0 || self.status == 0, "notified before DRIVER_OK");
        if number == 0 && self.queues[0].enabled && self.status & 0x40 == 0 {
            while let Some(head) = self.next_available(0) {
                self.handle(head);
            }
        }
    }

    fn next_available(&mut self, number: usize) -> Option<u16> {
        let queue = &mut self.queues[number];
        let index = self.memory.get16(queue.addresses[1] + 2);
        if index == queue.seen {
            return None;
        }
        assert!(index.wrapping_sub(queue.seen) <= queue.size, "more is available than there is");
        let entry = queue.addresses[1] + 4 + 2 * u64::from(queue.seen % queue.size);
        queue.seen = queue.seen.wrapping_add(1);
        Some(self.memory.get16(entry))
    }

    /// What the device may read of a chain, and where it may write.
    fn chain(&self, number: usize, head: u16) -> (Vec<u8>, Vec<(u64, u64)>) {
        let queue = &self.queues[number];
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        let mut next = head;
        for _ in 0..queue.size {
            assert!(next < queue.size, "descriptor {next}");
            let at = queue.addresses[0] + 16 * u64::from(next);
            let (address, len) = (self.memory.get64(at), u64::from(self.memory.get32(at + 8)));
            let flags = self.memory.get16(at + 12);
            assert!(self.memory.is_allocated(address, len), "{len} bytes at {address:#x}");
            if flags & 2 != 0 {
                writable.push((address, len));
            } else {
                assert!(writable.is_empty(), "readable after writable");
                readable.extend(self.memory.get(address, len));
            }
            if flags & 1 == 0 {
                return (readable, writable);
            }
            next = self.memory.get16(at + 14);
        }
        panic!("a chain without end");
    }

    fn handle(&mut self, head: u16) {
        let trick = self.tricks.pop_front().unwrap_or(Trick::Honest);
        if trick == Trick::Withhold || !self.withheld.is_empty() {
            self.withheld.push(head);
            return;
        }
        if trick == Trick::NeedsReset {
            self.status |= 0x40;
            return;
        }
        self.perform(head, trick);
    }

    fn perform(&mut self, head: u16, trick: Trick) {
        let (request, writable) = self.chain(0, head);
        self.log.push(request[0]);
        let mut answer = Vec::new();
        let status = match trick {
            Trick::Status(status) => status,
            _ => self.iommu.request(&request, &mut answer),
        };
        let len: u64 = writable.iter().map(|(_, len)| len).sum();
        let room = len as usize - 4;
        answer.truncate(room);
        answer.resize(room, 0);
        answer.extend([status, 0xaa, 0xbb, 0xcc]);
        self.scatter(&writable, &answer);
        let (head, len, skew) = match trick {
            Trick::Head(head) => (head, len as u32, 0),
            Trick::Len(len) => (head.into(), len, 0),
            Trick::Index(skew) => (head.into(), len as u32, skew),
            _ => (head.into(), len as u32, 0),
        };
        self.complete(0, head, len, skew);
    }

    fn scatter(&self, writable: &[(u64, u64)], bytes: &[u8]) {
        let mut bytes = bytes;
        for &(address, len) in writable {
            let (now, later) = bytes.split_at(bytes.len().min(len as usize));
            self.memory.put(address, now);
            bytes = later;
        }
    }

    pub(crate) fn complete(&mut self, number: usize, head: u32, len: u32, skew: u16) {
        let queue = &mut self.queues[number];
        let entry = queue.addresses[2] + 4 + 8 * u64::from(queue.used % queue.size);
        self.memory.put(entry, &head.to_le_bytes());
        self.memory.put(entry + 4, &len.to_le_bytes());
        queue.used = queue.used.wrapping_add(1);
        let index = queue.used.wrapping_add(skew);
        self.memory.put(queue.addresses[2] + 2, &index.to_le_bytes());
        self.interrupt |= 1;
    }

    /// Does and completes what was withheld, the last first.
    pub(crate) fn release(&mut self) {
        for head in std::mem::take(&mut self.withheld).into_iter().rev() {
            self.perform(head, Trick::Honest);
        }
    }

    /// Takes a buffer for an event, if there is one.
    pub(crate) fn take_buffer(&mut self) -> Option<u16> {
        self.next_available(1)
    }

    /// Writes a report into a buffer and gives it back.
    pub(crate) fn give_report(&mut self, head: u16, report: &[u8], len: u32) {
        let (readable, writable) = self.chain(1, head);
        assert!(readable.is_empty());
        self.scatter(&writable, report);
        self.complete(1, head.into(), len, 0);
    }

    /// Reports a fault; `false` when it had to be dropped.
    pub(crate) fn report(&mut self, reason: u8, flags: u32, endpoint: u32, address: u64) -> bool {
        let Some(head) = self.take_buffer() else { return false };
        self.give_report(head, &report(reason, flags, endpoint, address), 24);
        true
    }
}

pub(crate) fn report(reason: u8, flags: u32, endpoint: u32, address: u64) -> Vec<u8> {
    let mut bytes = vec![reason, 0, 0, 0];
    bytes.extend(flags.to_le_bytes());
    bytes.extend(endpoint.to_le_bytes());
    bytes.extend([0xee; 4]); // To be ignored.
    bytes.extend(address.to_le_bytes());
    bytes
}
