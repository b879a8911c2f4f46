//! What an interrupt of a device costs the host until its guest has ended it: forwarded against automasked.
//!
//! Exits, maintenance exits and accesses to the interrupt controller are the simulation's counts. The host's
//! work is the time that the host's own code takes, without the simulated hardware's part and without the
//! stop-watch's own: the median of several runs.

use vcm::DeviceHandle;
use vcm_irq::DeviceInterrupt;
use vcm_platform::topology::{Interrupt, InterruptKind, Topology, Trigger, shipped};
use vcm_platform::{
    AssignmentRequest, GuestEnd, GuestRequest, InterruptCounts, Interrupts, Pace, Quieting, Way,
};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

const TIMES: u64 = 4_000;
const RUNS: u32 = 7;
const LINE: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };

/// The counts of all devices together, and nanoseconds of the host's code.
fn run(trigger: Trigger, devices: u32, request: &GuestRequest, way: Way) -> (InterruptCounts, u128) {
    let Some(Ok(mut topology)) = shipped("two-banks").map(Topology::from_device_tree) else {
        panic!("no topology")
    };
    for (master, number) in topology.masters.iter_mut().zip(200..) {
        master.interrupts = vec![Interrupt { name: None, kind: InterruptKind::Shared, number, trigger }];
    }
    let mut soc = Soc::new(&topology, &Options::default()).expect("a machine");
    let guest = soc.start_guest(request).expect("a guest");
    let handles: Vec<_> = (0..devices)
        .map(|device| {
            let request =
                AssignmentRequest { device: DeviceHandle(device), interrupt: LINE, guest, gsi: device, way };
            soc.assign(&request).expect("a free line").0
        })
        .collect();
    soc.settle().expect("a guest that starts");
    soc.start_host_meter();
    for device in 0..devices {
        soc.ask(DeviceHandle(device), LINE, TIMES / u64::from(devices), Pace::Served).expect("a line");
    }
    soc.settle().expect("a guest that runs");
    let mut sum = InterruptCounts::default();
    for counts in handles.into_iter().map(|handle| soc.counts(handle)) {
        assert_eq!((counts.delivered, counts.lost), (counts.asked, 0), "every interrupt comes");
        sum.delivered += counts.delivered;
        sum.spurious += counts.spurious;
        sum.exits += counts.exits;
        sum.maintenance_exits += counts.maintenance_exits;
        sum.mmio += counts.mmio;
    }
    (sum, soc.host_time().as_nanos())
}

fn main() {
    println!(
        "{:<7}{:<12}{:<10}{:>6}{:>9}  {:<12}{:>8}{:>13}{:>8}{:>10}{:>10}",
        "line",
        "quieted",
        "end",
        "vCPUs",
        "devices",
        "way",
        "exits",
        "maintenance",
        "mmio",
        "spurious",
        "host ns"
    );
    let level = Trigger::LevelHigh;
    for (trigger, quieting, end, vcpus, devices) in [
        (level, Quieting::BeforeEnd, GuestEnd::Together, 1, 1),
        (level, Quieting::BeforeEnd, GuestEnd::Apart, 1, 1),
        (level, Quieting::BeforeEnd, GuestEnd::Together, 4, 5),
        (level, Quieting::BeforeEnd, GuestEnd::Apart, 4, 5),
        (level, Quieting::AfterEnd, GuestEnd::Together, 1, 1),
        (level, Quieting::Oneshot, GuestEnd::Together, 1, 1),
        (Trigger::EdgeRising, Quieting::BeforeEnd, GuestEnd::Together, 1, 1),
    ] {
        for way in [Way::Forwarded, Way::Automasked] {
            let request = GuestRequest { name: "guest".to_owned(), vcpus, quieting, end };
            let mut runs: Vec<_> = (0..RUNS).map(|_| run(trigger, devices, &request, way)).collect();
            runs.sort_by_key(|(_, nanoseconds)| *nanoseconds);
            // The median: what the GIC model took is measured apart and taken away, which may be too much.
            let Some((counts, nanoseconds)) = runs.get(RUNS as usize / 2) else { return };
            let each = |count: u64| count as f64 / counts.delivered as f64;
            println!(
                "{:<7}{:<12}{:<10}{vcpus:>6}{devices:>9}  {:<12}{:>8.2}{:>13.2}{:>8.2}{:>10.2}{:>10.0}",
                if trigger == level { "level" } else { "edge" },
                format!("{quieting:?}"),
                format!("{end:?}"),
                format!("{way:?}"),
                each(counts.exits),
                each(counts.maintenance_exits),
                each(counts.mmio),
                each(counts.spurious),
                *nanoseconds as f64 / counts.delivered as f64,
            );
        }
    }
}
