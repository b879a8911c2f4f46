//! The clients against a fake QEMU: a thread that speaks, or fails to speak, the protocols.

#[path = "fake_qemu/fake.rs"]
mod fake;
#[path = "fake_qemu/monitor.rs"]
mod monitor;

use fake::{Fake, LONG, SHORT, fake};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vcm::PhysicalAddress;
use vcm_qemu::{Error, InterruptEvent, Level, Qtest, Width};

const AT: PhysicalAddress = PhysicalAddress::new(0x0800_0000);

fn qtest<T: Send + 'static>(
    timeout: Duration,
    script: impl FnOnce(Fake) -> T + Send + 'static,
) -> (Qtest, JoinHandle<T>) {
    let (stream, thread) = fake(script);
    (Qtest::new(stream, timeout).unwrap(), thread)
}

/// One read of 32 bits that is answered with `reply`; then the client must be dead.
fn error_of(reply: &'static [u8]) -> Error {
    let (mut qtest, thread) = qtest(LONG, move |mut fake| {
        fake.request();
        fake.say(reply);
        fake.until_closed();
    });
    let error = qtest.read(Width::Bits32, AT).unwrap_err();
    let dead = qtest.read(Width::Bits32, AT).unwrap_err();
    assert!(matches!(&dead, Error::Dead { cause } if *cause == error.to_string()), "{dead}");
    assert!(matches!(qtest.batch().run(), Ok(values) if values.is_empty()));
    // The client hung up by itself.
    thread.join().unwrap();
    error
}

#[test]
fn requests_are_what_qemu_reads() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        let mut requests = Vec::new();
        for reply in ["OK 0x00000000000000ff\n", "OK\n", "OK\n", "OK\n", "OK\n", "OK 17\n", "OK\n"] {
            requests.push(fake.request());
            fake.say(reply);
        }
        requests
    });
    assert_eq!(qtest.read(Width::Bits8, AT).unwrap(), 0xff);
    qtest.write(Width::Bits64, AT, u64::MAX).unwrap();
    qtest.set_irq_in("/machine/gic", "unnamed-gpio-in", 3, Level::High).unwrap();
    qtest.irq_intercept_in("/machine/cpu").unwrap();
    qtest.irq_intercept_out("/machine/gic", Some("sysbus-irq")).unwrap();
    assert_eq!(qtest.clock_step(Some(9)).unwrap(), 17);
    qtest.write_bytes(AT, b"abc").unwrap();
    let requests = thread.join().unwrap();
    assert_eq!(requests[0], "readb 0x8000000");
    assert_eq!(requests[1], "writeq 0x8000000 0xffffffffffffffff");
    assert_eq!(requests[2], "set_irq_in /machine/gic unnamed-gpio-in 3 1");
    assert_eq!(requests[3], "irq_intercept_in /machine/cpu");
    assert_eq!(requests[4], "irq_intercept_out /machine/gic sysbus-irq");
    assert_eq!(requests[5], "clock_step 9");
    assert_eq!(requests[6], "b64write 0x8000000 3 YWJj");
}

#[test]
fn interrupt_lines_come_anywhere_and_in_pieces() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        fake.say("IRQ raise 200\n"); // Before anything is asked.
        fake.request();
        fake.say("IRQ raise 0\nIRQ ra");
        std::thread::sleep(Duration::from_millis(5));
        fake.say("ise 2\nIRQ lower 0\nO");
        std::thread::sleep(Duration::from_millis(5));
        fake.say("K 0x0000000000000007\nIRQ lower 200\n"); // And after.
        fake.request();
        fake.say("OK\n");
    });
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(qtest.read(Width::Bits32, AT).unwrap(), 7);
    assert_eq!([0, 2].map(|line| qtest.lines().level(line)), [Level::Low, Level::High]);
    qtest.write(Width::Bits32, AT, 1).unwrap();
    thread.join().unwrap();
    let event = |line, level| InterruptEvent { line, level };
    let (low, high) = (Level::Low, Level::High);
    let all = [event(200, high), event(0, high), event(2, high), event(0, low), event(200, low)];
    assert_eq!(qtest.take_events(), all);
    assert_eq!((qtest.take_events(), qtest.events_lost()), (vec![], 0));
    assert_eq!([0, 2, 200, 9999].map(|line| qtest.lines().level(line)), [low, high, low, low]);
}

#[test]
fn events_that_nobody_takes_do_not_grow_without_end() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        fake.request();
        fake.say("IRQ raise 1\nIRQ lower 1\n".repeat(40_000));
        fake.say("OK\n");
    });
    qtest.write(Width::Bits8, AT, 0).unwrap();
    thread.join().unwrap();
    assert_eq!((qtest.take_events().len(), qtest.events_lost()), (65_536, 80_000 - 65_536));
}

#[test]
fn a_batch_is_one_round_trip_and_knows_the_lines_after_each_step() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        // All requests are here before the first reply.
        let requests: Vec<_> = (0..4).map(|_| fake.request()).collect();
        fake.say("OK 0x0000000000000001\nIRQ raise 4\nOK\nIRQ lower 4\nOK 0x0000000000000002\nOK\n");
        requests
    });
    let mut batch = qtest.batch();
    batch.read(Width::Bits32, AT);
    batch.write(Width::Bits16, AT, 0xffff).unwrap();
    batch.read(Width::Bits64, AT);
    batch.set_irq_in("/gic", "unnamed-gpio-in", 1, Level::Low).unwrap();
    assert_eq!(batch.len(), 4);
    let steps = batch.run_steps().unwrap();
    assert_eq!(steps.iter().map(|step| step.value).collect::<Vec<_>>(), [Some(1), None, Some(2), None]);
    let levels: Vec<_> = steps.iter().map(|step| step.lines.level(4)).collect();
    assert_eq!(levels, [Level::Low, Level::High, Level::Low, Level::Low]);
    assert_eq!(thread.join().unwrap()[1], "writew 0x8000000 0xffff");
}

#[test]
fn huge_batches_and_blocks_do_not_lock_up() {
    const COUNT: u64 = 20_000;
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        // One reply for each request at once, as QEMU does: it blocks when nobody reads.
        for number in 0..COUNT {
            assert_eq!(fake.request(), format!("readq {number:#x}"));
            fake.say(format!("OK {number:#018x}\n"));
        }
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let request = fake.request();
            sizes.push(request.split(' ').nth(2).unwrap().parse::<usize>().unwrap());
            fake.say("OK\n");
        }
        sizes
    });
    let mut batch = qtest.batch();
    (0..COUNT).for_each(|number| batch.read(Width::Bits64, PhysicalAddress::new(number)));
    assert!(batch.run().unwrap().into_iter().eq(0..COUNT));
    qtest.write_bytes(AT, &[1; 100_000]).unwrap();
    assert_eq!(thread.join().unwrap(), [32768, 32768, 32768, 100_000 - 3 * 32768]);
}

#[test]
fn refusals_are_errors_and_the_connection_lives_on() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        for replies in ["FAIL Unknown device\n", "OK\nFAIL one\nERR two\nOK 0x3\n", "OK 0x5\n"] {
            replies.lines().for_each(|_| drop(fake.request()));
            fake.say(replies);
        }
    });
    let error = qtest.irq_intercept_in("/nothing").unwrap_err();
    assert_eq!(error.to_string(), r#"QEMU refuses "irq_intercept_in /nothing": FAIL Unknown device"#);
    let mut batch = qtest.batch();
    for number in 0..3 {
        batch.set_irq_in("/gic", "in", number, Level::High).unwrap();
    }
    batch.read(Width::Bits8, AT);
    let error = batch.run().unwrap_err();
    assert!(matches!(&error, Error::Refused { asked, answer }
        if asked == "set_irq_in /gic in 1 1" && answer == "FAIL one"));
    assert_eq!(qtest.read(Width::Bits8, AT).unwrap(), 5);
    thread.join().unwrap();
}

#[test]
fn bad_arguments_send_nothing() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| fake.request());
    let errors = [
        qtest.write(Width::Bits8, AT, 0x100),
        qtest.set_irq_in("/a b", "in", 0, Level::High),
        qtest.set_irq_in("/a", "", 0, Level::High),
        qtest.irq_intercept_in("/a\nwriteb 0 0"),
        qtest.irq_intercept_out("/a", Some("\t")),
        qtest.read_bytes(PhysicalAddress::new(u64::MAX), &mut [0; 2]),
        qtest.write_bytes(PhysicalAddress::new(u64::MAX), &[0; 2]),
    ];
    for error in errors {
        assert!(matches!(error, Err(Error::Argument { .. })), "{error:?}");
    }
    drop(qtest);
    assert_eq!(thread.join().unwrap(), "");
    let (stream, _other) = UnixStream::pair().unwrap();
    assert!(matches!(Qtest::new(stream, Duration::ZERO), Err(Error::Argument { .. })));
}

#[test]
fn garbage_ends_the_connection() {
    let replies: [&[u8]; 12] = [
        b"\n",
        b"OK\n",
        b"OK \n",
        b"OK 0x\n",
        b"OK 0x+1\n",
        b"OK 17\n",
        b"OK 0x0000000100000000\n", // Too wide.
        b"OK 0x00000000000000001 \n",
        b"ok 0x1\n",
        b"\xff\xfe\n",
        b"IRQ raise 256\nOK 0x1\n",
        b"IRQ rise 1\nOK 0x1\n",
    ];
    for reply in replies {
        let error = error_of(reply);
        assert!(matches!(error, Error::Malformed { .. }), "{reply:?}: {error}");
    }
    let message = error_of(b"nonsense\n").to_string();
    assert_eq!(message, r#"reply "nonsense" to "readl 0x8000000": not a value of this width"#);
}

#[test]
fn a_line_without_end_is_given_up_and_shown_shortened() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        fake.request();
        // Ends when the client hangs up.
        while fake.replies.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let error = qtest.read(Width::Bits8, AT).unwrap_err();
    assert!(matches!(&error, Error::Malformed { why: "the line has no end", .. }), "{error}");
    assert!(error.to_string().len() < 400, "{error}");
    thread.join().unwrap();
}

#[test]
fn an_answer_without_a_question_ends_the_connection() {
    let (mut qtest, thread) = qtest(LONG, |mut fake| {
        fake.request();
        fake.say("OK 0x1\nOK 0x2\n");
        fake.until_closed();
    });
    assert_eq!(qtest.read(Width::Bits8, AT).unwrap(), 1);
    let error = qtest.read(Width::Bits8, AT).unwrap_err();
    assert!(matches!(&error, Error::Malformed { why: "nothing was asked", .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn death_is_told_wherever_it_happens() {
    let error = {
        let (mut qtest, thread) = qtest(LONG, |mut fake| {
            fake.request();
            fake.say("OK 0x00"); // Half a line.
        });
        let mut batch = qtest.batch();
        batch.read(Width::Bits8, AT);
        batch.read(Width::Bits8, AT);
        let error = batch.run().unwrap_err();
        thread.join().unwrap();
        assert!(matches!(qtest.write(Width::Bits8, AT, 0), Err(Error::Dead { .. })));
        error
    };
    assert!(matches!(&error, Error::Closed { asked, .. } if asked == "readb 0x8000000"), "{error}");
    // Before anything is asked.
    let (mut qtest, thread) = qtest(LONG, drop);
    thread.join().unwrap();
    let error = qtest.write(Width::Bits8, AT, 0).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
}

#[test]
fn silence_and_dripping_end_at_the_deadline() {
    for drip in ["", "IRQ raise 1\n", "x"] {
        let (mut qtest, thread) = qtest(SHORT, move |mut fake| {
            fake.request();
            // Something always comes, but never a reply.
            while fake.replies.write_all(drip.as_bytes()).is_ok() && !drip.is_empty() {
                std::thread::sleep(Duration::from_millis(10));
            }
            fake.until_closed();
        });
        let start = Instant::now();
        let error = qtest.read(Width::Bits32, AT).unwrap_err();
        assert!(start.elapsed() >= SHORT && start.elapsed() < LONG);
        let text = error.to_string();
        assert!(text.starts_with(r#"no reply to "readl 0x8000000" within 80ms"#), "{drip:?}: {text}");
        assert!(matches!(qtest.lines().level(1), Level::High) == drip.starts_with("IRQ"));
        thread.join().unwrap();
    }
}

#[test]
fn a_peer_that_never_reads_ends_at_the_deadline() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut qtest = Qtest::new(ours, SHORT).unwrap();
    let error = qtest.write_bytes(AT, &vec![0; 4 << 20]).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    drop(theirs);
}
