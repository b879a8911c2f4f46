//! `vcm doctor`.

use super::table::{Table, Tone, paint};
use crate::args::DoctorArguments;
use crate::destination::{Destination, print};
use crate::output::Style;
use crate::problem::Problem;
use vcm_linux::host::{Check, Doctor, State};

/// Whether everything was there that had to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    There,
    Lacking,
}

/// Shows what the machine can do.
pub(crate) fn doctor(arguments: &DoctorArguments, style: Style) -> Result<Verdict, Problem> {
    let output = arguments.json.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
    let doctor = super::host(&arguments.root)?.doctor();
    let required = required(&doctor, &arguments.require)?;
    match output {
        Some(output) => output.write(&super::json(&doctor)?)?,
        None => print(&text(&doctor, style))?,
    }
    let lacking: Vec<&&Check> = required.iter().filter(|check| !check.state.works()).collect();
    for check in &lacking {
        let enable = check.enable.as_ref().map_or_else(String::new, |line| format!("; {line}"));
        let line =
            format!("vcm: {} is {}: {}: {}{enable}", check.name, check.state, check.title, check.found);
        eprintln!("{}", crate::output::printable(&line));
    }
    Ok(if lacking.is_empty() { Verdict::There } else { Verdict::Lacking })
}

/// The checks with these names.
fn required<'d>(doctor: &'d Doctor, names: &[String]) -> Result<Vec<&'d Check>, Problem> {
    let find = |name: &String| {
        doctor.check(name).ok_or_else(|| {
            let known = doctor.checks.iter().map(|check| check.name.as_str());
            Problem::new(format!("--require {name}: there is no such check")).with_known(name, known)
        })
    };
    names.iter().map(find).collect()
}

const fn tone(state: State) -> Tone {
    match state {
        State::Ok => Tone::Good,
        State::Limited | State::Unknown => Tone::Care,
        State::Off => Tone::Faint,
        State::Missing => Tone::Bad,
    }
}

fn text(doctor: &Doctor, style: Style) -> String {
    let mut out = format!("{}\n", paint(style, Tone::Title, "What can be done here"));
    let mut table = Table::default();
    for ability in &doctor.abilities {
        let word = match ability.state {
            State::Ok | State::Limited => "yes",
            State::Unknown => "perhaps",
            State::Off | State::Missing => "no",
        };
        let how = (Tone::Plain, ability.how.clone());
        table.row(vec![(tone(ability.state), word.into()), (Tone::Plain, ability.what.into()), how]);
    }
    out.push_str(&table.render(style, 0));
    let mut table = Table::default();
    let mut section = None;
    for check in &doctor.checks {
        if section != Some(check.section) {
            section = Some(check.section);
            table.title(check.section.to_string());
        }
        let state = (tone(check.state), check.state.to_string());
        table.row(vec![state, (Tone::Plain, check.title.clone()), (Tone::Plain, check.found.clone())]);
        if let Some(means) = &check.means {
            table.below(Tone::Faint, means.clone());
        }
        if let Some(line) = &check.enable {
            table.below(Tone::Plain, format!("-> {line}"));
        }
    }
    out + &table.render(style, BELOW)
}

/// Where what is said of a check begins: below its title.
const BELOW: usize = 11;
