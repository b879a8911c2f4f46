//! What an acknowledge register can answer beside interrupts that have a line.

use crate::host::Acknowledged;

/// An interrupt that was acknowledged, of whichever kind.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "an acknowledged interrupt has to be ended"]
pub enum AnyAcknowledged {
    /// One that a device raised, to be given to the forwarding.
    Interrupt(Acknowledged),
    /// One that a CPU sent, to be handled by the host and given to the CPU interface's `end`.
    SoftwareGenerated(SoftwareGenerated),
}

/// A software-generated interrupt that this CPU acknowledged.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "until it is ended, the CPU takes no interrupt of the same or a lower priority"]
pub struct SoftwareGenerated {
    pub(super) number: u8,
    pub(super) source: Option<u8>,
    pub(super) raw: u32,
}

impl SoftwareGenerated {
    /// Its number, 0 to 15.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The CPU interface that sent it, 0 to 7. `None` on GICv3, which does not say.
    pub const fn source(&self) -> Option<u8> {
        self.source
    }
}
