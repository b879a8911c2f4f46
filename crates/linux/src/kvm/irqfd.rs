//! Eventfds that raise a guest's interrupts.

use super::open::{errno, refused};
use super::vm::{InterruptController, Vm};
use crate::Error;
use rustix::io::Errno;
use vmm_sys_util::eventfd::EventFd;

/// How an interrupt ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'e> {
    /// Nobody has to know: edges and messages. Each signal is one interrupt.
    Unseen,
    /// It is level-sensitive: a signal raises the GSI; when the guest ends the interrupt, KVM lowers it and signals
    /// this eventfd, so that whoever raised it looks again (`KVM_IRQFD_FLAG_RESAMPLE`).
    Resample(&'e EventFd),
}

impl Vm {
    /// Makes `trigger` raise `gsi`. If it is signalled already, that counts.
    ///
    /// KVM and only KVM takes its signals then: nobody who polls it is woken.
    ///
    /// # Errors
    /// EBUSY when it raises an interrupt already, of this virtual machine or another; [`Error::NotSupported`] when
    /// this kernel does not resample; [`Error::Argument`] when there is no such GSI.
    pub fn assign(&self, trigger: &EventFd, gsi: u32, ending: Ending<'_>) -> Result<(), Error> {
        let object = || format!("GSI {gsi}");
        if self.interrupt_controller() == InterruptController::None {
            return Err(Error::argument(object(), "the virtual machine has no interrupt controller"));
        }
        if !self.routing().has(gsi) {
            return Err(Error::argument(object(), "no pin and no message has this number"));
        }
        let answer = match ending {
            Ending::Unseen => self.fd().register_irqfd(trigger, gsi),
            Ending::Resample(_) if !self.capabilities().resample => {
                return Err(Error::not_supported(
                    "telling the end of an interrupt",
                    "no KVM_CAP_IRQFD_RESAMPLE",
                ));
            }
            Ending::Resample(ended) => self.fd().register_irqfd_with_resample(trigger, ended, gsi),
        };
        answer.map_err(|error| {
            let refusal = refused("KVM_IRQFD", object(), error);
            match errno(error) {
                Errno::BUSY => refusal
                    .with_help("its eventfd raises another interrupt: one eventfd is for one interrupt"),
                _ => refusal,
            }
        })
    }

    /// Ends that. When it returns, no signal of `trigger` raises `gsi` any more: what was signalled before has been
    /// raised. Passed over where there is nothing to end.
    pub fn deassign(&self, trigger: &EventFd, gsi: u32) {
        // It succeeds with every eventfd (virt/kvm/eventfd.c), and this is one.
        let _ = self.fd().unregister_irqfd(trigger, gsi);
    }
}
