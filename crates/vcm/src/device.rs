//! Devices: what regions are associated with.

use crate::fault::{Answer, Fault, Retries};
use crate::graph::Graph;
use crate::id::AssociationId;
use crate::storage::List;
use crate::{DeviceHandle, Hardware, Label, RegionKind, Span};
use alloc::boxed::Box;
use core::fmt;

/// What a device is made known by.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRequest<'a> {
    /// Its name.
    pub label: Label,
    /// The machine's number for it.
    pub handle: DeviceHandle,
    /// The kind of regions that it takes.
    pub kind: RegionKind,
    /// Addresses that it must never be given.
    pub reserved: &'a [Span],
}

/// Answers a device's faults.
///
/// It is called with the graph and the hardware at hand, so that it can mend the cause, for example by backing
/// the reservation that covers the address, and ask for a retry. A closure of the same shape is a hook too.
pub trait FaultHook: Send {
    /// What is to become of the transaction.
    fn on_fault(&mut self, fault: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware) -> Answer;
}

impl<F: FnMut(&Fault, &mut Graph, &mut dyn Hardware) -> Answer + Send> FaultHook for F {
    fn on_fault(&mut self, fault: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware) -> Answer {
        self(fault, graph, hardware)
    }
}

/// What is done with a device's faults.
#[derive(Default)]
pub(crate) enum Hook {
    /// Nobody asked for them: warn of the first, terminate all.
    #[default]
    None,
    /// As `None`, and the warning was given.
    Warned,
    /// They are answered by this.
    Installed(Box<dyn FaultHook>),
    /// The hook is being called right now.
    Running,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Warned => "none, warned",
            Self::Installed(_) => "installed",
            Self::Running => "running",
        })
    }
}

#[derive(Debug)]
pub struct Device {
    pub(crate) label: Label,
    pub(crate) handle: DeviceHandle,
    pub(crate) kind: RegionKind,
    pub(crate) reserved: List<Span>,
    pub(crate) associations: List<AssociationId>,
    pub(crate) hook: Hook,
    pub(crate) retries: Retries,
}
