//! Reading steps.

use super::declarations::{PRIVILEGES, association, buffer, counts, hook, share};
use super::interrupt_reading;
use super::interrupts::InterruptAction;
use super::model::{Action, Expectation, Movement, Refusal, Step, TransferSpec};
use super::surface::surface;
use super::table::{Table, TextOrTable};
use crate::problem::{Name, Problem};
use vcm::FaultReason;
use vcm_platform::Outcome;

/// What `do` can say, beside [what is about interrupts](interrupt_reading::ACTIONS).
const ACTIONS: [&str; 23] = [
    "write",
    "read",
    "copy",
    "allocate",
    "share",
    "associate",
    "deassociate",
    "activate",
    "deactivate",
    "back",
    "unback",
    "unshare",
    "unreserve",
    "free",
    "free-region",
    "hook",
    "reap",
    "expect-address",
    "expect-leaves",
    "expect-blocks",
    "expect-faults",
    "expect-misses",
    "expect-translation",
];

pub(super) fn step(table: &mut Table<'_>) -> Result<Step, Problem> {
    let word = table.required_text("do")?;
    let place = table.place().clone();
    let about = table.text("about")?.map(|name| name.text);
    let action = action(&word, table)?;
    let refused = match &action {
        Action::Transfer(_) | Action::Expect(_) | Action::Reap => None,
        Action::Interrupt(InterruptAction::Give(_) | InterruptAction::Forward(_)) => refusal(table)?,
        Action::Interrupt(_) => None,
        _ => refusal(table)?,
    };
    Ok(Step { place, about, action, refused })
}

fn action(word: &Name, table: &mut Table<'_>) -> Result<Action, Problem> {
    let link = |table: &mut Table<'_>| -> Result<(Name, Name), Problem> {
        Ok((table.required_text("region")?, table.required_text("device")?))
    };
    Ok(match word.text.as_str() {
        "write" | "read" | "copy" => Action::Transfer(Box::new(transfer(&word.text, table)?)),
        "allocate" => Action::Allocate(buffer(table)?),
        "share" => Action::Share(Box::new(share(table)?)),
        "associate" => Action::Associate(association(table)?),
        "deassociate" => link(table).map(|(region, device)| Action::Deassociate { region, device })?,
        "activate" => link(table).map(|(region, device)| Action::Activate { region, device })?,
        "deactivate" => link(table).map(|(region, device)| Action::Deactivate { region, device })?,
        "back" => Action::Back(table.required_text("share")?),
        "unback" => Action::Unback(table.required_text("share")?),
        "unshare" => Action::Unshare(table.required_text("share")?),
        "unreserve" => Action::Unreserve(table.required_text("share")?),
        "free" => Action::Free(table.required_text("buffer")?),
        "free-region" => Action::FreeRegion(table.required_text("region")?),
        "hook" => Action::Hook(hook(table)?),
        "reap" => Action::Reap,
        "expect-address" => {
            let share = table.required_text("share")?;
            let is = match table.text_or_table("is") {
                Ok(Some(TextOrTable::Text(name))) if name.text == "physical" => None,
                _ => Some(table.required_number("is")?),
            };
            Action::Expect(Expectation::Address { share, is })
        }
        "expect-leaves" => Action::Expect(Expectation::Leaves {
            share: table.required_text("share")?,
            leaves: counts(table, "leaves")?,
        }),
        "expect-blocks" => Action::Expect(Expectation::Blocks {
            buffer: table.required_text("buffer")?,
            blocks: counts(table, "blocks")?,
        }),
        "expect-faults" => Action::Expect(Expectation::Faults {
            device: table.required_text("device")?,
            count: table.required_number("count")?,
            reason: reason(table)?,
        }),
        "expect-misses" => Action::Expect(misses(table)?),
        "expect-translation" => Action::Expect(match table.text("other")? {
            Some(other) => Expectation::SameByte { share: table.required_text("share")?, other },
            None => Expectation::Translation {
                share: table.required_text("share")?,
                device: table.required_text("device")?,
            },
        }),
        other => match interrupt_reading::action(other, table)? {
            Some(action) => Action::Interrupt(action),
            None => {
                let problem = word.problem(format!("no step does \"{word}\""));
                let known = ACTIONS.into_iter().chain(interrupt_reading::ACTIONS);
                return Err(problem.with_known(&word.text, known));
            }
        },
    })
}

fn misses(table: &mut Table<'_>) -> Result<Expectation, Problem> {
    match table.texts("rising")? {
        Some(transfers) if transfers.len() < 2 => Err(table.problem("rising", "two transfers at least")),
        Some(transfers) => Ok(Expectation::MissesRise { transfers }),
        None => Ok(Expectation::MissesAtMost {
            transfer: table.required_text("transfer")?,
            most: table.required_number("at-most")?,
        }),
    }
}

fn transfer(word: &str, table: &mut Table<'_>) -> Result<TransferSpec, Problem> {
    let device = table.required_text("device")?;
    let movement = match word {
        "write" => Movement::Write { to: surface(table, "to")?, seed: table.number("seed")? },
        "read" => Movement::Read { from: surface(table, "from")?, seed: table.number("seed")? },
        _ => Movement::Copy { from: surface(table, "from")?, to: surface(table, "to")? },
    };
    let outcomes = [("completed", Outcome::Completed), ("aborted", Outcome::Aborted)];
    Ok(TransferSpec {
        device,
        movement,
        name: table.text("name")?,
        privilege: table.choice("as", &PRIVILEGES)?,
        ends: table.choice("ends", &outcomes)?.unwrap_or(Outcome::Completed),
        faults: table.number("faults")?,
        reason: reason(table)?,
    })
}

fn reason(table: &mut Table<'_>) -> Result<Option<FaultReason>, Problem> {
    let words = [
        ("translation", FaultReason::Translation),
        ("permission", FaultReason::Permission),
        ("access-flag", FaultReason::AccessFlag),
        ("no-context", FaultReason::NoContext),
        ("table-walk", FaultReason::TableWalk),
        ("tlb-conflict", FaultReason::TlbConflict),
        ("bus", FaultReason::Bus),
        ("address-size", FaultReason::AddressSize),
        ("configuration", FaultReason::Configuration),
    ];
    table.choice("reason", &words)
}

/// Error numbers that a refusal may be expected to have: the graph's, and those of what gives interrupts to guests
/// (as Linux numbers them, include/uapi/asm-generic/errno-base.h).
pub const ERRNOS: [(&str, i32); 14] = [
    ("ENOENT", vcm::errno::ENOENT),
    ("EIO", vcm::errno::EIO),
    ("ENOMEM", vcm::errno::ENOMEM),
    ("EBUSY", vcm::errno::EBUSY),
    ("EEXIST", vcm::errno::EEXIST),
    ("ENODEV", vcm::errno::ENODEV),
    ("EINVAL", vcm::errno::EINVAL),
    ("ENOSPC", vcm::errno::ENOSPC),
    ("ERANGE", vcm::errno::ERANGE),
    ("EOPNOTSUPP", vcm::errno::EOPNOTSUPP),
    ("ENXIO", 6),
    ("EBADF", 9),
    ("EAGAIN", 11),
    ("EFAULT", 14),
];

fn refusal(table: &mut Table<'_>) -> Result<Option<Refusal>, Problem> {
    let known = |name: Name| {
        if ERRNOS.iter().any(|(errno, _)| *errno == name.text) {
            return Ok(name.text);
        }
        let problem = name.problem(format!("\"{name}\" is no error number that anything is refused with"));
        Err(problem.with_known(&name.text, ERRNOS.iter().map(|(errno, _)| *errno)))
    };
    Ok(match table.text_or_table("refused")? {
        None => None,
        Some(TextOrTable::Text(name)) => Some(Refusal {
            place: name.place.clone(),
            errno: Some(known(name)?),
            kind: None,
            naming: Vec::new(),
        }),
        Some(TextOrTable::Table(mut inner)) => {
            let refusal = Refusal {
                place: inner.place().clone(),
                errno: inner.text("errno")?.map(known).transpose()?,
                kind: inner.text("kind")?.map(|name| name.text),
                naming: inner
                    .texts("naming")?
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| name.text)
                    .collect(),
            };
            inner.finish()?;
            Some(refusal)
        }
    })
}
