//! PCI Express devices that ask not to be coherent.

/// What becomes of a device's wish not to be coherent (the no-snoop attribute of PCI Express).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSnoop {
    /// It is followed. A request without that attribute is coherent.
    Honoured,
    /// It is not: every access to a page is coherent.
    Overridden,
}
