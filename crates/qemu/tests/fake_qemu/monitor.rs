//! The client of the monitor.

use crate::fake::{Fake, LONG, SHORT, fake};
use std::thread::JoinHandle;
use std::time::Duration;
use vcm_qemu::{Error, Qmp};

const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

/// A monitor that is ready, with the identifiers of the requests from 2 on.
fn qmp<T: Send + 'static>(
    timeout: Duration,
    script: impl FnOnce(Fake) -> T + Send + 'static,
) -> (Qmp, JoinHandle<T>) {
    let (stream, thread) = fake(|mut fake| {
        fake.say(GREETING);
        assert!(fake.request().contains("qmp_capabilities"));
        fake.say("{\"return\": {}, \"id\": 1}\r\n");
        script(fake)
    });
    (Qmp::new(stream, timeout).unwrap(), thread)
}

#[test]
fn the_monitor_answers_between_events() {
    let event = "{\"event\": \"STOP\"}\r\n";
    let (mut qmp, thread) = qmp(LONG, move |mut fake| {
        let mut requests = vec![fake.request()];
        fake.say(event);
        fake.say("{\"return\": [{\"name\": \"a[0]\", \"type\": \"child<arm_gic>\"}], \"id\": 2}\r\n");
        requests.push(fake.request());
        fake.say("{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no such thing\"}, \"id\": 3}\r\n");
        requests.push(fake.request());
        fake.say("{\"return\": \"hello\\r\\n\", \"id\": 4}\r\n");
        requests
    });
    let list = qmp.qom_list("/machine").unwrap();
    assert_eq!((list[0].name.as_str(), list[0].child_type()), ("a[0]", Some("arm_gic")));
    let error = qmp.qom_list("/nothing").unwrap_err();
    assert!(matches!(&error, Error::Refused { answer, .. } if answer == "no such thing"), "{error}");
    assert_eq!(qmp.human_monitor_command("info \"x\"").unwrap(), "hello\r\n");
    let requests = thread.join().unwrap();
    assert!(requests[0].contains(r#""path":"/machine""#), "{}", requests[0]);
    assert!(requests[2].contains(r#""command-line":"info \"x\"""#), "{}", requests[2]);
}

#[test]
fn a_reset_is_over_when_reply_and_event_have_come() {
    let (event, reply) = ("{\"event\": \"RESET\"}\r\n", "{\"return\": {}, \"id\": 2}\r\n");
    for order in [[event, reply], [reply, event]] {
        let (mut qmp, thread) = qmp(LONG, move |mut fake| {
            fake.request();
            order.into_iter().for_each(|text| fake.say(text));
        });
        qmp.system_reset().unwrap();
        thread.join().unwrap();
    }
    for only in [event, reply] {
        let (mut qmp, thread) = qmp(SHORT, move |mut fake| {
            fake.request();
            fake.say(only);
            fake.until_closed();
        });
        let error = qmp.system_reset().unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(matches!(qmp.system_reset(), Err(Error::Dead { .. })));
        thread.join().unwrap();
    }
}

#[test]
fn a_monitor_that_talks_nonsense_is_left() {
    let nonsense =
        ["}\n", "[]\n", "{}\n", "{\"return\": {}}\n", "{\"return\": {}, \"id\": 7}\n", "{\"id\": 2}\n", "\n"];
    for text in nonsense {
        let (mut qmp, thread) = qmp(LONG, move |mut fake| {
            fake.request();
            fake.say(text);
            fake.until_closed();
        });
        let error = qmp.qom_list("/machine").unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{text:?}: {error}");
        assert!(matches!(qmp.qom_list("/machine"), Err(Error::Dead { .. })));
        thread.join().unwrap();
    }
    let (stream, thread) = fake(|mut fake| fake.say("{\"hello\": 1}\n"));
    let error = Qmp::new(stream, LONG).unwrap_err();
    assert!(matches!(error, Error::Malformed { why: "not a greeting", .. }), "{error}");
    thread.join().unwrap();
    let (stream, thread) = fake(drop);
    let error = Qmp::new(stream, LONG).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    thread.join().unwrap();
}
