//! The event queue: records, and what they mean; stalled transactions and their answers.

use super::entry::FaultModel;
use super::{Capabilities, Config, Smmu, Stalls, spec};
use crate::{FaultRecord, Feature, IommuError, Registers, SharedMemory, Stall, StreamId, Unresponsive};
use vcm::{Answer, FaultAccess, FaultReason, FaultState, PhysicalAddress};

/// Whether faulting transactions wait.
pub(super) const fn fault_model(capabilities: &Capabilities, config: &Config) -> FaultModel {
    match (capabilities.idr0.stall_model(), config.stalls) {
        (spec::STALL_MODEL_FORCED, _) | (spec::STALL_MODEL_BOTH, Stalls::WherePossible) => FaultModel::Stall,
        _ => FaultModel::Terminate,
    }
}

/// Which fields of a record mean something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    /// None but the stream.
    Stream,
    /// The address and whether it was read, as well.
    Address,
    /// Everything.
    Translation,
}

/// A kind of event.
struct Kind {
    name: &'static str,
    reason: FaultReason,
    fields: Fields,
}

const fn kind(code: u8) -> Option<Kind> {
    use FaultReason as Reason;
    let (name, reason, fields) = match code {
        spec::F_UUT => ("F_UUT", Reason::Configuration, Fields::Address),
        spec::C_BAD_STREAMID => ("C_BAD_STREAMID", Reason::NoContext, Fields::Stream),
        spec::F_STE_FETCH => ("F_STE_FETCH", Reason::TableWalk, Fields::Stream),
        spec::C_BAD_STE => ("C_BAD_STE", Reason::Configuration, Fields::Stream),
        spec::F_BAD_ATS_TREQ => ("F_BAD_ATS_TREQ", Reason::Configuration, Fields::Address),
        spec::F_STREAM_DISABLED => ("F_STREAM_DISABLED", Reason::Configuration, Fields::Stream),
        spec::F_TRANSL_FORBIDDEN => ("F_TRANSL_FORBIDDEN", Reason::Permission, Fields::Address),
        spec::C_BAD_SUBSTREAMID => ("C_BAD_SUBSTREAMID", Reason::Configuration, Fields::Stream),
        spec::F_CD_FETCH => ("F_CD_FETCH", Reason::TableWalk, Fields::Stream),
        spec::C_BAD_CD => ("C_BAD_CD", Reason::Configuration, Fields::Stream),
        spec::F_WALK_EABT => ("F_WALK_EABT", Reason::TableWalk, Fields::Translation),
        spec::F_TRANSLATION => ("F_TRANSLATION", Reason::Translation, Fields::Translation),
        spec::F_ADDR_SIZE => ("F_ADDR_SIZE", Reason::AddressSize, Fields::Translation),
        spec::F_ACCESS => ("F_ACCESS", Reason::AccessFlag, Fields::Translation),
        spec::F_PERMISSION => ("F_PERMISSION", Reason::Permission, Fields::Translation),
        spec::F_TLB_CONFLICT => ("F_TLB_CONFLICT", Reason::TlbConflict, Fields::Address),
        spec::F_CFG_CONFLICT => ("F_CFG_CONFLICT", Reason::Configuration, Fields::Stream),
        spec::F_VMS_FETCH => ("F_VMS_FETCH", Reason::TableWalk, Fields::Stream),
        _ => return None,
    };
    Some(Kind { name, reason, fields })
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    /// The next record that is a fault.
    pub(super) fn take_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        self.take_errors()?;
        // Hints are passed over, but not for ever.
        for _ in 0..self.event_queue.entries() {
            let Some(words) = self.take_event()? else { return Ok(None) };
            if words[0] as u8 == spec::E_PAGE_REQUEST {
                self.statistics.hints += 1;
                continue;
            }
            let mut record = self.decode(words);
            self.statistics.faults += 1;
            if let Some(stall) = record.stall
                && !self.remember(stall)
            {
                self.statistics.stalls_given_up += 1;
                record.state = FaultState::Terminated;
                record.stall = None;
                self.resume(stall, Answer::Terminate)?;
            }
            return Ok(Some(record));
        }
        Ok(None)
    }

    /// Takes a record from the queue, and tells the hardware that its place is free.
    fn take_event(&mut self) -> Result<Option<[u64; 3]>, Unresponsive> {
        let raw = self.registers.read(spec::EVENTQ_PROD);
        let producer = spec::EventqIndex::from_bits(raw);
        let (queue, index) = (self.event_queue, producer.index());
        let waiting = queue.distance(self.event_consumer, index);
        if raw == u32::MAX || index & !queue.mask() != 0 || waiting > queue.entries() {
            return Err(self.unresponsive("EVENTQ_PROD makes no sense"));
        }
        let overflowed = producer.overflow() != self.event_overflow;
        if overflowed {
            self.statistics.event_overflows += 1;
            self.event_overflow = producer.overflow();
        }
        if waiting == 0 && !overflowed {
            return Ok(None);
        }
        let words = (waiting > 0).then(|| {
            let at = queue.entry(self.event_consumer).raw();
            [0, 8, 16].map(|offset| self.memory.read64(PhysicalAddress::new(at + offset)))
        });
        if waiting > 0 {
            self.event_consumer = queue.next(self.event_consumer);
        }
        let consumer =
            spec::EventqIndex::new().with_index(self.event_consumer).with_overflow(self.event_overflow);
        self.registers.write(spec::EVENTQ_CONS, consumer.into_bits());
        Ok(words)
    }

    fn decode(&mut self, words: [u64; 3]) -> FaultRecord {
        let start = spec::EventStart::from_bits(words[0]);
        let detail = spec::EventDetail::from_bits(words[1]);
        let stream = StreamId(start.stream());
        let kind = kind(start.kind()).unwrap_or_else(|| {
            self.statistics.unknown_events += 1;
            Kind { name: "unknown event", reason: FaultReason::Configuration, fields: Fields::Stream }
        });
        let reason = match start.kind() {
            // The entry of a stream that is not attached is invalid so that this is recorded.
            spec::C_BAD_STE if !self.is_attached(stream) => FaultReason::NoContext,
            _ => kind.reason,
        };
        let stalls = kind.fields == Fields::Translation
            && detail.stall()
            && self.capabilities.idr0.stall_model() != spec::STALL_MODEL_TERMINATE;
        FaultRecord {
            stream,
            substream: start.ssv().then_some(start.ssid()),
            address: if kind.fields == Fields::Stream { 0 } else { words[2] },
            access: match kind.fields {
                Fields::Stream => FaultAccess::Read,
                Fields::Address | Fields::Translation if !detail.rnw() => FaultAccess::Write,
                _ if detail.ind() => FaultAccess::Execute,
                _ => FaultAccess::Read,
            },
            reason,
            state: if stalls { FaultState::Stalled } else { FaultState::Terminated },
            name: kind.name,
            code: start.kind().into(),
            stall: stalls.then_some(Stall { stream, tag: detail.stag() }),
        }
    }

    /// Notes a transaction that waits; false when there is no room, because the hardware says that more wait than it can
    /// hold or because memory is short.
    fn remember(&mut self, stall: Stall) -> bool {
        if self.stalls.contains(&stall) {
            return true;
        }
        self.stalls.len() < usize::from(self.capabilities.idr5.stall_max()) && self.stalls.push(stall).is_ok()
    }

    pub(super) fn answer_stall(&mut self, stall: Stall, answer: Answer) -> Result<(), IommuError> {
        if self.fault_model() == FaultModel::Terminate {
            return Err(IommuError::NotSupported(Feature::Stalls));
        }
        let Some(place) = self.stalls.iter().position(|known| *known == stall) else {
            return Err(IommuError::NotStalled(stall.stream));
        };
        self.resume(stall, answer)?;
        self.stalls.swap_remove(place);
        Ok(())
    }

    fn resume(&mut self, stall: Stall, answer: Answer) -> Result<(), Unresponsive> {
        let start = super::commands::about_stream(spec::CMD_RESUME, stall.stream.0)
            .with_retry(answer == Answer::Retry)
            .with_abort(answer == Answer::Terminate);
        let end = spec::ResumeEnd::new().with_stag(stall.tag);
        self.issue(core::iter::once([start.into_bits(), end.into_bits()]))
    }
}
