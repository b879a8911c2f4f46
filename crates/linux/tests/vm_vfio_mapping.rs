//! Registers through mappings, and devices that stop answering or are taken away.

mod vm_vfio_support;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vcm_iommu::{NarrowRegisters, Registers};
use vcm_linux::Error;
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{CAPABILITY_POWER, Decoding, DeviceInterrupt, INTX, MSIX, MemoryDecoding, REQUEST};
use vm_vfio_support::edu::Edu;
use vm_vfio_support::nvme::{self, Nvme, VERSION};
use vm_vfio_support::{EDU, NVME, Space, bind, folder, ways};

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_mapping_and_calls_see_the_same_registers() {
    for way in ways() {
        let device = Space::new(way).open(NVME[0]);
        let mut mapping = device.map(0).unwrap();
        let mut called = [0; 8];
        device.read(0, 0, &mut called).unwrap();
        assert_eq!(mapping.read64(0), u64::from_le_bytes(called));
        assert_eq!(u64::from(mapping.read(4)) << 32 | u64::from(mapping.read(0)), u64::from_le_bytes(called));
        let low = mapping.read(VERSION);
        assert_eq!(u32::from(mapping.read8(VERSION + 2)), low >> 16 & 0xff);
        assert_eq!(u32::from(mapping.read16(VERSION + 2)), low >> 16);
        // Interrupt mask set and clear.
        mapping.write(0x0c, 1);
        assert_eq!(mapping.read(0x0c) & 1, 1);
        device.write(0, 0x10, &1_u32.to_le_bytes()).unwrap();
        assert_eq!(mapping.read(0x0c) & 1, 0);
        // Outside, and not aligned.
        let len = mapping.region().len as u32;
        for offset in [len, len - 2, u32::MAX, u32::MAX - 3, 2] {
            assert_eq!(mapping.read(offset), u32::MAX, "{offset:#x}");
            mapping.write(offset, 0);
        }
        assert_eq!(mapping.read64(len - 4), u64::MAX);
        // Its writes have to be looked at.
        assert!(matches!(device.map(vcm_linux::vfio::CONFIG_REGION), Err(Error::Argument { .. })));
    }
}

/// While one thread reads without end, the device stops answering in all ways there are. Without revocation the first of them
/// ends this process with SIGBUS.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn nobody_dies_of_a_device_that_does_not_answer() {
    for way in ways() {
        let space = Space::new(way);
        let device = space.open(NVME[0]);
        let mut mapping = device.map(0).unwrap();
        let version = mapping.read(VERSION);
        assert_ne!(version, u32::MAX);
        let stop = AtomicBool::new(false);
        let reads = AtomicU64::new(0);
        thread::scope(|scope| {
            let mut reader = device.map(0).unwrap();
            scope.spawn({
                let (stop, reads) = (&stop, &reads);
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        let seen = reader.read(VERSION);
                        assert!([version, u32::MAX].contains(&seen), "{seen:#x}");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let config = device.config().unwrap();
                let more = || {
                    let before = reads.load(Ordering::Relaxed);
                    let start = Instant::now();
                    while reads.load(Ordering::Relaxed) < before + 3 {
                        assert!(start.elapsed() < Duration::from_secs(5), "the reader is stuck");
                        thread::sleep(Duration::from_micros(200));
                    }
                };
                for _ in 0..3 {
                    more();
                    config.set_memory_decoding(MemoryDecoding::Off).unwrap();
                    assert_eq!(mapping.decoding(), Decoding::Stopped);
                    assert_eq!(mapping.read(VERSION), u32::MAX);
                    mapping.write(0x0c, 1);
                    // One that is made now is as the others.
                    assert_eq!(device.map(0).unwrap().read(VERSION), u32::MAX);
                    assert!(device.read(0, 0, &mut [0; 4]).is_err());
                    more();
                    config.set_memory_decoding(MemoryDecoding::On).unwrap();
                    assert_eq!(mapping.read(VERSION), version);
                    assert_eq!(mapping.decoding(), Decoding::Active);
                    more();
                    device.reset().unwrap();
                    assert_eq!(mapping.read(VERSION), version);
                    more();
                }
                // The power state D3, and back.
                let power = config.capability(CAPABILITY_POWER).unwrap().unwrap().offset + 4;
                let state = config.read16(power).unwrap();
                config.write16(power, state & !3 | 3).unwrap();
                assert_eq!(mapping.decoding(), Decoding::Stopped);
                assert_eq!(mapping.read(VERSION), u32::MAX);
                more();
                config.write16(power, state & !3).unwrap();
                thread::sleep(Duration::from_millis(20));
                config.set_memory_decoding(MemoryDecoding::On).unwrap();
                assert_eq!(mapping.read(VERSION), version);
                more();
                // And for good.
                device.tear_down();
                assert_eq!(mapping.decoding(), Decoding::Gone);
                assert_eq!(mapping.read(VERSION), u32::MAX);
                mapping.write(0x14, 0);
                more();
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        println!("{way}: {} reads", reads.load(Ordering::Relaxed));
        // Torn down, everything is an error and nothing is a crash.
        assert!(matches!(device.map(0), Err(Error::Missing { .. })));
        assert!(matches!(device.reset(), Err(Error::Missing { .. })));
        assert!(matches!(device.config().unwrap().read16(0), Err(Error::Missing { .. })));
        assert!(matches!(
            device.interrupt(DeviceInterrupt { index: MSIX, subindex: 0 }),
            Err(Error::Missing { .. })
        ));
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_reset_brings_registers_back_to_their_beginnings() {
    for way in ways() {
        let mut space = Space::new(way);
        let device = space.open(NVME[0]);
        let memory = MemoryFile::new("nvme", nvme::MEMORY).unwrap();
        space.map(0x10_0000, &memory);
        let mut nvme = Nvme::new(&device, memory, 0x10_0000);
        assert_eq!(nvme.registers.read(0x1c) & 1, 1);
        device.reset().unwrap();
        assert_eq!(nvme.registers.read(0x1c) & 1, 0);
        assert_eq!(nvme.registers.read(0x14), 0);
        // edu has none of its own.
        let edu = space.open(EDU[0]);
        let missing = edu.reset().unwrap_err();
        println!("{missing}; {:?}", edu.hot_reset_affects());
        assert!(matches!(missing, Error::NotSupported { .. }), "{missing}");
        assert!(edu.hot_reset(&[]).is_err());
    }
}

/// Somebody unbinds the device: the program hears of it, lets go, and the unbinding ends. The program still has what it
/// took from the device, and none of it crashes.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_is_taken_away_is_let_go() {
    for way in ways() {
        let mut space = Space::new(way);
        let device = space.open(EDU[0]);
        let mut edu = Edu::new(&device);
        let memory = MemoryFile::new("dma", 1 << 20).unwrap();
        space.map(0x10_0000, &memory);
        let interrupt = device.interrupt(DeviceInterrupt { index: INTX, subindex: 0 }).unwrap();
        let removal = device.removal().unwrap();
        assert!(matches!(device.removal(), Err(Error::Argument { .. })));
        assert!(!removal.wait(Some(Duration::from_millis(1))).unwrap());

        let waiter = thread::spawn(move || interrupt.wait(None));
        let unbind = folder(EDU[0]).join("driver/unbind");
        let unbinder = thread::spawn(move || fs::write(unbind, EDU[0]).unwrap());
        assert!(removal.wait(Some(Duration::from_secs(5))).unwrap());
        // It waits for us, mapped as it is.
        thread::sleep(Duration::from_millis(50));
        assert!(!unbinder.is_finished());
        assert_eq!(edu.registers.read(0) & 0xff, 0xed);

        device.tear_down();
        let start = Instant::now();
        while !unbinder.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(10), "{way}: the unbinding does not end");
            thread::sleep(Duration::from_millis(1));
        }
        unbinder.join().unwrap();
        assert!(!folder(EDU[0]).join("driver").exists());
        assert!(matches!(waiter.join().unwrap(), Err(Error::Missing { .. })));
        assert!(matches!(removal.wait(None), Err(Error::Missing { .. })));
        assert_eq!(edu.registers.read(0), u32::MAX);
        edu.raise(1);
        drop(device);

        // The same space, the same device, once more.
        bind(EDU[0]);
        let device = space.open(EDU[0]);
        let mut edu = Edu::new(&device);
        let memory = MemoryFile::new("dma", 1 << 20).unwrap();
        memory.write(0, &[7; 64]).unwrap();
        space.map(0x80_0000, &memory);
        edu.load(0x80_0000, 0, 64);
        edu.store(0x80_1000, 0, 64);
        assert_eq!(vm_vfio_support::bytes(&memory, 0x1000, 64), [7; 64], "{way}");
        device.interrupt(DeviceInterrupt { index: REQUEST, subindex: 0 }).unwrap();
    }
}
