//! Memory that a driver and its IOMMU both access.

use vcm::{OutOfMemory, PhysicalAddress};

/// Memory for what an IOMMU reads and writes itself beside page tables: queues, tables of devices, directories.
///
/// Words are little-endian, naturally aligned, and accessed in one piece. Accesses are seen by the device in the
/// order of the calls; where it does not look into the CPU's caches, a write cleans them and a read invalidates them
/// first. A word that the device has written is read as written.
pub trait SharedMemory {
    /// `size` bytes at a multiple of `align` bytes (a power of two), contiguous and all zero.
    ///
    /// # Errors
    /// There is not that much in one piece.
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory>;

    /// Takes back `size` bytes that [`allocate`](Self::allocate) gave at `address`. The device must have been stopped
    /// from using them.
    fn free(&mut self, address: PhysicalAddress, size: u64);

    /// Reads 32 bits at `address`, a multiple of 4.
    fn read32(&mut self, address: PhysicalAddress) -> u32;

    /// Writes 32 bits at `address`, a multiple of 4.
    fn write32(&mut self, address: PhysicalAddress, value: u32);

    /// Reads 64 bits at `address`, a multiple of 8.
    fn read64(&mut self, address: PhysicalAddress) -> u64;

    /// Writes 64 bits at `address`, a multiple of 8.
    fn write64(&mut self, address: PhysicalAddress, value: u64);
}

/// Allocates blocks, each given as its size and alignment: all of them, or none.
pub(crate) fn allocate_all<const N: usize>(
    memory: &mut impl SharedMemory,
    blocks: [(u64, u64); N],
) -> Result<[PhysicalAddress; N], OutOfMemory> {
    let mut places = [PhysicalAddress::new(0); N];
    for (index, (size, align)) in blocks.into_iter().enumerate() {
        match memory.allocate(size, align) {
            Ok(place) => places[index] = place,
            Err(error) => {
                for (place, (size, _)) in places.into_iter().zip(blocks).take(index) {
                    memory.free(place, size);
                }
                return Err(error);
            }
        }
    }
    Ok(places)
}

impl<M: SharedMemory + ?Sized> SharedMemory for &mut M {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        (**self).allocate(size, align)
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        (**self).free(address, size);
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        (**self).read32(address)
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        (**self).write32(address, value);
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        (**self).read64(address)
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        (**self).write64(address, value);
    }
}
