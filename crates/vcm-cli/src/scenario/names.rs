//! Checking that what a scenario refers to was declared, before anything runs.

use super::interrupts::InterruptAction;
use super::model::{
    Action, Base, Expectation, HookAnswer, HookSpec, Movement, Scenario, ShareSpec, Step, SurfaceSpec,
};
use crate::problem::{Name, Place, Problem};
use std::collections::BTreeSet;
use vcm_platform::Outcome;

/// The names that were declared so far.
#[derive(Default)]
struct Names<'s> {
    targets: Vec<&'s str>,
    regions: Vec<&'s str>,
    bounds: Vec<&'s str>,
    buffers: Vec<&'s str>,
    shares: Vec<&'s str>,
    transfers: Vec<&'s str>,
    guests: Vec<&'s str>,
    interrupts: Vec<&'s str>,
    /// Region and role.
    associations: Vec<(&'s str, &'s str)>,
}

fn known(what: &str, name: &Name, names: &[&str]) -> Result<(), Problem> {
    if names.contains(&name.text.as_str()) {
        return Ok(());
    }
    let problem = name.problem(format!("no {what} is called \"{name}\""));
    Err(problem.with_known(&name.text, names.iter().copied()))
}

fn declare<'s>(what: &str, name: &'s Name, names: &mut Vec<&'s str>) -> Result<(), Problem> {
    if names.contains(&name.text.as_str()) {
        let article = if what.starts_with('i') { "an" } else { "a" };
        return Err(name.problem(format!("there is {article} {what} called \"{name}\" already")));
    }
    names.push(&name.text);
    Ok(())
}

/// Checks every reference, in the order in which things happen.
///
/// # Errors
/// The first name that stands for nothing, or for two things.
pub(super) fn check(scenario: &Scenario) -> Result<(), Problem> {
    let mut names = Names::default();
    for target in &scenario.targets {
        declare("target", &target.name, &mut names.targets)?;
    }
    for region in &scenario.regions {
        declare("region", &region.name, &mut names.regions)?;
    }
    for bound in &scenario.bounds {
        known("region", &bound.region, &names.regions)?;
        declare("bound", &bound.name, &mut names.bounds)?;
    }
    for link in &scenario.associations {
        known("region", &link.region, &names.regions)?;
        names.associations.push((&link.region.text, &link.device.text));
    }
    for buffer in &scenario.buffers {
        if let Some(target) = &buffer.target {
            known("target", target, &names.targets)?;
        }
        declare("buffer", &buffer.name, &mut names.buffers)?;
    }
    for share in &scenario.shares {
        names.share(share)?;
    }
    for hook in &scenario.hooks {
        names.hook(hook)?;
    }
    for guest in &scenario.guests {
        declare("guest", &guest.name, &mut names.guests)?;
    }
    for interrupt in &scenario.interrupts {
        known("guest", &interrupt.guest, &names.guests)?;
        declare("interrupt", &interrupt.name, &mut names.interrupts)?;
    }
    for step in &scenario.steps {
        names.action(&step.action)?;
    }
    if let Some(measure) = &scenario.measure
        && let Some(target) = &measure.target
    {
        known("target", target, &names.targets)?;
    }
    Ok(())
}

impl Scenario {
    /// The roles that it needs devices for.
    pub fn roles(&self) -> BTreeSet<&str> {
        let steps = self.steps.iter().filter_map(|step| role(&step.action));
        let links = self.associations.iter().map(|link| &link.device);
        let hooks = self.hooks.iter().map(|hook| &hook.device);
        let interrupts = self.interrupts.iter().map(|interrupt| &interrupt.device);
        let measured = self.measure.iter().map(|measure| &measure.device);
        links
            .chain(hooks)
            .chain(interrupts)
            .chain(steps)
            .chain(measured)
            .map(|role| role.text.as_str())
            .collect()
    }

    /// The first step that is about a fault of a device, if there is one. (What the CPU does is no IOMMU's business.)
    pub fn first_fault(&self) -> Option<&Place> {
        let about_fault = |step: &&Step| match &step.action {
            Action::Transfer(spec) => {
                let faults = spec.faults.is_some_and(|count| count > 0) || spec.reason.is_some();
                spec.device.text != "cpu" && (faults || spec.ends == Outcome::Aborted)
            }
            Action::Expect(Expectation::Faults { count, .. }) => *count > 0,
            _ => false,
        };
        self.steps.iter().find(about_fault).map(|step| &step.place)
    }

    /// Whether a run finds anything out: pools, targets, hooks and guests alone are nothing that could hold.
    pub fn checks_something(&self) -> bool {
        let nothing = self.regions.is_empty()
            && self.buffers.is_empty()
            && self.interrupts.is_empty()
            && self.steps.is_empty();
        !nothing || self.measure.is_some()
    }

    /// Whether a measurement is all there is to do; it looks at pools and targets itself.
    pub fn only_measures(&self) -> bool {
        // Bounds, associations and shares are of regions and buffers.
        self.measure.is_some()
            && self.regions.is_empty()
            && self.buffers.is_empty()
            && self.hooks.is_empty()
            && self.guests.is_empty()
            && self.interrupts.is_empty()
            && self.steps.is_empty()
    }
}

/// The role that a step is about.
const fn role(action: &Action) -> Option<&Name> {
    match action {
        Action::Transfer(transfer) => Some(&transfer.device),
        Action::Associate(link) => Some(&link.device),
        Action::Hook(hook) => Some(&hook.device),
        Action::Deassociate { device, .. }
        | Action::Activate { device, .. }
        | Action::Deactivate { device, .. }
        | Action::Expect(Expectation::Faults { device, .. } | Expectation::Translation { device, .. }) => {
            Some(device)
        }
        _ => None,
    }
}

impl<'s> Names<'s> {
    fn share(&mut self, share: &'s ShareSpec) -> Result<(), Problem> {
        known("buffer", &share.buffer, &self.buffers)?;
        known("region", &share.region, &self.regions)?;
        if let Some(bound) = &share.bound {
            known("bound", bound, &self.bounds)?;
        }
        if self.buffers.contains(&share.name.text.as_str()) {
            return Err(share.name.problem(format!("a buffer is called \"{}\" already", share.name)));
        }
        declare("share", &share.name, &mut self.shares)
    }

    fn hook(&self, hook: &HookSpec) -> Result<(), Problem> {
        match &hook.answer {
            HookAnswer::BackAndRetry(share) => known("share", share, &self.shares),
            HookAnswer::None | HookAnswer::Terminate => Ok(()),
        }
    }

    fn surface(&self, surface: &SurfaceSpec) -> Result<(), Problem> {
        match &surface.base {
            Base::In(name, _) if self.shares.contains(&name.text.as_str()) => Ok(()),
            Base::In(name, _) => known("buffer or share", name, &self.buffers).map_err(|problem| {
                let all = self.buffers.iter().chain(&self.shares).copied();
                Problem { help: None, ..problem }.with_known(&name.text, all)
            }),
            Base::Address(_) => Ok(()),
        }
    }

    fn link(&self, region: &Name, device: &Name) -> Result<(), Problem> {
        known("region", region, &self.regions)?;
        if self.associations.contains(&(region.text.as_str(), device.text.as_str())) {
            return Ok(());
        }
        let associated = self.associations.iter().filter(|(of, _)| *of == region.text);
        Err(device
            .problem(format!("region \"{region}\" is not associated with \"{device}\""))
            .with_known(&device.text, associated.map(|(_, device)| *device)))
    }

    fn action(&mut self, action: &'s Action) -> Result<(), Problem> {
        match action {
            Action::Transfer(transfer) => {
                match &transfer.movement {
                    Movement::Write { to, .. } => self.surface(to)?,
                    Movement::Read { from, .. } => self.surface(from)?,
                    Movement::Copy { from, to } => {
                        self.surface(from)?;
                        self.surface(to)?;
                    }
                }
                match &transfer.name {
                    Some(name) => declare("transfer", name, &mut self.transfers),
                    None => Ok(()),
                }
            }
            Action::Allocate(buffer) => {
                if let Some(target) = &buffer.target {
                    known("target", target, &self.targets)?;
                }
                declare("buffer", &buffer.name, &mut self.buffers)
            }
            Action::Share(share) => self.share(share),
            Action::Associate(link) => {
                known("region", &link.region, &self.regions)?;
                self.associations.push((&link.region.text, &link.device.text));
                Ok(())
            }
            Action::Deassociate { region, device }
            | Action::Activate { region, device }
            | Action::Deactivate { region, device } => self.link(region, device),
            Action::Back(share)
            | Action::Unback(share)
            | Action::Unshare(share)
            | Action::Unreserve(share) => known("share", share, &self.shares),
            Action::Free(buffer) => known("buffer", buffer, &self.buffers),
            Action::FreeRegion(region) => known("region", region, &self.regions),
            Action::Hook(hook) => self.hook(hook),
            Action::Reap => Ok(()),
            Action::Expect(expectation) => self.expectation(expectation),
            Action::Interrupt(action) => self.interrupt(action),
        }
    }

    fn interrupt(&self, action: &InterruptAction) -> Result<(), Problem> {
        let interrupt = |name| known("interrupt", name, &self.interrupts);
        match action {
            InterruptAction::Ask { interrupt: name, .. }
            | InterruptAction::RunUntil { interrupt: name, .. }
            | InterruptAction::Give(name)
            | InterruptAction::Forward(name)
            | InterruptAction::Unforward(name)
            | InterruptAction::ExpectInterrupt { interrupt: name, .. } => interrupt(name),
            InterruptAction::Kill(guest) => known("guest", guest, &self.guests),
            InterruptAction::Compare { fewer, than, .. } => interrupt(fewer).and_then(|()| interrupt(than)),
            InterruptAction::Settle | InterruptAction::ExpectRemains(_) => Ok(()),
        }
    }

    fn expectation(&self, expectation: &Expectation) -> Result<(), Problem> {
        match expectation {
            Expectation::Address { share, .. }
            | Expectation::Leaves { share, .. }
            | Expectation::Translation { share, .. } => known("share", share, &self.shares),
            Expectation::SameByte { share, other } => {
                known("share", share, &self.shares)?;
                known("share", other, &self.shares)
            }
            Expectation::Blocks { buffer, .. } => known("buffer", buffer, &self.buffers),
            Expectation::Faults { .. } => Ok(()),
            Expectation::MissesRise { transfers } => {
                transfers.iter().try_for_each(|name| known("transfer", name, &self.transfers))
            }
            Expectation::MissesAtMost { transfer, .. } => known("transfer", transfer, &self.transfers),
        }
    }
}
