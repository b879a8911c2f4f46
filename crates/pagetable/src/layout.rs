//! What the descriptor layouts of all formats are written with.

/// Defines `Field`, a run of bits in a descriptor of the given word.
macro_rules! field {
    ($word:ident) => {
        /// A run of bits in a descriptor.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Field {
            /// The lowest bit.
            pub shift: u32,
            /// How many bits.
            pub width: u32,
        }

        impl Field {
            const fn new(shift: u32, width: u32) -> Self {
                Self { shift, width }
            }

            /// The field's bits set, all others clear.
            pub const fn mask(self) -> $word {
                ($word::MAX >> ($word::BITS - self.width)) << self.shift
            }

            /// The field's value in `word`.
            pub const fn get(self, word: $word) -> $word {
                (word & self.mask()) >> self.shift
            }

            /// A word with `value` in the field, and zeros elsewhere.
            pub const fn of(self, value: $word) -> $word {
                (value << self.shift) & self.mask()
            }
        }
    };
}

/// Defines a descriptor: a type of its own around the given word.
macro_rules! descriptor {
    ($(#[$doc:meta])* $descriptor:ident($word:ident)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(transparent)]
        pub struct $descriptor(pub $word);

        impl From<$word> for $descriptor {
            #[inline]
            fn from(word: $word) -> Self {
                Self(word)
            }
        }
        impl From<$descriptor> for $word {
            #[inline]
            fn from(descriptor: $descriptor) -> $word {
                descriptor.0
            }
        }
    };
}

pub(crate) use {descriptor, field};
