//! Steps about guests and their interrupts.

use super::{Life, machine, mode_name, seam};
use crate::problem::{Name, Place};
use crate::run::failure::Failure;
use crate::run::world::World;
use crate::scenario::InterruptAction;
use vcm_platform::{Pace, Stage};

/// What came of a step.
#[derive(Debug)]
pub(in crate::run) enum Said {
    /// It did something, or it was refused.
    Did(String, Result<String, Failure>),
    /// It found something out, good or bad.
    Found(String, Result<String, String>),
}

impl World<'_> {
    /// Does one step.
    ///
    /// # Errors
    /// It makes no sense at this point, or the machine found something that must not be.
    pub(in crate::run) fn interrupt_step(
        &mut self,
        action: &InterruptAction,
        place: &Place,
    ) -> Result<Said, Failure> {
        let said = match action {
            InterruptAction::Ask { interrupt, times, pace } => {
                let how = match pace {
                    Pace::Served => String::new(),
                    Pace::AtOnce => ", waiting for nobody".into(),
                };
                let times_text = if *times == 1 { "once".into() } else { format!("{times} times") };
                let what = format!("{interrupt} asks {times_text}{how}");
                Said::Did(what, self.ask(interrupt, *times, *pace))
            }
            InterruptAction::RunUntil { interrupt, stage } => {
                let handle = self.guests.given(interrupt)?.handle;
                let word = match stage {
                    Stage::Idle => "idle",
                    Stage::Pending => "pending",
                    Stage::InService => "in service",
                };
                let reached = seam(self.platform, place)?.run_until(handle, *stage).map_err(machine)?;
                let result = if reached { Ok("it is".into()) } else { Err("that never comes".into()) };
                Said::Found(format!("{interrupt} is {word}"), result)
            }
            InterruptAction::Settle => {
                seam(self.platform, place)?.settle().map_err(machine)?;
                Said::Found("the guests come to rest".into(), Ok("nothing is left to do for them".into()))
            }
            InterruptAction::Give(interrupt) => {
                let spec = self.guests.declared(interrupt)?;
                Said::Did(format!("give {interrupt} to {}", spec.guest), self.give(&spec))
            }
            InterruptAction::Forward(interrupt) => {
                let handle = self.guests.given(interrupt)?.handle;
                let done = seam(self.platform, place)?.forward(handle).map_err(machine);
                let done = done.map(|mode| format!("from now on it is {}", mode_name(mode)));
                Said::Did(format!("forward {interrupt}"), done)
            }
            InterruptAction::Unforward(interrupt) => {
                let handle = self.guests.given(interrupt)?.handle;
                seam(self.platform, place)?.unforward(handle);
                let done = Ok("what is in flight ends in the ordinary way".into());
                Said::Did(format!("unforward {interrupt}"), done)
            }
            InterruptAction::Kill(guest) => Said::Did(format!("kill {guest}"), self.kill(guest, place)),
            InterruptAction::ExpectInterrupt { interrupt, counts, way } => {
                self.expect_interrupt(interrupt, counts, *way, place)?
            }
            InterruptAction::ExpectRemains(remains) => self.expect_remains(remains, place)?,
            InterruptAction::Compare { fewer, than, by, cost } => {
                self.compare_interrupts(fewer, than, *by, *cost, place)?
            }
        };
        self.note_modes();
        Ok(said)
    }

    fn ask(&mut self, interrupt: &Name, times: u64, pace: Pace) -> Result<String, Failure> {
        let spec = self.guests.declared(interrupt)?;
        let (line, device) = self.line_of(&spec)?;
        let interrupts = seam(self.platform, &spec.name.place)?;
        interrupts.ask(line.device, spec.interrupt, times, pace).map_err(machine)?;
        if pace == Pace::AtOnce {
            self.guests.merging.push((line.device, spec.interrupt));
        }
        Ok(format!("{device} raises {}", line.host))
    }

    fn kill(&mut self, name: &Name, place: &Place) -> Result<String, Failure> {
        let gone = || Failure::Problem(name.problem(format!("guest \"{name}\" does not run at this point")));
        let guest = self.guests.guests.iter_mut().find(|guest| guest.name == name.text).ok_or_else(gone)?;
        if guest.life == Life::Killed {
            return Err(gone());
        }
        seam(self.platform, place)?.kill(guest.handle);
        guest.life = Life::Killed;
        Ok("everything of it is taken down".into())
    }

    /// Notes how every interrupt reaches its guest now. One that is nobody's any more keeps how it was.
    pub(super) fn note_modes(&mut self) {
        let Some(interrupts) = self.platform.interrupts() else { return };
        for entry in &mut self.guests.given {
            if let Some(mode) = interrupts.mode(entry.handle) {
                entry.mode = mode;
            }
        }
    }
}
