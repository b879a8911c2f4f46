//! Why an operation of a scenario was not done.

use crate::problem::Problem;
use vcm::{Error, HardwareErrorKind};

/// Why an operation was not done.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The scenario asks for what this machine has not, or for what cannot be: the run ends.
    Problem(Problem),
    /// The graph refused it. The text names what the error blames.
    Refused(Error, String),
    /// The machine did not do it.
    Machine(String),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// The error's kind, as the graph's documentation calls it: `Conflict`.
    pub fn kind(&self) -> Option<String> {
        match self {
            Self::Refused(error, _) => {
                let text = format!("{error:?}");
                let end = text.find(|letter: char| !letter.is_ascii_alphanumeric());
                Some(text[..end.unwrap_or(text.len())].into())
            }
            _ => None,
        }
    }

    /// Whether the machine cannot do it at all, whoever asks and whenever: no verdict on what was to be tried.
    pub fn is_beyond_machine(&self) -> bool {
        match self {
            Self::Refused(Error::Hardware { error, .. }, _) => {
                matches!(error.kind, HardwareErrorKind::NotSupported | HardwareErrorKind::Attributes)
            }
            Self::Machine(text) => text.split(": ").any(|part| part == "EOPNOTSUPP"),
            _ => false,
        }
    }
}
