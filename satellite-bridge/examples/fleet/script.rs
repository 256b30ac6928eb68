//! What can be done to a fleet, in words.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// One line. A part of the fleet is `FIRST-LAST`, one number, or `all`, counted from 0 in each process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `stop PART`: switched off, without a word to the server.
    Stop(Range<usize>),
    /// `start PART`: switched on, on the disk and at the address that it had.
    Start(Range<usize>),
    /// `cut PART`: its connections break.
    Cut(Range<usize>),
    /// `break PART`, `mend PART`: no version starts there but those that it has now, or again each does.
    Break(Range<usize>, bool),
    /// `wait DURATION`, such as `1500ms`: nothing, for so long.
    Wait(Duration),
    /// `count`: when servers met members, in milliseconds since 1970.
    Count,
    /// `forget`: what was counted.
    Forget,
}

impl FromStr for Command {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        Ok(match words.as_slice() {
            ["stop", members] => Self::Stop(part(members)?),
            ["start", members] => Self::Start(part(members)?),
            ["cut", members] => Self::Cut(part(members)?),
            ["break", members] => Self::Break(part(members)?, true),
            ["mend", members] => Self::Break(part(members)?, false),
            ["wait", time] => Self::Wait(millis(time)?),
            ["count"] => Self::Count,
            ["forget"] => Self::Forget,
            _ => bail!("`{line}` is not a command"),
        })
    }
}

fn part(text: &str) -> anyhow::Result<Range<usize>> {
    if text == "all" {
        return Ok(0..usize::MAX);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse::<usize>()
            .with_context(|| format!("`{text}` is no number"))
    };
    Ok(number(first)?..number(last)?.saturating_add(1))
}

fn millis(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let number: u64 = number
        .parse()
        .with_context(|| format!("`{text}` is no time such as 1500ms or 2s"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let read = |line: &str| line.parse::<Command>().unwrap();
        assert_eq!(read("stop 3-5"), Command::Stop(3..6));
        assert_eq!(read("mend 7"), Command::Break(7..8, false));
        assert_eq!(read("cut all"), Command::Cut(0..usize::MAX));
        assert_eq!(read(" wait 2s"), Command::Wait(Duration::from_secs(2)));
        assert!("burn all".parse::<Command>().is_err() && "stop x".parse::<Command>().is_err());
    }
}
