//! Reading a machine's topology from device trees.
#[path = "topology/bindings.rs"]
mod bindings;
#[path = "topology/edit.rs"]
mod edit;
#[path = "topology/hostile.rs"]
mod hostile;
#[path = "topology/invariants.rs"]
mod invariants;
#[path = "topology/malformed.rs"]
mod malformed;
#[path = "topology/malformed_pci.rs"]
mod malformed_pci;
#[path = "topology/qemu.rs"]
mod qemu;
#[path = "topology/real.rs"]
mod real;
#[path = "topology/shipped.rs"]
mod shipped;
