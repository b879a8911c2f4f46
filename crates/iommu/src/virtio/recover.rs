//! Beginning anew with a device that was reset, fell silent or lost its way.

use super::attach::Arrival;
use super::driver::{Attachment, Doubt};
use super::request::Request;
use super::spec::{EVENT_QUEUE, REQUEST_QUEUE};
use super::{Transport, VirtioIommu};
use crate::{ProbeError, SharedMemory, Unresponsive};

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    pub(super) fn start_anew(&mut self) -> Result<(), Unresponsive> {
        let result = self.restart();
        if result.is_err() {
            // Half of it may be as before; nothing is asked until all of it is.
            self.requests.close("it was not recovered");
            self.link.fail();
        }
        result
    }

    fn restart(&mut self) -> Result<(), Unresponsive> {
        let limits = self.link.negotiate().map_err(|error| match error {
            ProbeError::Unresponsive(error) => error,
            _ => self.link.lost("it is another device than it was"),
        })?;
        // Domain numbers and mappings were chosen by what the device said.
        if limits != self.limits {
            return Err(self.link.lost("it is another device than it was"));
        }
        for (number, queue) in [(REQUEST_QUEUE, self.requests.queue()), (EVENT_QUEUE, self.events.queue())] {
            if self.link.transport.queue_size_max(number) < queue.rings().size {
                return Err(self.link.lost("it is another device than it was"));
            }
        }
        self.requests.restart(&mut self.link.memory);
        self.events.restart(&mut self.link.memory);
        Self::connect(&mut self.link, &self.limits, &self.requests, &self.events)?;
        self.replay()
    }

    /// Attaches and maps everything.
    fn replay(&mut self) -> Result<(), Unresponsive> {
        // A reset has detached all endpoints (5.13.5), but QEMU's has not. Those that are to be attached are moved; one
        // that was to be detached is not. As a rule it is not attached, and what the device says does not matter.
        if let Some(Doubt::Attached(stream, domain)) = self.doubt
            && let Some(domain) = self.domains.get(domain)
        {
            let detach = Request::Detach { domain: domain.number, endpoint: stream.0 };
            let _ = self.requests.run(&mut self.link, [detach])?;
        }
        self.doubt = None;
        for index in 0..self.streams.len() {
            let Attachment { stream, domain } = self.streams[index];
            let another = self.streams[..index].iter().any(|other| other.domain == domain);
            let arrival = if another { Arrival::Another } else { Arrival::First };
            if self.enter(stream, domain, arrival)?.is_err() {
                return Err(self.link.lost("it refuses after a reset what it did before"));
            }
        }
        Ok(())
    }
}
