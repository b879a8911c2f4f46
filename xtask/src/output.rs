//! Reads what `cargo test` prints: which binary ran, and how many of its tests passed.

/// The counts of one tier, or of one test binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// A line that means something.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Line<'a> {
    /// The tests of a binary begin: its source, such as `tests/qemu_arm.rs`.
    Binary(&'a str),
    /// The examples in a crate's documentation begin.
    Documentation,
    /// How a binary's tests ended.
    Result(Counts),
    /// Anything else.
    Other,
}

/// What a line of `cargo test` means.
pub(crate) fn line(text: &str) -> Line<'_> {
    let trimmed = text.trim();
    if let Some(rest) = trimmed.strip_prefix("Running ") {
        let source = rest.strip_prefix("unittests ").unwrap_or(rest);
        return Line::Binary(source.split(' ').next().unwrap_or(source));
    }
    if trimmed.starts_with("Doc-tests ") {
        return Line::Documentation;
    }
    if let Some(rest) = trimmed.strip_prefix("test result: ") {
        let mut counts = Counts::default();
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse() else { continue };
            match what {
                "passed" => counts.passed = number,
                "failed" => counts.failed = number,
                "ignored" => counts.ignored = number,
                _ => {}
            }
        }
        return Line::Result(counts);
    }
    Line::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_test_are_understood() {
        assert_eq!(
            line("     Running unittests src/lib.rs (target/debug/deps/vcm-1)"),
            Line::Binary("src/lib.rs")
        );
        assert_eq!(
            line("     Running tests/qemu_arm.rs (target/debug/deps/q-1)"),
            Line::Binary("tests/qemu_arm.rs")
        );
        assert_eq!(line("   Doc-tests vcm"), Line::Documentation);
        let text = "test result: FAILED. 13 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(line(text), Line::Result(Counts { passed: 13, failed: 2, ignored: 1 }));
        assert_eq!(line("test a ... ok"), Line::Other);
    }
}
