//! Tests of the program and of what is behind it.

mod flat;
mod guests;
mod interrupt_mistakes;
mod interrupts;
mod mistakes;
mod pictures;
mod program;
mod running;
