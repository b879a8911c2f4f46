//! The RISC-V driver against a fake device, written from the specification a second time.

#[path = "fake_rig/mod.rs"]
mod fake_rig;

#[path = "riscv/fake.rs"]
mod fake;

#[path = "riscv/commands.rs"]
mod commands;
#[path = "riscv/domains.rs"]
mod domains;
#[path = "riscv/faults.rs"]
mod faults;
#[path = "riscv/loss.rs"]
mod loss;
#[path = "riscv/probe.rs"]
mod probe;
