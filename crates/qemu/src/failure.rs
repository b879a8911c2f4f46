//! The first error of those who cannot tell of theirs.

use crate::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the first error. Register windows and memory answer as hardware does, which knows no errors.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstFailure(Arc<Mutex<Option<Arc<Error>>>>);

impl FirstFailure {
    /// The value, or `otherwise` and the error kept.
    pub(crate) fn value_or<T>(&self, result: Result<T, Error>, otherwise: T) -> T {
        result.unwrap_or_else(|error| {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::new(error));
            otherwise
        })
    }

    pub(crate) fn first(&self) -> Option<Arc<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
