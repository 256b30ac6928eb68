//! Reading the systemd journal, through a `journalctl` that lives as long as its reader.
//!
//! **Invariant:** memory is bounded by [`LINE_LIMIT`]; no text of a caller is taken as an option of `journalctl`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

use crate::exec::PATH;

/// Longest entry that is read, in bytes of JSON. Longer ones are passed over.
pub const LINE_LIMIT: usize = 1024 * 1024;

/// How long to look for a cursor.
const LOOK_UP: Duration = Duration::from_secs(20);

/// What is asked of `journalctl` for each entry; cursor and time are always there.
const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID,_TRANSPORT";

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// `journalctl` could not be started.
    #[error("cannot start `journalctl`")]
    Start(#[source] io::Error),
    /// What it writes could not be read.
    #[error("cannot read what `journalctl` writes")]
    Read(#[source] io::Error),
    /// It ended with an error.
    #[error("`journalctl` failed: {said}")]
    Failed {
        /// What it wrote to stderr.
        said: String,
    },
    /// It wrote something that is no entry.
    #[error("`journalctl` wrote an entry that makes no sense")]
    Entry(#[source] serde_json::Error),
    /// It took too long.
    #[error("`journalctl` took more than {0:?}")]
    Deadline(Duration),
}

/// Whose entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    #[default]
    All,
    /// One unit's, and what the service manager says about it.
    Unit(String),
    /// The kernel's, of all boots.
    Kernel,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Whose.
    pub scope: Scope,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Not younger.
    pub until: Option<Timestamp>,
    /// At least this urgent, 0 to 7.
    pub max_priority: Option<u8>,
    /// Only the last so many.
    pub lines: Option<u64>,
    /// Only those after the one with this cursor.
    pub after: Option<String>,
    /// Go on with new ones.
    pub follow: bool,
    /// Where the journal's files are; the machine's own if not set.
    pub directory: Option<PathBuf>,
}

impl Query {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            ["--output=json", "--all", "--no-pager", "--quiet", "--utc", FIELDS]
                .map(OsString::from)
                .into();
        let mut add = |argument: String| arguments.push(argument.into());
        if let Scope::Unit(unit) = &self.scope {
            add(format!("--unit={unit}"));
        }
        if let Some(since) = self.since {
            add(format!("--since=@{}", seconds(since)));
        }
        if let Some(until) = self.until {
            add(format!("--until=@{}", seconds(until)));
        }
        if let Some(priority) = self.max_priority {
            add(format!("--priority=0..{priority}"));
        }
        if let Some(cursor) = &self.after {
            add(format!("--after-cursor={cursor}"));
        }
        match (self.lines, self.follow) {
            (Some(lines), _) => add(format!("--lines={lines}")),
            (None, true) => add("--no-tail".to_owned()),
            (None, false) => {}
        }
        if self.follow {
            add("--follow".to_owned());
        }
        if let Some(directory) = &self.directory {
            let mut argument = OsString::from("--directory=");
            argument.push(directory);
            arguments.push(argument);
        }
        if self.scope == Scope::Kernel {
            arguments.push("_TRANSPORT=kernel".into());
        }
        arguments
    }
}

/// Seconds since 1970 with microseconds, as `journalctl` takes them.
fn seconds(time: Timestamp) -> String {
    let micros = time.as_microsecond().max(0);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub cursor: String,
    /// When it was written.
    pub time: Timestamp,
    /// The unit that it is of or about; "kernel" for the kernel; else the program's name; may be empty.
    pub unit: String,
    /// The process, where known.
    pub pid: Option<u32>,
    /// Syslog priority, 0 to 7, where known.
    pub priority: Option<u8>,
    /// What it says. Bytes that are not UTF-8 are replaced.
    pub message: String,
}

impl Entry {
    fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: Raw = serde_json::from_slice(line)?;
        let micros = raw.time.parse().unwrap_or_default();
        let is_kernel = raw
            .transport
            .as_ref()
            .is_some_and(|transport| transport.text() == "kernel");
        let unit = if is_kernel {
            Some("kernel".to_owned())
        } else {
            None
        };
        let named = || {
            [&raw.about, &raw.unit, &raw.identifier]
                .into_iter()
                .flatten()
                .next()
                .map(Text::text)
        };
        Ok(Self {
            cursor: raw.cursor,
            time: Timestamp::from_microsecond(micros).unwrap_or_default(),
            unit: unit.or_else(named).unwrap_or_default(),
            pid: raw.pid.and_then(|pid| pid.text().parse().ok()),
            priority: raw
                .priority
                .and_then(|priority| priority.text().parse().ok())
                .filter(|value| *value < 8),
            message: raw.message.map(|message| message.text()).unwrap_or_default(),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
    #[serde(rename = "MESSAGE")]
    message: Option<Text>,
    #[serde(rename = "PRIORITY")]
    priority: Option<Text>,
    #[serde(rename = "UNIT")]
    about: Option<Text>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<Text>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Text>,
    #[serde(rename = "_PID")]
    pid: Option<Text>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Text>,
}

/// A field: text, bytes if it is not printable, several of these if it was given more than once.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Bytes(Vec<u8>),
    Many(Vec<Self>),
}

impl Text {
    fn text(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Many(many) => many.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Reads entries. Dropping it ends `journalctl`.
#[derive(Debug)]
pub struct Reader {
    child: Child,
    stdout: ChildStdout,
    pending: Vec<u8>,
    /// How much of `pending` is known to hold no end of line.
    searched: usize,
    /// In the middle of an entry that is too long.
    skipping: bool,
}

impl Reader {
    /// Begins to read what `query` asks for.
    ///
    /// # Errors
    ///
    /// [`JournalError::Start`].
    pub fn start(query: &Query) -> Result<Self, JournalError> {
        Self::spawn(query.arguments())
    }

    fn spawn(arguments: Vec<OsString>) -> Result<Self, JournalError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a child that is read while it runs, which exec does not do"
        )]
        let mut command = Command::new("journalctl");
        let mut child = command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(JournalError::Start)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| JournalError::Start(io::Error::other("it has no stdout")))?;
        Ok(Self {
            child,
            stdout,
            pending: Vec::new(),
            searched: 0,
            skipping: false,
        })
    }

    /// The next entry, oldest first; none at the end. With `follow` it waits for new ones.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: there is nothing more to read.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was read of an entry is kept for the next call.
    pub async fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.is_empty() {
                    return Entry::parse(&line).map(Some).map_err(JournalError::Entry);
                }
            }
            if self.pending.len() > LINE_LIMIT {
                tracing::debug!(
                    limit = LINE_LIMIT,
                    "An entry of the journal is too long and is passed over"
                );
                self.pending.clear();
                self.searched = 0;
                self.skipping = true;
            }
            self.pending.reserve(64 * 1024);
            if self
                .stdout
                .read_buf(&mut self.pending)
                .await
                .map_err(JournalError::Read)?
                == 0
            {
                return self.end().await;
            }
        }
    }

    /// A whole line from what was read, without its end; empty for one that is passed over.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.pending.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.pending.len();
            return None;
        };
        let rest = self
            .pending
            .split_off(self.searched.saturating_add(found).saturating_add(1));
        let mut line = std::mem::replace(&mut self.pending, rest);
        self.searched = 0;
        line.pop();
        if std::mem::take(&mut self.skipping) {
            line.clear();
        }
        Some(line)
    }

    async fn end(&mut self) -> Result<Option<Entry>, JournalError> {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr
                .take(2048)
                .read_to_end(&mut said)
                .await
                .map_err(JournalError::Read)?;
        }
        let status = self.child.wait().await.map_err(JournalError::Read)?;
        if status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(JournalError::Failed {
            said: if said.is_empty() { status.to_string() } else { said },
        })
    }
}

/// Whether the entry with `cursor` is still in the journal (asked for a directory other than the machine's own, there).
///
/// # Errors
///
/// [`JournalError::Deadline`], [`JournalError::Start`]. A cursor that is none is not an error: nobody knows it.
pub async fn knows(cursor: &str, directory: Option<PathBuf>) -> Result<bool, JournalError> {
    let query = Query {
        directory,
        ..Query::default()
    };
    let mut arguments = query.arguments();
    arguments.push(format!("--cursor={cursor}").into());
    arguments.push("--lines=1".into());
    let mut reader = Reader::spawn(arguments)?;
    match tokio::time::timeout(LOOK_UP, reader.next()).await {
        Ok(Ok(entry)) => Ok(entry.is_some_and(|entry| entry.cursor == cursor)),
        Ok(Err(JournalError::Failed { .. })) => Ok(false),
        Ok(Err(err)) => Err(err),
        Err(_) => Err(JournalError::Deadline(LOOK_UP)),
    }
}

#[cfg(test)]
mod tests;
