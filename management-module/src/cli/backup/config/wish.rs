//! What may be said of a configuration: by flags or in a TOML file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use satellite_proto::wire::backup::v1::Encryption;
use satellite_proto::wire::management::v1 as pb;

use super::super::super::destination::secret_of;
use super::super::super::{CliError, read_text};
use crate::plan::configuration::Configuration;

/// What happens with a time that went by while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CatchUp {
    /// It is made up once.
    Once,
    /// It is noted as missed.
    Skip,
}

/// Whether a configuration runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// What may be said of a configuration.
#[derive(Debug, Args)]
pub(super) struct Wish {
    /// Central whose data is backed up.
    #[arg(long, value_name = "NAME")]
    central: Option<String>,
    /// E-mail address that hears of errors, can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    report_to: Vec<String>,
    /// Language of what it hears: en, de, fr, it.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// How often: manual, 6h, daily, weekly:mon,thu, monthly:15, monthly:last.
    #[arg(long, value_name = "INTERVAL")]
    every: Option<String>,
    /// First time by the clock on the wall, such as 2026-11-22T02:00; without it now.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Time zone of the central, such as Europe/Berlin; without it the server's.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What happens with a time that went by while nothing could run.
    #[arg(long, value_enum)]
    catch_up: Option<CatchUp>,
    /// Data set, can be repeated; without it all.
    #[arg(long, value_name = "NAME")]
    data_set: Vec<String>,
    /// Destination, can be repeated; without it the archive stays on the satellite only.
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
    /// Directory that is made at each destination; without it starface-backup.
    #[arg(long, value_name = "NAME")]
    directory: Option<String>,
    /// Keep the newest so many archives.
    #[arg(long, value_name = "COUNT")]
    keep_last: Option<u32>,
    /// Keep the newest of each of so many days.
    #[arg(long, value_name = "COUNT")]
    keep_daily: Option<u32>,
    /// Keep the newest of each of so many weeks.
    #[arg(long, value_name = "COUNT")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each of so many months.
    #[arg(long, value_name = "COUNT")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each of so many years.
    #[arg(long, value_name = "COUNT")]
    keep_yearly: Option<u32>,
    /// Keep at most so many bytes at each place, such as 500G; the last good archive always stays.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_size: Option<u64>,
    /// Archive instead of backing up: move what was not changed for so many days.
    #[arg(long, value_name = "DAYS")]
    archive_older_than: Option<u32>,
    /// Whether it runs by itself.
    #[arg(long, value_enum, value_name = "SWITCH")]
    schedule: Option<Switch>,
    /// Encrypt copies for this public key of `age-keygen` (age1…); can be repeated.
    #[arg(long, value_name = "RECIPIENT", conflicts_with_all = ["encrypt_passphrase_file", "no_encryption"])]
    encrypt_to: Vec<String>,
    /// Encrypt copies with the passphrase in this file; `-` reads it from stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "no_encryption")]
    encrypt_passphrase_file: Option<PathBuf>,
    /// Do not encrypt copies any more.
    #[arg(long)]
    no_encryption: bool,
}

/// Bytes as people write them: 500000, 500M, 2G, 1T; a K is 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let not = || format!("{text:?} is no size: write for example 500000, 500M, 2G or 1T");
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (text.get(..at), 10),
        Some((at, 'M' | 'm')) => (text.get(..at), 20),
        Some((at, 'G' | 'g')) => (text.get(..at), 30),
        Some((at, 'T' | 't')) => (text.get(..at), 40),
        _ => (Some(text), 0),
    };
    let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(not)?;
    number.checked_mul(1 << shift).ok_or_else(not)
}

/// Puts what was said in its place.
fn set<T>(slot: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *slot = said;
    }
}

impl Wish {
    /// Changes what was said; the rest stays as it is.
    pub(super) fn apply(self, one: &mut pb::Configuration) -> Result<(), CliError> {
        set(&mut one.central, self.central);
        set(&mut one.language, self.language);
        set(&mut one.directory, self.directory);
        set(
            &mut one.report_to,
            (!self.report_to.is_empty()).then(|| self.report_to.join(", ")),
        );
        set(
            &mut one.data_sets,
            (!self.data_set.is_empty()).then_some(self.data_set),
        );
        set(
            &mut one.destinations,
            (!self.destination.is_empty()).then_some(self.destination),
        );
        if let Some(days) = self.archive_older_than {
            one.older_than_days = days;
            one.set_kind(pb::ConfigurationKind::Archiving);
        }
        set(
            &mut one.disabled,
            self.schedule.map(|switch| switch == Switch::Off),
        );
        if self.no_encryption || !self.encrypt_to.is_empty() || self.encrypt_passphrase_file.is_some() {
            let passphrase = secret_of(self.encrypt_passphrase_file.as_deref())?;
            one.keeps_passphrase = false;
            one.encryption = (!self.no_encryption).then_some(Encryption {
                recipients: self.encrypt_to,
                passphrase,
            });
        }
        let schedule = one.schedule.get_or_insert_default();
        set(&mut schedule.every, self.every);
        set(&mut schedule.start, self.start);
        set(&mut schedule.time_zone, self.time_zone);
        match self.catch_up {
            Some(CatchUp::Once) => schedule.set_catch_up(pb::CatchUp::Once),
            Some(CatchUp::Skip) => schedule.set_catch_up(pb::CatchUp::Skip),
            None => {}
        }
        let retention = one.retention.get_or_insert_default();
        set(&mut retention.last, self.keep_last);
        set(&mut retention.daily, self.keep_daily);
        set(&mut retention.weekly, self.keep_weekly);
        set(&mut retention.monthly, self.keep_monthly);
        set(&mut retention.yearly, self.keep_yearly);
        set(&mut retention.max_bytes, self.max_size);
        Ok(())
    }
}

/// A configuration from a TOML file.
pub(super) fn read(path: &Path) -> Result<pb::Configuration, CliError> {
    let text = read_text(path)?;
    let one: Configuration =
        toml::from_str(&text).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    Ok(one.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("0", 0),
            ("17", 17),
            ("2k", 2048),
            ("500M", 500 << 20),
            ("1T", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(wanted));
        }
        for text in ["", "M", "1.5G", "-1", "9999999999T", "1X"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
