//! What the host's interrupt controller has to do: the seam to the hardware.

use crate::{HostInterrupt, Sense};

/// What all CPUs share: the distributor. Every call is one or a few register accesses and may come from any CPU.
///
/// A number that the controller does not implement is passed over, and reads as idle.
pub trait Controller {
    /// The number of interrupts that it implements, from number 0 on.
    fn interrupts(&self) -> u32;

    /// Whether the interrupt has an active state, so that a guest's end of it can complete it. LPIs have none
    /// (Arm IHI 0069H 2.2.1).
    fn has_active_state(&self, interrupt: HostInterrupt) -> bool;

    /// Lets the interrupt be signalled. When this returns, the controller has taken it: what is read from memory
    /// afterwards is read later.
    fn enable(&self, interrupt: HostInterrupt);

    /// Keeps the interrupt from being signalled. When this returns, none that is not acknowledged already will be.
    /// What it has pending stays so.
    fn disable(&self, interrupt: HostInterrupt);

    /// Ends the interrupt's active state, if it is active.
    fn deactivate(&self, interrupt: HostInterrupt);

    /// Makes the interrupt active without it being signalled.
    fn set_active(&self, interrupt: HostInterrupt);

    /// Makes the interrupt pending.
    fn set_pending(&self, interrupt: HostInterrupt);

    /// Ends a pending state that was latched. That of a line which is high does not end.
    fn clear_pending(&self, interrupt: HostInterrupt);

    /// Whether the interrupt is pending. For a level-sensitive one that is active: whether its line is high.
    fn is_pending(&self, interrupt: HostInterrupt) -> bool;

    /// Whether the interrupt is active.
    fn is_active(&self, interrupt: HostInterrupt) -> bool;

    /// Sets what the interrupt's input reacts to. It is disabled while this is done.
    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense);
}

impl<C: Controller + ?Sized> Controller for &C {
    fn interrupts(&self) -> u32 {
        (**self).interrupts()
    }
    fn has_active_state(&self, interrupt: HostInterrupt) -> bool {
        (**self).has_active_state(interrupt)
    }
    fn enable(&self, interrupt: HostInterrupt) {
        (**self).enable(interrupt);
    }
    fn disable(&self, interrupt: HostInterrupt) {
        (**self).disable(interrupt);
    }
    fn deactivate(&self, interrupt: HostInterrupt) {
        (**self).deactivate(interrupt);
    }
    fn set_active(&self, interrupt: HostInterrupt) {
        (**self).set_active(interrupt);
    }
    fn set_pending(&self, interrupt: HostInterrupt) {
        (**self).set_pending(interrupt);
    }
    fn clear_pending(&self, interrupt: HostInterrupt) {
        (**self).clear_pending(interrupt);
    }
    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        (**self).is_pending(interrupt)
    }
    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        (**self).is_active(interrupt)
    }
    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        (**self).set_sense(interrupt, sense);
    }
}

/// An interrupt that this CPU acknowledged: proof that it is active, and what ends it.
///
/// It has to be given back to [`CpuInterface::drop_priority`], once.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "until its priority is dropped, the CPU takes no interrupt of the same or a lower priority"]
pub struct Acknowledged {
    interrupt: HostInterrupt,
    raw: u32,
}

impl Acknowledged {
    /// What an acknowledge register answered; for implementations of [`CpuInterface`].
    pub const fn new(interrupt: HostInterrupt, raw: u32) -> Self {
        Self { interrupt, raw }
    }

    /// Which interrupt.
    pub const fn interrupt(&self) -> HostInterrupt {
        self.interrupt
    }

    /// The register's value, which the end-of-interrupt register wants back.
    pub const fn raw(&self) -> u32 {
        self.raw
    }
}

/// The interface through which the CPU that runs this code takes host interrupts, with priority drop and
/// deactivation apart (`EOImode` 1; Arm IHI 0048B.b 3.2.1).
pub trait CpuInterface {
    /// Acknowledges the pending interrupt of the highest priority. `None`: there is none, or it is no interrupt
    /// that has a line (a software-generated one is for the caller to take before).
    fn acknowledge(&mut self) -> Option<Acknowledged>;

    /// Drops the running priority; the interrupt stays active, which keeps it from being signalled again.
    fn drop_priority(&mut self, acknowledged: &Acknowledged);

    /// Deactivates the interrupt.
    fn deactivate(&mut self, acknowledged: Acknowledged);
}
