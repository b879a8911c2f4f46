//! Devices to VFIO and back.

use super::devices::find;
use super::problem;
use crate::args::DevicesArguments;
use crate::destination::print;
use crate::output::printable;
use crate::problem::Problem;
use std::process::ExitCode;
use std::time::Duration;
use vcm_linux::host::{Bound, DeviceName, Former, Host, InUse, Obstacle};

/// Some were not given back.
const FAILED: u8 = 1;

/// Binds every device that is named, or none.
pub(super) fn bind(host: &Host, arguments: &DevicesArguments) -> Result<ExitCode, Problem> {
    let names: Vec<DeviceName> =
        arguments.bind.iter().map(|name| find(host, name)).collect::<Result<_, _>>()?;
    let in_use = if arguments.force { InUse::TakeAnyway } else { InUse::Refuse };
    let patience = Duration::from_secs(arguments.wait);
    let mut bound: Vec<Bound> = Vec::new();
    for name in &names {
        match host.bind_to_vfio(name, in_use, patience) {
            Ok(one) => bound.push(one),
            Err(error) => {
                let mut what = error.to_string();
                for one in bound.into_iter().rev() {
                    let device = one.device().clone();
                    if let Err(error) = one.restore(patience) {
                        what.push_str(&format!("; {device} was not given back: {error}"));
                    }
                }
                let use_it = matches!(&error, vcm_linux::Error::Argument { .. }) && !arguments.force;
                let problem = Problem::new(what);
                return Err(if use_it {
                    problem.with_help("--force takes it all the same")
                } else {
                    problem
                });
            }
        }
    }
    let mut text = String::new();
    for one in &bound {
        let name = one.device();
        let was = match one.former() {
            Former::Driver(driver) => driver.as_str(),
            Former::Nothing => "no driver",
            Former::Unknown => "an unknown driver",
        };
        let device = host.device(name).map_err(|error| problem(&error))?;
        let driver = device.driver.as_deref().unwrap_or("no driver");
        text.push_str(&format!("{name}: bound to {driver}, was {was}\n"));
        let mut nodes: Vec<String> = device.vfio_node.iter().cloned().collect();
        nodes.extend(device.group.as_ref().map(vcm_linux::host::Group::node));
        if !nodes.is_empty() {
            text.push_str(&format!("  at {}\n", nodes.join(" and ")));
        }
        for obstacle in &device.obstacles {
            if let Obstacle::Neighbour { .. } | Obstacle::WithoutIommu = obstacle {
                let help = obstacle.help().map_or_else(String::new, |help| format!("; {help}"));
                text.push_str(&format!("  but {obstacle}{help}\n"));
            }
        }
        text.push_str(&format!("  back with: vcm devices --restore {name}\n"));
    }
    print(&text.lines().map(|line| printable(line) + "\n").collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// Gives back the device that is named, or every one of which there is a note.
pub(super) fn restore(
    host: &Host,
    which: Option<&str>,
    arguments: &DevicesArguments,
) -> Result<ExitCode, Problem> {
    let patience = Duration::from_secs(arguments.wait);
    if let Some(name) = which {
        let name = DeviceName::parse(name).map_err(|error| problem(&error))?;
        let restored = host.restore(&name, patience).map_err(|error| problem(&error))?;
        print(&printable(&format!("{name}: {restored}")))?;
        print("\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let notes = host.notes();
    if notes.is_empty() {
        print("No device was taken from its driver by vcm, or all were given back.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for note in notes {
        if let Some(damage) = &note.damage {
            eprintln!("{}", printable(&format!("warning: the note of {} is damaged: {damage}", note.device)));
        }
        match host.restore(&note.device, patience) {
            Ok(restored) => print(&(printable(&format!("{}: {restored}", note.device)) + "\n"))?,
            Err(error) => {
                eprintln!("{}", printable(&format!("vcm: {}: {error}", note.device)));
                code = ExitCode::from(FAILED);
            }
        }
    }
    Ok(code)
}
