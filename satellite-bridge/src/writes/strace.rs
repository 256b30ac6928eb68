//! Runs a test under `strace`, and reads what it did to files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use std::collections::HashMap;

/// Everything by which a process changes files or brings them to the disk.
const CALLS: &str = "openat,openat2,write,writev,pwrite64,pwritev,copy_file_range,sendfile,rename,renameat,renameat2,unlink,\
                     unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat,ftruncate,truncate,fallocate,fsync,fdatasync,\
                     syncfs,sync,chmod,fchmod,fchmodat,lseek";

/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    /// What it answered.
    pub(super) result: u64,
    /// What the answer opens, if it opens something.
    pub(super) opened: Option<PathBuf>,
}

impl Call {
    /// The same, as it is when only the first half of what it writes comes to a disk; none: it comes there at once or not at all.
    pub(super) fn half(&self) -> Option<Self> {
        let writes = matches!(self.name.as_str(), "write" | "pwrite64");
        let half = self.result / 2 / SECTOR * SECTOR;
        (writes && half > 0).then(|| Self {
            result: half,
            ..self.clone()
        })
    }
}

/// An argument, as `strace` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    /// Flags and numbers.
    pub(super) word: String,
    /// Where an open file lies.
    pub(super) place: Option<PathBuf>,
    /// All that is quoted in it.
    pub(super) bytes: Vec<u8>,
}

impl Argument {
    pub(super) fn number(&self) -> Option<u64> {
        match self.word.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            Some(octal) => u64::from_str_radix(octal, 8).ok(),
            None => self.word.parse().ok(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}

/// Runs the ignored test `name` of this program with these variables, and answers what it did to files.
pub(crate) async fn record(name: &str, variables: &[(&str, &OsStr)]) -> Vec<Call> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("calls");
    #[expect(clippy::disallowed_methods, reason = "the process that is watched is a test")]
    let ended = tokio::process::Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "100000000", "-o"])
        .arg(&log)
        .arg("-e")
        .arg(format!("trace={CALLS}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .await
        .expect("strace is needed: run `make setup`");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    parse(&std::fs::read_to_string(&log).unwrap())
}

/// The calls that succeeded, in the order in which they ended.
pub(super) fn parse(log: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((process, text)) = line.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start);
        } else if let Some((_, rest)) = text.split_once(" resumed>").filter(|_| text.starts_with("<... ")) {
            let start = begun.remove(process).unwrap_or_default();
            calls.extend(call(&format!("{start}{rest}")));
        } else {
            calls.extend(call(text));
        }
    }
    calls
}

/// One call as it is shown; none if it failed, or is none.
fn call(text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let (number, opened) = match result.split_once('<') {
        Some((number, place)) => (number, Some(path_of(place.strip_suffix('>')?))),
        None => (result.split(' ').next()?, None),
    };
    Some(Call {
        name: name.to_owned(),
        arguments: split(arguments).into_iter().map(argument).collect(),
        result: number.parse().ok()?,
        opened,
    })
}

/// Splits at commas outside of brackets. Nothing that is quoted has one: it is all in hexadecimal.
fn split(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found
}

fn argument(text: &str) -> Argument {
    let (word, place) = match text.split_once('<') {
        Some((word, place)) if !text.starts_with(['[', '{', '"']) => {
            (word, Some(path_of(place.trim_end_matches('>'))))
        }
        _ => (text, None),
    };
    let bytes = text.split('"').skip(1).step_by(2).flat_map(unescaped).collect();
    Argument {
        word: word.to_owned(),
        place,
        bytes,
    }
}

fn path_of(text: &str) -> PathBuf {
    Path::new(OsStr::from_bytes(&unescaped(text))).to_owned()
}

/// `\x61` for each byte; what is not so (`pipe:[1]`) is taken as it is.
fn unescaped(text: &str) -> Vec<u8> {
    let hexadecimal = text.split("\\x").skip(1);
    let bytes: Option<Vec<u8>> = hexadecimal
        .map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok())
        .collect();
    bytes
        .filter(|bytes| bytes.len() * 4 == text.len())
        .unwrap_or_else(|| text.as_bytes().to_vec())
}
