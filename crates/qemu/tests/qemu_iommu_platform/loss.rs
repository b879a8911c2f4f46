//! QEMU gone in the middle of everything: errors say so, and nothing hangs.

use crate::support::*;
use std::sync::mpsc;
use std::time::Duration;

const LEN: u64 = 1 << 20;
/// Nobody waits for as long for a machine that is gone.
const HANGS: Duration = Duration::from_secs(60);

fn kill(world: &World) {
    let id = world.emulated.machine().bus().with(|machine| machine.process_id());
    let killed = std::process::Command::new("/bin/kill").args(["-9", &id.to_string()]).status().unwrap();
    assert!(killed.success());
}

fn a_machine_is_lost(model: IommuModel) {
    on(&[model], &[], |world| {
        let (region, links) = world.region("devices", &["lsi1", "lsi2"]);
        let (_first, _second) = (world.watch("lsi1"), world.watch("lsi2"));
        let buffer = world.buffer(region, LEN, Attributes::READ_WRITE, 1);
        world.begin("lsi1", &write(buffer.at, LEN, 40));
        for _ in 0..3 {
            assert!(matches!(world.event(), Ok(Some(Event::Progress { .. }))));
        }
        kill(world);
        let error = loop {
            match world.event() {
                Ok(Some(Event::Progress { .. })) => {}
                Err(error) => break error.to_string(),
                other => panic!("{other:?}"),
            }
        };
        println!("{model:?}: {error}");
        assert!(error.contains("QEMU") || error.contains("qemu"), "{error}");
        // What is asked now is an error, too, or is in quarantine: nothing says that it was done.
        let handle = world.handle("lsi2");
        let transfer = write(buffer.at, 64, 41);
        if world.emulated.start(handle, &transfer, vcm::Privilege::User).is_ok() {
            assert!(world.event().is_err());
        }
        assert_eq!(world.graph.unback(buffer.reservation, &mut world.emulated), Teardown::Quarantined);
        for link in &links {
            assert_eq!(world.graph.deactivate(*link, &mut world.emulated), Teardown::Quarantined);
        }
        let quarantined = world.graph.quarantined();
        assert!(quarantined >= 3, "{quarantined}");
        // The memory is not given to anybody else.
        let free = |world: &World| world.graph.pools().map(|pool| pool.free).sum::<u64>();
        let before = free(world);
        let _ = world.graph.free(buffer.memory, &mut world.emulated);
        let reaped = world.graph.reap(&mut world.emulated);
        assert_eq!((reaped.remaining, reaped.allocations), (quarantined, 0));
        assert_eq!(free(world), before);
        assert!(world.graph.free_region(region).is_err());
    });
}

#[test]
fn a_machine_that_is_killed_is_told_and_torn_down() {
    if without_qemu_iommus() {
        return;
    }
    for model in MODELS {
        let (done, waits) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            a_machine_is_lost(model);
            done.send(()).unwrap();
        });
        match waits.recv_timeout(HANGS) {
            // It ended, or it panicked, and what it held with it.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().unwrap(),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{model:?}: it hangs"),
        }
    }
}
