//! `VFIO_DEVICE_SET_IRQS`.

use super::super::call;
use super::super::inner::Inner;
use crate::Error;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, vfio_irq_set,
};

/// As many as MSI-X has (PCI Local Bus Specification 3.0, 6.8.2.3).
const MOST: usize = 2048;
/// The words before the data.
const HEAD: usize = offset_of!(vfio_irq_set, data) / size_of::<u32>();

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Mask,
    Unmask,
    Trigger,
}

/// To which interrupts from the first on, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data<'a> {
    /// To so many, now. To the whole index for `Trigger` and 0: it is disabled.
    Now(u32),
    /// To as many as there are descriptors, when these are signalled, or signalling them. None takes one away.
    By(&'a [Option<BorrowedFd<'a>>]),
}

impl Inner {
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn set_interrupts(
        &self,
        index: u32,
        first: u32,
        action: Action,
        data: Data<'_>,
    ) -> Result<(), Error> {
        let (flag, count, descriptors): (_, _, &[_]) = match data {
            Data::Now(count) => (VFIO_IRQ_SET_DATA_NONE, count as usize, &[]),
            Data::By(descriptors) => (VFIO_IRQ_SET_DATA_EVENTFD, descriptors.len(), descriptors),
        };
        let object =
            || format!("{action:?} of interrupts {first} + {count} of index {index} of {}", self.name);
        // The kernel refuses this as well; nothing is cut off on the way there.
        if count > MOST || u64::from(first) + count as u64 > MOST as u64 {
            return Err(Error::argument(
                object(),
                format!("no device has more than {MOST} interrupts in an index"),
            ));
        }
        let action_flag = match action {
            Action::Mask => VFIO_IRQ_SET_ACTION_MASK,
            Action::Unmask => VFIO_IRQ_SET_ACTION_UNMASK,
            Action::Trigger => VFIO_IRQ_SET_ACTION_TRIGGER,
        };
        let len = (HEAD + descriptors.len()) * size_of::<u32>();
        let head: [u32; HEAD] = [len as u32, flag | action_flag, index, first, count as u32];
        let data = descriptors
            .iter()
            .map(|descriptor| descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()) as u32);
        let call = call::DEVICE_SET_IRQS;
        let all = head.into_iter().chain(data);
        // One at a time is what happens with every interrupt: little to copy for it.
        let answer = if descriptors.len() <= 1 {
            let mut words = [0_u32; HEAD + 1];
            words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
            // SAFETY: the call's structure, with its size and as many descriptors as it says; these are open meanwhile.
            self.with(|descriptor| unsafe { call.with_named(descriptor, object, &mut words) })?
        } else {
            let mut words = [0_u32; HEAD + MOST];
            words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
            // SAFETY: as above.
            self.with(|descriptor| unsafe { call.with_named(descriptor, object, &mut words) })?
        };
        if answer > 0 {
            // Of messages that it cannot have all, the kernel tells how many it could have (`vfio_msi_enable`).
            return Err(call
                .failed(&object(), Errno::NOSPC)
                .with_help(format!("{answer} messages are to be had")));
        }
        Ok(())
    }
}
