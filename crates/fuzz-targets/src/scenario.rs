//! Scenario files: what is read is run, unless it is too much work.

use vcm_cli::machine::Simulated;
use vcm_cli::run::{Leaks, Record, Silent, run};
use vcm_cli::scenario::{
    Action, Base, BufferSpec, InterruptAction, Movement, Scenario, ShareSpec, Step, SurfaceSpec, TransferSpec,
};
use vcm_platform::Layout;

/// Bytes of a buffer, and of what is moved in one piece.
const LARGEST: u64 = 8 << 20;
/// Bytes of a surface that is not visited from end to end: each transaction moves a few of them.
const LARGEST_WALK: u64 = 64 << 10;
/// Buffers, and steps.
const MOST: usize = 30;

/// How often a device is told to ask in one step.
const MOST_ASKED: u64 = 1000;
/// vCPUs of a guest.
const MOST_VCPUS: u16 = 8;

/// What became of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// It is no scenario, and the error said where the mistake is.
    Refused,
    /// It is a scenario, and too much work.
    TooMuch,
    /// It cannot be run on the machine.
    NotRun,
    /// It was run to its end.
    Ran,
}

/// A scenario file: it is read, or the error says where the mistake is; what is read is run on `two-banks`, and
/// whatever did not hold there, nothing is left of it.
pub fn scenario(bytes: &[u8]) -> Fed {
    let Ok(text) = std::str::from_utf8(bytes) else { return Fed::Refused };
    let scenario = match Scenario::parse("fuzz.toml", text) {
        Ok(scenario) => scenario,
        Err(problem) => {
            let message = problem.to_string();
            assert!(message.contains("fuzz.toml"), "the error does not say where: {message}");
            return Fed::Refused;
        }
    };
    if !affordable(&scenario) {
        return Fed::TooMuch;
    }
    let machine = Simulated::find("two-banks").expect("it is shipped");
    match run(&scenario, &machine, None, &mut Silent) {
        Ok(run) => {
            nothing_is_left(&run.record);
            Fed::Ran
        }
        Err(_) => Fed::NotRun,
    }
}

fn nothing_is_left(record: &Record) {
    assert_eq!(record.leaks, Leaks::default(), "{:?}", record.checks);
    let last = record.checks.last().expect("teardown is a check");
    assert!(last.ok && last.name.ends_with("nothing is left"), "{last:?}");
    // What the machine says of itself, and not of the scenario.
    for broken in ["memory that was given back was reached", "a register was used", "no transfer can go on"] {
        assert!(record.checks.iter().all(|check| !check.detail.contains(broken)), "{:?}", record.checks);
    }
}

/// Whether a run ends soon.
fn affordable(scenario: &Scenario) -> bool {
    let steps = scenario.steps.iter().map(|step| &step.action);
    let allocated = steps.clone().filter_map(|action| match action {
        Action::Allocate(buffer) => Some(buffer),
        _ => None,
    });
    let shared = steps.clone().filter_map(|action| match action {
        Action::Share(share) => Some(&**share),
        _ => None,
    });
    let small = |buffer: &BufferSpec| buffer.len <= LARGEST;
    let narrow = |share: &ShareSpec| share.len.is_none_or(|len| len <= LARGEST);
    let mut moved = steps.filter_map(|action| match action {
        Action::Transfer(transfer) => Some(&**transfer),
        _ => None,
    });
    let few = |step: &Step| match &step.action {
        Action::Interrupt(InterruptAction::Ask { times, .. }) => *times <= MOST_ASKED,
        _ => true,
    };
    scenario.measure.is_none()
        && scenario.steps.iter().all(few)
        && scenario.guests.len() <= MOST
        && scenario.guests.iter().all(|guest| guest.vcpus <= MOST_VCPUS)
        && scenario.steps.len() <= MOST
        && scenario.buffers.len() <= MOST
        && scenario.buffers.iter().chain(allocated).all(small)
        && scenario.shares.iter().chain(shared).all(narrow)
        && moved.all(short)
}

fn short(transfer: &TransferSpec) -> bool {
    let surface = |surface: &SurfaceSpec| match (&surface.base, surface.layout) {
        // All of a buffer.
        (Base::In(..), None) => true,
        (_, Some(Layout::Linear { len })) => len <= LARGEST,
        (_, Some(layout)) => layout.bytes() <= LARGEST_WALK,
        (Base::Address(_), None) => false,
    };
    match &transfer.movement {
        Movement::Write { to, .. } => surface(to),
        Movement::Read { from, .. } => surface(from),
        Movement::Copy { from, to } => surface(from) && surface(to),
    }
}
