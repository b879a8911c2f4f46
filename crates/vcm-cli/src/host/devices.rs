//! `vcm devices`.

use super::table::{Table, Tone, paint};
use super::{change, detail};
use crate::args::DevicesArguments;
use crate::destination::{Destination, print};
use crate::output::Style;
use crate::problem::Problem;
use std::process::ExitCode;
use vcm_linux::host::{Assignable, Bus, Device, DeviceName, Former, Holder, Host, Note, Obstacle, Window};

/// More than the kernel tells of a device.
#[derive(serde::Serialize)]
struct Found<'d> {
    #[serde(flatten)]
    device: &'d Device,
    assignable: Assignable,
    /// What mappings may use; null when it is not known.
    windows: Option<Vec<Window>>,
    holders: Vec<Holder>,
    /// Noted when vcm took it from its driver.
    taken: Option<&'d Note>,
}

/// Shows devices, takes them from their drivers, or gives them back.
pub(crate) fn devices(arguments: &DevicesArguments, style: Style) -> Result<ExitCode, Problem> {
    let output = arguments.json.as_deref().map(|path| Destination::open(Some(path))).transpose()?;
    let host = super::host(&arguments.root)?;
    if !arguments.bind.is_empty() {
        return change::bind(&host, arguments);
    }
    if let Some(which) = &arguments.restore {
        return change::restore(&host, which.as_deref(), arguments);
    }
    let notes = host.notes();
    let of = |device: &Device| notes.iter().find(|note| note.device == device.name);
    let found = |device| Found {
        assignable: Device::assignable(device),
        windows: device.group.as_ref().and_then(|group| group.windows(device.address_bits)),
        holders: if device.is_bound_to_vfio() { host.holders(device) } else { Vec::new() },
        taken: of(device),
        device,
    };
    if let Some(name) = &arguments.device {
        let device = host.device(&find(&host, name)?).map_err(|error| super::problem(&error))?;
        match output {
            Some(output) => output.write(&super::json(&found(&device))?)?,
            None => print(&detail::text(&device, of(&device), &host.holders(&device), style))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let all = host.devices().map_err(|error| super::problem(&error))?;
    let shown: Vec<&Device> = all.iter().filter(|device| arguments.all || is_usual(device)).collect();
    match output {
        Some(output) => output.write(&super::json(&shown.into_iter().map(found).collect::<Vec<_>>())?)?,
        None => print(&text(&all, &shown, &notes, style))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The device that the command line names.
pub(super) fn find(host: &Host, text: &str) -> Result<DeviceName, Problem> {
    let wrong = |error| super::problem(&error);
    let name = DeviceName::parse(text).map_err(wrong)?;
    if host.device(&name).is_ok() {
        return Ok(name);
    }
    let all = host.devices().map_err(wrong)?;
    let names: Vec<&str> = all.iter().map(|device| device.name.name()).collect();
    let problem = Problem::new(format!("no PCI or platform device is called {text}"));
    // All names of a machine are no help.
    let close = problem.clone().with_known(name.name(), names.iter().copied());
    let close = close.help.is_some_and(|help| help.starts_with("did you mean")).then_some(names);
    Err(match close {
        Some(names) => problem.with_known(name.name(), names),
        None => problem.with_help("`vcm devices --all` shows those that there are"),
    })
}

/// What people look for: not bridges, and of the platform's devices those that an IOMMU holds.
fn is_usual(device: &Device) -> bool {
    match device.name.bus() {
        // The machine's own bridges have ordinary headers, and are of class 6 as well.
        Bus::Pci => !device.bridge && device.identity.is_none_or(|identity| identity.class >> 16 != 6),
        Bus::Platform => device.group.is_some() || device.is_bound_to_vfio(),
    }
}

pub(super) const fn tone(assignable: Assignable) -> Tone {
    match assignable {
        Assignable::Ready | Assignable::Yes => Tone::Good,
        Assignable::WithGroup => Tone::Care,
        Assignable::InUse => Tone::Bad,
        Assignable::No => Tone::Faint,
    }
}

pub(super) fn former(note: &Note) -> String {
    match &note.former {
        Former::Driver(driver) => format!("was bound to {driver}"),
        Former::Nothing => "was bound to nothing".into(),
        Former::Unknown => "what it was bound to is not known any more".into(),
    }
}

fn text(all: &[Device], shown: &[&Device], notes: &[Note], style: Style) -> String {
    // Said once, not of each.
    let no_groups = !all.is_empty() && all.iter().all(|device| device.group.is_none());
    let mut table = Table::default();
    let head = ["device", "group", "driver", "assignable", "what it is"];
    table.row(head.iter().map(|title| (Tone::Title, (*title).into())).collect());
    for device in shown {
        let assignable = device.assignable();
        let number = device.group.as_ref().map_or_else(|| "-".into(), |group| group.number.to_string());
        let numbers = device.identity.map(|it| format!(" [{:04x}:{:04x}]", it.vendor, it.device));
        table.row(vec![
            (Tone::Plain, device.name.to_string()),
            (Tone::Plain, number),
            (Tone::Plain, device.driver.clone().unwrap_or_else(|| "-".into())),
            (tone(assignable), assignable.to_string()),
            (Tone::Plain, device.about.clone() + &numbers.unwrap_or_default()),
        ]);
        let told = |obstacle: &&Obstacle| !(no_groups && **obstacle == Obstacle::NoGroup);
        let obstacles: Vec<_> = device.obstacles.iter().filter(told).collect();
        for obstacle in obstacles.iter().take(MOST) {
            table.below(tone(obstacle.leaves()), obstacle.to_string());
        }
        if obstacles.len() > MOST {
            table.below(
                Tone::Faint,
                format!("and {} more: vcm devices {}", obstacles.len() - MOST, device.name),
            );
        }
        if let Some(note) = notes.iter().find(|note| note.device == device.name) {
            table.below(Tone::Plain, format!("{}: vcm devices --restore {}", former(note), device.name));
        }
    }
    let mut out = if shown.is_empty() { String::new() } else { table.render(style, BELOW) };
    let mut footer = Vec::new();
    if no_groups {
        footer.push(
            "No device is in an IOMMU group, so that none can be assigned: `vcm doctor` says why.".into(),
        );
    }
    if all.is_empty() {
        footer.push("There are no PCI and no platform devices here.".into());
    }
    let hidden: Vec<&Device> =
        all.iter().filter(|one| shown.iter().all(|two| two.name != one.name)).collect();
    let (bridges, others): (Vec<&Device>, _) =
        hidden.iter().partition(|device| device.name.bus() == Bus::Pci);
    let counted = [count(bridges.len(), "bridge"), count(others.len(), "platform device")];
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    if !counted.is_empty() {
        footer.push(format!("Not shown: {} (--all).", counted.join(", ")));
    }
    if !footer.is_empty() && !out.is_empty() {
        out.push('\n');
    }
    for line in footer {
        out.push_str(&format!("{}\n", paint(style, Tone::Plain, &line)));
    }
    out
}

fn count(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    }
}

/// Obstacles that are shown of each device.
const MOST: usize = 3;
/// Where what is said of a device begins.
const BELOW: usize = 6;
