//! QEMU's GICv2 as the judge of the model's: random sequences of accesses to all four frames and of changes of
//! lines, with the values read and the five outputs compared after every step.
//!
//! `VCM_SEQUENCES` is the number of sequences, and `VCM_SEED` the seed of the first; each next one has the next seed.
//! A difference is shown with the seed of its sequence and with the shortest sequence that still has one.
//!
//! Without `qemu-system-aarch64` the tests fail, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

#[path = "qemu_arm_gic/deviations.rs"]
mod deviations;
#[path = "qemu_arm_gic/generator.rs"]
mod generator;
#[path = "qemu_arm_gic/judge.rs"]
mod judge;
#[path = "qemu_arm_gic/random.rs"]
mod random;
#[path = "qemu_arm_gic/step.rs"]
mod step;

use judge::{Drops, Judge, Subject, new_model, report, without_qemu};
use step::Step;
use vcm_qemu::Level;
use vcm_soc::hardware::gic::Frame;
use vcm_soc::hardware::gic::registers::{cpu_interface as gicc, distributor as gicd};

/// QEMU's GIC has four.
const LIST_REGISTERS: std::ops::Range<u32> = 0..4;
/// As many as take a second or two.
const SEQUENCES: u64 = 200;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// How often something interesting was there, so that sequences which do nothing are noticed.
#[derive(Debug, Default)]
struct Tally {
    accesses: u64,
    acknowledged: u64,
    nested: u64,
    virtual_acknowledged: u64,
    maintenance: u64,
    fast: u64,
    virtual_fast: u64,
    /// A guest's end of a forwarded interrupt let the physical one be signalled.
    signalled_again: u64,
}

impl Tally {
    fn count(&mut self, steps: &[Step]) {
        let mut gic = new_model();
        for step in deviations::BEGINNING {
            step.on_model(&mut gic);
        }
        let mut before = step::outputs(&gic);
        let mut depth = 0;
        for &step in steps {
            let running = step::peek(&gic, Frame::CpuInterface, gicc::RPR);
            let outputs = step.on_model(&mut gic).outputs;
            self.accesses += u64::from(!matches!(step, Step::Line { .. }));
            self.fast += u64::from(outputs.fiq == Level::High);
            self.virtual_fast += u64::from(outputs.virtual_fiq == Level::High);
            let guest = matches!(step, Step::Write { frame: Frame::VirtualCpuInterface, .. });
            let raised = |now, before| now == Level::High && before == Level::Low;
            let again = raised(outputs.irq, before.irq) || raised(outputs.fiq, before.fiq);
            self.signalled_again += u64::from(guest && again);
            let acknowledged = gic.counters(0).acknowledged;
            self.nested += u64::from(acknowledged > depth && running != 0xff);
            (depth, before) = (acknowledged, outputs);
        }
        let counters = gic.counters(0);
        self.acknowledged += counters.acknowledged;
        self.virtual_acknowledged += counters.virtual_acknowledged;
        self.maintenance += counters.maintenance;
    }
}

#[test]
fn the_model_does_what_qemu_does() {
    if without_qemu() {
        return;
    }
    let first = variable("VCM_SEED").unwrap_or(1);
    let chosen = variable("VCM_SEQUENCES");
    assert_ne!(chosen, Some(0), "VCM_SEQUENCES");
    let mut judge = Judge::start().unwrap_or_else(|error| panic!("{error}"));
    let mut tally = Tally::default();
    for seed in (0..chosen.unwrap_or(SEQUENCES)).map(|index| first.wrapping_add(index)) {
        let steps = generator::sequence(seed, new_model());
        tally.count(&steps);
        let again = format!("again with VCM_SEED={seed} VCM_SEQUENCES=1");
        match judge.shortest(&Subject::model(), &steps) {
            Ok(None) => {}
            Ok(Some((steps, difference))) => {
                panic!("the model and QEMU differ ({again})\n{}", report(&steps, &difference))
            }
            Err(error) => panic!("{error}\n{again}"),
        }
    }
    println!("{tally:?}");
    if chosen.is_none() {
        let Tally { accesses, acknowledged, nested, virtual_acknowledged, .. } = tally;
        assert!(accesses >= 30_000, "{tally:?}");
        assert!(acknowledged >= 2000 && nested >= 200 && virtual_acknowledged >= 1000, "{tally:?}");
        let Tally { maintenance, fast, virtual_fast, signalled_again, .. } = tally;
        assert!(maintenance >= 200 && fast >= 2000 && virtual_fast >= 2000, "{tally:?}");
        assert!(signalled_again >= 30, "{tally:?}");
    }
}

/// What a wrong model does not do, and the steps that it drops.
const WRONG: [(&str, Drops); 5] = [
    ("no falling edge", |step| matches!(step, Step::Line { level: Level::Low, .. })),
    ("no deactivation by GICC_DIR", |step| writes(step, Frame::CpuInterface, gicc::DIR)),
    ("no end by GICV_EOIR", |step| writes(step, Frame::VirtualCpuInterface, gicc::EOIR)),
    ("no disabling of interrupts 32 to 63", |step| writes(step, Frame::Distributor, gicd::ICENABLER + 4)),
    ("no configuration of interrupts 48 to 63", |step| writes(step, Frame::Distributor, gicd::ICFGR + 12)),
];

fn writes(step: Step, at: Frame, register: u32) -> bool {
    matches!(step, Step::Write { frame, offset, .. } if frame == at && offset == register)
}

#[test]
fn a_wrong_model_is_noticed() {
    if without_qemu() {
        return;
    }
    let mut judge = Judge::start().unwrap_or_else(|error| panic!("{error}"));
    for (what, drops) in WRONG {
        let subject = Subject { drops, ..Subject::model() };
        let noticed = (0..20).find_map(|seed| {
            let steps = generator::sequence(seed, new_model());
            judge.shortest(&subject, &steps).unwrap()
        });
        let (steps, difference) = noticed.unwrap_or_else(|| panic!("{what}: not noticed"));
        let report = report(&steps, &difference);
        println!("{what}: {report}");
        assert_eq!(steps.iter().filter(|step| drops(**step)).count(), 1, "{what}: {report}");
        assert!(steps.len() <= 16, "{what}: not shrunk: {report}");
        // Without what makes it wrong, there is nothing.
        assert_eq!(judge.compare(Subject::model(), &steps).unwrap(), None, "{what}: {report}");
    }
}
