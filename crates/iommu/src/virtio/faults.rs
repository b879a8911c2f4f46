//! Reports as fault records.

use super::events::Report;
use super::spec::{
    FAULT_ADDRESS, FAULT_DOMAIN, FAULT_EXECUTE, FAULT_MAPPING, FAULT_READ, FAULT_WRITE, MAP_READ, MAP_WRITE,
};
use super::{Transport, VirtioIommu};
use crate::{FaultRecord, SharedMemory, StreamId, Unresponsive};
use vcm::{FaultAccess, FaultReason, FaultState};

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    pub(super) fn next_record(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        match self.events.next(&mut self.link)? {
            Some(report) => Ok(Some(self.record(&report))),
            None => self.link.check_live().map(|()| None),
        }
    }

    fn record(&self, report: &Report) -> FaultRecord {
        let stream = StreamId(report.endpoint);
        let (name, reason) = match report.reason {
            FAULT_DOMAIN => ("DOMAIN", FaultReason::NoContext),
            FAULT_MAPPING => ("MAPPING", self.why(report)),
            // Of an endpoint that it was never told of, too.
            _ if self.attachment(stream).is_none() => ("UNKNOWN", FaultReason::NoContext),
            _ => ("UNKNOWN", FaultReason::Configuration),
        };
        // Devices need not tell the access.
        let access = if report.flags & FAULT_WRITE != 0 {
            FaultAccess::Write
        } else if report.flags & FAULT_EXECUTE != 0 {
            FaultAccess::Execute
        } else {
            FaultAccess::Read
        };
        let address = if report.flags & FAULT_ADDRESS != 0 { report.address } else { 0 };
        FaultRecord {
            stream,
            substream: None,
            address,
            access,
            reason,
            state: FaultState::Terminated,
            name,
            code: report.reason.into(),
            stall: None,
        }
    }

    /// Whether nothing is mapped there, or not for the access. The device does not tell them apart; where it tells the
    /// access, the driver's own list does.
    fn why(&self, report: &Report) -> FaultReason {
        let domain = self.attachment(StreamId(report.endpoint)).map(|index| self.streams[index].domain);
        let domain = domain.and_then(|key| self.domains.get(key));
        let Some(mapping) = domain.and_then(|domain| domain.at(report.address)) else {
            return FaultReason::Translation;
        };
        let denies = |fault, map| report.flags & fault != 0 && mapping.flags & map == 0;
        if denies(FAULT_READ, MAP_READ) || denies(FAULT_WRITE, MAP_WRITE) {
            FaultReason::Permission
        } else {
            FaultReason::Translation
        }
    }
}
