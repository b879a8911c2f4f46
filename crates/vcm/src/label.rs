//! Names for people.

use core::fmt;

/// A name of at most 31 bytes, kept in place: what a region, a device or a pool is called in dumps, pictures and
/// errors. It identifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Label {
    /// The most bytes of UTF-8 that a label holds.
    pub const CAPACITY: usize = 31;

    /// `text`, cut after the last whole character that fits.
    pub const fn new(text: &str) -> Self {
        let mut len = if text.len() < Self::CAPACITY { text.len() } else { Self::CAPACITY };
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; Self::CAPACITY];
        let mut index = 0;
        while index < len {
            bytes[index] = text.as_bytes()[index];
            index += 1;
        }
        Self { bytes, len: len as u8 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Always valid: `new` cuts at a character's boundary. An empty name is better than a panic all the same.
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(Label::new("vcodec_a_mm1").as_str(), "vcodec_a_mm1");
        let long = Label::new("0123456789012345678901234567890123456789");
        assert_eq!(long.as_str().len(), 31);
        let wide = Label::new("012345678901234567890123456789ü");
        assert_eq!(wide.as_str(), "012345678901234567890123456789");
    }
}
