//! Text that people read: columns and colours.

use crate::output::{Style, printable};
use std::fmt::Write;

/// Colours, by what they say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Care,
    Bad,
    Faint,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Title => "1",
            Self::Good => "32",
            Self::Care => "33",
            Self::Bad => "31;1",
            Self::Faint => "2",
        }
    }
}

/// `text`, without what would move the cursor, in its colour.
pub(super) fn paint(style: Style, tone: Tone, text: &str) -> String {
    let text = printable(text);
    match (style, tone) {
        (Style::Plain, _) | (_, Tone::Plain) => text,
        (Style::Coloured, tone) => format!("\x1b[{}m{text}\x1b[0m", tone.code()),
    }
}

/// Lines of columns, with more text below some.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    title: Option<String>,
    cells: Vec<(Tone, String)>,
    below: Vec<(Tone, String)>,
}

impl Table {
    /// A title, with an empty line before it.
    pub(super) fn title(&mut self, text: String) {
        self.rows.push(Row { title: Some(text), cells: Vec::new(), below: Vec::new() });
    }

    pub(super) fn row(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(Row { title: None, cells, below: Vec::new() });
    }

    /// A line of its own below the last row.
    pub(super) fn below(&mut self, tone: Tone, text: impl Into<String>) {
        if let Some(row) = self.rows.last_mut() {
            row.below.push((tone, text.into()));
        }
    }

    /// The text. Every column but the last is as wide as its widest cell; what is below a row begins at `indent`.
    pub(super) fn render(&self, style: Style, indent: usize) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, (_, text)) in row.cells.iter().enumerate() {
                let width = text.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            if let Some(title) = &row.title {
                let _ = writeln!(out, "\n{}", paint(style, Tone::Title, title));
                continue;
            }
            let mut line = String::from(" ");
            for (column, (tone, text)) in row.cells.iter().enumerate() {
                let last = column + 1 == row.cells.len();
                let room = if last { 0 } else { widths[column].saturating_sub(text.chars().count()) };
                let _ = write!(line, " {}{:room$} ", paint(style, *tone, text), "");
            }
            out.push_str(line.trim_end());
            out.push('\n');
            for (tone, text) in &row.below {
                let _ = writeln!(out, "{:indent$}{}", "", paint(style, *tone, text));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_colours_take_no_room() {
        let mut table = Table::default();
        table.row(vec![(Tone::Good, "ok".into()), (Tone::Plain, "x".into())]);
        table.below(Tone::Faint, "why\x1b[2J");
        table.row(vec![(Tone::Bad, "missing".into()), (Tone::Plain, "y".into())]);
        assert_eq!(table.render(Style::Plain, 4), "  ok       x\n    why\u{fffd}[2J\n  missing  y\n");
        assert!(table.render(Style::Coloured, 4).starts_with("  \x1b[32mok\x1b[0m       x\n"));
    }
}
