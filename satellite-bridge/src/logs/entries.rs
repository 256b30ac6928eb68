//! Entries of the journal as lines.

use std::fmt::Write as _;
use std::time::Duration;

use satellite_host::journal::{self, Entry, JournalError, Reader, Scope};

use super::stream::{self, CHUNK, Compressor};
use super::{Format, LogError, Piece, Query, Sink};

/// How long lines wait for more of them before they are sent, when new ones are followed.
const GATHER: Duration = Duration::from_millis(50);

/// Longest cursor that is passed on to `journalctl`.
const MAX_CURSOR: usize = 512;

/// Begins to read the journal.
pub(super) async fn open(query: &Query, scope: Scope) -> Result<Reader, LogError> {
    if let Some(cursor) = &query.cursor {
        let plain = cursor
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"=;-".contains(&byte));
        if !plain || cursor.len() > MAX_CURSOR {
            return Err(LogError::Invalid("this is not a cursor of the journal"));
        }
        if !journal::knows(cursor, None).await.map_err(LogError::Journal)? {
            return Err(LogError::UnknownCursor);
        }
    }
    let asked = journal::Query {
        scope,
        since: query.since,
        until: query.until,
        max_priority: query.max_priority,
        lines: if query.cursor.is_some() { None } else { query.lines },
        after: query.cursor.clone(),
        follow: query.follow,
        directory: None,
    };
    Reader::start(&asked).map_err(LogError::Journal)
}

/// Sends all entries, until the end or until nobody listens any more.
pub(super) async fn send(reader: Reader, query: &Query, sink: Sink) {
    let mut batch = match Batch::new(query) {
        Ok(batch) => batch,
        Err(err) => return drop(sink.send(Err(err)).await),
    };
    tokio::select! {
        () = sink.closed() => {}
        result = pump(reader, query, &mut batch, &sink) => {
            if let Err(err) = result {
                let _ = sink.send(Err(err)).await;
            }
        }
    }
}

async fn pump(mut reader: Reader, query: &Query, batch: &mut Batch, sink: &Sink) -> Result<(), LogError> {
    loop {
        let next = if query.follow && !batch.is_empty() {
            tokio::time::timeout(GATHER, reader.next()).await.ok()
        } else {
            Some(reader.next().await)
        };
        let piece = match next {
            Some(Ok(Some(entry))) => batch.add(&entry)?,
            Some(Ok(None)) => break,
            Some(Err(err)) => return Err(LogError::Journal(err)),
            None => batch.flush()?,
        };
        for piece in piece {
            if sink.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
    }
    for piece in batch.end()? {
        if sink.send(Ok(piece)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Lines that wait to be sent.
struct Batch {
    format: Format,
    compressor: Compressor,
    lines: Vec<u8>,
    count: u64,
    cursor: String,
}

impl Batch {
    fn new(query: &Query) -> Result<Self, LogError> {
        let compressor = Compressor::new().map_err(LogError::Read)?;
        let cursor = query.cursor.clone().unwrap_or_default();
        Ok(Self {
            format: query.format,
            compressor,
            lines: Vec::new(),
            count: 0,
            cursor,
        })
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a line; what was there before becomes pieces if there is no more room.
    fn add(&mut self, entry: &Entry) -> Result<Vec<Piece>, LogError> {
        let line = match self.format {
            Format::Text => text(entry),
            Format::Json => json(entry)?,
        };
        let mut pieces = Vec::new();
        if self.lines.len().saturating_add(line.len()) > CHUNK {
            pieces = self.flush()?;
        }
        self.lines.extend_from_slice(line.as_bytes());
        let before = std::mem::replace(&mut self.cursor, entry.cursor.clone());
        // A line that is longer than a piece: until its end is sent, the place to go on is before it.
        while self.lines.len() > CHUNK {
            let rest = self.lines.split_off(CHUNK);
            let data = self.compressor.piece(&self.lines).map_err(LogError::Read)?;
            self.lines = rest;
            pieces.push(Piece {
                data,
                cursor: before.clone(),
                lines: self.count,
            });
        }
        self.count = self.count.saturating_add(1);
        Ok(pieces)
    }

    fn flush(&mut self) -> Result<Vec<Piece>, LogError> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        let data = self.compressor.piece(&self.lines).map_err(LogError::Read)?;
        self.lines.clear();
        Ok(vec![Piece {
            data,
            cursor: self.cursor.clone(),
            lines: self.count,
        }])
    }

    fn end(&mut self) -> Result<Vec<Piece>, LogError> {
        let mut pieces = self.flush()?;
        let data = stream::end().map_err(LogError::Read)?;
        pieces.push(Piece {
            data,
            cursor: self.cursor.clone(),
            lines: self.count,
        });
        Ok(pieces)
    }
}

/// Time, unit, priority, message: one line, in which nothing moves a terminal's cursor.
fn text(entry: &Entry) -> String {
    let mut line = format!("{:.6} ", entry.time);
    printable(&mut line, if entry.unit.is_empty() { "-" } else { &entry.unit });
    // Writing to a String cannot fail.
    let _ = match entry.priority {
        Some(priority) => write!(line, " {priority} "),
        None => write!(line, " - "),
    };
    printable(&mut line, &entry.message);
    line.push('\n');
    line
}

fn printable(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
    }
}

fn json(entry: &Entry) -> Result<String, LogError> {
    let value = serde_json::json!({
        "time": format!("{:.6}", entry.time),
        "unit": entry.unit,
        "pid": entry.pid,
        "priority": entry.priority,
        "message": entry.message,
    });
    let mut line =
        serde_json::to_string(&value).map_err(|err| LogError::Journal(JournalError::Entry(err)))?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        Entry {
            cursor: "s=1;i=2".into(),
            time: jiff::Timestamp::from_microsecond(1_700_000_000_000_000).unwrap(),
            unit: "a.service".into(),
            pid: Some(7),
            priority: Some(6),
            message: message.into(),
        }
    }

    #[test]
    fn a_line_of_text_is_one_line_whatever_the_message_holds() {
        let line = text(&entry("one\ntwo\u{1b}[2Jü"));
        assert_eq!(
            line,
            "2023-11-14T22:13:20.000000Z a.service 6 one\\ntwo\\u{1b}[2Jü\n"
        );
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let line = json(&entry("one\ntwo")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "one\ntwo");
        assert_eq!(value["time"], "2023-11-14T22:13:20.000000Z");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_line_longer_than_a_piece_is_cut_and_its_cursor_comes_with_its_end() {
        let mut batch = Batch::new(&Query::default()).unwrap();
        let cut = batch.add(&entry(&"x".repeat(2 * CHUNK))).unwrap();
        assert_eq!(
            cut.iter()
                .map(|piece| (piece.cursor.as_str(), piece.lines))
                .collect::<Vec<_>>(),
            [("", 0); 2]
        );
        let end = batch.end().unwrap();
        assert_eq!((end[0].cursor.as_str(), end[0].lines), ("s=1;i=2", 1));
        let stream: Vec<u8> = cut
            .iter()
            .chain(&end)
            .flat_map(|piece| piece.data.to_vec())
            .collect();
        assert_eq!(
            zstd::decode_all(stream.as_slice()).unwrap(),
            text(&entry(&"x".repeat(2 * CHUNK))).as_bytes()
        );
    }
}
