//! Whatever is done to the registers and lines: nothing panics, and what the GIC shows agrees with itself. Against
//! naive models: one interrupt's states, nesting, and forwarding by software that does everything right.

mod gic_common;
use gic_common::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Action {
    Read(usize, Frame, u32, Width),
    Write(usize, Frame, u32, Width, u32),
    Line(u32, Level),
    PrivateLine(usize, u32, Level),
}

/// Mostly registers that exist.
fn place() -> impl Strategy<Value = (Frame, u32)> {
    let distributor = prop_oneof![
        4 => (0_u32..9, 0_u32..4).prop_map(|(which, index)| gicd::IGROUPR + which * 0x80 + index * 4),
        2 => gicd::IPRIORITYR..gicd::IPRIORITYR + 0x70,
        2 => gicd::ITARGETSR..gicd::ITARGETSR + 0x70,
        1 => (0_u32..8).prop_map(|index| gicd::ICFGR + 4 * index),
        2 => Just(gicd::SGIR),
        1 => gicd::CPENDSGIR..gicd::SPENDSGIR_END,
        1 => Just(gicd::CTLR),
        1 => any::<u32>().prop_map(|offset| offset % 0x1004),
    ];
    let interface = || {
        prop_oneof![
            3 => Just(gicc::IAR),
            2 => Just(gicc::EOIR),
            1 => Just(gicc::DIR),
            4 => (0_u32..12).prop_map(|index| 4 * index),
            1 => prop_oneof![Just(gicc::APR), Just(gicc::NSAPR), Just(gicc::IIDR)],
            1 => 0_u32..0x1010,
        ]
    };
    let control = prop_oneof![
        2 => Just(gich::HCR),
        1 => Just(gich::VMCR),
        6 => (0_u32..4).prop_map(|index| gich::LR + 4 * index),
        1 => Just(gich::APR),
        1 => 0_u32..0x210,
    ];
    prop_oneof![
        distributor.prop_map(|offset| (Frame::Distributor, offset)),
        interface().prop_map(|offset| (Frame::CpuInterface, offset)),
        control.prop_map(|offset| (Frame::VirtualInterface, offset)),
        interface().prop_map(|offset| (Frame::VirtualCpuInterface, offset)),
    ]
}

/// Values that mean something more often than noise does.
fn value() -> impl Strategy<Value = u32> {
    let number = || prop_oneof![0_u32..100, 28_u32..34, 1016_u32..1024];
    prop_oneof![
        2 => any::<u32>(),
        1 => Just(u32::MAX),
        3 => number(),
        2 => (0_u32..32).prop_map(|bit| 1 << bit),
        2 => (0_u32..4, 0_u32..256, 0_u32..16).prop_map(|(filter, cpus, id)| filter << 24 | cpus << 16 | id),
        4 => (number(), number(), 0_u32..16, 0_u32..32).prop_map(|(own, other, top, priority)| {
            top << 28 | priority << 23 | other << 10 | own
        }),
        2 => prop_oneof![Just(3), Just(0x21f), Just(0x203), Just(0xf8), Just(1)],
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let width = || prop_oneof![7 => Just(Width::Word), 1 => Just(Width::Byte)];
    let level = || prop_oneof![Just(Low), Just(High)];
    let cpu = || prop_oneof![30 => 0_usize..3, 1 => any::<usize>()];
    prop_oneof![
        4 => (cpu(), place(), width()).prop_map(|(cpu, (frame, at), width)| Action::Read(cpu, frame, at, width)),
        6 => (cpu(), place(), width(), value())
            .prop_map(|(cpu, (frame, at), width, value)| Action::Write(cpu, frame, at, width, value)),
        2 => (0_u32..100, level()).prop_map(|(id, level)| Action::Line(id, level)),
        1 => (cpu(), 0_u32..33, level()).prop_map(|(cpu, id, level)| Action::PrivateLine(cpu, id, level)),
    ]
}

/// What must hold always. Looks at a copy, since looking counts and acknowledges.
fn check(gic: &Gic) {
    let mut copy = gic.clone();
    let interrupts = gic.config().interrupts;
    for cpu in 0..gic.config().cpus {
        // A signal is there exactly when something can be acknowledged.
        let signalled = [copy.irq(cpu), copy.fiq(cpu)];
        assert_ne!(signalled, [High, High]);
        let mut taker = copy.clone();
        let id = taker.acknowledge(cpu);
        assert_eq!(signalled == [Low, Low], id == SPURIOUS);
        if id < 1020 {
            assert!(id & 0x3ff < interrupts);
            let active = taker.dist_read(cpu, gicd::ISACTIVER + (id & 0x3ff) / 32 * 4);
            assert_ne!(active & 1 << (id % 32), 0);
            assert_ne!(taker.cpu_read(cpu, gicc::RPR), 0xff);
            assert_ne!(taker.acknowledge(cpu), id);
        }
        let signalled = [copy.virtual_irq(cpu), copy.virtual_fiq(cpu)];
        assert_ne!(signalled, [High, High]);
        assert_eq!(signalled == [Low, Low], taker.guest_read(cpu, gicc::IAR) == SPURIOUS);

        // SGIs are pending exactly when they have a source, and only CPUs that exist are sources.
        let pending = copy.dist_read(cpu, gicd::ISPENDR);
        for sgi in 0..16 {
            let sources = copy.dist_read(cpu, gicd::SPENDSGIR + sgi / 4 * 4) >> (sgi % 4 * 8) & 0xff;
            assert_eq!(sources != 0, pending >> sgi & 1 != 0);
            assert_eq!(sources >> gic.config().cpus, 0);
        }
        assert_eq!(copy.dist_read(cpu, gicd::ISENABLER) & 0xffff, 0xffff);

        let idle = copy.cpu_read(cpu, gicc::APR) | copy.cpu_read(cpu, gicc::NSAPR) == 0;
        assert_eq!(copy.cpu_read(cpu, gicc::RPR) == 0xff, idle);
        assert_eq!(copy.guest_read(cpu, gicc::RPR) == 0xff, copy.hyp_read(cpu, gich::APR) == 0);

        // The maintenance interrupt is what the status says, and is PPI 25.
        let wanted = copy.hyp_read(cpu, gich::HCR) & 1 != 0 && copy.hyp_read(cpu, gich::MISR) != 0;
        assert_eq!(copy.maintenance(cpu) == High, wanted);
        let level = copy.dist_read(cpu, gicd::ICFGR + 4) >> 19 & 1 == 0;
        assert!(!(wanted && level) || pending >> 25 & 1 != 0);
        let (ended, free) = (copy.hyp_read(cpu, gich::EISR0), copy.hyp_read(cpu, gich::ELRSR0));
        assert_eq!((ended & free, (ended | free) >> gic.config().list_registers), (0, 0));
    }
    assert!(gic.misuses().len() <= 64 && gic.findings().len() <= 64);
}

fn run(mut gic: Gic, actions: &[Action]) {
    for action in actions {
        match *action {
            Action::Read(cpu, frame, at, width) => drop(gic.read(cpu, frame, at, width)),
            Action::Write(cpu, frame, at, width, value) => gic.write(cpu, frame, at, width, value),
            Action::Line(id, level) => {
                assert_eq!(gic.set_line(id, level).is_ok(), (32..gic.config().interrupts).contains(&id));
            }
            Action::PrivateLine(cpu, id, level) => {
                let expected = cpu < gic.config().cpus && (16..32).contains(&id) && id != 25;
                assert_eq!(gic.set_private_line(cpu, id, level).is_ok(), expected);
            }
        }
        check(&gic);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// About 25,000 accesses.
    #[test]
    fn nothing_panics_and_signals_agree_with_registers(
        actions in prop::collection::vec(action(), 1..400),
        cpus in prop_oneof![1_usize..4, Just(8)],
        interrupts in prop_oneof![9 => Just(96), 1 => Just(1020)],
    ) {
        run(running(cpus, interrupts), &actions);
    }

    /// One interrupt against the reasons for which it is pending, as the manual lists them.
    #[test]
    fn one_interrupt_is_pending_for_reasons(events in prop::collection::vec(0_u32..8, 1..60), edge: bool) {
        let mut gic = running(1, 64);
        gic.cpu(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
        gic.enable(40, 0x80);
        gic.dist(0, gicd::ICFGR + 8, u32::from(edge) << 17);
        let (mut line, mut edges, mut written, mut active) = (false, false, false, false);
        for event in events {
            match event {
                0 | 1 => {
                    edges |= edge && !line;
                    line = true;
                    gic.set_line(40, High).unwrap();
                }
                2 => {
                    line = false;
                    gic.set_line(40, Low).unwrap();
                }
                3 => {
                    written = true;
                    gic.one(gicd::ISPENDR, 40);
                }
                4 => {
                    (written, edges) = (false, false);
                    gic.one(gicd::ICPENDR, 40);
                }
                5 | 6 => {
                    let takes = !active && (written || edges || line && !edge);
                    prop_assert_eq!(gic.acknowledge(0), if takes { 40 } else { SPURIOUS });
                    if takes {
                        (written, edges, active) = (false, false, true);
                        gic.cpu(0, gicc::EOIR, 40);
                    }
                }
                _ => if active {
                    active = false;
                    gic.cpu(0, gicc::DIR, 40);
                }
            }
            let pending = written || edges || line && !edge;
            prop_assert_eq!(gic.bit(gicd::ISPENDR, 40), pending);
            prop_assert_eq!(gic.bit(gicd::ISACTIVER, 40), active);
            prop_assert_eq!(gic.irq(0) == High, pending && !active);
        }
        gic.clean();
    }

    /// Nested interrupts against a stack.
    #[test]
    fn interrupts_nest_by_group_priority(
        priorities in prop::collection::vec(0_u8..31, 32),
        point in 2_u32..8,
        events in prop::collection::vec(prop_oneof![3 => (0_u32..32).prop_map(Some), 4 => Just(None)], 1..120),
    ) {
        let mut gic = running(1, 64);
        gic.cpu(0, gicc::BPR, point);
        for (id, priority) in (32..).zip(&priorities) {
            gic.enable(id, priority * 8);
        }
        let group = |id: u32| (u32::from(priorities[id as usize - 32]) * 8) & (0xff00 >> (7 - point));
        let mut raised: Vec<u32> = Vec::new();
        let mut stack: Vec<u32> = Vec::new();
        for event in events {
            // Ends the latest in every fourth step or so, else takes what is there.
            match event {
                Some(index) if index < 8 => if let Some(id) = stack.pop() {
                    gic.set_line(id, Low).unwrap();
                    gic.cpu(0, gicc::EOIR, id);
                },
                Some(index) => {
                    let id = 32 + index;
                    if !stack.contains(&id) && !raised.contains(&id) {
                        gic.set_line(id, High).unwrap();
                        raised.push(id);
                    }
                }
                None => {
                    let first = raised.iter().copied().min_by_key(|id| (priorities[*id as usize - 32], *id));
                    let taken = first.filter(|id| stack.last().is_none_or(|top| group(*id) < group(*top)));
                    prop_assert_eq!(gic.acknowledge(0), taken.unwrap_or(SPURIOUS));
                    if let Some(id) = taken {
                        raised.retain(|other| *other != id);
                        stack.push(id);
                    }
                }
            }
            prop_assert_eq!(gic.cpu_read(0, gicc::RPR), stack.last().map_or(0xff, |id| group(*id)));
        }
        gic.clean();
    }

    /// A device, a host that forwards, and a guest, each at any moment: nothing is found, and no level is lost.
    #[test]
    fn forwarding_done_right_is_clean(
        events in prop::collection::vec(0_u32..9, 1..120), guest_splits: bool, lines in 1_u32..4,
    ) {
        let mut gic = running(2, 64);
        gic.cpu(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 3);
        (40..40 + lines).for_each(|id| gic.enable(id, 0x80));
        // The vCPU runs on this CPU, or is switched out with what it had.
        let mut home = Some(0);
        let mut saved = [0; 3];
        if guest_splits {
            gic.guest(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 3);
        }
        let mut handling: Vec<u32> = Vec::new();
        let mut moves = 0;
        for (step, event) in (0_u32..).zip(events) {
            let id = 40 + step % lines;
            match (event, home) {
                (0 | 1, _) => gic.set_line(id, High).unwrap(),
                (2, _) => gic.set_line(id, Low).unwrap(),
                (3 | 4, Some(cpu)) if gic.irq(0) == High => {
                    let taken = gic.acknowledge(0);
                    let index = gich::LR + (taken - 40) * 4;
                    gic.cpu(0, gicc::EOIR, taken);
                    prop_assert_eq!(gic.hyp_read(cpu, index) & (PENDING | ACTIVE), 0, "the last one has ended");
                    gic.hyp(cpu, index, physical(taken) | PENDING | priority(0x80) | (taken + 20));
                }
                (5 | 6, Some(cpu)) => {
                    let taken = gic.guest_read(cpu, gicc::IAR);
                    if taken != SPURIOUS {
                        handling.push(taken);
                    }
                }
                (7, Some(cpu)) => if let Some(taken) = handling.pop() {
                    gic.guest(cpu, gicc::EOIR, taken);
                    if guest_splits {
                        gic.guest(cpu, gicc::DIR, taken);
                    }
                },
                (8, Some(cpu)) => {
                    let registers: Vec<_> = (0..3).map(|n| gic.hyp_read(cpu, gich::LR + 4 * n)).collect();
                    saved.copy_from_slice(&registers);
                    let rest = [gich::APR, gich::VMCR].map(|offset| gic.hyp_read(cpu, offset));
                    gic.hyp(cpu, gich::HCR, 0);
                    (0..3).for_each(|n| gic.hyp(cpu, gich::LR + 4 * n, 0));
                    gic.hyp(cpu, gich::APR, 0);
                    moves += 1;
                    let next = moves % 2;
                    gic.hyp(next, gich::APR, rest[0]);
                    gic.hyp(next, gich::VMCR, rest[1]);
                    home = None;
                }
                (_, None) => {
                    let next = moves % 2;
                    (0..3).for_each(|n| gic.hyp(next, gich::LR + 4 * n, saved[n as usize]));
                    gic.hyp(next, gich::HCR, 1);
                    home = Some(next);
                }
                _ => {}
            }
            for id in 40..40 + lines {
                let waits = gic.bit(gicd::ISPENDR, id) && !gic.bit(gicd::ISACTIVER, id);
                prop_assert!(!waits || gic.irq(0) == High, "{} is pending and not signalled", id);
            }
        }
        gic.clean();
    }
}
