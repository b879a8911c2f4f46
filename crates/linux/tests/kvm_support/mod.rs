//! What the tests with a virtual machine of KVM's share.

mod device;
mod relay;

pub use device::{REGISTERS, SoftDevice, acknowledgement, level, message, status};
pub use relay::RelayThread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use vcm::GuestPhysicalAddress;
use vcm_linux::kvm::forwarding::{Forwarding, Way};
use vcm_linux::kvm::guest::{Guest, GuestProgram, Interrupt};
use vcm_linux::kvm::{InterruptController, Kvm, Vm};

/// How long a test waits for what comes in microseconds: under emulation everything takes much longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// KVM, unless `VCM_WITHOUT_KVM=1` says that its tests are meant to be left out.
pub fn kvm() -> Option<Kvm> {
    if std::env::var("VCM_WITHOUT_KVM").is_ok_and(|value| value == "1") {
        println!("SKIPPED TIER: kvm: VCM_WITHOUT_KVM is set");
        return None;
    }
    match Kvm::open() {
        Ok(kvm) => Some(kvm),
        Err(error) => panic!("{error}. Or set VCM_WITHOUT_KVM=1 to go without the tests kvm_*"),
    }
}

/// A virtual machine with an interrupt controller.
pub fn machine() -> Option<Vm> {
    Some(kvm()?.create(InterruptController::Kernel).unwrap())
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "{what} is not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// Where the guest's program is.
pub const PROGRAM: GuestPhysicalAddress = GuestPhysicalAddress::new(0x1_0000);

/// A guest that is ready for interrupts.
pub fn start(vm: &Vm, vcpus: u32, interrupts: &[Interrupt], device: &Arc<SoftDevice>) -> Guest {
    let program = GuestProgram::new(vm, PROGRAM, vcpus, interrupts).unwrap();
    let guest = program.start(Arc::clone(device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    guest
}

/// Raises an interrupt, and waits until the guest has quieted the device.
pub fn raise_and_wait(guest: &Guest, device: &SoftDevice, interrupt: u32) {
    device.raise(interrupt);
    wait_until("the device is quiet", || {
        assert_eq!(guest.ended(), None, "a vCPU does not run");
        device.is_quiet(interrupt)
    });
}

/// Waits until the guest is done with an interrupt, and judges what it counted: each that was raised came once.
pub fn assert_exact(guest: &Guest, device: &SoftDevice, interrupt: u32, raised: u32) {
    let number = interrupt as usize;
    let counts = || guest.counts(number);
    wait_until("the guest has counted all", || counts().delivered == raised && !device.is_masked(interrupt));
    wait_until("its handler is through", || !counts().in_service);
    // What is still to come would come now.
    std::thread::sleep(Duration::from_millis(2));
    let (counts, early) = (counts(), device.ended_early(interrupt));
    assert_eq!(counts.delivered, raised, "{counts:?}");
    assert!(u64::from(counts.spurious) <= early, "{counts:?}, ended early {early} times");
    // An end that comes early may be one with the next signal.
    let signalled = device.signalled(interrupt);
    assert!(
        (u64::from(raised + counts.spurious)..=u64::from(raised) + early).contains(&signalled),
        "{counts:?}, {signalled}"
    );
}

/// Raises an interrupt again and again, and switches its way meanwhile, until there were so many of both. How often
/// it was raised.
pub fn switch_under_load(
    forwarding: &Forwarding<SoftDevice>,
    device: &Arc<SoftDevice>,
    guest: &Guest,
    interrupt: u32,
    gsi: u32,
    (switches, interrupts): (u32, u32),
) -> u32 {
    let (over, raised) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                raise_and_wait(guest, device, interrupt);
                raised.fetch_add(1, Ordering::Release);
            }
        });
        let name = device.name(interrupt);
        let (mut switched, since) = (0, Instant::now());
        while switched < switches || raised.load(Ordering::Acquire) < interrupts {
            let so_far = raised.load(Ordering::Acquire);
            assert!(since.elapsed() < PATIENCE * 2, "{switched} switches, {so_far} interrupts");
            forwarding.forward(device, name, gsi).unwrap();
            assert_eq!(forwarding.way(device, name), Some(Way::Forwarded));
            forwarding.unforward(device, name);
            assert_eq!(forwarding.way(device, name), Some(Way::Automasked));
            switched += 1;
            if switched % 4 == 0 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Release);
    });
    raised.into_inner()
}
