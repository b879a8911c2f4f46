//! The oracle: what it saw when a translation reached memory that was given back, in words.

use std::fmt;

/// What a transaction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches an instruction.
    Fetch,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Fetch => "instruction fetch",
        })
    }
}

/// A table entry that a walk read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Descriptor {
    /// Its physical address.
    pub address: u64,
    /// What it held.
    pub value: u64,
}

/// The table entries that a walk read, from the first level on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Trail {
    steps: [Descriptor; 4],
    len: u8,
}

impl Trail {
    /// Of a walk that has read nothing yet.
    pub const fn new() -> Self {
        Self { steps: [Descriptor { address: 0, value: 0 }; 4], len: 0 }
    }

    /// Notes one more entry. No format here has more than four levels; a fifth is not kept.
    pub fn push(&mut self, address: u64, value: u64) {
        if let Some(slot) = self.steps.get_mut(usize::from(self.len)) {
            *slot = Descriptor { address, value };
            self.len += 1;
        }
    }

    /// The entries, from the first level on.
    pub fn steps(&self) -> &[Descriptor] {
        &self.steps[..usize::from(self.len)]
    }

    /// The last entry that was read: the leaf, or where the walk ended.
    pub fn last(&self) -> Option<Descriptor> {
        self.steps().last().copied()
    }
}

/// Who caused a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A bus master's transaction, by its master id, through a context bank.
    Client {
        /// The master id.
        mid: u16,
        /// The context bank.
        context: u8,
    },
    /// A translation that software asked a context bank for.
    Lookup {
        /// The context bank.
        context: u8,
    },
    /// A processor's own access.
    Processor,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { mid, context } => write!(f, "MID {mid}, context {context}"),
            Self::Lookup { context } => write!(f, "a lookup by software, context {context}"),
            Self::Processor => f.write_str("the processor"),
        }
    }
}

/// How a TLB entry came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Story {
    /// The number of the transaction whose walk filled it.
    pub filled_at: u64,
    /// Who caused the walk.
    pub cause: Cause,
    /// The table entries that the walk read.
    pub trail: Trail,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filled by transaction {} ({})", self.filled_at, self.cause)?;
        match self.trail.last() {
            Some(leaf) => write!(f, " from the descriptor {:#x} at {:#x}", leaf.value, leaf.address),
            None => Ok(()),
        }
    }
}

/// What was wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trespass {
    /// The memory belongs to nobody now.
    GivenBack {
        /// The TLB entry, or the walk just made, that led there.
        story: Story,
    },
    /// The memory was given back and belongs to somebody else now, and the tables no longer lead there.
    Stale {
        /// The TLB entry that led there.
        story: Story,
        /// Where the tables lead now, if anywhere.
        now: Option<u64>,
    },
    /// A walk read a table that was given back.
    Table {
        /// The entry it read.
        descriptor: Descriptor,
        /// Who caused the walk.
        cause: Cause,
    },
}

/// A translation reached memory that was given back: an invalidation was left out, came too late, or memory was
/// freed while still mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OracleError {
    /// The unit that translated: an SMMU's or a processor's name.
    pub unit: String,
    /// The number of the transaction that was caught.
    pub transaction: u64,
    /// What it wanted.
    pub access: Access,
    /// The address before translation.
    pub address: u64,
    /// The address after translation; of the table entry for [`Trespass::Table`].
    pub physical: u64,
    /// The number of the last transaction before the memory was given back.
    pub given_back_at: u64,
    /// What was wrong.
    pub trespass: Trespass,
}

impl fmt::Display for OracleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, transaction, access, address, physical, given_back_at, trespass } = self;
        write!(f, "{unit}: transaction {transaction} ({access} at {address:#x}) ")?;
        match trespass {
            Trespass::GivenBack { story } => write!(
                f,
                "reached {physical:#x}, given back after transaction {given_back_at}, through an entry {story}"
            ),
            Trespass::Stale { story, now } => {
                write!(
                    f,
                    "reached {physical:#x}, given back after transaction {given_back_at} and handed out again, \
                     through a stale entry {story}; the tables now lead "
                )?;
                match now {
                    Some(now) => write!(f, "to {now:#x}"),
                    None => f.write_str("nowhere"),
                }
            }
            Trespass::Table { descriptor, cause } => write!(
                f,
                "by {cause} made a walk read {:#x} at {physical:#x}, in a table given back after transaction \
                 {given_back_at}",
                descriptor.value
            ),
        }
    }
}

impl std::error::Error for OracleError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_in_words() {
        let mut trail = Trail::new();
        trail.push(0x4ff0_0400, 0x4000_105e);
        let story = Story { filled_at: 512, cause: Cause::Client { mid: 1, context: 1 }, trail };
        let error = OracleError {
            unit: "smmu rot".to_owned(),
            transaction: 812,
            access: Access::Write,
            address: 0x1000_0000,
            physical: 0x4000_1000,
            given_back_at: 700,
            trespass: Trespass::Stale { story, now: None },
        };
        assert_eq!(
            error.to_string(),
            "smmu rot: transaction 812 (write at 0x10000000) reached 0x40001000, given back after transaction 700 \
             and handed out again, through a stale entry filled by transaction 512 (MID 1, context 1) from the \
             descriptor 0x4000105e at 0x4ff00400; the tables now lead nowhere"
        );
    }

    #[test]
    fn a_trail_keeps_what_it_has_room_for() {
        let mut trail = Trail::new();
        for level in 0..6 {
            trail.push(level, level);
        }
        assert_eq!(trail.steps().len(), 4);
    }
}
