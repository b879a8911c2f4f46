//! A virtual machine monitor on two pages, whose guest owns a device: it drives it, has it copy memory, takes its interrupts and
//! ends them, and none of that wakes this process. (What does is a clock: every millisecond it looks how far the guest is.)
//!
//! The guest's memory is one allocation at three addresses: the guest's; the device's, which are the same, so that the guest's
//! driver can tell its device where to copy; and this process's, which puts the guest's program there.

#[path = "assign/guest.rs"]
mod guest;
#[path = "assign/options.rs"]
mod options;
#[path = "assign/program.rs"]
mod program;
#[path = "assign/relay.rs"]
mod relay;
#[path = "assign/world.rs"]
mod world;

use guest::Guest;
use options::Options;
use program::{GSI, REGISTERS};
use relay::RelayThread;
use std::sync::Arc;
use vcm::{GuestPhysicalAddress, Span};
use vcm_irq::DeviceInterrupt;
use vcm_irq::kvm_vfio::GROUP;
use vcm_linux::VfioInterrupts;
use vcm_linux::kvm::forwarding::{Forwarding, Way};
use vcm_linux::kvm::{Protection, VfioFiles};
use vcm_linux::vfio::INTX;
use vcm_platform::Platform;
use world::World;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The device's interrupt.
const LINE: DeviceInterrupt = DeviceInterrupt { index: INTX, subindex: 0 };

fn main() {
    if let Err(error) = run() {
        eprintln!("assign: {error}");
        std::process::exit(1);
    }
}

fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else { return Ok(()) };
    let mut world = World::new(&options.device)?;
    let driven = drive(&options, &mut world);
    // In the kernel's own words, if it was the kernel.
    let why = world.linux.explanation().map_or_else(String::new, |why| format!(": {why}"));
    let down = world.take_down();
    driven.map_err(|error| format!("{error}{why}"))?;
    down?;
    println!("all held, and everything was given back");
    Ok(())
}

fn drive(options: &Options, world: &mut World) -> Outcome<()> {
    let here = world.share_memory()?;
    print!("{}", world.graph.view());
    let (vm, device) = (world.guest()?, world.device()?);

    // KVM hears of the device. The guest has its registers, at addresses of its own.
    let files = VfioFiles::new(&vm)?;
    device.with_kvm_file(|file| files.add(file))?;
    let registers = Span::new(0, device.region(0)?.len).ok_or("it has no registers")?;
    let at = GuestPhysicalAddress::new(REGISTERS.into());
    vm.memory().map(at, device.host_mapping(0, registers)?, Protection::ReadWrite)?;

    // Its interrupt is the guest's: through this process, and from now on by the kernel alone.
    let interrupts = Arc::new(VfioInterrupts::new(Arc::clone(&device)));
    let forwarding = Forwarding::new(&vm, GROUP)?;
    let relay = RelayThread::start(forwarding.relay())?;
    forwarding.assign(&interrupts, LINE, GSI)?;
    forwarding.forward(&interrupts, LINE, GSI)?;

    let mut guest = Guest::start(world, &vm, here, device.map(0)?)?;
    guest.check_copy(world)?;
    println!("the guest had its device copy a page in its memory: every byte arrived");

    println!("the interrupts go        asked  delivered  passed on here  woken for that  vCPU exits");
    let count = options.interrupts;
    let mut row = |way: &str, expected: Option<u64>, meanwhile: &dyn Fn() -> Outcome<()>| -> Outcome<()> {
        let before = (guest.served(world)?, relay.passed_on(), relay.woken(), guest.exits());
        guest.ask(world, count)?;
        while !guest.is_idle(world)? {
            meanwhile()?;
        }
        let spurious = guest.spurious(world)?;
        if spurious > 0 && expected.is_some() {
            return Err(format!("{way}: {spurious} came for nothing").into());
        }
        if let Some(expected) = expected {
            // The last end of an interrupt is passed on while the guest is idle already.
            relay.wait_for(before.1 + expected);
        }
        let delivered = guest.served(world)? - before.0;
        let (passed_on, woken) = (relay.passed_on() - before.1, relay.woken() - before.2);
        let exits = guest.exits() - before.3;
        println!("{way:<22} {count:7} {delivered:10} {passed_on:15} {woken:15} {exits:11}");
        let as_expected = |expected| passed_on == expected && (expected > 0 || woken == 0);
        if delivered == count && exits == 0 && expected.is_none_or(as_expected) {
            return Ok(());
        }
        Err(format!("{way}: it was to be {count} delivered, {expected:?} passed on, and no exit").into())
    };
    let nothing = || Ok(());
    row("by the kernel alone", Some(0), &nothing)?;
    forwarding.unforward(&interrupts, LINE);
    // The interrupt, and the guest's end of it.
    row("through this process", Some(2 * count), &nothing)?;
    forwarding.forward(&interrupts, LINE, GSI)?;
    row("by the kernel again", Some(0), &nothing)?;
    row("to and fro meanwhile", None, &|| {
        if forwarding.way(&interrupts, LINE) == Some(Way::Automasked) {
            return Ok(forwarding.forward(&interrupts, LINE, GSI)?);
        }
        forwarding.unforward(&interrupts, LINE);
        Ok(())
    })?;
    guest.stop(world)?;

    // In this order nobody reaches for what is gone: the guest has stopped, and loses the device before we do.
    forwarding.unassign(&interrupts, LINE);
    vm.memory().unmap(Span::new(at.raw(), registers.len() as u64).ok_or("it has no registers")?)?;
    device.with_kvm_file(|file| {
        files.remove(file);
        Ok(())
    })?;
    Ok(())
}
