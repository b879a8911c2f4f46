//! What is wrong with a scenario, a machine's bindings or a command line, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a file: what an error points at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, with the table that it is in: `buffer.len`.
    pub key: String,
}

impl Place {
    /// File and line, for a text that says the rest.
    pub fn line(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, ": {}", self.key) }
    }
}

/// A name that a file gives, with the place where it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it is written.
    pub place: Place,
}

impl Name {
    /// A problem with what the name stands for.
    pub fn problem(&self, what: impl Into<String>) -> Problem {
        Problem { place: Some(self.place.clone()), what: what.into(), help: None }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why something cannot be run: a mistake in a file or on the command line, or a machine that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where, if it is in a file.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem that is in no file.
    pub fn new(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into(), help: None }
    }

    /// A problem at a place.
    pub fn at(place: &Place, what: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), what: what.into(), help: None }
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, with the advice to take the known name that looks most like `given`, or else the list of all.
    #[must_use]
    pub fn with_known<'k>(self, given: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        if let Some(best) = closest(given, &known) {
            return self.with_help(format!("did you mean \"{best}\"?"));
        }
        if known.is_empty() {
            return self;
        }
        let help = format!("known here: {}", known.join(", "));
        self.with_help(help)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// The known name with the fewest changes from `given`, if these are few.
fn closest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (given.chars().count() / 3).max(1);
    let best = known.iter().map(|name| (distance(given, name), *name)).min()?;
    (best.0 <= limit).then_some(best.1)
}

/// How many characters have to be inserted, removed, changed or swapped with their neighbour (Damerau and Levenshtein's
/// distance, with adjacent swaps).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("len", "len"), 0);
        assert_eq!(distance("lenght", "length"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let problem = |given: &str| Problem::new("unknown").with_known(given, ["len", "region"]).to_string();
        assert_eq!(problem("regoin"), "unknown; did you mean \"region\"?");
        assert_eq!(problem("colour"), "unknown; known here: len, region");
    }
}
