//! What the controller does with commands.

use super::{BLOCKS, DISTANCE, Misbehaviour, Queue, State};

impl State {
    /// Does all that the doorbells ask for.
    pub(super) fn work(&mut self) {
        if self.misbehaviour == Misbehaviour::Silent {
            return;
        }
        let ids: Vec<u16> = self.queues.keys().copied().collect();
        for id in ids {
            while let Some(command) = self.fetch(id) {
                let (status, result) =
                    if id == 0 { self.admin(&command) } else { (self.input_output(&command), 0) };
                self.complete(id, (command[0] >> 16) as u16, status, result);
            }
        }
    }

    fn fetch(&mut self, id: u16) -> Option<[u64; 8]> {
        let queue = self.queues.get_mut(&id)?;
        if queue.head == queue.tail {
            return None;
        }
        let at = queue.submission + 64 * queue.head;
        queue.head = (queue.head + 1) % queue.entries[0];
        Some([0, 1, 2, 3, 4, 5, 6, 7].map(|word| self.device_word(at + 8 * word)))
    }

    fn complete(&mut self, id: u16, command: u16, status: u16, result: u32) {
        let (mut number, mut queue_id, mut status) = (command, id, status);
        let mut head = self.queues[&id].head;
        let (mut times, mut flip) = (1, 0);
        match self.misbehaviour {
            _ if id == 0 => {}
            Misbehaviour::WrongCommand => number ^= 0x8000,
            Misbehaviour::WrongQueue => queue_id ^= 2,
            Misbehaviour::WrongHead => head = 0xfff,
            Misbehaviour::Twice => times = 2,
            Misbehaviour::Noise(seed) => {
                self.noise ^= seed;
                let bits = self.random();
                match bits >> 62 {
                    0 => number = bits as u16,
                    1 => (queue_id, head) = (bits as u16 & 3, bits >> 20 & 0x3f),
                    2 => (status, times) = ((bits >> 40) as u16 & 0x7fff, (bits & 3) as u32),
                    _ => flip = 1,
                }
            }
            _ => {}
        }
        for _ in 0..times {
            let Some(queue) = self.queues.get_mut(&id) else { return };
            let at = queue.completion + 16 * queue.next;
            let phase = queue.phase ^ flip;
            queue.next += 1;
            if queue.next == queue.entries[1] {
                queue.next = 0;
                queue.phase ^= 1;
            }
            let high = head
                | u64::from(queue_id) << 16
                | u64::from(number) << 32
                | phase << 48
                | u64::from(status) << 49;
            self.set_device_word(at, u64::from(result));
            self.set_device_word(at + 8, high);
        }
        let vector = self.queues.get(&id).and_then(|queue| queue.vector);
        if let Some(vector) = vector {
            *self.messages.entry(vector).or_default() += 1;
        }
    }

    /// The status, and the command's own result.
    fn admin(&mut self, command: &[u64; 8]) -> (u16, u32) {
        let (opcode, page) = (command[0] as u8, command[3]);
        let size = (command[5] >> 16 & 0xffff) + 1;
        let (queue, how) = (command[5] as u16, command[5] >> 32);
        // What creates queues names whole pages.
        assert!(!matches!(opcode, 1 | 5) || page % self.page_len == 0);
        match (opcode, self.misbehaviour) {
            (5, Misbehaviour::NoQueues) => return (0x102, 0),
            (1, Misbehaviour::NoSubmissionQueue) => return (0x102, 0),
            (6, _) => self.identify(page, command[5] as u32),
            (9, misbehaviour) => {
                assert_eq!(command[5] as u32, 7, "the number of queues");
                // Four completion queues and six submission queues, or one of each.
                let given = if misbehaviour == Misbehaviour::FewQueues { 0 } else { 5 | 3 << 16 };
                return (0, given);
            }
            (5, _) => {
                assert!(!self.queues.contains_key(&queue), "it is there");
                assert_eq!(how & 1, 1, "contiguous");
                let vector = (how & 2 != 0).then_some((how >> 16) as u16);
                let new =
                    Queue { completion: page, entries: [0, size], phase: 1, vector, ..Queue::default() };
                self.queues.insert(queue, new);
            }
            (1, _) => {
                assert_eq!(how, u64::from(queue) << 16 | 1);
                let queue = self.queues.get_mut(&queue).expect("its completion queue comes first");
                (queue.submission, queue.entries[0]) = (page, size);
            }
            (0, _) => {
                let queue = self.queues.get_mut(&queue).expect("it is there");
                assert_ne!(queue.entries[0], 0, "its submission queue goes first");
                (queue.entries[0], queue.tail, queue.head) = (0, 0, 0);
            }
            (4, _) => {
                let gone = self.queues.remove(&queue).expect("it is there");
                assert_eq!(gone.entries[0], 0, "its submission queue went before");
            }
            _ => return (1, 0),
        }
        (0, 0)
    }

    fn identify(&mut self, page: u64, what: u32) {
        for offset in (0..0x1000).step_by(8) {
            self.set_device_word(page + offset, 0);
        }
        let memory = page - DISTANCE;
        if what == 1 {
            self.put(memory + 4, b"S 1                 made up   ");
            self.put(memory + 77, &[2]);
        } else {
            let shift = if let Misbehaviour::BlocksOf(shift) = self.misbehaviour { shift } else { 9 };
            self.put(memory, &BLOCKS.to_le_bytes());
            self.put(memory + 26, &[0x11]); // Format 1; the upper half means something else.
            self.put(memory + 128 + 4 + 2, &[shift]);
        }
    }

    fn input_output(&mut self, command: &[u64; 8]) -> u16 {
        let opcode = command[0] as u8;
        assert_eq!(command[0] >> 32, 1, "the namespace");
        if opcode == 0 {
            return 0;
        }
        let (block, count) = (command[5], (command[6] & 0xffff) + 1);
        if let Misbehaviour::Status { at_block, status } = self.misbehaviour
            && at_block == block
        {
            return status;
        }
        let len = 512 * count;
        let (first, second) = (command[3], command[4]);
        // 4.3: one page, two, or a list; only the first one may begin in the middle.
        let mut pages = vec![first];
        let page_len = self.page_len;
        let others = (first % page_len + len - 1) / page_len;
        assert!(others < 512 && len <= 0x4000, "more than it takes");
        match others {
            0 => {}
            1 => pages.push(second),
            _ => (0..others).for_each(|index| pages.push(self.device_word(second + 8 * index))),
        }
        assert!(pages[1..].iter().all(|page| page % page_len == 0));
        let mut at = 512 * block as usize;
        let mut left = len;
        for page in pages {
            for device in page..page + left.min(page_len - page % page_len) {
                let memory = self.reach(device);
                if opcode == 1 {
                    self.disk[at] = self.byte(memory);
                } else {
                    self.put(memory, &[self.disk[at]]);
                }
                at += 1;
                left -= 1;
            }
        }
        0
    }
}
