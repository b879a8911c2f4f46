//! The first process of the virtual machine in which the tests of `vcm-linux` run.
//!
//! It prepares the machine as `/plan` says, runs every test in a process of its own, one after the other, tells
//! `cargo xtask vm` about it on the second serial port, and powers off. It judges nothing: that is the host's work,
//! which sees as well when the machine dies before it says that it has finished.

#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
#[path = "../../vm/protocol.rs"]
mod protocol;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
fn main() {
    machine::mount_all();
    // Without the port nobody hears; the panic of the first process is the kernel's, and that one is heard.
    let mut report = report::Report::open().expect("the second serial port can be opened");
    let plan = plan::Plan::read(&mut report);
    machine::prepare(&plan, &mut report);
    run::sabotage(&plan, &mut report);
    run::all(&plan, &mut report);
    report.kernel_log();
    report.record(&protocol::Record::Finished);
    report.drain();
    let failed = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    panic!("the machine does not power off: {failed:?}");
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("vm-init is the first process of a virtual machine with Linux");
}
