//! Hardware that is not there, not known, or not what it says.

use crate::fake::{CAPABILITIES, Fake, STREAMS, config};
use crate::fake_rig::SILENCES;
use vcm::PhysicalAddress;
use vcm_iommu::riscv::{Config, Interrupts, RiscvIommu};
use vcm_iommu::{Feature, Iommu, IommuError, ProbeError, TableFormat, Translation, Way};

fn error(fake: &Fake, config: Config) -> String {
    RiscvIommu::probe(fake.clone(), fake.clone(), config).map(drop).unwrap_err().to_string()
}

#[test]
fn nothing_there() {
    for silence in SILENCES {
        let fake = Fake::new();
        fake.device().power.lives = Some(0);
        fake.device().power.silence = silence;
        assert!(error(&fake, config()).starts_with("iommu test: nothing answers, capabilities reads 0x"));
        assert!(fake.device().memory.allocated.is_empty());
    }
}

#[test]
fn versions_and_interrupts_that_it_does_not_have() {
    let fake = Fake::with(CAPABILITIES & !0xff | 0x20);
    assert!(error(&fake, config()).contains("a version of the specification other than 1"));
    let message = Interrupts::Message { address: PhysicalAddress::new(0x2800_0000), data: 5 };
    for (igs, interrupts) in [(0, Interrupts::Wired), (1, message)] {
        let fake = Fake::with(CAPABILITIES & !(3 << 28) | igs << 28);
        assert!(error(&fake, Config { interrupts, ..config() }).contains("no interrupts of that kind"));
    }
    let fake = Fake::new();
    fake.probe(Config { interrupts: message, ..config() });
    let device = fake.device();
    assert_eq!((device.get64(0x300), device.get(0x308), device.get(0x30c)), (0x2800_0000, 5, 0));
    assert_eq!((device.get(0x08), device.get(0x4c)), (0, 0x1_0003));
    drop(device);
    let fake = Fake::new();
    fake.probe(Config { interrupts: Interrupts::Wired, ..config() });
    assert_eq!(fake.device().get(0x08), 2);
}

/// The levels that the directory gets, and the last device id; or none.
type Expected = Option<(u8, u32)>;

#[test]
fn the_fewest_levels_that_the_hardware_has_and_the_ids_need() {
    let base = CAPABILITIES & !(1 << 22);
    let cases: [(u64, u8, &[u64], Expected); 9] = [
        (CAPABILITIES, 6, &[0, 1, 2, 3, 4], Some((1, 0x3f))),
        (CAPABILITIES, 7, &[0, 1, 2, 3, 4], Some((2, 0x7fff))),
        (CAPABILITIES, 16, &[0, 1, 2, 3, 4], Some((3, 0xff_ffff))),
        (CAPABILITIES, 1, &[0, 1, 3], Some((2, 0x7fff))),
        (CAPABILITIES, 24, &[0, 1, 3], None),
        (base, 7, &[0, 1, 2, 3, 4], Some((1, 0x7f))),
        (base, 16, &[0, 1, 2, 3, 4], Some((2, 0xffff))),
        (base, 17, &[0, 1, 2, 3, 4], Some((3, 0xff_ffff))),
        (base, 0, &[0, 1, 4], Some((3, 0xff_ffff))),
    ];
    for (capabilities, device_id_bits, modes, expected) in cases {
        let fake = Fake::with(capabilities);
        fake.device().modes = modes.to_vec();
        fake.device().slowness = 3;
        let config = Config { device_id_bits, ..config() };
        match (expected, RiscvIommu::probe(fake.clone(), fake.clone(), config)) {
            (Some((levels, last)), Ok(mut iommu)) => {
                assert_eq!(iommu.directory_levels(), levels);
                let domain = iommu.create_domain(Translation::Identity).unwrap();
                let beyond = vcm_iommu::StreamId(last + 1);
                let refused = iommu.attach(beyond, domain).unwrap_err();
                let last = vcm_iommu::StreamId(last);
                assert_eq!(refused, IommuError::StreamOutOfRange { stream: beyond, last });
                iommu.attach(last, domain).unwrap();
                assert_eq!(fake.read_of(last, 0x5555), Ok(0x5555));
            }
            (None, Err(ProbeError::Unknown { register: "ddtp", .. })) => {
                assert!(fake.device().memory.allocated.is_empty(), "memory is given back");
                assert_eq!(fake.device().get(0x10) & 0xf, 0, "and the device is off");
            }
            (expected, got) => panic!("{expected:?}, not {:?}", got.map(|iommu| iommu.directory_levels())),
        }
    }
}

/// Firmware may have left anything.
#[test]
fn what_was_there_before_is_switched_off_and_forgotten() {
    let fake = Fake::new();
    {
        let mut device = fake.device();
        device.set(0x10, 0x8000 << 10 | 1);
        device.set(0x48, 0x1_0003);
        device.set(0x4c, 0x1_0303);
        device.contexts.insert(STREAMS[0].0, [1, 0, 0, 0]);
        device.translations.insert((None, 1, 5), 0x77);
        device.translations.insert((Some(9), 0, 5), 0x77);
    }
    fake.probe(config());
    assert!(fake.read_of(STREAMS[0], 0x5000).is_err());
    assert!(fake.device().contexts.is_empty() && fake.device().translations.is_empty());
}

#[test]
fn every_allocation_may_fail() {
    for allocations in 0..4 {
        let fake = Fake::new();
        fake.device().memory.allocations = Some(allocations);
        let accesses = {
            assert_eq!(error(&fake, config()), "out of memory for queues and tables");
            fake.device().power.accesses
        };
        assert!(fake.device().memory.allocated.is_empty());
        assert_eq!(accesses, 2, "only the capabilities were read");
    }
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let domain = iommu.create_domain(Translation::Identity).unwrap();
    for allocations in 0..2 {
        fake.device().memory.allocations = Some(allocations);
        assert_eq!(iommu.attach(STREAMS[0], domain), Err(IommuError::OutOfMemory));
        assert!(fake.read_of(STREAMS[0], 0).is_err());
    }
    iommu.destroy_domain(domain).unwrap();
}

#[test]
fn capabilities_and_configuration_decide_on_limits() {
    let fake = Fake::new();
    let limits = fake.probe(config()).limits();
    assert_eq!((limits.output_bits, limits.page_sizes.mask() & 0x31_1000), (46, 0x30_1000));
    let svnapot = vcm_iommu::riscv::Svnapot::Present;
    let limits = Fake::new().probe(Config { svnapot, ..config() }).limits();
    assert_eq!(limits.page_sizes.mask() & 0x1_0000, 0x1_0000);
    let wide = Fake::with(CAPABILITIES | 63 << 32).probe(config()).limits();
    assert_eq!(wide.output_bits, 56);
}

#[test]
fn capabilities_decide_on_formats() {
    let fake = Fake::with(CAPABILITIES & !0xe00);
    let mut iommu = fake.probe(config());
    assert_eq!(iommu.preferred(), Way::Tables(TableFormat::RiscvSecondStage { levels: 4 }));
    let format = TableFormat::RiscvFirstStage { levels: 3 };
    assert!(!iommu.supports(format) && !iommu.supports(TableFormat::AmdV1 { levels: 3 }));
    let table = vcm_iommu::Tables { format, root: PhysicalAddress::new(0x1000) };
    let second = TableFormat::RiscvSecondStage { levels: 3 };
    assert_eq!(
        iommu.create_domain(Translation::Tables(table)),
        Err(IommuError::NotSupported(Feature::Format(format)))
    );
    let second = vcm_iommu::Tables { format: second, ..table };
    assert_eq!(
        iommu.create_domain(Translation::Nested { first: second, second }),
        Err(IommuError::NotSupported(Feature::Nested))
    );
    let fake = Fake::with(CAPABILITIES & !(1 << 31));
    let asked = fake.probe(config()).translate(STREAMS[0], 0, vcm::FaultAccess::Read);
    assert_eq!(asked, Err(IommuError::NotSupported(Feature::Translate)));
}

/// What the hardware has no second stage for is not asked of it.
#[test]
fn hardware_without_a_second_stage() {
    let fake = Fake::with(CAPABILITIES & !0xf_0000);
    let mut iommu = fake.probe(config());
    assert_eq!(iommu.command_errors(), 0);
    iommu.recover().unwrap();
    assert_eq!(iommu.command_errors(), 0);
    assert!(!iommu.supports(TableFormat::RiscvSecondStage { levels: 4 }));
    assert!(iommu.supports(TableFormat::RiscvFirstStage { levels: 4 }));
}
