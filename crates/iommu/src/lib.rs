//! IOMMU drivers, one folder each: register and descriptor layouts (`spec`, data only) beside the driver.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod registers;

pub use registers::Registers;
