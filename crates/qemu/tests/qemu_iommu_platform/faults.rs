//! What is refused is told to the graph's hook, and nothing of it happens.
//!
//! QEMU's AMD-Vi logs no event, so that a driver cannot tell: there the bytes do not arrive, and nobody is told. Should
//! that change, these tests fail.

use crate::support::*;

const LEN: u64 = 0x6000;

/// Makes an access that is to be refused at its first byte, and looks at what came of it.
#[track_caller]
fn refused(world: &mut World, told: &Told, transfer: &Transfer, reason: FaultReason) {
    let handle = world.handle("lsi1");
    let (address, access) = match *transfer {
        Transfer::Write { to, .. } => (to.address, FaultAccess::Write),
        Transfer::Read { from } => (from.address, FaultAccess::Read),
        Transfer::Copy { .. } => unreachable!("not asked for here"),
    };
    world.begin("lsi1", transfer);
    let ended = world.finish("lsi1");
    if !tells_faults(world.model) {
        assert_eq!(told.take(), [], "QEMU tells AMD-Vi's faults now");
        match (reason, ended) {
            // It does not even get its program.
            (FaultReason::NoContext, ended) => {
                let error = ended.unwrap_err().to_string();
                assert!(error.contains("no reply to") && error.contains("a program of"), "{error}");
            }
            (_, ended) => assert_eq!(ended.unwrap().faults, 0),
        }
        return;
    }
    let report = ended.unwrap();
    assert_eq!(
        (report.outcome, report.bytes_written, report.bytes_read, report.faults),
        (Outcome::Aborted, 0, 0, 1)
    );
    let fault = told.one();
    assert_eq!(
        (fault.device, fault.address, fault.access, fault.reason),
        (handle, address, access, reason),
        "{fault}"
    );
}

#[test]
fn an_access_outside_of_what_is_mapped() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let told = world.watch("lsi1");
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 1);
        let other = world.memory("nobody's", LEN, 2);
        let (mut bytes, others) = (noise(1, LEN as usize), noise(2, LEN as usize));
        let end = buffer.at + LEN;
        for at in [end, end + 0x10_0000, buffer.at - 0x1000] {
            refused(world, &told, &write(at, 0x1000, 7), FaultReason::Translation);
            refused(world, &told, &read(at, 0x1000), FaultReason::Translation);
        }
        world.assert_memory(&[(buffer.memory, &bytes), (other, &others)]);
        // Across the end: up to it.
        let report = world.run("lsi1", &write(end - 0x1800, 0x3000, 7));
        if tells_faults(world.model) {
            assert_eq!((report.outcome, report.bytes_written), (Outcome::Aborted, 0x1800));
            let fault = told.one();
            assert_eq!((fault.address, fault.access), (end, FaultAccess::Write));
        }
        bytes[LEN as usize - 0x1800..].copy_from_slice(&written(7, 0x1800));
        let report = world.run("lsi1", &read(end - 0x1800, 0x3000));
        if tells_faults(world.model) {
            assert_eq!((report.outcome, report.bytes_read), (Outcome::Aborted, 0x1800));
            assert_eq!(report.checksum, sum(&written(7, 0x1800)));
            let fault = told.one();
            assert_eq!((fault.address, fault.access), (end, FaultAccess::Read));
        } else {
            // As if there were zeros.
            let mut seen = written(7, 0x1800);
            seen.resize(0x3000, 0);
            assert_eq!((report.outcome, report.checksum), (Outcome::Completed, sum(&seen)));
        }
        assert_eq!(told.take(), []);
        world.assert_memory(&[(buffer.memory, &bytes), (other, &others)]);
    });
}

#[test]
fn a_write_to_what_is_read_only() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let told = world.watch("lsi1");
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        let buffer = world.buffer(region, LEN, read_only, 3);
        let bytes = noise(3, LEN as usize);
        // Before a read has brought it into the TLB, and after.
        for _ in 0..2 {
            refused(world, &told, &write(buffer.at, LEN, 8), FaultReason::Permission);
            refused(world, &told, &write(buffer.at + 0x3004, 64, 8), FaultReason::Permission);
            let report = world.run("lsi1", &read(buffer.at, LEN));
            assert_eq!((report.outcome, report.checksum), (Outcome::Completed, sum(&bytes)));
        }
        world.assert_memory(&[(buffer.memory, &bytes)]);
        assert_eq!(told.take(), []);
    });
}

#[test]
fn an_access_to_what_was_unbacked() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let told = world.watch("lsi1");
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 4);
        let mut bytes = written(9, LEN);
        assert_eq!(world.run("lsi1", &write(buffer.at, LEN, 9)).outcome, Outcome::Completed);
        world.unback(buffer.reservation);
        refused(world, &told, &write(buffer.at, LEN, 10), FaultReason::Translation);
        refused(world, &told, &read(buffer.at + LEN - 64, 64), FaultReason::Translation);
        world.assert_memory(&[(buffer.memory, &bytes)]);
        // The address leads to other memory, once that is behind it.
        let next = world.memory("next", LEN, 5);
        world.graph.back(buffer.reservation, next, &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &read(buffer.at, LEN)).checksum, sum(&noise(5, LEN as usize)));
        assert_eq!(world.run("lsi1", &write(buffer.at, LEN, 11)).outcome, Outcome::Completed);
        let next_bytes = written(11, LEN);
        world.assert_memory(&[(buffer.memory, &bytes), (next, &next_bytes)]);
        world.unback(buffer.reservation);
        world.graph.free(next, &mut world.emulated).unwrap();
        world.graph.back(buffer.reservation, buffer.memory, &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &write(buffer.at, 0x10, 12)).outcome, Outcome::Completed);
        bytes[..0x10].copy_from_slice(&written(12, 0x10));
        assert_eq!(world.get(buffer.memory), bytes);
        assert_eq!(told.take(), []);
    });
}

#[test]
fn an_access_of_a_device_that_was_deactivated() {
    on(&MODELS, &[], |world| {
        let (region, links) = world.region("devices", &["lsi1", "lsi2"]);
        let (told, others) = (world.watch("lsi1"), world.watch("lsi2"));
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 6);
        for device in ["lsi1", "lsi2"] {
            assert_eq!(world.run(device, &write(buffer.at, LEN, 12)).outcome, Outcome::Completed);
        }
        world.deactivate(links[0]);
        refused(world, &told, &write(buffer.at, LEN, 13), FaultReason::NoContext);
        refused(world, &told, &read(buffer.at, LEN), FaultReason::NoContext);
        let bytes = written(12, LEN);
        world.assert_memory(&[(buffer.memory, &bytes)]);
        // The other one is still there, and so is the first, once it is active again.
        assert_eq!(world.run("lsi2", &read(buffer.at, LEN)).checksum, sum(&bytes));
        world.graph.activate(links[0], &mut world.emulated).unwrap();
        assert_eq!(world.run("lsi1", &write(buffer.at, LEN, 14)).outcome, Outcome::Completed);
        world.assert_memory(&[(buffer.memory, &written(14, LEN))]);
        assert_eq!((told.take(), others.take()), (vec![], vec![]));
    });
}

#[test]
fn a_hook_backs_what_is_touched() {
    on(&MODELS, &[], |world| {
        let (region, _) = world.region("devices", &["lsi1"]);
        let reservations = [0; 3].map(|_| {
            let reserved = world.graph.reserve(region, LEN, Attributes::READ_WRITE).unwrap();
            (reserved, world.graph.device_address(reserved).unwrap().raw())
        });
        let memories = [31, 32, 33].map(|seed| world.memory("on demand", LEN, seed));
        let told = Told::default();
        let noted = told.clone();
        let hook = move |fault: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware| {
            noted.add(fault);
            let all = reservations.iter().zip(memories);
            for ((reservation, at), memory) in all {
                if (*at..at + LEN).contains(&fault.address)
                    && graph.back(*reservation, memory, hardware).is_ok()
                {
                    return Answer::Retry;
                }
            }
            Answer::Terminate
        };
        world.graph.hook(world.device("lsi1"), Box::new(hook)).unwrap();
        let [(_, first), (_, second), (_, third)] = reservations;
        let wrote = world.run("lsi1", &write(first, LEN, 15));
        if !tells_faults(world.model) {
            assert_eq!((wrote.faults, told.take()), (0, vec![]), "QEMU tells AMD-Vi's faults now");
            let before = [31, 32, 33].map(|seed| noise(seed, LEN as usize));
            let known = [0, 1, 2].map(|index| (memories[index], &before[index][..]));
            world.assert_memory(&known);
            return;
        }
        let (at, access) = (told.one().address, FaultAccess::Write);
        assert_eq!(
            (wrote.outcome, wrote.faults, wrote.bytes_written, at),
            (Outcome::Completed, 1, LEN, first)
        );
        // From the middle of one to the middle of another: both are missing, each for another access.
        let from = linear(second + 0x804, LEN - 0x804);
        let to = linear(third + 0x10, LEN - 0x804);
        let copied = world.run("lsi1", &Transfer::Copy { from, to });
        assert_eq!((copied.outcome, copied.faults), (Outcome::Completed, 2));
        let faults: Vec<_> = told.take().iter().map(|fault| (fault.address, fault.access)).collect();
        assert_eq!(faults, [(from.address, FaultAccess::Read), (to.address, access)]);
        let source = noise(32, LEN as usize);
        let mut copy = noise(33, LEN as usize);
        copy[0x10..0x10 + LEN as usize - 0x804].copy_from_slice(&source[0x804..]);
        world.assert_memory(&[
            (memories[0], &written(15, LEN)),
            (memories[1], &source),
            (memories[2], &copy),
        ]);
        // Beyond there is nothing to back.
        let report = world.run("lsi1", &write(third + LEN, 0x1000, 16));
        assert_eq!((report.outcome, report.faults), (Outcome::Aborted, 1));
    });
}
