//! The bus: memory, the count of transactions that is the machine's clock, and what the oracle found.

use super::memory::{BusError, Memories, Ownership};
use super::oracle::{Access, Cause, OracleError, Story, Trail, Trespass};
use vcm::Span;

/// The oracle keeps this many findings; the first one matters.
const FINDINGS: usize = 64;

/// What every unit of the machine is connected to.
#[derive(Debug, Default)]
pub struct Bus {
    /// The memories.
    pub memory: Memories,
    transactions: u64,
    findings: Vec<OracleError>,
}

/// An access under way, for the oracle's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness<'a> {
    /// The unit that translates.
    pub unit: &'a str,
    /// Who caused the translation.
    pub cause: Cause,
    /// What is wanted.
    pub access: Access,
    /// The address before translation.
    pub address: u64,
}

impl Bus {
    /// A bus with no memory on it.
    pub const fn new() -> Self {
        Self { memory: Memories::new(), transactions: 0, findings: Vec::new() }
    }

    /// The number of transactions so far.
    pub const fn now(&self) -> u64 {
        self.transactions
    }

    /// Counts one more transaction and gives its number.
    pub const fn begin(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    /// What the oracle found, the oldest first.
    pub fn findings(&self) -> &[OracleError] {
        &self.findings
    }

    /// Takes the oldest of the oracle's findings.
    pub fn take_finding(&mut self) -> Option<OracleError> {
        if self.findings.is_empty() { None } else { Some(self.findings.remove(0)) }
    }

    /// Records that `span` was given back to its pool: from now on no translation may lead there.
    pub fn give_back(&mut self, span: Span) {
        let now = self.transactions;
        self.memory.give_back(span, now);
    }

    /// Records that `span` was handed out again.
    pub fn hand_out(&mut self, span: Span) {
        self.memory.hand_out(span);
    }

    fn find(&mut self, witness: Witness<'_>, physical: u64, given_back_at: u64, trespass: Trespass) {
        if self.findings.len() < FINDINGS {
            self.findings.push(OracleError {
                unit: witness.unit.to_owned(),
                transaction: self.transactions,
                access: witness.access,
                address: witness.address,
                physical,
                given_back_at,
                trespass,
            });
        }
    }

    /// Reports every table entry of a walk that lies in memory that was given back.
    pub fn check_walk(&mut self, witness: Witness<'_>, trail: &Trail) {
        for descriptor in trail.steps() {
            if let Ownership::GivenBack { at } = self.memory.ownership(descriptor.address) {
                let trespass = Trespass::Table { descriptor: *descriptor, cause: witness.cause };
                self.find(witness, descriptor.address, at, trespass);
            }
        }
    }

    /// Checks where a translation leads. `walk` asks the tables again; it is called only when the memory changed
    /// hands after the translation was made.
    ///
    /// # Errors
    /// [`Caught`] when the memory belongs to nobody, or to somebody else than when the translation was made.
    pub fn check_target(
        &mut self,
        witness: Witness<'_>,
        physical: u64,
        story: &Story,
        walk: impl FnOnce(&Memories) -> Option<u64>,
    ) -> Result<(), Caught> {
        let (at, trespass) = match self.memory.ownership(physical) {
            Ownership::GivenBack { at } => (at, Trespass::GivenBack { story: *story }),
            Ownership::HandedOutAgain { given_back_at } if given_back_at >= story.filled_at => {
                let now = walk(&self.memory);
                if now == Some(physical) {
                    return Ok(());
                }
                (given_back_at, Trespass::Stale { story: *story, now })
            }
            _ => return Ok(()),
        };
        self.find(witness, physical, at, trespass);
        Err(Caught)
    }

    /// Reads `bytes.len()` bytes at the physical address `address`.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), BusError> {
        self.memory.read(address, bytes)
    }

    /// Writes `bytes` at the physical address `address`.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        self.memory.write(address, bytes)
    }
}

/// The oracle caught a transaction; what it found is with [`Bus::findings`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caught;
