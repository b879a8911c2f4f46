//! PCI functions of all kinds, well-behaved and not, on a bus that is made up: registers as the PCI Local Bus
//! Specification 3.0 has them.

#[path = "pci/fake.rs"]
mod fake;

use fake::{Bar, FakeBus, Function, Prefetchable};
use vcm::{Iova, Span};
use vcm_qemu::{
    Capability, ConfigurationSpace, Decoding, Error, MSI, MSIX, Message, PassedOver, Pci, PciAddress,
    PciWindow, Skipped, VENDOR, VirtioStructureKind, Width,
};

const WINDOW: u64 = 0x1000_0000;
const WINDOW_LEN: u64 = 0x1000_0000;

fn window() -> PciWindow {
    PciWindow::new(Span::new(WINDOW, WINDOW_LEN).unwrap())
}

fn scan(bus: &mut FakeBus) -> Pci {
    Pci::scan(bus, window()).unwrap()
}

fn at(device: u8, function: u8) -> PciAddress {
    PciAddress::new(0, device, function)
}

#[test]
fn addresses_are_requester_ids() {
    let address = PciAddress::new(1, 2, 3);
    assert_eq!((address.bus(), address.device(), address.function()), (1, 2, 3));
    assert_eq!((address.requester_id(), address.to_string().as_str()), (0x113, "01:02.3"));
}

#[test]
fn functions_are_found_and_placed_by_their_size() {
    let mut bus = FakeBus::default();
    bus.add(at(0, 0), Function::new(0x1b36, 8));
    bus.add(at(3, 0), Function::new(0x1234, 0x11e8).bar(0, Bar::memory32(0x10_0000)).pin(1));
    let wide =
        Function::new(0x1b36, 0x10).bar(0, Bar::memory64(0x4000)).bar(2, Bar::memory32(0x10).prefetchable());
    bus.add(at(31, 0), wide.class(0x01_0802));
    let pci = scan(&mut bus);
    assert_eq!(pci.passed_over, []);
    let addresses: Vec<_> = pci.functions.iter().map(|function| function.address).collect();
    assert_eq!(addresses, [at(0, 0), at(3, 0), at(31, 0)]);
    let edu = pci.at(at(3, 0)).unwrap();
    assert_eq!((edu.vendor, edu.device, edu.interrupt_pin), (0x1234, 0x11e8, 1));
    assert_eq!(
        (edu.bars.len(), edu.bar(0).unwrap().address.raw(), edu.bar(0).unwrap().len),
        (1, WINDOW, 0x10_0000)
    );
    let nvme = pci.with_id(0x1b36, 0x10).next().unwrap();
    assert_eq!((nvme.class, nvme.interrupt_pin), (0x01_0802, 0));
    let [wide, narrow] = nvme.bars[..] else { panic!("{nvme:?}") };
    assert_eq!(
        (wide.index, wide.address.raw(), wide.len, wide.prefetchable),
        (0, WINDOW + 0x10_0000, 0x4000, false)
    );
    assert_eq!((narrow.index, narrow.address.raw(), narrow.prefetchable), (2, WINDOW + 0x10_4000, true));
    // The registers have it, and memory is decoded where there is some.
    assert_eq!(bus.get(at(31, 0), 0x10) & !0xf, 0x1010_0000);
    assert_eq!([at(0, 0), at(3, 0), at(31, 0)].map(|address| bus.get(address, 4) & 7), [0, 2, 2]);
    nvme.set_decoding(&mut bus, Decoding::MemoryAndBusMaster).unwrap();
    assert_eq!(bus.get(at(31, 0), 4) & 7, 6);
}

#[test]
fn further_functions_are_looked_for_only_where_there_are_some() {
    let mut bus = FakeBus::default();
    bus.add(at(1, 0), Function::new(1, 1).multifunction());
    bus.add(at(1, 5), Function::new(1, 2));
    bus.add(at(2, 0), Function::new(2, 1));
    bus.add(at(2, 5), Function::new(2, 2)); // Its function 0 does not say so.
    bus.add(at(4, 1), Function::new(3, 1)); // Without a function 0.
    let pci = scan(&mut bus);
    let found: Vec<_> = pci.functions.iter().map(|function| (function.vendor, function.device)).collect();
    assert_eq!(found, [(1, 1), (1, 2), (2, 1)]);
}

#[test]
fn what_is_not_used_is_told() {
    let mut bus = FakeBus::default();
    bus.add(at(1, 0), Function::new(1, 1).header(1).bar(0, Bar::memory32(0x1000)));
    bus.add(at(2, 0), Function::new(1, 1).header(2));
    bus.add(at(3, 0), Function::new(1, 1).bar(1, Bar::Io).bar(2, Bar::memory32(0x1000)));
    bus.add(at(4, 0), Function::new(1, 1).bar(0, Bar::memory32(0x2000_0000)).bar(1, Bar::memory64(1 << 40)));
    let pci = scan(&mut bus);
    let over = |device, what| PassedOver { address: at(device, 0), what };
    let expected = [
        over(1, Skipped::Bridge),
        over(2, Skipped::Header { kind: 2 }),
        over(3, Skipped::IoBar { bar: 1 }),
        over(4, Skipped::NoRoom { bar: 0, len: 0x2000_0000 }),
        over(4, Skipped::NoRoom { bar: 1, len: 1 << 40 }),
    ];
    assert_eq!(pci.passed_over, expected);
    // Bridges are not touched, and what found no room is not decoded.
    assert_eq!((bus.get(at(1, 0), 0x10), bus.get(at(4, 0), 4) & 7), (0, 0));
    assert_eq!(pci.at(at(3, 0)).unwrap().bars.len(), 1);
}

#[test]
fn registers_that_make_no_sense_are_left_alone() {
    for bad in [
        Bar::Stuck(0x0012_3400),
        Bar::Stuck(0x8),
        Bar::Holes(0xff0f_0000),
        Bar::Type(1),
        Bar::Type(3),
        Bar::Forgets,
    ] {
        let mut bus = FakeBus::default();
        bus.add(at(1, 0), Function::new(1, 1).bar(0, bad).bar(2, Bar::memory32(0x1000)));
        let pci = scan(&mut bus);
        let bars = &pci.functions[0].bars;
        assert_eq!((bars.len(), bars[0].index), (1, 2), "{bad:?}");
        // It could answer anywhere.
        assert_eq!(bus.get(at(1, 0), 4) & 7, 0);
        let told = [PassedOver { address: at(1, 0), what: Skipped::BadBar { bar: 0 } }];
        assert_eq!(pci.passed_over, told, "{bad:?}");
    }
    // 64 bits need two registers.
    let mut bus = FakeBus::default();
    bus.add(at(1, 0), Function::new(1, 1).bar(5, Bar::Type(2)));
    assert_eq!(
        scan(&mut bus).passed_over,
        [PassedOver { address: at(1, 0), what: Skipped::BadBar { bar: 5 } }]
    );
}

#[test]
fn capabilities_are_listed_once_and_only_where_they_may_be() {
    let capability = |id, offset| Capability { id, offset };
    let walk = |first: u8, list: &[(u8, u8, u8)]| {
        let mut bus = FakeBus::default();
        let function =
            list.iter().fold(Function::new(1, 1).capabilities_at(first), |function, &(offset, id, next)| {
                function.bytes(offset.into(), &[id, next])
            });
        bus.add(at(1, 0), function);
        scan(&mut bus).functions[0].capabilities.clone()
    };
    assert_eq!(walk(0, &[]), []);
    // The two lowest bits of a pointer are reserved.
    assert_eq!(
        walk(0x43, &[(0x40, MSI, 0xfd), (0xfc, MSIX, 0)]),
        [capability(MSI, 0x40), capability(MSIX, 0xfc)]
    );
    // To itself, in a circle, into the header.
    assert_eq!(walk(0x50, &[(0x50, MSI, 0x50)]), [capability(MSI, 0x50)]);
    let circle = walk(0x50, &[(0x50, MSI, 0x60), (0x60, VENDOR, 0x50)]);
    assert_eq!(circle, [capability(MSI, 0x50), capability(VENDOR, 0x60)]);
    assert_eq!(walk(0x50, &[(0x50, MSI, 0x10)]), [capability(MSI, 0x50)]);
    assert_eq!(walk(0x3c, &[]), []);
    // To a function that is gone.
    assert_eq!(walk(0x50, &[(0x50, 0xff, 0xff)]), []);
    // Without the bit in the status there is no list.
    let mut bus = FakeBus::default();
    bus.add(at(1, 0), Function::new(1, 1).bytes(0x34, &[0x40]).bytes(0x40, &[MSI, 0]));
    assert_eq!(scan(&mut bus).functions[0].capabilities, []);
}

#[test]
fn messages_go_where_the_capability_has_room() {
    let message = |address| Message { address: Iova::new(address), data: 0x1_2345 };
    for (control, data) in [(0x0080_u16, 0x5c), (0x00fe, 0x5c), (0x0000, 0x58)] {
        let [low, high] = control.to_le_bytes();
        let mut bus = FakeBus::default();
        bus.add(at(1, 0), Function::new(1, 1).capabilities_at(0x50).bytes(0x50, &[MSI, 0, low, high]));
        let function = scan(&mut bus).functions[0].clone();
        function.enable_msi(&mut bus, message(0xfee0_1230)).unwrap();
        assert_eq!(bus.get(at(1, 0), 0x54), 0xfee0_1230);
        assert_eq!(bus.get(at(1, 0), data) & 0xffff, 0x2345);
        // Enabled, one message; the wire is off.
        assert_eq!(bus.get(at(1, 0), 0x50) >> 16 & 0x71, 1, "{control:#x}");
        assert_eq!(bus.get(at(1, 0), 4) >> 10 & 1, 1);
        let wide = function.enable_msi(&mut bus, message(0x1_0000_0000));
        assert_eq!(wide.is_ok(), control & 0x80 != 0);
    }
    let mut bus = FakeBus::default();
    bus.add(at(1, 0), Function::new(1, 1));
    let error = scan(&mut bus).functions[0].enable_msi(&mut bus, message(0)).unwrap_err();
    assert_eq!(error.to_string(), "00:01.0 (0001:0001): it has no MSI");
}

#[test]
fn virtio_structures_outside_of_their_memory_are_left_out() {
    let structure = |kind: u8, bar: u8, offset: u32, len: u32, next: u8| {
        let mut bytes = vec![VENDOR, next, 20, kind, bar, 0, 0, 0];
        for word in [offset, len, 4] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    };
    let mut bus = FakeBus::default();
    let function = Function::new(0x1af4, 0x1057)
        .capabilities_at(0x40)
        .bar(4, Bar::memory64(0x4000))
        .bytes(0x40, &structure(1, 4, 0, 0x1000, 0x54))
        .bytes(0x54, &structure(2, 4, 0x3000, 0x1000, 0x68))
        .bytes(0x68, &structure(3, 4, 0x3001, 0x1000, 0x7c)) // Passes the end.
        .bytes(0x7c, &structure(4, 4, u32::MAX, u32::MAX, 0x90))
        .bytes(0x90, &structure(4, 3, 0, 4, 0xa4)) // No such memory.
        .bytes(0xa4, &structure(5, 4, 0, 4, 0xb8)) // Not known.
        .bytes(0xb8, &structure(4, 4, 0x2000, 0x1000, 0xf8))
        .bytes(0xf8, &[VENDOR, 0, 20, 1, 4]); // No room.
    bus.add(at(1, 0), function);
    let found = scan(&mut bus).functions[0].virtio_structures(&mut bus).unwrap();
    let found: Vec<_> = found.iter().map(|it| (it.kind, it.address.raw() - WINDOW, it.len)).collect();
    let notify = VirtioStructureKind::Notify { multiplier: 4 };
    let common = VirtioStructureKind::Common;
    assert_eq!(
        found,
        [(common, 0, 0x1000), (notify, 0x3000, 0x1000), (VirtioStructureKind::Device, 0x2000, 0x1000)]
    );
}

/// Answers anything.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let bits = (self.0 >> 32) as u32;
        // Often what has a meaning.
        match self.0 >> 60 {
            0..4 => bits & bits >> 7,
            4 => u32::MAX,
            5 => 0,
            6 => !0xffff,
            _ => bits,
        }
    }
}

impl ConfigurationSpace for Noise {
    fn read(&mut self, _: PciAddress, width: Width, offset: u16) -> Result<u32, Error> {
        assert!(u64::from(offset).is_multiple_of(width.bytes()) && offset < 0x1000);
        Ok(self.next() & width.max() as u32)
    }

    fn write(&mut self, _: PciAddress, width: Width, offset: u16, value: u32) -> Result<(), Error> {
        assert!(u64::from(offset).is_multiple_of(width.bytes()) && offset < 0x1000);
        assert!(u64::from(value) <= width.max(), "{value:#x} in {width:?}");
        Ok(())
    }
}

#[test]
fn whatever_is_answered_it_ends_within_the_window() {
    for seed in 0..2000 {
        let mut noise = Noise(seed);
        let pci = Pci::scan(&mut noise, window()).unwrap();
        let mut end = WINDOW;
        for bar in pci.functions.iter().flat_map(|function| &function.bars) {
            assert!(bar.address.raw() >= end && bar.len.is_power_of_two());
            end = bar.address.raw() + bar.len;
        }
        assert!(end <= WINDOW + WINDOW_LEN);
        for function in &pci.functions {
            assert!(function.capabilities.len() <= 48);
            let _ = function.virtio_structures(&mut noise).unwrap();
            let _ = function.enable_msi(&mut noise, Message { address: Iova::new(seed), data: u32::MAX });
        }
    }
}
