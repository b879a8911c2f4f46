//! The whole machine from a shipped topology, and helpers to use it without a graph.
#![allow(dead_code, reason = "not every test file uses every helper")]

use vcm::{
    Attributes, CpuAddress, DeviceHandle, Hardware, Part, PhysicalAddress, Privilege, RegionKind, Segment,
    Segments, SpaceHandle, Span,
};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Layout, Outcome, Platform, Surface, Transfer, TransferReport, pattern};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

pub(crate) fn soc(name: &str) -> Soc {
    let topology = Topology::from_device_tree(shipped(name).unwrap()).unwrap();
    Soc::new(&topology, &Options::default()).unwrap()
}

pub(crate) fn device(soc: &Soc, name: &str) -> DeviceHandle {
    soc.devices().iter().find(|device| device.name == name).unwrap_or_else(|| panic!("no {name}")).handle
}

pub(crate) fn kind(soc: &Soc, device: DeviceHandle) -> RegionKind {
    soc.devices()[device.0 as usize].kind
}

/// A space for `device`, attached.
pub(crate) fn space(soc: &mut Soc, device: DeviceHandle, part: Part) -> SpaceHandle {
    let format = soc.format(device, part).unwrap();
    let kind = kind(soc, device);
    let space = soc.create_space(kind, format, format.addresses).unwrap();
    soc.attach(space, device, part).unwrap();
    space
}

pub(crate) fn segment(base: u64, len: u64) -> Segment {
    Segment { base: PhysicalAddress::new(base), len }
}

pub(crate) fn map(soc: &mut Soc, space: SpaceHandle, at: u64, physical: u64, len: u64) {
    let blocks = [segment(physical, len)];
    soc.map(space, at, Segments::new(&blocks, 0, len), Attributes::READ_WRITE).unwrap();
}

pub(crate) fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

pub(crate) fn linear(address: u64, len: u64) -> Surface {
    Surface { address, layout: Layout::Linear { len } }
}

pub(crate) fn write(address: u64, len: u64) -> Transfer {
    Transfer::Write { to: linear(address, len), seed: 11 }
}

/// All events until nothing is under way; no fault may stall.
pub(crate) fn events(soc: &mut Soc) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = soc.next_event().unwrap() {
        all.push(event);
    }
    all
}

pub(crate) fn report(events: &[Event], of: DeviceHandle) -> TransferReport {
    events
        .iter()
        .find_map(|event| match event {
            Event::Completed { device, report } if *device == of => Some(*report),
            _ => None,
        })
        .unwrap()
}

/// Runs a transfer that must succeed.
pub(crate) fn transfer(soc: &mut Soc, device: DeviceHandle, transfer: &Transfer) -> TransferReport {
    soc.start(device, transfer, Privilege::User).unwrap();
    let events = events(soc);
    let report = report(&events, device);
    assert_eq!(report.outcome, Outcome::Completed, "{events:?}");
    report
}

/// The only fault among the events.
pub(crate) fn fault(events: &[Event]) -> vcm::Fault {
    let mut faults = events.iter().filter_map(|event| match event {
        Event::Fault { fault, .. } => Some(*fault),
        _ => None,
    });
    let fault = faults.next().unwrap();
    assert_eq!(faults.next(), None);
    fault
}

pub(crate) fn memory(soc: &Soc, name: &str) -> u64 {
    soc.memories().iter().find(|memory| memory.name == name).unwrap().span.first()
}

pub(crate) fn cpu_sees(soc: &mut Soc, at: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    soc.cpu_read(CpuAddress::new(at), &mut bytes).unwrap();
    bytes
}

pub(crate) fn made(len: u64) -> Vec<u8> {
    (0..len).map(|index| pattern(11, index)).collect()
}
