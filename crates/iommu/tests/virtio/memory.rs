//! Memory that both sides see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use vcm::{OutOfMemory, PhysicalAddress};
use vcm_iommu::SharedMemory;

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 1 << 20;

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    next: u64,
    allocated: BTreeMap<u64, u64>,
    /// Allocations that succeed still.
    left: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Memory(Rc<RefCell<Inner>>);

impl Memory {
    pub(crate) fn new() -> Self {
        let inner =
            Inner { bytes: vec![0; SIZE as usize], next: BASE, allocated: BTreeMap::new(), left: usize::MAX };
        Self(Rc::new(RefCell::new(inner)))
    }

    pub(crate) fn fail_after(&self, allocations: usize) {
        self.0.borrow_mut().left = allocations;
    }

    pub(crate) fn allocations(&self) -> usize {
        self.0.borrow().allocated.len()
    }

    /// Whether all of it was given to the driver, who gave it to the device.
    pub(crate) fn is_allocated(&self, at: u64, len: u64) -> bool {
        let inner = self.0.borrow();
        let before = inner.allocated.range(..=at).next_back();
        before.is_some_and(|(start, size)| at + len <= start + size)
    }

    pub(crate) fn get(&self, at: u64, len: u64) -> Vec<u8> {
        let start = (at - BASE) as usize;
        self.0.borrow().bytes[start..start + len as usize].to_vec()
    }

    pub(crate) fn put(&self, at: u64, bytes: &[u8]) {
        let start = (at - BASE) as usize;
        self.0.borrow_mut().bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn get16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.get(at, 2).try_into().unwrap())
    }

    pub(crate) fn get32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    pub(crate) fn get64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }
}

impl SharedMemory for Memory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        let mut inner = self.0.borrow_mut();
        assert!(size > 0 && align.is_power_of_two());
        let at = inner.next.next_multiple_of(align);
        if inner.left == 0 || at + size > BASE + SIZE {
            return Err(OutOfMemory);
        }
        inner.left -= 1;
        // A hole after each: what goes beyond one is not in the next.
        inner.next = at + size + 8;
        inner.allocated.insert(at, size);
        let start = (at - BASE) as usize;
        inner.bytes[start..start + size as usize].fill(0);
        Ok(PhysicalAddress::new(at))
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        let freed = self.0.borrow_mut().allocated.remove(&address.raw());
        assert_eq!(freed, Some(size), "{address} is freed as it was not allocated");
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        assert!(address.is_aligned(4) && self.is_allocated(address.raw(), 4), "{address}");
        self.get32(address.raw())
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        assert!(address.is_aligned(4) && self.is_allocated(address.raw(), 4), "{address}");
        self.put(address.raw(), &value.to_le_bytes());
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        assert!(address.is_aligned(8) && self.is_allocated(address.raw(), 8), "{address}");
        self.get64(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        assert!(address.is_aligned(8) && self.is_allocated(address.raw(), 8), "{address}");
        self.put(address.raw(), &value.to_le_bytes());
    }
}
