//! Getting to know each other.

use crate::bench::{Driver, Fake, OTHER, STREAM, requests};
use crate::fake::{ALL, VERSION_1};
use crate::windows::Window;
use vcm::Attributes;
use vcm_iommu::virtio::spec::Features;
use vcm_iommu::virtio::{MmioTransport, PciTransport, PciWindows, VirtioIommu};
use vcm_iommu::{Feature, Iommu, IommuError, ProbeError, TableFormat, Tables, Translation, Way};

fn probe(fake: &Fake) -> Result<Driver, ProbeError> {
    VirtioIommu::probe(fake.pci(), fake.memory.clone(), Fake::config())
}

/// What it is refused for, with nothing left behind.
fn refusal(prepare: impl FnOnce(&Fake)) -> String {
    let fake = Fake::new();
    prepare(&fake);
    let error = probe(&fake).unwrap_err();
    assert_eq!(fake.memory.allocations(), 0, "{error}");
    let status = fake.device().status;
    let hung = fake.device().hung;
    assert!(hung || status & 0x84 == 0x80, "FAILED and not DRIVER_OK: {status:#x}");
    error.to_string()
}

#[test]
fn both_transports_lead_to_the_same() {
    let fake = Fake::new();
    let driver = fake.driver();
    let wanted = Features(ALL);
    assert_eq!(driver.features(), wanted);
    let way = driver.preferred();
    let Way::Requests { page_sizes, input } = way else { panic!() };
    assert_eq!((page_sizes.mask(), input.first(), input.last()), (!0xfff, 0x1000, 0xffff_ffff_ffff));
    assert_eq!(fake.device().status, 0x0f);
    assert_eq!(fake.device().accepted, ALL);
    assert_eq!(fake.device().queues.each_ref().map(|queue| (queue.enabled, queue.size)), [(true, 64); 2]);
    assert_eq!(fake.device().config[36], 0, "bypass");

    let fake = Fake::new();
    let mut driver: VirtioIommu<MmioTransport<Window>, _> =
        VirtioIommu::probe(fake.mmio(), fake.memory.clone(), Fake::config()).unwrap();
    assert_eq!((driver.features(), driver.preferred()), (wanted, way));
    assert_eq!(fake.device().status, 0x0f);
    assert_eq!(fake.device().config[36], 0, "bypass");
    let domain = driver.create_domain(Translation::Requests).unwrap();
    driver.attach(STREAM, domain).unwrap();
    let segment = vcm_pagetable::Segment { physical: vcm::PhysicalAddress::new(0x9000_0000), len: 0x2000 };
    driver.map(domain, 0x5000, segment, Attributes::READ_WRITE).unwrap();
    assert_eq!(fake.mapped(8), Some(vec![(0x5000, 0x6fff, 0x9000_0000, 3)]));
    assert_eq!(driver.take_interrupt(), 1);
    assert_eq!(driver.take_interrupt(), 0);
}

#[test]
fn only_known_features_are_accepted() {
    let fake = Fake::new();
    // BYPASS lets unattached endpoints pass once it is accepted; EVENT_IDX and RING_PACKED change the queues.
    fake.device().offered = u64::MAX;
    let driver = probe(&fake).unwrap();
    assert_eq!(fake.device().accepted, ALL | 1 << 33 | 1 << 36);
    assert!(driver.features().has(Features::ACCESS_PLATFORM) && !driver.features().has(Features::BYPASS));

    // The least that there may be.
    let fake = Fake::new();
    fake.device().offered = VERSION_1 | 1 << 2;
    fake.device().insists = VERSION_1 | 1 << 2;
    let mut driver = probe(&fake).unwrap();
    assert_eq!(driver.features().0, VERSION_1 | 1 << 2);
    let Way::Requests { input, .. } = driver.preferred() else { panic!() };
    assert_eq!(input, vcm::Span::ALL);
    assert!(driver.reserved(STREAM).unwrap().is_empty(), "no PROBE request");
    let identity = driver.create_domain(Translation::Identity);
    assert_eq!(identity, Err(IommuError::NotSupported(Feature::Identity)));
}

#[test]
fn what_cannot_be_driven_is_refused() {
    assert!(refusal(|fake| fake.device().offered = 0b111).contains("before version 1"));
    assert!(refusal(|fake| fake.device().offered = VERSION_1).contains("without MAP and UNMAP"));
    assert!(refusal(|fake| fake.device().insists = 1 << 3).contains("refuses a part of its own features"));
    assert!(refusal(|fake| fake.device().set_config(0, &[0; 8])).contains("without page sizes"));
    assert!(refusal(|fake| fake.device().set_config(16, &[0; 8])).contains("empty range"));
    assert!(refusal(|fake| fake.device().set_config(28, &[0; 4])).contains("no domains"));
    assert!(refusal(|fake| fake.device().restless = true).contains("changes all the time"));
    assert!(refusal(|fake| fake.device().stubborn = true).contains("told not to"));
    assert!(refusal(|fake| fake.device().hung = true).contains("a reset did not complete"));
    assert!(refusal(|fake| fake.device().queues[1].max = 1).contains("queue_size"));
    assert!(refusal(|fake| fake.device().queues[0].max = 0).contains("queue_size"));
    assert!(refusal(|fake| fake.device().notify_off = 0x400).contains("notifications go elsewhere"));
}

#[test]
fn sizes_are_what_both_can() {
    for (max, asked, expected) in
        [(2, 64, 2), (3, 64, 2), (24, 64, 16), (256, 5, 4), (256, 0, 2), (0x8000, 999, 64)]
    {
        let fake = Fake::new();
        fake.device().queues.iter_mut().for_each(|queue| queue.max = max);
        let config = Fake::config().with_queue_size(asked);
        let mut driver = VirtioIommu::probe(fake.mmio(), fake.memory.clone(), config).unwrap();
        assert_eq!(fake.device().queues.each_ref().map(|queue| queue.size), [expected; 2]);
        // A request fits into the smallest; PROBE does not.
        let domain = driver.create_domain(Translation::Requests).unwrap();
        driver.attach(STREAM, domain).unwrap();
        driver.reserved(OTHER).unwrap();
    }
    for size in [0, 0x1_0001_u32, u32::MAX] {
        let fake = Fake::new();
        fake.device().set_config(32, &size.to_le_bytes());
        let mut driver = fake.driver();
        assert!(!driver.features().has(Features::PROBE));
        assert!(driver.reserved(STREAM).unwrap().is_empty());
    }
}

#[test]
fn nothing_and_strangers_are_told_apart() {
    let fake = Fake::new();
    fake.device().lives = Some(0);
    assert!(matches!(probe(&fake), Err(ProbeError::Absent { found: 0xffff, .. })));
    let mmio = VirtioIommu::probe(fake.mmio(), fake.memory.clone(), Fake::config());
    assert!(matches!(mmio, Err(ProbeError::Absent { found: 0xffff_ffff, .. })));
}

#[test]
fn a_window_that_is_too_short_for_its_notifications_is_not_written_beyond() {
    for len in 0..20 {
        let fake = Fake::new();
        let mut transport = fake.pci();
        let PciWindows { common, notify, interrupt, device, .. } = transport.windows_mut().clone();
        let windows = PciWindows { common, notify, notify_len: len, notify_multiplier: 4, interrupt, device };
        let probed = VirtioIommu::probe(PciTransport::new(windows), fake.memory.clone(), Fake::config());
        assert_eq!(probed.is_ok(), len >= 14, "{len}");
    }
}

#[test]
fn every_allocation_may_fail() {
    let mut allocations = 0;
    loop {
        let fake = Fake::new();
        fake.memory.fail_after(allocations);
        match probe(&fake) {
            Ok(_) => break,
            Err(error) => assert_eq!(error, ProbeError::OutOfMemory),
        }
        assert_eq!(fake.memory.allocations(), 0, "after {allocations}");
        assert_eq!(fake.device().status & 0x84, 0x80);
        allocations += 1;
    }
    assert_eq!(allocations, 5);
}

#[test]
fn a_device_may_go_at_every_access() {
    let mut lives = 0;
    loop {
        let fake = Fake::new();
        fake.device().lives = Some(lives);
        match probe(&fake) {
            Ok(_) => break,
            Err(ProbeError::Absent { .. } | ProbeError::Unresponsive(_) | ProbeError::Unknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        lives += 1;
    }
    assert!(lives > 40, "{lives} accesses");
}

#[test]
fn domains_are_what_the_device_has_numbers_for() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let all: Vec<_> = (0..9).map(|_| requests(&mut driver)).collect();
    assert_eq!(driver.create_domain(Translation::Requests), Err(IommuError::NoFreeSlot(9)));
    driver.destroy_domain(all[4]).unwrap();
    driver.destroy_domain(all[4]).unwrap();
    let again = requests(&mut driver);
    driver.attach(STREAM, again).unwrap();
    assert_eq!(fake.device().iommu.attached[&8], 5);
    assert_eq!(driver.attach(OTHER, all[4]), Err(IommuError::UnknownDomain(all[4])));

    let tables = Tables { format: TableFormat::ArmShort, root: vcm::PhysicalAddress::new(0) };
    assert!(!driver.supports(TableFormat::ArmShort));
    for (translation, feature) in [
        (Translation::Tables(tables), Feature::Format(TableFormat::ArmShort)),
        (Translation::Nested { first: tables, second: tables }, Feature::Nested),
    ] {
        assert_eq!(driver.create_domain(translation), Err(IommuError::NotSupported(feature)));
    }
}
