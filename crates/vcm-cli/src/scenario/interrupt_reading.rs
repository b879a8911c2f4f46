//! Reading guests, their interrupts, and the steps about them.

use super::interrupts::{Cost, Counted, GuestSpec, InterruptAction, InterruptSpec, Limit};
use super::model::When;
use super::table::Table;
use crate::problem::{Name, Place, Problem};
use vcm_irq::{DeviceInterrupt, FIRST_SPI, SPI_END};
use vcm_platform::{GuestEnd, InterruptRemains, Pace, Quieting, Stage, Way};

/// GSIs of a guest: one for each shared peripheral interrupt that there can be.
const GSIS: u32 = SPI_END - FIRST_SPI;

/// No step asks more often than this: a slip of the pen must not keep the machine busy for days.
const MOST_ASKED: u64 = 1_000_000;

/// What a step about interrupts can do.
pub(super) const ACTIONS: [&str; 10] = [
    "ask",
    "run-until",
    "settle",
    "give",
    "forward",
    "unforward",
    "kill",
    "expect-interrupt",
    "expect-remains",
    "compare",
];

const WHEN: [(&str, When); 2] = [("start", When::Start), ("later", When::Later)];

pub(super) fn guest(table: &mut Table<'_>) -> Result<GuestSpec, Problem> {
    let ends = [("together", GuestEnd::Together), ("apart", GuestEnd::Apart)];
    let quiets = [
        ("before-end", Quieting::BeforeEnd),
        ("oneshot", Quieting::Oneshot),
        ("after-end", Quieting::AfterEnd),
    ];
    let name = table.required_text("name")?;
    let vcpus = match table.number("vcpus")? {
        None => 1,
        Some(0) => return Err(table.problem("vcpus", "a guest has one virtual CPU at least")),
        Some(count) => match u16::try_from(count) {
            Ok(count) => count,
            Err(_) => return Err(table.problem("vcpus", format!("{count} virtual CPUs are too many"))),
        },
    };
    Ok(GuestSpec {
        name,
        vcpus,
        end: table.choice("ends", &ends)?.unwrap_or_default(),
        quieting: table.choice("quiets", &quiets)?.unwrap_or_default(),
    })
}

/// An interrupt as the file has it: its GSI may still be open.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    spec: InterruptSpec,
    /// The number and where it is written.
    gsi: Option<(u32, Place)>,
}

pub(super) fn interrupt(table: &mut Table<'_>) -> Result<Draft, Problem> {
    let device = table.required_text("device")?;
    let index = table.small("index")?.unwrap_or(0);
    let subindex = table.small("subindex")?.unwrap_or(0);
    let place = table.place_of("index").unwrap_or_else(|| device.place.clone());
    let name = match table.text("name")? {
        Some(name) if name.text.is_empty() => return Err(name.problem("this text is empty")),
        Some(name) => name,
        None if subindex == 0 => Name { text: format!("{device}.{index}"), place: table.place().clone() },
        None => Name { text: format!("{device}.{index}.{subindex}"), place: table.place().clone() },
    };
    let gsi = match table.small("gsi")? {
        None => None,
        Some(gsi) if gsi < GSIS => Some((gsi, table.place_of("gsi").unwrap_or_else(|| place.clone()))),
        Some(_) => {
            return Err(table.problem("gsi", format!("a guest's interrupts are 0 to {}", GSIS - 1)));
        }
    };
    let way = match table.optional_flag("forwarded")? {
        Some(false) => Way::Automasked,
        None | Some(true) => Way::Forwarded,
    };
    let spec = InterruptSpec {
        name,
        device,
        interrupt: DeviceInterrupt { index, subindex },
        place,
        guest: table.required_text("guest")?,
        gsi: 0,
        way,
        given: table.choice("given", &WHEN)?.unwrap_or(When::Start),
    };
    Ok(Draft { spec, gsi })
}

/// Gives every interrupt its GSI: what the file says, and else the lowest that no other one of the guest has.
///
/// # Errors
/// Two that are given at the start have the same one, or there are not enough.
pub(super) fn numbered(drafts: Vec<Draft>) -> Result<Vec<InterruptSpec>, Problem> {
    let mut taken: Vec<(String, u32)> = Vec::new();
    for draft in &drafts {
        let Some((gsi, place)) = &draft.gsi else { continue };
        let entry = (draft.spec.guest.text.clone(), *gsi);
        // What a step gives may have to be refused.
        if draft.spec.given == When::Start && taken.contains(&entry) {
            let what = format!("guest \"{}\" has an interrupt {gsi} already", draft.spec.guest);
            return Err(Problem::at(place, what));
        }
        taken.push(entry);
    }
    let mut specs = Vec::new();
    for Draft { spec, gsi } in drafts {
        let gsi = match gsi {
            Some((gsi, _)) => gsi,
            None => {
                let used = |gsi: u32| taken.iter().any(|(guest, of)| *guest == spec.guest.text && *of == gsi);
                let Some(free) = (0..GSIS).find(|gsi| !used(*gsi)) else {
                    let what = format!("guest \"{}\" has no interrupt left", spec.guest);
                    return Err(spec.name.problem(what));
                };
                taken.push((spec.guest.text.clone(), free));
                free
            }
        };
        specs.push(InterruptSpec { gsi, ..spec });
    }
    Ok(specs)
}

/// A step about interrupts; `None` when the word is none of [`ACTIONS`].
pub(super) fn action(word: &str, table: &mut Table<'_>) -> Result<Option<InterruptAction>, Problem> {
    let stages = [("idle", Stage::Idle), ("pending", Stage::Pending), ("in-service", Stage::InService)];
    let paces = [("served", Pace::Served), ("at-once", Pace::AtOnce)];
    let costs = [("exits", Cost::Exits), ("mmio", Cost::Mmio)];
    Ok(Some(match word {
        "ask" => {
            let interrupt = table.required_text("interrupt")?;
            let times = table.number("times")?.unwrap_or(1);
            if !(1..=MOST_ASKED).contains(&times) {
                return Err(
                    table.problem("times", format!("a device asks 1 to {MOST_ASKED} times in a step"))
                );
            }
            let pace = table.choice("pace", &paces)?.unwrap_or_default();
            InterruptAction::Ask { interrupt, times, pace }
        }
        "run-until" => InterruptAction::RunUntil {
            interrupt: table.required_text("interrupt")?,
            stage: table.choice("stage", &stages)?.ok_or_else(|| table.missing("stage"))?,
        },
        "settle" => InterruptAction::Settle,
        "give" => InterruptAction::Give(table.required_text("interrupt")?),
        "forward" => InterruptAction::Forward(table.required_text("interrupt")?),
        "unforward" => InterruptAction::Unforward(table.required_text("interrupt")?),
        "kill" => InterruptAction::Kill(table.required_text("guest")?),
        "expect-interrupt" => expect_interrupt(table)?,
        "expect-remains" => InterruptAction::ExpectRemains(remains(table)?),
        "compare" => {
            let (fewer, than) = (table.required_text("fewer")?, table.required_text("than")?);
            let by = table.required_number("by")?;
            if by == 0 {
                return Err(table.problem("by", "it is how many times fewer: 1 at least"));
            }
            InterruptAction::Compare {
                fewer,
                than,
                by,
                cost: table.choice("cost", &costs)?.unwrap_or_default(),
            }
        }
        _ => return Ok(None),
    }))
}

/// The keys of each number: exactly, at most, at least.
const COUNTS: [(Counted, [&str; 3]); 8] = [
    (Counted::Asked, ["asked", "asked-at-most", "asked-at-least"]),
    (Counted::Delivered, ["delivered", "delivered-at-most", "delivered-at-least"]),
    (Counted::Spurious, ["spurious", "spurious-at-most", "spurious-at-least"]),
    (Counted::Lost, ["lost", "lost-at-most", "lost-at-least"]),
    (Counted::Exits, ["exits", "exits-at-most", "exits-at-least"]),
    (
        Counted::MaintenanceExits,
        ["maintenance-exits", "maintenance-exits-at-most", "maintenance-exits-at-least"],
    ),
    (Counted::Mmio, ["mmio", "mmio-at-most", "mmio-at-least"]),
    (Counted::Shut, ["shut", "shut-at-most", "shut-at-least"]),
];

fn expect_interrupt(table: &mut Table<'_>) -> Result<InterruptAction, Problem> {
    let ways = [("forwarded", Way::Forwarded), ("automasked", Way::Automasked)];
    let interrupt = table.required_text("interrupt")?;
    let mut counts = Vec::new();
    for (counted, keys) in COUNTS {
        for (key, limit) in keys.into_iter().zip([Limit::Exactly, Limit::AtMost, Limit::AtLeast]) {
            if let Some(number) = table.number(key)? {
                counts.push((counted, limit(number)));
            }
        }
    }
    let way = table.choice("mode", &ways)?;
    if counts.is_empty() && way.is_none() {
        let problem = Problem::at(table.place(), "nothing is expected of the interrupt");
        // A key that is spelled wrong is the likelier mistake.
        table.unknown()?;
        return Err(problem.with_help("say what it has to be: delivered = 1, mode = \"forwarded\", ..."));
    }
    Ok(InterruptAction::ExpectInterrupt { interrupt, counts, way })
}

fn remains(table: &mut Table<'_>) -> Result<InterruptRemains, Problem> {
    let mut number = |key| table.small(key).map(|number| number.unwrap_or(0) as usize);
    Ok(InterruptRemains {
        enabled: number("enabled")?,
        active: number("active")?,
        references: number("references")?,
        list_registers: number("list-registers")?,
        late: number("late")?,
    })
}
