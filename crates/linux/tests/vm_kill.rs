//! `kill -9` at random points under load: the device is reusable, nothing stays pinned, no interrupt of the host is lost.
//!
//! Each test starts itself again as the process that is killed: with a controller of a disk that it drives, or with a
//! device whose interrupts it leads into a guest of KVM's. Whether the kernel complained in its log is judged by
//! `cargo xtask vm`.
#![cfg(target_arch = "x86_64")]

mod vm_kill_support;

use std::path::Path;
use std::time::{Duration, Instant};
use vm_kill_support::{Trial, bind, disk, guest, unbind};

const DISK: Trial = Trial {
    test: "a_disks_driver_leaves_nothing_when_it_is_killed",
    device: "0000:00:06.0",
    kills: 150,
    check_every: 15,
    seed: 0x6b69_6c6c,
    load: disk::load,
    check: disk::check,
};

const GUEST: Trial = Trial {
    test: "a_guest_with_a_device_leaves_nothing_when_it_is_killed",
    device: "0000:00:04.0",
    kills: 50,
    check_every: 10,
    seed: 45,
    load: guest::load,
    check: guest::check,
};

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_disks_driver_leaves_nothing_when_it_is_killed() {
    DISK.run();
    // The kernel's own driver has it back, with its interrupts: without them it would not find the disk, nor read it.
    unbind(DISK.device);
    let begun = Instant::now();
    let disk = loop {
        if let Some(disk) = vm_kill_support::disk_of(DISK.device) {
            break disk;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the kernel's driver has not found the disk");
        std::thread::sleep(Duration::from_millis(20));
    };
    let found = disk::left_on(Path::new(&disk));
    assert!(found, "{}: other bytes than the last check has written", disk.display());
    bind(DISK.device);
    disk::check(DISK.device);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_guest_with_a_device_leaves_nothing_when_it_is_killed() {
    GUEST.run();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_a_living_process_has_is_seen() {
    DISK.watch_one();
}
