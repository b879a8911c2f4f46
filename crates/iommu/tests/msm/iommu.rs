//! The SMMU as any IOMMU: streams and domains.

use crate::fake::{Fake, table};
use vcm::{Answer, Attributes, FaultAccess, FaultReason, FaultState, PhysicalAddress, Span};
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Config, MasterId, Smmu};
use vcm_iommu::{
    DomainId, Feature, Invalidation, Iommu, IommuError, Stall, StreamId, TableFormat, Tables, Translation,
    Way,
};
use vcm_pagetable::Segment;
use vcm_pagetable::arm_short::Remap;

type Driver = Smmu<Fake>;

fn smmu(banks: u8, masters: u16) -> (Fake, Driver) {
    let fake = Fake::new(banks, masters);
    let config = Config { remap: Remap::OUTER, ..Config::new("test") };
    (fake.clone(), Smmu::probe(fake, config).unwrap())
}

fn tables(n: u64) -> Translation {
    Translation::Tables(Tables { format: TableFormat::ArmShort, root: table(n) })
}

fn domain(smmu: &mut Driver, n: u64) -> DomainId {
    smmu.create_domain(tables(n)).unwrap()
}

/// The table that a master's transactions are walked through, if any.
fn seen(fake: &Fake, master: u16) -> Option<u64> {
    let device = fake.device();
    let bank = device.m2vcbr(master).cbndx();
    let sctlr = spec::Sctlr::from_bits(device.peek(context_register(bank, spec::SCTLR)));
    (bank != spec::NO_BANK && sctlr.m())
        .then(|| u64::from(device.peek(context_register(bank, spec::TTBR0)) & !0x3fff))
}

const STREAMS: [StreamId; 3] = [StreamId(0), StreamId(1), StreamId(2)];

#[test]
fn streams_see_their_domains_tables() {
    let (fake, mut smmu) = smmu(2, 3);
    assert_eq!((smmu.label().as_str(), smmu.preferred()), ("test", Way::Tables(TableFormat::ArmShort)));
    let (a, b) = (domain(&mut smmu, 1), domain(&mut smmu, 2));
    smmu.attach(STREAMS[0], a).unwrap();
    smmu.attach(STREAMS[1], a).unwrap();
    assert_eq!(
        [0, 1, 2].map(|master| seen(&fake, master)),
        [Some(table(1).raw()), Some(table(1).raw()), None]
    );
    // An attached stream keeps its seat: it has to translate at any moment.
    assert_eq!(smmu.attach(STREAMS[2], b), Err(IommuError::NoFreeSlot(2)));
    assert_eq!((seen(&fake, 2), smmu.owner(MasterId(2))), (None, None));
    smmu.attach(STREAMS[1], b).unwrap();
    smmu.attach(STREAMS[1], b).unwrap();
    assert_eq!(seen(&fake, 1), Some(table(2).raw()));
    assert_eq!(smmu.destroy_domain(b), Err(IommuError::InUse { domain: b, stream: STREAMS[1] }));
    smmu.detach(STREAMS[0]).unwrap();
    smmu.detach(STREAMS[0]).unwrap();
    smmu.destroy_domain(a).unwrap();
    smmu.destroy_domain(a).unwrap();
    assert_eq!(smmu.attach(STREAMS[0], a), Err(IommuError::UnknownDomain(a)));
    smmu.attach(STREAMS[2], b).unwrap();
    assert_eq!(
        [0, 1, 2].map(|master| seen(&fake, master)),
        [None, Some(table(2).raw()), Some(table(2).raw())]
    );
}

#[test]
fn what_it_cannot_do_is_refused() {
    let (_, mut smmu) = smmu(2, 3);
    let format = TableFormat::RiscvFirstStage { levels: 3 };
    let arm = |root| Tables { format: TableFormat::ArmShort, root: PhysicalAddress::new(root) };
    for (translation, feature) in [
        (Translation::Identity, Feature::Identity),
        (Translation::Requests, Feature::Requests),
        (Translation::Nested { first: arm(0), second: arm(0) }, Feature::Nested),
        (Translation::Tables(Tables { format, root: table(0) }), Feature::Format(format)),
    ] {
        assert_eq!(smmu.create_domain(translation), Err(IommuError::NotSupported(feature)));
    }
    for root in [0x8000_2000, 0x1_0000_0000] {
        let error = Err(IommuError::Root { root, align: 0x4000, limit: 1 << 32 });
        assert_eq!(smmu.create_domain(Translation::Tables(arm(root))), error);
    }
    let one = domain(&mut smmu, 1);
    for stream in [StreamId(3), StreamId(0x1_0000), StreamId(u32::MAX)] {
        let error = IommuError::StreamOutOfRange { stream, last: STREAMS[2] };
        assert_eq!(smmu.attach(stream, one), Err(error));
        smmu.detach(stream).unwrap();
    }
    let segment = Segment { physical: table(0), len: 0x1000 };
    let error = Err(IommuError::NotSupported(Feature::Requests));
    assert_eq!(smmu.map(one, 0, segment, Attributes::READ_WRITE), error);
    assert_eq!(smmu.unmap(one, Span::ALL), error);
    // A master that somebody made a context for.
    let context = smmu.create_context(&[MasterId(1)]).unwrap();
    assert_eq!(smmu.attach(STREAMS[1], one), Err(IommuError::Occupied(1)));
    smmu.destroy_context(context).unwrap();
    smmu.attach(STREAMS[1], one).unwrap();
    // The tables' memory classes are others than the registers'.
    let inner = Smmu::probe(Fake::new(1, 1), Config::new("inner")).unwrap();
    assert!(!inner.supports(TableFormat::ArmShort));
}

#[test]
fn invalidation_reaches_every_stream_of_the_domain_and_no_other() {
    let (fake, mut smmu) = smmu(4, 3);
    let (a, b) = (domain(&mut smmu, 1), domain(&mut smmu, 2));
    for (stream, domain) in STREAMS.into_iter().zip([a, b, a]) {
        smmu.attach(stream, domain).unwrap();
    }
    fake.device().writes();
    Iommu::invalidate(&mut smmu, a, &Invalidation::Everything).unwrap();
    let banks: Vec<u32> = fake
        .device()
        .writes()
        .into_iter()
        .filter(|(offset, _)| offset % spec::BANK_STRIDE == spec::TLBIASID)
        .map(|(offset, _)| offset / spec::BANK_STRIDE)
        .collect();
    assert_eq!(banks, [0, 2].map(|master| u32::from(fake.device().m2vcbr(master).cbndx())));
    smmu.detach(STREAMS[1]).unwrap();
    fake.device().writes();
    Iommu::invalidate(&mut smmu, b, &Invalidation::Everything).unwrap();
    assert_eq!(fake.device().writes(), []);
}

#[test]
fn faults_are_reported_and_answered() {
    let (fake, mut smmu) = smmu(2, 3);
    let one = domain(&mut smmu, 1);
    smmu.attach(STREAMS[1], one).unwrap();
    let bank = fake.device().m2vcbr(1).cbndx();
    let register = |register| context_register(bank, register);
    let status = spec::Fsr::new().with_apf(true).with_ss(true).with_multi(true);
    fake.device().poke(register(spec::FSR), status.into_bits());
    fake.device().poke(register(spec::FAR), 0x1234_5678);
    fake.device().poke(register(spec::FSYNR0), spec::Fsynr0::new().with_amid(1).into_bits());
    fake.device().poke(register(spec::FSYNR1), spec::Fsynr1::new().with_awrite(true).into_bits());
    let record = Iommu::next_fault(&mut smmu).unwrap().unwrap();
    let stall = Stall { stream: STREAMS[1], tag: 0 };
    assert_eq!((record.stream, record.stall, record.address), (STREAMS[1], Some(stall), 0x1234_5678));
    assert_eq!((record.access, record.reason), (FaultAccess::Write, FaultReason::Permission));
    assert_eq!((record.state, record.name, record.code), (FaultState::Stalled, "APF", 3));
    assert_eq!((Iommu::next_fault(&mut smmu), smmu.fault_overflows()), (Ok(None), 1));
    let other = Stall { stream: STREAMS[0], tag: 0 };
    assert_eq!(Iommu::answer(&mut smmu, other, Answer::Retry), Err(IommuError::NotStalled(STREAMS[0])));
    fake.device().resumed.clear();
    Iommu::answer(&mut smmu, stall, Answer::Retry).unwrap();
    assert_eq!(fake.device().resumed, [(u32::from(bank), 0)]);
    assert_eq!(Iommu::answer(&mut smmu, stall, Answer::Retry), Err(IommuError::NotStalled(STREAMS[1])));

    // A transaction of a master without a seat.
    fake.device().poke(spec::ESR, spec::Esr::new().with_bypass(true).into_bits());
    fake.device().poke(spec::ESYNR0, spec::Esynr0::new().with_amid(2).into_bits());
    let record = Iommu::next_fault(&mut smmu).unwrap().unwrap();
    assert_eq!((record.stream, record.reason, record.stall), (STREAMS[2], FaultReason::NoContext, None));
    assert_eq!(
        (record.name, record.code),
        ("BYPASS", spec::Esr::new().with_bypass(true).into_bits().ilog2())
    );
}

#[test]
fn the_hardware_is_asked_where_an_address_leads() {
    let (fake, mut smmu) = smmu(2, 3);
    let one = domain(&mut smmu, 1);
    let ask = |smmu: &mut Driver, address, access| Iommu::translate(smmu, STREAMS[1], address, access);
    assert_eq!(ask(&mut smmu, 0, FaultAccess::Read), Err(IommuError::NotAttached(STREAMS[1])));
    smmu.attach(STREAMS[1], one).unwrap();
    let va = spec::V2pxx::new().with_va(0x12345).into_bits();
    let par = spec::Par::new().with_pa(0x80001).into_bits();
    fake.device().translations.insert((spec::V2PPW, va), par);
    let physical = PhysicalAddress::new(0x8000_1678);
    assert_eq!(ask(&mut smmu, 0x1234_5678, FaultAccess::Write), Ok(physical));
    let not_mapped = Err(IommuError::NotMapped(0x1234_5678));
    assert_eq!(ask(&mut smmu, 0x1234_5678, FaultAccess::Read), not_mapped);
    let execute = Err(IommuError::NotSupported(Feature::Translate));
    assert_eq!(ask(&mut smmu, 0x1234_5678, FaultAccess::Execute), execute);
    let beyond = Err(IommuError::Address { at: 1 << 32, len: 1 });
    assert_eq!(ask(&mut smmu, 1 << 32, FaultAccess::Read), beyond);
}

#[test]
fn every_step_can_be_repeated_when_the_device_falls_silent() {
    type Step = fn(&mut Driver, [DomainId; 2]) -> Result<(), IommuError>;
    let steps: [Step; 4] = [
        |smmu, domains| smmu.attach(STREAMS[1], domains[1]),
        |smmu, domains| smmu.attach(STREAMS[0], domains[1]),
        |smmu, _| Ok(smmu.detach(STREAMS[0])?),
        |smmu, domains| Ok(Iommu::invalidate(smmu, domains[0], &Invalidation::Everything)?),
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let mut cut = 0;
        for lives in 0.. {
            let (fake, mut smmu) = smmu(2, 3);
            let domains = [domain(&mut smmu, 1), domain(&mut smmu, 2)];
            smmu.attach(STREAMS[0], domains[0]).unwrap();
            fake.device().lives = Some(lives);
            let result = step(&mut smmu, domains);
            if result.is_ok() {
                break;
            }
            cut += 1;
            assert!(matches!(result, Err(IommuError::Unresponsive(_))), "{number}, {lives}: {result:?}");
            // Either the call alone, or after the hardware was initialised anew.
            let anew = lives % 2 == 0;
            assert!(!anew || Iommu::recover(&mut smmu).is_err());
            fake.device().revive();
            if anew {
                fake.device().lose_state();
                Iommu::recover(&mut smmu).unwrap();
            }
            step(&mut smmu, domains).unwrap_or_else(|error| panic!("{number}, {lives}: {error}"));
            let (one, two) = (Some(table(1).raw()), Some(table(2).raw()));
            let expected = [[one, two], [two, None], [None, None], [one, None]][number];
            assert_eq!([seen(&fake, 0), seen(&fake, 1)], expected, "{number}, {lives}");
            assert_eq!(smmu.quarantined(), 0);
        }
        assert!(cut > 0, "{number} does not reach the device");
    }
}

/// A move that was not seen to complete may have left the stream where it was: its tables are not to be freed.
#[test]
fn the_domain_that_a_stream_was_leaving_is_kept_until_it_has_left() {
    let mut silent = 0;
    for lives in 0.. {
        let (fake, mut smmu) = smmu(2, 3);
        let domains = [domain(&mut smmu, 1), domain(&mut smmu, 2)];
        smmu.attach(STREAMS[0], domains[0]).unwrap();
        fake.device().lives = Some(lives);
        if smmu.attach(STREAMS[0], domains[1]).is_ok() {
            break;
        }
        silent += 1;
        // It is silent still.
        for domain in domains {
            let kept = smmu.destroy_domain(domain);
            assert!(matches!(kept, Err(IommuError::Unresponsive(_))), "{lives}: {kept:?}");
            Iommu::invalidate(&mut smmu, domain, &Invalidation::Everything).unwrap_err();
        }
        fake.device().revive();
        smmu.destroy_domain(domains[0]).unwrap();
        assert_ne!(seen(&fake, 0), Some(table(1).raw()), "{lives}: it walks what may be freed");
        assert_eq!(smmu.quarantined(), 0);
    }
    assert!(silent > 0);
}

#[test]
fn who_was_moving_has_arrived_when_the_device_is_recovered() {
    let (fake, mut smmu) = smmu(2, 3);
    let domains = [domain(&mut smmu, 1), domain(&mut smmu, 2)];
    smmu.attach(STREAMS[0], domains[0]).unwrap();
    fake.device().lives = Some(0);
    smmu.attach(STREAMS[0], domains[1]).unwrap_err();
    fake.device().revive();
    Iommu::recover(&mut smmu).unwrap();
    assert_eq!(seen(&fake, 0), Some(table(2).raw()));
    let used = Err(IommuError::InUse { domain: domains[1], stream: STREAMS[0] });
    assert_eq!((smmu.destroy_domain(domains[0]), smmu.destroy_domain(domains[1])), (Ok(()), used));
}
