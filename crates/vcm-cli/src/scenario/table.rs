//! Reading a TOML table key by key. Every key that is asked for is known; what is left at the end is a mistake.

use super::quantity;
use crate::problem::{Name, Place, Problem};
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a file, for finding lines.
#[derive(Clone, Debug)]
pub(crate) struct Source<'s> {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// All of it.
    pub text: &'s str,
}

impl Source<'_> {
    /// The place of a byte offset.
    pub(crate) fn place(&self, offset: usize, key: &str) -> Place {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key.into(),
        }
    }

    /// Parses the text as TOML.
    ///
    /// # Errors
    /// The first thing that is not TOML.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Problem> {
        DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Problem::at(&self.place(offset, ""), error.message())
        })
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    source: &'t Source<'t>,
    table: &'t DeTable<'t>,
    /// What the table is called in errors; empty at the top.
    path: String,
    /// Where it is.
    place: Place,
    known: Vec<&'static str>,
}

/// One value that was found, with its place.
struct Found<'t> {
    value: &'t DeValue<'t>,
    span: Range<usize>,
    place: Place,
}

impl<'t> Table<'t> {
    /// The top of a file.
    pub(crate) fn top(source: &'t Source<'t>, table: &'t DeTable<'t>) -> Self {
        Self { source, table, path: String::new(), place: source.place(0, ""), known: Vec::new() }
    }

    /// Where the table is.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the table has a key, which becomes known by that.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn find(&mut self, key: &'static str) -> Option<Found<'t>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        let place = self.source.place(name.span().start, &self.path_of(key));
        Some(Found { value: value.get_ref(), span: value.span(), place })
    }

    /// The problem of a key that has to be there and is not.
    pub(crate) fn missing(&self, key: &str) -> Problem {
        let mut place = self.place.clone();
        place.key = self.path_of(key);
        Problem::at(&place, "this key is missing")
    }

    /// A text, if the key is there.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<Name>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match found.value {
            DeValue::String(text) => Ok(Some(Name { text: text.to_string(), place: found.place })),
            other => Err(wrong_type(&found.place, other, "a text in quotes")),
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// It is not, or it is something else.
    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<Name, Problem> {
        match self.text(key)? {
            Some(name) if name.text.is_empty() => Err(name.problem("this text is empty")),
            Some(name) => Ok(name),
            None => Err(self.missing(key)),
        }
    }

    /// One of a few words, if the key is there.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == name.text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let problem = name.problem(format!("\"{name}\" is none of the words that go here"));
                Err(problem.with_known(&name.text, words.iter().map(|(word, _)| *word)))
            }
        }
    }

    /// Whether the key is there and `true`.
    ///
    /// # Errors
    /// It is neither `true` nor `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<bool, Problem> {
        let Some(found) = self.find(key) else { return Ok(false) };
        match found.value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(wrong_type(&found.place, other, "true or false")),
        }
    }

    /// `true` or `false`, if the key is there.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn optional_flag(&mut self, key: &'static str) -> Result<Option<bool>, Problem> {
        if self.has(key) { self.flag(key).map(Some) } else { Ok(None) }
    }

    /// Where a key is, if it is there.
    pub(crate) fn place_of(&mut self, key: &'static str) -> Option<Place> {
        self.find(key).map(|found| found.place)
    }

    /// A number, or a text that [`quantity`] understands, if the key is there.
    ///
    /// # Errors
    /// It is something else, or negative.
    pub(crate) fn number(&mut self, key: &'static str) -> Result<Option<u64>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        number(&found.place, found.value).map(Some)
    }

    /// A number that has to be there.
    ///
    /// # Errors
    /// It is not, or it is no number.
    pub(crate) fn required_number(&mut self, key: &'static str) -> Result<u64, Problem> {
        self.number(key)?.ok_or_else(|| self.missing(key))
    }

    /// A number of at most 32 bits, if the key is there.
    ///
    /// # Errors
    /// It is larger, or no number.
    pub(crate) fn small(&mut self, key: &'static str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.number(key)? else { return Ok(None) };
        match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.problem(key, format!("{value} is more than 32 bits hold"))),
        }
    }

    /// A problem with the value of a key.
    pub(crate) fn problem(&mut self, key: &'static str, what: impl Into<String>) -> Problem {
        match self.find(key) {
            Some(found) => Problem::at(&found.place, what),
            None => Problem::at(&self.place, what),
        }
    }

    /// The numbers of a list, if the key is there.
    ///
    /// # Errors
    /// It is no list, or not of numbers.
    pub(crate) fn numbers(&mut self, key: &'static str) -> Result<Option<Vec<u64>>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let DeValue::Array(list) = found.value else {
            return Err(wrong_type(&found.place, found.value, "a list of numbers"));
        };
        list.iter().map(|item| number(&found.place, item.get_ref())).collect::<Result<_, _>>().map(Some)
    }

    /// The texts of a list, if the key is there.
    ///
    /// # Errors
    /// It is no list, or not of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<Name>>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let DeValue::Array(list) = found.value else {
            return Err(wrong_type(&found.place, found.value, "a list of texts"));
        };
        let item = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => {
                let place = self.source.place(item.span().start, &found.place.key);
                Ok(Name { text: text.to_string(), place })
            }
            other => Err(wrong_type(&found.place, other, "a list of texts")),
        };
        list.iter().map(item).collect::<Result<_, _>>().map(Some)
    }

    /// All keys of a table whose keys are not fixed, each with its number, if the key is there.
    ///
    /// # Errors
    /// It is no table, or its values are no numbers.
    pub(crate) fn named_numbers(&mut self, key: &'static str) -> Result<Option<Vec<(Name, u64)>>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let DeValue::Table(table) = found.value else {
            return Err(wrong_type(&found.place, found.value, "a table of numbers"));
        };
        let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let text: &std::borrow::Cow<'_, str> = name.get_ref();
            let place = self.source.place(name.span().start, &format!("{}.{text}", found.place.key));
            Ok((Name { text: text.to_string(), place: place.clone() }, number(&place, value.get_ref())?))
        };
        table.iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// All keys of a table whose keys are not fixed, each with its text; nothing when the key is not there.
    ///
    /// # Errors
    /// It is no table, or its values are no texts.
    pub(crate) fn named_texts(&mut self, key: &'static str) -> Result<Vec<(String, String)>, Problem> {
        let Some(found) = self.find(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = found.value else {
            return Err(wrong_type(&found.place, found.value, "a table of texts"));
        };
        let mut all = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => all.push((name.get_ref().to_string(), text.to_string())),
                other => return Err(wrong_type(&found.place, other, "a table of texts")),
            }
        }
        Ok(all)
    }

    /// Either a text or a table, if the key is there.
    ///
    /// # Errors
    /// It is neither.
    pub(crate) fn text_or_table(&mut self, key: &'static str) -> Result<Option<TextOrTable<'t>>, Problem> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match found.value {
            DeValue::String(text) => {
                Ok(Some(TextOrTable::Text(Name { text: text.to_string(), place: found.place })))
            }
            DeValue::Table(table) => Ok(Some(TextOrTable::Table(Table {
                source: self.source,
                table,
                path: found.place.key.clone(),
                place: found.place,
                known: Vec::new(),
            }))),
            other => Err(wrong_type(&found.place, other, "a text or a table")),
        }
    }

    /// A table, if the key is there.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn table(&mut self, key: &'static str) -> Result<Option<Self>, Problem> {
        match self.text_or_table(key)? {
            None => Ok(None),
            Some(TextOrTable::Table(table)) => Ok(Some(table)),
            Some(TextOrTable::Text(name)) => Err(name.problem("a text is here, and a table is needed")),
        }
    }

    /// The tables of `[[key]]`, in order; none when there is no such key.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn tables(&mut self, key: &'static str) -> Result<Vec<Self>, Problem> {
        let Some(found) = self.find(key) else { return Ok(Vec::new()) };
        let expected = format!("tables, each under [[{key}]]");
        let DeValue::Array(list) = found.value else {
            return Err(wrong_type(&found.place, found.value, &expected));
        };
        let path = self.path_of(key);
        list.iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => {
                    // The header of the table, or the brace of an inline one.
                    let offset = if item.span().is_empty() { found.span.start } else { item.span().start };
                    let place = self.source.place(offset, &path);
                    Ok(Self { source: self.source, table, path: path.clone(), place, known: Vec::new() })
                }
                other => Err(wrong_type(&found.place, other, &expected)),
            })
            .collect()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// The table has a key that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        self.unknown()
    }

    /// Looks for keys that nobody has asked for so far.
    ///
    /// # Errors
    /// The table has one.
    pub(crate) fn unknown(&self) -> Result<(), Problem> {
        let unknown = self.table.iter().filter(|(name, _)| {
            let name: &str = name.get_ref();
            !self.known.contains(&name)
        });
        // The first in the file, whatever the order of the map.
        let Some((name, _)) = unknown.min_by_key(|(name, _)| name.span().start) else { return Ok(()) };
        let text: &str = name.get_ref();
        let place = self.source.place(name.span().start, &self.path_of(text));
        Err(Problem::at(&place, "this key is not known").with_known(text, self.known.iter().copied()))
    }
}

/// What a key holds that may be short or long.
#[derive(Debug)]
pub(crate) enum TextOrTable<'t> {
    /// The short form.
    Text(Name),
    /// The long form.
    Table(Table<'t>),
}

fn wrong_type(place: &Place, found: &DeValue<'_>, expected: &str) -> Problem {
    Problem::at(place, format!("expected {expected}, found {}", found.type_str()))
}

fn number(place: &Place, value: &DeValue<'_>) -> Result<u64, Problem> {
    match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| Problem::at(place, format!("{integer} is not a number from 0 to 2^64 - 1"))),
        DeValue::String(text) => quantity::parse(text).map_err(|what| Problem::at(place, what)),
        other => Err(wrong_type(place, other, "a number, or a text such as \"64K\"")),
    }
}
