//! The VT-d driver against a fake unit that reads its tables and its queue from memory.

#[path = "vtd/device.rs"]
mod device;
#[path = "vtd/fake.rs"]
mod fake;
#[path = "vtd/walk.rs"]
mod walk;

#[path = "vtd/domains.rs"]
mod domains;
#[path = "vtd/faults.rs"]
mod faults;
#[path = "vtd/interrupts.rs"]
mod interrupts;
#[path = "vtd/invalidation.rs"]
mod invalidation;
#[path = "vtd/loss.rs"]
mod loss;
#[path = "vtd/probe.rs"]
mod probe;
#[path = "vtd/queue.rs"]
mod queue;
