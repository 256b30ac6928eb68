//! The console's PIN: how it is kept and checked.
//!
//! **Invariant:** only a slow hash is on the disk. Wrong tries slow the next ones down on all consoles together. A record
//! that is damaged opens nothing: the way out is a factory reset from the rescue page.

use std::{io, path::PathBuf, time::Duration};

use data_encoding::HEXLOWER;
use rand::{TryRngCore as _, rngs::OsRng};
use satellite_host::clock;
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    journal::{self, JournalError},
};

/// Shortest PIN.
pub(super) const SHORTEST: usize = 6;
/// Longest PIN.
pub(super) const LONGEST: usize = 32;
/// Wrong tries that cost nothing.
const FREE_TRIES: u32 = 4;
/// The first wait.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// scrypt: 16 MiB and some tens of milliseconds a try.
const COST: u8 = 14;

/// Why a PIN cannot be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    #[error("the record of the PIN cannot be written")]
    Record(#[source] JournalError),
    #[error("the PIN cannot be hashed")]
    Hash,
    #[error("the machine has no randomness")]
    Randomness,
}

/// Whether the menu opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// There is no PIN.
    Open,
    /// A PIN is asked for.
    Closed,
    /// No try is taken for so long.
    Wait(Duration),
    /// No PIN can be right.
    Damaged,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    cost: u8,
    salt: String,
    hash: String,
}

/// Wrong tries since the last right one. It is in `/run`: gone with a restart, which takes longer than a wait.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Tries {
    wrong: u32,
    /// Seconds of uptime before which no try is taken.
    until: u64,
}

/// The PIN of this satellite.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    record: PathBuf,
    tries: PathBuf,
    /// Holds when `/run` cannot be written.
    remembered: Tries,
}

impl Pin {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            record: config.state_dir.join("console-pin.json"),
            tries: config.run_dir.join("console-tries.json"),
            remembered: Tries::default(),
        }
    }

    /// Whether a PIN is asked for now.
    pub(super) fn gate(&self) -> Gate {
        match journal::read::<Record>(&self.record) {
            Ok(None) => return Gate::Open,
            Ok(Some(_)) => {}
            Err(_) => return Gate::Damaged,
        }
        let until = self.tries().until.saturating_sub(uptime());
        if until > 0 {
            return Gate::Wait(Duration::from_secs(until));
        }
        Gate::Closed
    }

    /// Whether this is the PIN. A wrong one is counted before the answer is known.
    pub(super) fn is_right(&mut self, typed: &str) -> bool {
        let Ok(Some(record)) = journal::read::<Record>(&self.record) else {
            return false;
        };
        let mut tries = self.tries();
        tries.wrong = tries.wrong.saturating_add(1);
        tries.until = uptime().saturating_add(wait_after(tries.wrong).as_secs());
        self.remember(tries);
        let Ok(salt) = HEXLOWER.decode(record.salt.as_bytes()) else {
            return false;
        };
        let Some(hash) = hash(typed, &salt, record.cost) else {
            return false;
        };
        let is_right = same(hash.as_bytes(), record.hash.as_bytes());
        if is_right {
            self.remember(Tries::default());
        }
        is_right
    }

    /// Asks for this PIN from now on.
    pub(super) fn set(&self, pin: &str) -> Result<(), PinError> {
        let mut salt = [0_u8; 16];
        OsRng
            .try_fill_bytes(&mut salt)
            .map_err(|_| PinError::Randomness)?;
        let hash = hash(pin, &salt, COST).ok_or(PinError::Hash)?;
        let record = Record {
            cost: COST,
            salt: HEXLOWER.encode(&salt),
            hash,
        };
        journal::write(&self.record, &record).map_err(PinError::Record)
    }

    /// Asks for none.
    pub(super) fn remove(&self) -> Result<(), PinError> {
        journal::remove(&self.record).map_err(PinError::Record)
    }

    fn tries(&self) -> Tries {
        let kept = journal::read::<Tries>(&self.tries)
            .ok()
            .flatten()
            .unwrap_or_default();
        if self.remembered.wrong > kept.wrong {
            self.remembered.clone()
        } else {
            kept
        }
    }

    fn remember(&mut self, tries: Tries) {
        if let Err(error) = journal::write(&self.tries, &tries) {
            tracing::warn!(%error, "Wrong PINs are counted by this console only");
        }
        self.remembered = tries;
    }
}

/// How long nothing is taken after so many wrong tries.
fn wait_after(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE_TRIES + 1) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT
            .saturating_mul(2_u32.saturating_pow(more))
            .min(LONGEST_WAIT),
    }
}

fn hash(pin: &str, salt: &[u8], cost: u8) -> Option<String> {
    // A damaged record may not ask for all memory.
    let parameters = scrypt::Params::new(cost.min(16), 8, 1, 32).ok()?;
    let mut key = [0_u8; 32];
    scrypt::scrypt(pin.as_bytes(), salt, &parameters, &mut key).ok()?;
    Some(HEXLOWER.encode(&key))
}

/// In a time that does not depend on where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && difference == 0
}

fn uptime() -> u64 {
    let read: io::Result<Duration> = clock::uptime();
    read.map_or(0, |uptime| uptime.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(dir: &std::path::Path) -> Pin {
        let config = Config {
            state_dir: dir.to_owned(),
            run_dir: dir.to_owned(),
            ..Config::default()
        };
        Pin::new(&config)
    }

    #[test]
    fn only_the_pin_opens_and_it_is_not_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut pin = pin(dir.path());
        assert_eq!(pin.gate(), Gate::Open);
        pin.set("246810").unwrap();
        assert_eq!(pin.gate(), Gate::Closed);
        assert!(!pin.is_right("246811") && !pin.is_right("") && pin.is_right("246810"));
        let record = std::fs::read_to_string(dir.path().join("console-pin.json")).unwrap();
        assert!(!record.contains("246810"));
        pin.remove().unwrap();
        assert_eq!(pin.gate(), Gate::Open);
    }

    #[test]
    fn the_fifth_wrong_pin_makes_every_console_wait() {
        let dir = tempfile::tempdir().unwrap();
        let mut one = pin(dir.path());
        one.set("246810").unwrap();
        for _ in 0..FREE_TRIES {
            assert!(!one.is_right("wrong1"));
            assert_eq!(one.gate(), Gate::Closed);
        }
        assert!(!one.is_right("wrong1"));
        assert!(
            matches!(pin(dir.path()).gate(), Gate::Wait(_)),
            "another console does not wait"
        );
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let waits: Vec<_> = [0, 4, 5, 6, 7, 10, u32::MAX]
            .into_iter()
            .map(|wrong| wait_after(wrong).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 30, 60, 120, 900, 900]);
    }

    #[test]
    fn a_damaged_record_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut pin = pin(dir.path());
        satellite_host::files::write_atomic(&dir.path().join("console-pin.json"), b"{}", 0o600).unwrap();
        assert_eq!(pin.gate(), Gate::Damaged);
        assert!(!pin.is_right(""));
    }

    #[test]
    fn wrong_tries_count_when_they_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut pin = pin(dir.path());
        pin.set("246810").unwrap();
        pin.tries = "/proc/none/tries.json".into();
        for _ in 0..=FREE_TRIES {
            assert!(!pin.is_right("wrong1"));
        }
        assert!(matches!(pin.gate(), Gate::Wait(_)));
    }
}
