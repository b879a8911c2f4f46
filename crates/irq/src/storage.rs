//! The one place where this crate's memory grows.

use alloc::vec::Vec;

/// There is no memory for what was asked (ENOMEM).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("out of memory")]
pub struct OutOfMemory;

/// `count` elements that `make` makes of their place.
pub(crate) fn table<T>(count: usize, make: impl FnMut(usize) -> T) -> Result<Vec<T>, OutOfMemory> {
    let mut elements = Vec::new();
    elements.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
    elements.extend((0..count).map(make));
    Ok(elements)
}
