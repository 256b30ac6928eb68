//! Lines of a satellite's journal for a person: time, priority by its name, and the message.
//!
//! **Invariant:** a line that does not look like one of the journal passes as it is; at most [`LONGEST`] bytes wait.

use std::io::{self, Write};

/// The priorities of RFC 5424 as journalctl names them, from 0.
pub(crate) const PRIORITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// Bytes of a line that are looked at together; more of it passes as it is.
const LONGEST: usize = 64 * 1024;

/// The longest piece of text that waits for the end of its line, in bytes.
const LONGEST_WAIT: usize = 1024 * 1024;

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As they came.
    AsTheyAre,
    /// Of one source, which need not be named.
    OneSource,
    /// Of many, each with its unit's name.
    ManySources,
}

impl Style {
    /// How the lines of `source` are shown.
    pub(crate) fn of(source: &str) -> Self {
        match source.split('/').count() {
            _ if source == "system" => Self::ManySources,
            1 | 2 => Self::OneSource,
            // A file of a workload: nobody knows what its lines look like.
            _ => Self::AsTheyAre,
        }
    }

    /// A line as it is shown.
    pub(crate) fn shown(self, line: &str) -> String {
        self.apply(line).unwrap_or_else(|| line.to_owned())
    }

    fn apply(self, line: &str) -> Option<String> {
        let mut fields = line.splitn(4, ' ');
        let mut field = || fields.next();
        let (time, unit, number, message) = (field()?, field()?, field()?, field()?);
        let priority = match number {
            "-" => "-",
            number => PRIORITIES.get(number.parse::<usize>().ok()?)?,
        };
        match self {
            Self::AsTheyAre => None,
            Self::OneSource => Some(format!("{time} {priority:<7} {message}")),
            Self::ManySources => Some(format!("{time} {priority:<7} {unit}: {message}")),
        }
    }
}

/// Writes lines on, in their style.
pub(crate) struct Lines<W> {
    sink: W,
    style: Style,
    waiting: Vec<u8>,
    is_inside: bool,
}

impl<W: Write> Lines<W> {
    pub(crate) fn new(sink: W, style: Style) -> Self {
        Self {
            sink,
            style,
            waiting: Vec::new(),
            is_inside: false,
        }
    }

    /// Writes what waits for the end of its line, and gives the sink back.
    pub(crate) fn into_inner(mut self) -> io::Result<W> {
        self.pass()?;
        Ok(self.sink)
    }

    /// Writes what waits: a line, or a part of one.
    fn pass(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let is_inside = std::mem::replace(&mut self.is_inside, !waiting.ends_with(b"\n"));
        let shown = std::str::from_utf8(&waiting)
            .ok()
            .filter(|_| !is_inside)
            .and_then(|line| self.style.apply(line));
        match shown {
            Some(line) => self.sink.write_all(line.as_bytes()),
            None => self.sink.write_all(&waiting),
        }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.style == Style::AsTheyAre {
            return self.sink.write(data);
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.waiting.extend_from_slice(part);
            if part.ends_with(b"\n") || self.waiting.len() > LONGEST {
                self.pass()?;
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Takes the lines that have come whole; one that is too long to wait for comes in pieces.
pub(crate) fn take_lines(text: &mut Vec<u8>) -> Vec<String> {
    let end = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if text.len() > LONGEST_WAIT => text.len(),
        None => return Vec::new(),
    };
    let rest = text.split_off(end);
    let whole = std::mem::replace(text, rest);
    let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
    whole
        .split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_when_they_are_whole_or_too_long_to_wait_for() {
        let mut text = b"one\n\ntwo\nthr".to_vec();
        assert_eq!(take_lines(&mut text), ["one", "", "two"]);
        assert!(take_lines(&mut text).is_empty());
        text.extend_from_slice(b"ee\n");
        assert_eq!(take_lines(&mut text), ["three"]);
        assert!(text.is_empty() && take_lines(&mut text).is_empty());
        text.resize(LONGEST_WAIT + 1, b'x');
        assert_eq!(take_lines(&mut text)[0].len(), LONGEST_WAIT + 1);
        assert!(text.is_empty());
    }

    #[track_caller]
    fn check(source: &str, came: &str, shown: &str) {
        for size in [1, 7, came.len().max(1)] {
            let mut lines = Lines::new(Vec::new(), Style::of(source));
            for piece in came.as_bytes().chunks(size) {
                lines.write_all(piece).unwrap();
            }
            let told = String::from_utf8(lines.into_inner().unwrap()).unwrap();
            assert_eq!(told, shown, "in pieces of {size}");
        }
    }

    #[test]
    fn one_source_shows_time_priority_and_message() {
        let came = "T1 a.service 6 one two\nT2 a.service 4  three\nT3 - - four\n";
        check(
            "bridge",
            came,
            "T1 info    one two\nT2 warning  three\nT3 -       four\n",
        );
        check("workload/a", "T1 a.service 3 x\n", "T1 err     x\n");
    }

    #[test]
    fn the_whole_journal_shows_units_too() {
        check("system", "T1 a.service 5 one\n", "T1 notice  a.service: one\n");
    }

    #[test]
    fn a_file_of_a_workload_is_shown_as_it_is() {
        check("workload/a/b.log", "T1 a 6 one\n", "T1 a 6 one\n");
    }

    #[test]
    fn what_does_not_look_like_the_journal_passes() {
        check(
            "bridge",
            "odd\nT a 9 x\nT a 6 the end",
            "odd\nT a 9 x\nT info    the end",
        );
    }

    #[test]
    fn a_line_longer_than_what_is_looked_at_is_whole() {
        let message = "x 6 y ".repeat(LONGEST);
        let mut lines = Lines::new(Vec::new(), Style::of("bridge"));
        lines.write_all(format!("T u 6 {message}\n").as_bytes()).unwrap();
        let told = String::from_utf8(lines.into_inner().unwrap()).unwrap();
        assert_eq!(told, format!("T info    {message}\n"));
    }
}
