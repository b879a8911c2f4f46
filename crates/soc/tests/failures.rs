//! Every hardware step failing in turn: nothing is half done, nothing leaks, and nobody reaches memory that was given
//! back.

use vcm::{
    Answer, Attributes, CpuAddress, DeviceHandle, Hardware, HardwareError, HardwareErrorKind, Part,
    PhysicalAddress, Privilege, RegionKind, Segment, Segments, SpaceHandle, Span, Unfinished,
};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Layout, Outcome, Platform, Rectangle, Surface, Transfer, pattern};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

const AT: u64 = 0x5000_0000;
/// Mapped as 1M, 2 x 64K and a 4K page.
const LEN: u64 = 0x12_1000;
/// A row in every seventeenth page; the last one is in the page behind, which is missing at first.
const PICTURE: Rectangle = Rectangle { width: 256, height: 18, bytes_per_pixel: 1, stride: 0x1_1000 };

/// The machine, and whether something failed.
struct Run {
    soc: Soc,
    failed: bool,
}

impl Run {
    /// Does `what`; when that fails the machine is repaired, and it must succeed the second time.
    fn set_up<T>(&mut self, what: impl Fn(&mut Soc) -> Result<T, HardwareError>) -> T {
        match what(&mut self.soc) {
            Ok(done) => done,
            Err(error) => {
                assert!(
                    matches!(error.kind, HardwareErrorKind::OutOfMemory | HardwareErrorKind::Unresponsive),
                    "{error}"
                );
                self.repair();
                what(&mut self.soc).unwrap()
            }
        }
    }

    /// Does `what`; after a failure it is repeated until it succeeds.
    fn tear_down<T>(&mut self, what: impl Fn(&mut Soc) -> Result<T, Unfinished>) -> T {
        match what(&mut self.soc) {
            Ok(done) => done,
            Err(_) => {
                // Not repaired, it fails again, or finds that nothing more was to do.
                if let Ok(done) = what(&mut self.soc) {
                    return done;
                }
                self.repair();
                what(&mut self.soc).unwrap()
            }
        }
    }

    fn repair(&mut self) {
        self.failed = true;
        self.soc.repair();
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle) {
        match self.soc.attach(space, device, Part::Whole) {
            Ok(()) => {}
            Err(error) => {
                self.repair();
                if error.kind == HardwareErrorKind::HalfDone {
                    let _ = self.soc.detach(space, device, Part::Whole).unwrap();
                }
                self.soc.attach(space, device, Part::Whole).unwrap();
            }
        }
    }

    fn map(&mut self, space: SpaceHandle, at: u64, physical: u64, len: u64) {
        let blocks = [Segment { base: PhysicalAddress::new(physical), len }];
        self.set_up(|soc| soc.map(space, at, Segments::new(&blocks, 0, len), Attributes::READ_WRITE));
    }

    /// Runs a transfer; a page that is missing is mapped when it faults.
    fn transfer(
        &mut self,
        device: DeviceHandle,
        space: SpaceHandle,
        missing: (u64, u64),
        transfer: &Transfer,
    ) {
        if self.soc.start(device, transfer, Privilege::User).is_err() {
            self.repair();
            self.soc.start(device, transfer, Privilege::User).unwrap();
        }
        let mut waiting = None;
        let mut mapped = false;
        // A transfer that goes round in circles is a failure, not a wait.
        for _ in 0..500 {
            match self.soc.next_event() {
                Ok(Some(Event::Completed { report, .. })) => {
                    assert_eq!(report.outcome, Outcome::Completed);
                    return;
                }
                Ok(Some(Event::Fault { token, fault })) => {
                    if !mapped {
                        assert_eq!(fault.address & !0xfff, missing.0);
                        self.map(space, missing.0, missing.1, 0x1000);
                        mapped = true;
                    }
                    waiting = Some(token);
                    self.soc.answer(token, Answer::Retry);
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("the transfer was lost"),
                Err(error) => {
                    // The SMMU fell silent under the interrupt handler or the answer.
                    assert!(!error.to_string().contains("given back"), "{error}");
                    self.repair();
                    if let Some(token) = waiting {
                        self.soc.answer(token, Answer::Retry);
                    }
                }
            }
        }
        panic!("the transfer does not end:\n{}", self.soc.describe());
    }
}

/// A scenario with all operations, the `n`-th hardware step of which fails. Whether that step was reached.
fn scenario(n: u64) -> bool {
    let topology = Topology::from_device_tree(shipped("two-banks").unwrap()).unwrap();
    let mut soc = Soc::new(&topology, &Options { tlb_entries: 8, ..Options::default() }).unwrap();
    let tables = soc.statistics().table_bytes;
    let memory = soc.memories().last().unwrap().span.first();
    let device = |name: &str| soc.devices().iter().find(|device| device.name == name).unwrap().handle;
    let cpu = device("cpu");
    let masters: Vec<_> = soc
        .devices()
        .iter()
        .filter(|device| device.kind == RegionKind::Translated)
        .map(|device| device.handle)
        .take(3)
        .collect();
    soc.fail_hardware_at(n);
    let mut run = Run { soc, failed: false };
    let mut spaces = Vec::new();
    for handle in masters.iter().copied().chain([cpu]) {
        let format = run.soc.format(handle, Part::Whole).unwrap();
        let kind = run.soc.devices()[handle.0 as usize].kind;
        let space = run.set_up(|soc| soc.create_space(kind, format, format.addresses));
        spaces.push(space);
    }
    // More contexts than banks, so that each is displaced.
    let missing = (AT + LEN, memory + LEN);
    for (space, handle) in spaces.iter().zip(masters.iter().chain([&cpu])) {
        run.map(*space, AT, memory, LEN);
        run.attach(*space, *handle);
    }
    run.map(spaces[3], AT + LEN, memory + LEN, 0x1000);
    let surface = Surface { address: AT, layout: Layout::Rectangle(PICTURE) };
    for (space, handle) in spaces.iter().zip(&masters) {
        run.transfer(*handle, *space, missing, &Transfer::Write { to: surface, seed: n });
        for row in 0..18 {
            let mut bytes = [0; 256];
            run.soc.cpu_read(CpuAddress::new(AT + row * 0x1_1000), &mut bytes).unwrap();
            assert!((row * 256..).zip(&bytes).all(|(index, byte)| *byte == pattern(n, index)));
        }
    }
    // Part of it, then all, and the memory goes back.
    for space in &spaces {
        for span in [Span::new(AT + 0x8000, 0x3000).unwrap(), Span::new(AT, LEN + 0x1000).unwrap()] {
            let quiet = run.tear_down(|soc| soc.unmap(*space, span));
            assert_eq!((quiet.space(), quiet.span()), (*space, span));
        }
        assert_eq!(run.soc.leaves(*space, Span::ALL).total(), 0);
    }
    run.soc.memory_returned(Segment { base: PhysicalAddress::new(memory), len: LEN + 0x1000 });
    // Nobody gets there any more: the oracle would tell.
    for handle in &masters {
        if run.soc.start(*handle, &Transfer::Read { from: surface }, Privilege::User).is_err() {
            run.repair();
            run.soc.start(*handle, &Transfer::Read { from: surface }, Privilege::User).unwrap();
        }
        let mut waiting = None;
        loop {
            match run.soc.next_event() {
                Ok(Some(Event::Completed { report, .. })) => {
                    assert_eq!((report.outcome, report.bytes_read), (Outcome::Aborted, 0));
                    break;
                }
                Ok(Some(Event::Fault { token, .. })) => {
                    waiting = Some(token);
                    run.soc.answer(token, Answer::Terminate);
                }
                Ok(_) => {}
                Err(error) => {
                    assert!(!error.to_string().contains("given back"), "{error}");
                    run.repair();
                    if let Some(token) = waiting {
                        run.soc.answer(token, Answer::Terminate);
                    }
                }
            }
        }
    }
    for (space, handle) in spaces.iter().zip(masters.iter().chain([&cpu])) {
        let _ = run.tear_down(|soc| soc.detach(*space, *handle, Part::Whole));
        run.soc.destroy_space(*space);
    }
    assert_eq!(run.soc.statistics().table_bytes, tables);
    run.failed
}

#[test]
fn without_a_failure() {
    assert!(!scenario(u64::MAX));
}

#[test]
fn every_step_failing_in_turn() {
    let mut n = 1;
    let mut failed = 0;
    let mut quiet = 0;
    // A step that fails unnoticed (a write that does not matter) is no failure: stop after many of them.
    while quiet < 60 {
        match scenario(n) {
            true => (failed, quiet) = (failed + 1, 0),
            false => quiet += 1,
        }
        n += 1;
    }
    assert!(failed > 200, "only {failed} of {n} steps mattered");
}
