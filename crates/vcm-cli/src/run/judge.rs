//! Comparing how a transfer went with what has to hold.

use super::record::Faulted;
use super::{Log, many};
use crate::scenario::TransferSpec;
use vcm::Bytes;
use vcm_platform::{Outcome, Transfer, TransferReport};

/// What a read has to find.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// The pattern of a seed: its checksum, the seed.
    Pattern(u64, u64),
    /// What was written there: the checksum if all of it is known, the bytes.
    Bytes(Option<u64>, Vec<Option<u8>>),
}

/// Compares how a transfer went with what has to hold.
pub(super) fn judge(
    spec: &TransferSpec,
    name: &str,
    transfer: &Transfer,
    expected: Option<&Expected>,
    report: &TransferReport,
    faults: &[Faulted],
    log: &mut Log<'_>,
) {
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    if report.outcome != spec.ends {
        let why = faults.last().map(|fault| format!(" ({} fault at {})", fault.reason, fault.address));
        let why = why.or_else(|| log.take_note().map(|note| format!(" ({note})"))).unwrap_or_default();
        wrong.push(format!("it {}{why}, and had to be {}", report.outcome, spec.ends));
    } else if report.outcome == Outcome::Aborted {
        right.push("aborted, as it had to".to_owned());
        log.take_note();
    } else {
        bytes_moved(transfer, expected, report, &mut right, &mut wrong);
    }
    if report.tlb_lookups > 0 {
        let (misses, lookups) = (many(report.tlb_misses, "TLB miss"), many(report.tlb_lookups, "lookup"));
        right.push(format!("{misses} in {lookups}"));
    }
    if let Some(count) = spec.faults
        && report.faults != count
    {
        wrong.push(format!("{}, and had to have {count}", many(report.faults, "fault")));
    } else if report.faults > 0 {
        right.push(many(report.faults, "fault"));
    }
    if let Some(reason) = spec.reason
        && let Some(other) = faults.iter().find(|fault| fault.reason != reason.to_string())
    {
        wrong.push(format!("a {} fault at {}, and had to be {reason}", other.reason, other.address));
    }
    let detail = if wrong.is_empty() { right.join(", ") } else { wrong.join("; ") };
    log.check(name, wrong.is_empty(), detail);
}

fn bytes_moved(
    transfer: &Transfer,
    expected: Option<&Expected>,
    report: &TransferReport,
    right: &mut Vec<String>,
    wrong: &mut Vec<String>,
) {
    let (reads, writes) = match transfer {
        Transfer::Write { to, .. } => (0, to.layout.bytes()),
        Transfer::Read { from } => (from.layout.bytes(), 0),
        Transfer::Copy { from, to } => (from.layout.bytes(), to.layout.bytes()),
    };
    if (report.bytes_read, report.bytes_written) != (reads, writes) {
        wrong.push(format!(
            "{} bytes read and {} written, and had to be {reads} and {writes}",
            report.bytes_read, report.bytes_written
        ));
        return;
    }
    right.push(Bytes(reads.max(writes)).to_string());
    let matches = |sum: u64| report.checksum == sum;
    match expected {
        Some(Expected::Pattern(sum, seed)) if matches(*sum) => {
            right.push(format!("every byte is the pattern of seed {seed}"));
        }
        Some(Expected::Pattern(sum, seed)) => wrong.push(format!(
            "the bytes are not the pattern of seed {seed}: checksum {:#x} instead of {sum:#x}",
            report.checksum
        )),
        Some(Expected::Bytes(Some(sum), _)) if matches(*sum) => {
            right.push("every byte as it was written".into());
        }
        Some(Expected::Bytes(Some(sum), _)) => wrong.push(format!(
            "the bytes are not those that were written: checksum {:#x} instead of {sum:#x}",
            report.checksum
        )),
        Some(Expected::Bytes(None, _)) => right.push("bytes that nobody wrote, not checked".into()),
        None if reads > 0 => right.push("not checked".into()),
        None => {}
    }
}
