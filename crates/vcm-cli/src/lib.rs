//! Scenarios on the mapping graph: files that say what address spaces, devices and buffers there are, what happens,
//! and what must hold.
//!
//! The program `vcm` is a thin shell over this library. A scenario runs on any [`machine::Machine`]:
//!
//! ```no_run
//! use vcm_cli::machine::Simulated;
//! use vcm_cli::run::{Silent, run};
//! use vcm_cli::scenario::Scenario;
//!
//! let scenario = Scenario::open("walkthrough")?;
//! let machine = Simulated::find("msm8x60")?;
//! let run = run(&scenario, &machine, None, &mut Silent)?;
//! assert!(run.record.ok);
//! print!("{}", vcm_cli::output::picture(&run.fullest));
//! # Ok::<(), vcm_cli::problem::Problem>(())
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`scenario`] | the files: reading, with errors that point at file, line and key |
//! | [`machine`] | what they run on, and which device plays which role |
//! | [`run`] | running them: every transfer's bytes are compared with what has to be there |
//! | [`output`] | summary, pictures, report |
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
mod destination;
mod host;
pub mod machine;
pub mod output;
pub mod problem;
pub mod progress;
pub mod run;
pub mod scenario;

/// The library example of the README, compiled and run with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
