//! Steps, one after the other.

use super::expect::expectation;
use super::failure::Failure;
use super::interrupts::Said;
use super::log::Log;
use super::many;
use super::world::World;
use crate::problem::{Place, Problem};
use crate::scenario::{Action, ERRNOS, Refusal, Scenario, Step};

/// Whether the steps after one make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// They do.
    GoOn,
    /// What they need is not there.
    Stop,
}

impl World<'_> {
    /// Makes what the scenario declares.
    ///
    /// # Errors
    /// The machine has not what the scenario names.
    pub fn declare(&mut self, scenario: &Scenario, log: &mut Log<'_>) -> Result<Next, Problem> {
        let links = &scenario.associations;
        for spec in &scenario.regions {
            let done = self.create_region(spec, links);
            if self.declared("region", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.bounds {
            let done = self.create_bound(spec);
            if self.declared("bound", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in links {
            let done = self.associate(spec);
            let name = format!("{} with {}", spec.region, spec.device);
            if self.declared("association", &name, &spec.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.buffers {
            let done = self.allocate(spec);
            if self.declared("buffer", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.shares {
            let done = self.share_buffer(spec);
            if self.declared("share", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.hooks {
            let done = self.hook(spec);
            if self.declared("hook", &spec.device.text, &spec.device.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.guests {
            let done = self.start_guest(spec);
            if self.declared("guest", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        for spec in &scenario.interrupts {
            let done = self.declare_interrupt(spec);
            if self.declared("interrupt", &spec.name.text, &spec.name.place, done, log)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        let mut detail = format!(
            "{}, {}, {}, {}",
            many(scenario.regions.len() as u64, "region"),
            many(scenario.associations.len() as u64, "association"),
            many(scenario.buffers.len() as u64, "buffer"),
            many(scenario.shares.len() as u64, "share")
        );
        if !scenario.guests.is_empty() {
            let guests = many(scenario.guests.len() as u64, "guest");
            let interrupts = many(scenario.interrupts.len() as u64, "interrupt");
            detail.push_str(&format!(", {guests}, {interrupts}"));
        }
        log.check("everything that is declared can be had", true, detail);
        Ok(Next::GoOn)
    }

    fn declared(
        &self,
        what: &str,
        name: &str,
        place: &Place,
        done: Result<String, Failure>,
        log: &mut Log<'_>,
    ) -> Result<Next, Problem> {
        let why = match done {
            Ok(_) => return Ok(Next::GoOn),
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(failure) if failure.is_beyond_machine() => return Err(self.beyond_machine(place, failure)),
            Err(Failure::Refused(_, text) | Failure::Machine(text)) => text,
        };
        log.check(format!("{what} {name} can be had"), false, format!("{why} ({})", place.line()));
        Ok(Next::Stop)
    }

    /// The machine cannot do what the scenario is about.
    fn beyond_machine(&self, place: &Place, failure: Failure) -> Problem {
        let (Failure::Refused(_, text) | Failure::Machine(text)) = failure else {
            return Problem::at(place, "the machine cannot do it");
        };
        let problem = format!("{} cannot do this: {text}", self.platform.name());
        Problem::at(place, problem).with_help("`vcm machines` lists others")
    }

    /// Does one step.
    ///
    /// # Errors
    /// The machine has not what the step names, or the step comes at a point where it makes no sense.
    pub fn step(
        &mut self,
        step: &Step,
        number: u64,
        base_seed: u64,
        log: &mut Log<'_>,
    ) -> Result<Next, Problem> {
        let about = step.about.as_deref();
        let (what, done) = match &step.action {
            Action::Transfer(spec) => {
                let name = format!("{} moves bytes", spec.device);
                match self.transfer(spec, about, base_seed, number, log) {
                    Ok(()) => return Ok(Next::GoOn),
                    Err(failure) => (name, Err(failure)),
                }
            }
            Action::Expect(spec) => match expectation(self, spec, log) {
                Ok((name, result)) => {
                    let (ok, detail) = match result {
                        Ok(detail) => (true, detail),
                        Err(detail) => (false, detail),
                    };
                    log.check(about.unwrap_or(&name), ok, detail);
                    return Ok(Next::GoOn);
                }
                Err(failure) => ("an expectation".into(), Err(failure)),
            },
            Action::Interrupt(action) => match self.interrupt_step(action, &step.place) {
                Ok(Said::Did(name, done)) => (name, done),
                Ok(Said::Found(name, result)) => {
                    let ok = result.is_ok();
                    let (Ok(detail) | Err(detail)) = result;
                    log.check(about.unwrap_or(&name), ok, detail);
                    return Ok(Next::GoOn);
                }
                Err(failure) => ("the guests go on".into(), Err(failure)),
            },
            Action::Reap => ("the reaper runs".into(), Ok(self.reap())),
            Action::Allocate(spec) => (format!("allocate {}", spec.name), self.allocate(spec)),
            Action::Share(spec) => {
                (format!("share {} in {}", spec.buffer, spec.region), self.share_buffer(spec))
            }
            Action::Associate(spec) => {
                (format!("associate {} with {}", spec.region, spec.device), self.associate(spec))
            }
            Action::Deassociate { region, device } => {
                (format!("deassociate {region} from {device}"), self.deassociate(region, device))
            }
            Action::Activate { region, device } => {
                (format!("activate {region} for {device}"), self.activate(region, device))
            }
            Action::Deactivate { region, device } => {
                (format!("deactivate {region} for {device}"), self.deactivate(region, device))
            }
            Action::Back(share) => (format!("back {share}"), self.back(share)),
            Action::Unback(share) => (format!("unback {share}"), self.unback(share)),
            Action::Unshare(share) => (format!("unshare {share}"), self.unshare(share)),
            Action::Unreserve(share) => (format!("unreserve {share}"), self.unreserve(share)),
            Action::Free(buffer) => (format!("free {buffer}"), self.free_buffer(buffer)),
            Action::FreeRegion(region) => (format!("free region {region}"), self.free_region(region)),
            Action::Hook(spec) => (format!("hook {}", spec.device), self.hook(spec)),
        };
        self.judge_step(step, what, done, log)
    }

    fn judge_step(
        &self,
        step: &Step,
        what: String,
        done: Result<String, Failure>,
        log: &mut Log<'_>,
    ) -> Result<Next, Problem> {
        let (refused, line) = (step.refused.as_ref(), step.place.line());
        let name = match (&step.about, refused) {
            (Some(about), _) => about.clone(),
            (None, Some(_)) => format!("{what} is refused"),
            (None, None) => what,
        };
        match (done, refused) {
            (Err(Failure::Problem(problem)), _) => return Err(problem),
            (Err(failure), None) if failure.is_beyond_machine() => {
                return Err(self.beyond_machine(&step.place, failure));
            }
            (Ok(detail), None) => log.check(name, true, detail),
            (Err(Failure::Refused(_, text) | Failure::Machine(text)), None) => {
                log.check(name, false, format!("{text} ({line})"));
                return Ok(Next::Stop);
            }
            (Ok(detail), Some(_)) => {
                log.check(name, false, format!("it was not refused: {detail} ({line})"));
                return Ok(Next::Stop);
            }
            (Err(failure), Some(refusal)) => {
                let (ok, detail) = judge_refusal(&failure, refusal);
                log.check(name, ok, if ok { detail } else { format!("{detail} ({line})") });
            }
        }
        Ok(Next::GoOn)
    }
}

fn judge_refusal(failure: &Failure, refusal: &Refusal) -> (bool, String) {
    let named = |wanted: i32| ERRNOS.iter().find(|(_, value)| *value == wanted).map(|(name, _)| *name);
    let (errno, text) = match failure {
        Failure::Refused(error, text) => (named(error.errno()), text.clone()),
        // A machine's text names its error number itself.
        Failure::Machine(text) => {
            let mut parts = text.split(": ");
            (
                parts.find_map(|part| ERRNOS.iter().find(|(name, _)| *name == part)).map(|(name, _)| *name),
                text.clone(),
            )
        }
        Failure::Problem(problem) => (None, problem.to_string()),
    };
    let mut wrong = Vec::new();
    if let Some(expected) = &refusal.errno
        && errno != Some(expected)
    {
        wrong.push(format!("with {}, and had to be with {expected}", errno.unwrap_or("no errno")));
    }
    if let Some(expected) = &refusal.kind
        && failure.kind().as_ref() != Some(expected)
    {
        let kind = failure.kind().unwrap_or_else(|| "no error of the graph".into());
        wrong.push(format!("as {kind}, and had to be as {expected}"));
    }
    for name in &refusal.naming {
        if !text.contains(name.as_str()) {
            wrong.push(format!("without naming {name}"));
        }
    }
    let errno = match (errno, failure) {
        (Some(errno), Failure::Refused(..)) => format!("{errno}: "),
        _ => String::new(),
    };
    if wrong.is_empty() {
        (true, format!("{errno}{text}"))
    } else {
        (false, format!("it was refused {}: {errno}{text}", wrong.join(", ")))
    }
}
