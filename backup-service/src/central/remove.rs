//! Removes files of a central that lie in an archive, if they are still what the archive holds.
//!
//! **Invariants:** nothing is removed but a regular file at or below a path of the plan whose size, time and digest are those of the
//! archive. It is named from within its directory, which was entered without a symbolic link on the way: over SFTP each name is
//! resolved anew, so that whoever may write there could lead a removal elsewhere. The central's own shell does it therefore.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use satellite_host::fail_point;
use tokio::sync::mpsc::Receiver;

use super::exec::Running;
use super::plan::DataSet;
use super::{Central, CentralError, shown};
use crate::archive::names;

/// Files that the shell is given at once; it answers each before it is given more.
const TOGETHER: usize = 64;
/// Problems that are kept by name; the others are counted.
const KEPT: usize = 20;
/// How long the shell may take to say that it is there.
const BEGIN: Duration = Duration::from_secs(60);
/// How long a removal may take: large files are read whole. A line that is cut is noticed long before.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of an answer.
const LONGEST_ANSWER: usize = 4096;

/// Takes lines of size, time, digest, and as `printf %b` has them: the directory above the configured path, the one of the file
/// below that, and its name, each after a `=`. Answers each with a line.
///
/// `pwd -P` says where the shell is in truth. What is named from there stays there, whatever becomes of the path.
const REMOVE: &str = r#"export LC_ALL=C
line_end='
'
for program in stat sha256sum rm; do
  command -v "$program" >/dev/null || { printf 'lacks %s\n' "$program"; exit 0; }
done
plain() { text=$(printf '%bx' "${1#=}"); text=${text%x}; }
failed() { printf 'failed %s\n' "${1%%"$line_end"*}"; }
look() { stat -c '%f:%s:%Y:%y:%z:%d:%i' -- "$1" 2>/dev/null; }
enter() {
  [ "$above $below" != "$at" ] || return "$in"
  at="$above $below" in=1
  plain "$above"
  cd -P -- "${text:-/}" 2>/dev/null || return 1
  top=$(pwd -P; printf x); top=${top%?x}; [ "$top" != / ] || top=
  plain "$below"
  if [ -n "$text" ]; then
    way=$top/$text
    cd -P -- "$way" 2>/dev/null || return 1
    truth=$(pwd -P; printf x)
    [ "${truth%?x}" = "$way" ] || return 1
  fi
  in=0
}
one() {
  enter || { failed 'its directory cannot be entered, or lies behind a symbolic link'; return; }
  plain "$name"
  file=./$text
  before=$(look "$file") || {
    if [ -e "$file" ] || [ -L "$file" ]; then failed 'it cannot be looked at'; else echo changed; fi
    return
  }
  case $before in 8???:"$size:$when":*) ;; *) echo changed; return ;; esac
  found=$(sha256sum <"$file" 2>&1) || { failed "${found:-it cannot be read}"; return; }
  [ "${found%% *}" = "$digest" ] || { echo changed; return; }
  [ "$(look "$file")" = "$before" ] || { echo changed; return; }
  why=$(rm -f -- "$file" </dev/null 2>&1) || { failed "${why:-it cannot be removed}"; return; }
  echo gone
}
at= in=1
echo ready
while read -r size when digest above below name; do one; done"#;

/// A file as the archive holds it; its digest was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The data set that it belongs to.
    pub data_set: names::DataSet,
    /// Its path relative to `/`.
    pub path: Bytes,
    /// Bytes of it.
    pub size: u64,
    /// Last change in seconds: all that was kept of it.
    pub modified: i64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// What comes of an archive.
#[derive(Debug)]
pub enum Piece {
    /// A file.
    File(Archived),
    /// The archive cannot be read any further, and why.
    Broken(String),
    /// Everything came.
    Whole,
}

/// What became of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// They are gone.
    pub gone: u64,
    /// They are something else by now, or lie elsewhere: they stay.
    pub changed: u64,
    /// They stay because they could not be removed.
    pub failed: u64,
    /// The first of those, each with its reason.
    pub problems: Vec<String>,
}

/// Where a file lies: what is above the configured path, what is between that and its name, its name.
struct Place<'a> {
    above: &'a [u8],
    below: &'a [u8],
    name: &'a [u8],
}

/// Removes what comes, if it lies where `sets` say and was last changed before `limit`. `told` hears how many were looked at.
/// Dropped, it ends with the file that is looked at.
///
/// # Errors
/// [`CentralError`]; what is gone by then stays so.
pub async fn remove(
    central: &Central,
    (sets, limit): (&[DataSet], Option<Timestamp>),
    mut pieces: Receiver<Piece>,
    told: impl Fn(u64) + Send,
) -> Result<Report, CentralError> {
    let mut shell = Shell::begin(central).await?;
    let (mut report, mut together) = (Report::default(), Vec::new());
    loop {
        if pieces.recv_many(&mut together, TOGETHER).await == 0 {
            return Err(CentralError::Cancelled);
        }
        let (mut end, mut files) = (None, Vec::new());
        for piece in together.drain(..) {
            match piece {
                Piece::File(file) => files.push(file),
                last => end = Some(last),
            }
        }
        // What came whole before the archive broke is as good as ever.
        shell.remove(sets, limit, &files, &mut report).await?;
        told(report.gone + report.changed + report.failed);
        match end {
            None | Some(Piece::File(_)) => {}
            Some(Piece::Broken(why)) => return Err(CentralError::Archive(why)),
            Some(Piece::Whole) => {
                shell.end().await?;
                return Ok(report);
            }
        }
    }
}

/// The central's shell, and what it said and was not taken yet.
struct Shell {
    running: Running,
    said: BytesMut,
}

impl Shell {
    async fn begin(central: &Central) -> Result<Self, CentralError> {
        let argv = ["sh", "-c", REMOVE].map(str::to_owned);
        let running = Running::fed(&central.ssh, &argv, LONGEST).await?;
        let mut shell = Self {
            running,
            said: BytesMut::new(),
        };
        let first = tokio::time::timeout(BEGIN, shell.answer()).await;
        let first = first.map_err(|_| {
            CentralError::Other(
                "the central runs no shell for that user, without which nothing is removed there".to_owned(),
            )
        })??;
        match first.as_str() {
            "ready" => Ok(shell),
            other => Err(CentralError::Other(match other.strip_prefix("lacks ") {
                Some(program) => {
                    format!("the central has no `{program}`, without which nothing is removed there")
                }
                None => {
                    format!("the central's shell said {other:?} where it should have said that it is there")
                }
            })),
        }
    }

    async fn remove(
        &mut self,
        sets: &[DataSet],
        limit: Option<Timestamp>,
        files: &[Archived],
        report: &mut Report,
    ) -> Result<(), CentralError> {
        let (mut asked, mut lines) = (Vec::new(), String::new());
        for file in files {
            let path = [b"/", &file.path[..]].concat();
            let is_old = limit.is_none_or(|limit| file.modified < limit.as_second());
            let set = sets.iter().find(|set| set.name == file.data_set);
            match set.and_then(|set| place(set, &path)).filter(|_| is_old) {
                None => report.changed += 1,
                Some(place) => {
                    lines.push_str(&line(file, &place));
                    asked.push(path);
                }
            }
        }
        self.running.give(Bytes::from(lines)).await?;
        for path in asked {
            let answer = self.answer().await?;
            match answer.as_str() {
                "gone" => {
                    report.gone += 1;
                    fail_point("central.removed");
                }
                "changed" => report.changed += 1,
                other => {
                    report.failed += 1;
                    if report.problems.len() < KEPT {
                        let why = other.strip_prefix("failed ").unwrap_or(other);
                        report.problems.push(format!("{}: {why}", shown(&path)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The next line that it says.
    async fn answer(&mut self) -> Result<String, CentralError> {
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line = self.said.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.running.print().await? {
                Some(more) if self.said.len() + more.len() <= TOGETHER * LONGEST_ANSWER => {
                    self.said.extend_from_slice(&more);
                }
                Some(_) => {
                    return Err(CentralError::Other(
                        "the central's shell says too much".to_owned(),
                    ));
                }
                None => {
                    self.running.ended()?;
                    let why = "the central's shell ended before it had answered";
                    return Err(CentralError::Other(why.to_owned()));
                }
            }
        }
    }

    async fn end(mut self) -> Result<(), CentralError> {
        self.running.given().await;
        Ok(self.running.finish().await?)
    }
}

/// Where a file of a data set lies; none: elsewhere.
fn place<'a>(set: &DataSet, path: &'a [u8]) -> Option<Place<'a>> {
    let root = set.root_of(path)?;
    let above = root.iter().rposition(|byte| *byte == b'/')?;
    let name = path.iter().rposition(|byte| *byte == b'/')? + 1;
    Some(Place {
        above: &path[..above],
        // Nothing if the file itself is what is configured.
        below: path.get(above + 1..name - 1).unwrap_or_default(),
        name: &path[name..],
    })
}

/// As the shell takes it.
fn line(file: &Archived, place: &Place<'_>) -> String {
    let mut line = format!("{} {} ", file.size, file.modified);
    for byte in file.sha256 {
        // A string takes everything.
        let _whole = write!(line, "{byte:02x}");
    }
    for part in [place.above, place.below, place.name] {
        line.push_str(" =");
        for byte in part {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                    line.push(char::from(*byte))
                }
                other => {
                    let _whole = write!(line, "\\0{other:03o}");
                }
            }
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::super::plan::Written;
    use super::*;

    #[test]
    fn a_file_is_named_by_what_is_configured_and_what_is_below_it() {
        let set = DataSet::check(Written {
            name: "cdr".to_owned(),
            paths: vec![Bytes::from_static(b"/var/spool"), Bytes::from_static(b"/log")],
            ..Written::default()
        })
        .unwrap();
        let parts = |path: &'static [u8]| {
            place(&set, path).map(|place| [place.above, place.below, place.name].map(<[u8]>::to_vec))
        };
        let wanted = |parts: [&str; 3]| Some(parts.map(|part| part.as_bytes().to_vec()));
        assert_eq!(parts(b"/var/spool/a/b"), wanted(["/var", "spool/a", "b"]));
        assert_eq!(parts(b"/var/spool/b"), wanted(["/var", "spool", "b"]));
        assert_eq!(parts(b"/var/spool"), wanted(["/var", "", "spool"]));
        assert_eq!(parts(b"/log/b"), wanted(["", "log", "b"]));
        assert_eq!(parts(b"/var/spoola"), None);
    }

    #[test]
    fn a_line_has_as_many_words_whatever_is_in_a_name() {
        let file = Archived {
            data_set: "cdr".parse().unwrap(),
            path: Bytes::new(),
            size: 7,
            modified: -1,
            sha256: [0xab; 32],
        };
        let place = Place {
            above: b"",
            below: b"a b\n",
            name: b"\\0101%s\xff$(x)`'=",
        };
        let text = line(&file, &place);
        assert_eq!(text.matches('\n').count(), 1);
        let words: Vec<_> = text.trim_end().split(' ').collect();
        assert_eq!((words.len(), words[0], words[1]), (6, "7", "-1"));
        assert_eq!(words[4], "=a\\0040b\\0012");
        assert_eq!(
            words[5],
            "=\\01340101\\0045s\\0377\\0044\\0050x\\0051\\0140\\0047\\0075"
        );
    }
}
