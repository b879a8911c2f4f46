//! The device's registers, as PCI (4.1.4) and MMIO (4.2.2) have them. A device that fell silent reads all ones.

use crate::fake::Device;
use std::cell::RefCell;
use std::rc::Rc;
use vcm_iommu::{NarrowRegisters, Registers};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Common,
    Notify,
    Interrupt,
    Config,
    Mmio,
}

#[derive(Clone, Debug)]
pub(crate) struct Window {
    device: Rc<RefCell<Device>>,
    part: Part,
}

impl Window {
    pub(crate) fn new(device: Rc<RefCell<Device>>, part: Part) -> Self {
        Self { device, part }
    }

    fn get(&self, offset: u32, width: u32) -> u64 {
        let mut device = self.device.borrow_mut();
        if !device.answers() {
            return u64::MAX >> (64 - 8 * width);
        }
        match self.part {
            Part::Common => device.common(offset, width),
            Part::Notify => panic!("notifications are read"),
            Part::Interrupt => {
                assert_eq!((offset, width), (0, 1));
                std::mem::take(&mut device.interrupt).into()
            }
            Part::Config => device.configuration(offset, width),
            Part::Mmio if offset >= 0x100 => device.configuration(offset - 0x100, width),
            Part::Mmio => {
                assert_eq!(width, 4, "{offset:#x}");
                device.mmio(offset).into()
            }
        }
    }

    fn set(&self, offset: u32, width: u32, value: u64) {
        let mut device = self.device.borrow_mut();
        if !device.answers() {
            return;
        }
        match self.part {
            Part::Common => device.set_common(offset, width, value),
            Part::Notify => {
                // Both queues have the number of notifications that is in `notify_off`, times 4.
                assert_eq!((offset, width), (4 * u32::from(device.notify_off), 2));
                device.notify(value as u16);
            }
            Part::Interrupt => panic!("the interrupt status is written"),
            Part::Config => device.set_bypass(offset, width, value),
            Part::Mmio if offset >= 0x100 => device.set_bypass(offset - 0x100, width, value),
            Part::Mmio => {
                assert_eq!(width, 4, "{offset:#x}");
                device.set_mmio(offset, value as u32);
            }
        }
    }
}

impl Registers for Window {
    fn read(&mut self, offset: u32) -> u32 {
        self.get(offset, 4) as u32
    }
    fn write(&mut self, offset: u32, value: u32) {
        self.set(offset, 4, value.into());
    }
}

impl NarrowRegisters for Window {
    fn read8(&mut self, offset: u32) -> u8 {
        self.get(offset, 1) as u8
    }
    fn write8(&mut self, offset: u32, value: u8) {
        self.set(offset, 1, value.into());
    }
    fn read16(&mut self, offset: u32) -> u16 {
        self.get(offset, 2) as u16
    }
    fn write16(&mut self, offset: u32, value: u16) {
        self.set(offset, 2, value.into());
    }
}

impl Device {
    fn configuration(&mut self, offset: u32, width: u32) -> u64 {
        if self.restless {
            self.generation = self.generation.wrapping_add(1);
        }
        let fields = [(0, 8), (8, 8), (16, 8), (24, 4), (28, 4), (32, 4), (36, 1)];
        let natural = fields.iter().any(|&(at, len)| {
            (at..at + len).contains(&offset) && width == len.min(4) && (offset - at).is_multiple_of(width)
        });
        assert!(natural, "{width} bytes at {offset} of the configuration");
        let mut bytes = [0; 8];
        let at = offset as usize;
        bytes[..width as usize].copy_from_slice(&self.config[at..at + width as usize]);
        u64::from_le_bytes(bytes)
    }

    fn set_bypass(&mut self, offset: u32, width: u32, value: u64) {
        assert_eq!((offset, width), (36, 1), "only `bypass` may be written");
        assert!(self.accepted & 1 << 6 != 0 && value < 2 && self.status & 8 != 0);
        if !self.stubborn {
            self.config[36] = value as u8;
        }
    }

    fn queue(&mut self) -> usize {
        let queue = self.select[2] as usize;
        assert!(queue < 2, "queue {queue}");
        queue
    }

    /// 32 of the bits, as selected.
    fn features(&self) -> u32 {
        self.offered.checked_shr(32 * self.select[0]).unwrap_or(0) as u32
    }

    fn accept(&mut self, value: u64) {
        assert_eq!(self.status & 8, 0, "features after FEATURES_OK");
        let shift = 32 * self.select[1];
        self.accepted = self.accepted & !(0xffff_ffff << shift) | value << shift;
    }

    fn common(&mut self, offset: u32, width: u32) -> u64 {
        let queue = (self.select[2] as usize).min(1);
        match (offset, width) {
            (4, 4) => self.features().into(),
            (18, 2) => 2,
            (20, 1) => self.status.into(),
            (21, 1) => self.generation.into(),
            (24, 2) => self.queues[queue].size.into(),
            (28, 2) => self.queues[queue].enabled.into(),
            (30, 2) => self.notify_off.into(),
            _ => panic!("{width} bytes at {offset} are read"),
        }
    }

    fn set_common(&mut self, offset: u32, width: u32, value: u64) {
        match (offset, width) {
            (0, 4) => self.select[0] = value as u32,
            (8, 4) => self.select[1] = value as u32,
            (12, 4) => self.accept(value),
            (20, 1) => self.set_status(value as u8),
            (22, 2) => self.select[2] = value as u32,
            (24, 2) => {
                let queue = self.queue();
                self.queues[queue].size = value as u16;
            }
            (28, 2) => {
                assert_eq!(value, 1);
                let queue = self.queue();
                self.enable(queue);
            }
            (32..56, 4) => self.set_address((offset - 32) / 8, offset % 8 == 4, value),
            _ => panic!("{width} bytes at {offset} are written"),
        }
    }

    fn set_address(&mut self, which: u32, high: bool, value: u64) {
        let queue = self.queue();
        let address = &mut self.queues[queue].addresses[which as usize];
        *address = if high { *address & 0xffff_ffff | value << 32 } else { *address >> 32 << 32 | value };
    }

    fn mmio(&mut self, offset: u32) -> u32 {
        let queue = (self.select[2] as usize).min(1);
        match offset {
            0x00 => u32::from_le_bytes(*b"virt"),
            0x04 => 2,
            0x08 => 23,
            0x10 => self.features(),
            0x34 => self.queues[queue].max.into(),
            0x44 => self.queues[queue].enabled.into(),
            0x60 => self.interrupt,
            0x70 => self.status.into(),
            0xfc => self.generation.into(),
            _ => panic!("{offset:#x} is read"),
        }
    }

    fn set_mmio(&mut self, offset: u32, value: u32) {
        match offset {
            0x14 => self.select[0] = value,
            0x20 => self.accept(value.into()),
            0x24 => self.select[1] = value,
            0x30 => self.select[2] = value,
            0x38 => {
                let queue = self.queue();
                self.queues[queue].size = value as u16;
            }
            0x44 => {
                assert_eq!(value, 1);
                let queue = self.queue();
                self.enable(queue);
            }
            0x50 => self.notify(value as u16),
            0x64 => self.interrupt &= !value,
            0x70 => self.set_status(value as u8),
            0x80 | 0x84 => self.set_address(0, offset == 0x84, value.into()),
            0x90 | 0x94 => self.set_address(1, offset == 0x94, value.into()),
            0xa0 | 0xa4 => self.set_address(2, offset == 0xa4, value.into()),
            _ => panic!("{offset:#x} is written"),
        }
    }
}
