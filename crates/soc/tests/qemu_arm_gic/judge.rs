//! The same sequence on both, and the shortest one on which they differ.

use crate::deviations;
use crate::step::{Answer, Step, show};
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use vcm_qemu::{ArmVirt, Error};
use vcm_soc::hardware::gic::{Config, Gic};

/// As QEMU's `virt` has it: 256 shared interrupts (`NUM_IRQS` in include/hw/arm/virt.h), four list registers
/// (`gic_realize` in hw/intc/arm_gic.c).
pub(crate) fn new_model() -> Gic {
    let list_registers = crate::LIST_REGISTERS.len();
    Gic::new(Config { cpus: 1, interrupts: 288, list_registers }).unwrap()
}

/// Whether to go without QEMU; panics when it is missing and nobody said so.
pub(crate) fn without_qemu() -> bool {
    let found = Command::new("qemu-system-aarch64").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => false,
        other if std::env::var("VCM_WITHOUT_QEMU").is_ok_and(|value| value == "1") => {
            println!("SKIPPED TIER: qemu-arm-gic: qemu-system-aarch64 does not run ({other:?})");
            true
        }
        other => panic!(
            "qemu-system-aarch64 does not run ({other:?}). It is the judge of this test: install the package \
             qemu-system-arm, or set VCM_WITHOUT_QEMU=1 to go without"
        ),
    }
}

/// Whether a step has no effect.
pub(crate) type Drops = fn(Step) -> bool;

/// What is compared with QEMU: the model, or one that is made wrong.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) gic: Gic,
    /// Makes it wrong.
    pub(crate) drops: Drops,
}

impl Subject {
    pub(crate) fn model() -> Self {
        Self { gic: new_model(), drops: |_| false }
    }

    fn take(&mut self, step: Step) -> Answer {
        if (self.drops)(step) {
            return Answer { value: None, outputs: crate::step::outputs(&self.gic) };
        }
        step.on_model(&mut self.gic)
    }
}

/// Where they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub(crate) at: usize,
    pub(crate) model: Answer,
    pub(crate) qemu: Answer,
}

/// A QEMU that plays sequences.
pub(crate) struct Judge(ArmVirt);

impl Judge {
    pub(crate) fn start() -> Result<Self, Error> {
        ArmVirt::start_with("qemu-system-aarch64", Duration::from_secs(30), None).map(Self)
    }

    /// Plays `steps` on a QEMU as after a reset.
    fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Error> {
        self.0.reset()?;
        let mut batch = self.0.batch();
        for &step in &deviations::BEGINNING {
            step.queue(&mut batch)?;
        }
        for &step in steps {
            step.queue(&mut batch)?;
            if let Some(more) = deviations::stale_after(step) {
                more.queue(&mut batch)?;
            }
        }
        let mut answers = batch.run_steps()?.into_iter().skip(deviations::BEGINNING.len());
        let mut next = || answers.next().unwrap();
        Ok(steps
            .iter()
            .map(|&step| {
                let answer = next();
                match deviations::stale_after(step) {
                    Some(_) => Answer { outputs: next().outputs, ..answer },
                    None => answer,
                }
            })
            .collect())
    }

    /// The first step after which `subject` and QEMU differ.
    pub(crate) fn compare(
        &mut self,
        mut subject: Subject,
        steps: &[Step],
    ) -> Result<Option<Difference>, Error> {
        for step in deviations::BEGINNING {
            subject.take(step);
        }
        let answers = self.play(steps)?;
        Ok(steps.iter().zip(answers).enumerate().find_map(|(at, (&step, qemu))| {
            let model = subject.take(step);
            let qemu = deviations::corrected(&subject.gic, step, &model, &qemu);
            (model != qemu).then_some(Difference { at, model, qemu })
        }))
    }

    /// The shortest sequence found on which they still differ, when they differ on `steps`.
    pub(crate) fn shortest(
        &mut self,
        subject: &Subject,
        steps: &[Step],
    ) -> Result<Option<(Vec<Step>, Difference)>, Error> {
        let difference = self.compare(subject.clone(), steps)?;
        difference.map(|difference| self.shrink(subject, steps, difference)).transpose()
    }

    /// Drops steps as long as `subject` and QEMU differ, in whatever.
    fn shrink(
        &mut self,
        subject: &Subject,
        steps: &[Step],
        difference: Difference,
    ) -> Result<(Vec<Step>, Difference), Error> {
        let mut steps = steps[..=difference.at].to_vec();
        let mut difference = difference;
        let mut chunk = steps.len() / 2;
        while chunk > 0 {
            let before = steps.len();
            let mut start = 0;
            while start < steps.len() {
                let end = (start + chunk).min(steps.len());
                let fewer = [&steps[..start], &steps[end..]].concat();
                match comparable(&fewer).then(|| self.compare(subject.clone(), &fewer)).transpose()?.flatten()
                {
                    Some(found) => {
                        steps = fewer;
                        steps.truncate(found.at + 1);
                        difference = found;
                    }
                    None => start = end,
                }
            }
            // A step may have been needed for one that is gone.
            if chunk > 1 || steps.len() == before {
                chunk /= 2;
            }
        }
        Ok((steps, difference))
    }
}

/// Whether no step is to be avoided: without a step before it, one may be.
fn comparable(steps: &[Step]) -> bool {
    let mut gic = new_model();
    deviations::BEGINNING.into_iter().chain(steps.iter().copied()).enumerate().all(|(at, step)| {
        let good = at < deviations::BEGINNING.len() || deviations::avoided(&gic, step).is_none();
        step.on_model(&mut gic);
        good
    })
}

/// A sequence and the difference at its end.
pub(crate) fn report(steps: &[Step], difference: &Difference) -> String {
    let mut text = String::from("beginning with\n");
    for (number, step) in deviations::BEGINNING.iter().chain(steps).enumerate() {
        let _ = writeln!(text, "{number:4}  {step}");
    }
    let _ = writeln!(text, "      model: {}", show(&difference.model));
    let _ = writeln!(text, "      QEMU:  {}", show(&difference.qemu));
    text
}
