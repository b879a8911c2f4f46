//! The AMD-Vi driver against a fake device, written from the specification a second time. It is the only judge of
//! the event log: QEMU's IOMMU never moves its tail.

#[path = "fake_rig/mod.rs"]
mod fake_rig;

#[path = "amdvi/fake.rs"]
mod fake;

#[path = "amdvi/commands.rs"]
mod commands;
#[path = "amdvi/domains.rs"]
mod domains;
#[path = "amdvi/events.rs"]
mod events;
#[path = "amdvi/loss.rs"]
mod loss;
#[path = "amdvi/probe.rs"]
mod probe;
