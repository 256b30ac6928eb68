//! The time of day, the boot, and how long the machine has been up.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// The time of day as the machine believes it to be.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The id of this boot: another one after each start of the machine, the same for all processes in between.
///
/// # Errors
///
/// If the kernel does not tell it.
pub fn boot_id() -> io::Result<Uuid> {
    read_boot_id(Path::new("/proc/sys/kernel/random/boot_id"))
}

/// How long the machine has been up, including time asleep.
///
/// # Errors
///
/// If the kernel does not tell it.
pub fn uptime() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text
        .split_ascii_whitespace()
        .next()
        .and_then(|field| field.parse::<f64>().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/uptime is not a number"))
}

/// When the machine was started, by the clock of today: it moves when the clock is set.
///
/// # Errors
///
/// As [`uptime`].
pub fn boot_time() -> io::Result<Timestamp> {
    let up = uptime()?;
    now()
        .checked_sub(jiff::SignedDuration::try_from(up).map_err(io::Error::other)?)
        .map_err(io::Error::other)
}

fn read_boot_id(file: &Path) -> io::Result<Uuid> {
    let text = fs::read_to_string(file)?;
    Uuid::parse_str(text.trim()).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_stays_the_same_within_a_boot() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }

    #[test]
    fn the_machine_was_started_in_the_past() {
        assert!(boot_time().unwrap() <= now());
        assert!(uptime().unwrap() > Duration::ZERO);
    }

    #[test]
    fn a_boot_id_that_is_none_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(
            read_boot_id(file.path()).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
