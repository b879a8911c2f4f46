//! Tests of the program and of what is behind it.

mod flat;
mod mistakes;
mod pictures;
mod program;
mod running;
