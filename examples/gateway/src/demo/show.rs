//! What the demonstration prints: chapters, tables, bars, and claims that held or did not.

use std::{io::Write as _, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Prints to the terminal and keeps the claims.
#[derive(Debug, Default)]
pub(super) struct Show {
    bars: MultiProgress,
    chapters: u32,
    broken: Vec<String>,
    held: u32,
}

impl Show {
    /// A heading.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        self.say(&format!("\n{}. {title}\n", self.chapters));
    }

    /// A line, above all bars.
    pub(super) fn say(&self, line: &str) {
        // Not `MultiProgress::println`: it prints nothing where there is no terminal. Where
        // nobody reads any more, as behind `head`, the demonstration still goes to its end.
        let print = || writeln!(std::io::stdout(), "{line}").unwrap_or_default();
        self.bars.suspend(print);
    }

    /// Something that must be true; it is printed and counted.
    pub(super) fn claim(&mut self, holds: bool, text: &str) {
        self.say(&format!(
            "   {} {text}",
            if holds { "held:  " } else { "BROKEN:" }
        ));
        if holds {
            self.held += 1;
        } else {
            self.broken.push(text.to_owned());
        }
    }

    /// A table: one header, rows of equal length, numbers to the right.
    pub(super) fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        for line in layout(header, rows) {
            self.say(&format!("   {line}"));
        }
    }

    /// A bar of `length` steps that vanishes when it is dropped.
    #[must_use]
    pub(super) fn bar(&self, label: &str, length: u64) -> Bar {
        let style = ProgressStyle::with_template("   {prefix:<26} {bar:36.cyan/black} {msg}");
        let bar = self.bars.add(ProgressBar::new(length));
        bar.set_style(
            style
                .expect("invariant: the template is well-formed")
                .progress_chars("━╸─"),
        );
        bar.set_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(bar)
    }

    /// Claims that held, and the texts of those that did not.
    #[must_use]
    pub(super) fn claims(&self) -> (u32, &[String]) {
        (self.held, &self.broken)
    }
}

/// A bar on the terminal; nothing at all where there is no terminal.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Where it stands and what is written beside it.
    pub(super) fn set(&self, position: u64, message: impl Into<String>) {
        self.0.set_position(position);
        self.0.set_message(message.into());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The lines of a table: text to the left, columns of numbers to the right.
fn layout(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let columns: Vec<Column> = (0..header.len())
        .map(|index| Column::of(index, &header[index], rows))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&columns)
            .map(|(cell, column)| column.cell(cell));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rules = columns.iter().map(|column| "─".repeat(column.width));
    let mut lines = vec![line(&header), rules.collect::<Vec<_>>().join("  ")];
    lines.extend(rows.iter().map(line));
    lines
}

struct Column {
    width: usize,
    numbers: bool,
}

impl Column {
    fn of(index: usize, header: &str, rows: &[Vec<String>]) -> Self {
        let cells: Vec<&String> = rows.iter().filter_map(|row| row.get(index)).collect();
        let widths = cells.iter().map(|cell| cell.chars().count());
        let width = widths.max().unwrap_or(0).max(header.chars().count());
        let number = |cell: &str| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit());
        let numbers = cells
            .iter()
            .all(|cell| number(cell) && !cell.contains("->"));
        Self { width, numbers }
    }

    fn cell(&self, text: &str) -> String {
        let width = self.width;
        if self.numbers {
            format!("{text:>width$}")
        } else {
            format!("{text:<width$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_its_columns() {
        let rows = [
            vec!["round robin".into(), "100".into()],
            vec!["p2c".into(), "9".into()],
        ];
        let expected = [
            "policy       sim-1",
            "───────────  ─────",
            "round robin    100",
            "p2c              9",
        ];
        assert_eq!(layout(&["policy", "sim-1"], &rows), expected);
    }

    #[test]
    fn a_broken_claim_is_kept() {
        let mut show = Show::default();
        show.claim(true, "one");
        show.claim(false, "two");
        assert_eq!(show.claims(), (1, &["two".to_owned()][..]));
    }
}
