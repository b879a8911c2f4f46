//! Yes and no, where a `bool` would not say what of.

/// Whether something is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wanted {
    /// It is not.
    #[default]
    No,
    /// It is.
    Yes,
}

impl Wanted {
    /// `Yes` if `condition` holds.
    pub const fn when(condition: bool) -> Self {
        if condition { Self::Yes } else { Self::No }
    }

    /// Whether it is wanted.
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}
