//! The `SMMUv3` driver against a fake that interprets queues and tables from memory.

#[path = "smmuv3/fake.rs"]
mod fake;
#[path = "smmuv3/interpreter.rs"]
mod interpreter;

#[path = "smmuv3/commands.rs"]
mod commands;
#[path = "smmuv3/events.rs"]
mod events;
#[path = "smmuv3/life.rs"]
mod life;
#[path = "smmuv3/loss.rs"]
mod loss;
#[path = "smmuv3/structures.rs"]
mod structures;
#[path = "smmuv3/tlb.rs"]
mod tlb;
