//! Writing the exposition format.

use std::fmt::Write;

/// An exposition in the making. A family without samples leaves no trace.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    header: String,
    name: &'static str,
}

impl Text {
    /// Starts a family: all samples until the next one belong to it.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.header = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(&std::mem::take(&mut self.header));
        self.out.push_str(self.name);
        for (index, (name, label)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            label.chars().for_each(|c| self.escape(c));
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.out, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn escape(&mut self, c: char) {
        match c {
            '\\' => self.out.push_str("\\\\"),
            '"' => self.out.push_str("\\\""),
            '\n' => self.out.push_str("\\n"),
            other => self.out.push(other),
        }
    }
}
