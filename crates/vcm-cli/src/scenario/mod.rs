//! Scenario files: what there is, what happens, and what must hold.
//!
//! `scenarios/README.md` describes every key with an example.

mod declarations;
mod interrupt_reading;
mod interrupts;
mod model;
mod names;
mod quantity;
mod shipped;
mod steps;
mod surface;
mod table;

pub use interrupts::{Cost, Counted, GuestSpec, InterruptAction, InterruptSpec, Limit};
pub use model::{
    Action, AssociationSpec, Base, BoundSpec, BufferSpec, Expectation, HookAnswer, HookSpec, Measure,
    MeasuredPattern, Movement, PoolSpec, Refusal, RegionSpec, Scenario, ShareSpec, Step, SurfaceSpec,
    TargetSpec, TransferSpec, When, Window,
};
pub use shipped::{shipped, shipped_names};
pub use steps::ERRNOS;
pub use surface::LONGEST as LONGEST_SURFACE;
pub(crate) use table::{Source, Table};

use crate::problem::Problem;
use declarations::whole;
use std::path::Path;

/// No scenario is longer than this, in bytes.
const LONGEST: usize = 1 << 20;

impl Scenario {
    /// Reads a scenario from its text. `file` is what errors call it.
    ///
    /// # Errors
    /// The first mistake, with file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        if text.len() > LONGEST {
            return Err(Problem::new(format!("{file}: longer than 1 MiB, which no scenario is")));
        }
        let source = Source { file: file.into(), text };
        let document = source.parse()?;
        let mut top = Table::top(&source, document.get_ref());
        let name = Path::new(file).file_stem().map_or_else(|| file.into(), |stem| stem.to_string_lossy());
        let scenario = Self {
            name: name.into_owned(),
            about: top.text("about")?.map(|name| name.text).unwrap_or_default(),
            machine: top.text("machine")?,
            seed: top.number("seed")?.unwrap_or(0),
            pools: each(&mut top, "pool", declarations::pool)?,
            targets: each(&mut top, "target", declarations::target)?,
            regions: each(&mut top, "region", declarations::region)?,
            bounds: each(&mut top, "bound", declarations::bound)?,
            associations: each(&mut top, "association", declarations::association)?,
            buffers: each(&mut top, "buffer", declarations::buffer)?,
            shares: each(&mut top, "share", declarations::share)?,
            hooks: each(&mut top, "hook", declarations::hook)?,
            guests: each(&mut top, "guest", interrupt_reading::guest)?,
            interrupts: interrupt_reading::numbered(each(
                &mut top,
                "interrupt",
                interrupt_reading::interrupt,
            )?)?,
            steps: each(&mut top, "step", steps::step)?,
            measure: match top.table("measure")? {
                Some(table) => Some(whole(table, declarations::measure)?),
                None => None,
            },
        };
        top.finish()?;
        names::check(&scenario)?;
        Ok(scenario)
    }

    /// Reads the scenario at a path, or the shipped one with that name.
    ///
    /// # Errors
    /// There is neither, or the first mistake in it.
    pub fn open(path_or_name: &str) -> Result<Self, Problem> {
        let path = Path::new(path_or_name);
        match std::fs::read(path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => Self::parse(path_or_name, text),
                Err(error) => Err(Problem::new(format!("{path_or_name}: not UTF-8: {error}"))),
            },
            Err(error) => match shipped(path_or_name) {
                Some(text) => Self::parse(&format!("{path_or_name}.toml"), text),
                None if error.kind() == std::io::ErrorKind::NotFound => {
                    let problem = format!("no file and no shipped scenario is called \"{path_or_name}\"");
                    Err(Problem::new(problem).with_known(path_or_name, shipped_names()))
                }
                None => Err(Problem::new(format!("{path_or_name}: {error}"))),
            },
        }
    }
}

fn each<T>(
    top: &mut Table<'_>,
    key: &'static str,
    read: impl Fn(&mut Table<'_>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    top.tables(key)?.into_iter().map(|table| whole(table, &read)).collect()
}
