//! A backup configuration: what is done with a central, when, and where to.
//!
//! **Invariant:** pure. A name that exists is safe as a directory on every destination, and no two differ in case only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::retention::Retention;
use super::schedule::Schedule;
use crate::language::Language;

/// Directory that is made at each destination unless told otherwise.
pub const DIRECTORY: &str = "starface-backup";

/// The name of a configuration, and of its directory on Linux, Windows, FAT and Dropbox alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigurationName(String);

/// The text is not a configuration's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a directory on every destination: use 1 to 64 letters, digits, blanks and - _ . ( ) + , \
     with a letter or digit in front, no blank or dot at the end, and none of Windows' names such as CON or LPT1"
)]
pub struct NotAConfigurationName(pub String);

impl ConfigurationName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As file systems compare it that know no upper case.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_uppercase().to_lowercase()
    }
}

impl FromStr for ConfigurationName {
    type Err = NotAConfigurationName;
    fn from_str(text: &str) -> Result<Self, NotAConfigurationName> {
        // Letters that are put together from several characters are no letters here: Windows and macOS disagree on them.
        let fits = (1..=64).contains(&text.chars().count()) && text.len() <= 120;
        let clean = text
            .chars()
            .all(|c| c.is_alphanumeric() || " -_.()+,".contains(c));
        let begins = text.starts_with(char::is_alphanumeric);
        let ends = !text.ends_with([' ', '.']);
        if fits && clean && begins && ends && !is_device(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAConfigurationName(text.to_owned()))
        }
    }
}

/// What Windows keeps for devices, also with an extension.
fn is_device(text: &str) -> bool {
    let stem = text
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    let is_port = |device| {
        stem.strip_prefix(device)
            .is_some_and(|number| number.len() == 1 && number.chars().all(|c| c.is_ascii_digit()))
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || is_port("COM") || is_port("LPT")
}

impl fmt::Display for ConfigurationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ConfigurationName {
    type Error = NotAConfigurationName;
    fn try_from(text: String) -> Result<Self, NotAConfigurationName> {
        text.parse()
    }
}

impl From<ConfigurationName> for String {
    fn from(name: ConfigurationName) -> Self {
        name.0
    }
}

/// What a configuration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Makes archives of the central's data.
    #[default]
    Backup,
    /// Moves old data of the central into archives for the long term.
    Archiving,
}

/// What is done with a central, when, and where to. This is also the form of the file that the command line takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration {
    /// Its name.
    pub name: ConfigurationName,
    /// What it does.
    #[serde(default)]
    pub kind: Kind,
    /// The central.
    pub central: String,
    /// Who hears of errors.
    #[serde(default)]
    pub report_to: Vec<String>,
    /// In which language.
    #[serde(default)]
    pub language: Language,
    /// When it is due.
    pub schedule: Schedule,
    /// Data sets; none: all.
    #[serde(default)]
    pub data_sets: Vec<String>,
    /// Names of destinations; none: the archive stays on the satellite only.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// What is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Directory that is made at each destination.
    #[serde(default = "default_directory")]
    pub directory: String,
    /// For archiving: files that were not changed for so many days are moved.
    #[serde(default)]
    pub older_than_days: u32,
    /// Whether it runs by itself.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// For whom copies are encrypted.
    #[serde(default, skip_serializing_if = "Encryption::is_none")]
    pub encryption: Encryption,
}

/// For whom copies are encrypted: for nobody, for recipients, or for who knows a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Encryption {
    /// Public keys, as `age-keygen` shows them.
    pub recipients: Vec<String>,
    /// The passphrase, sealed by the vault; empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sealed_passphrase: String,
    /// The passphrase that is known already stays.
    #[serde(skip)]
    pub keeps_passphrase: bool,
}

impl Encryption {
    /// Whether copies are not encrypted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.recipients.is_empty() && self.sealed_passphrase.is_empty() && !self.keeps_passphrase
    }

    fn fault(&self) -> Option<Fault> {
        let is_recipient = |text: &&String| {
            text.starts_with("age1") && satellite_proto::bech32::decode(text, "age").is_some()
        };
        let bad = self.recipients.iter().find(|text| !is_recipient(text));
        let has_passphrase = self.keeps_passphrase || !self.sealed_passphrase.is_empty();
        match bad {
            Some(bad) => Some(Fault::Recipient(bad.clone())),
            None if self.recipients.len() > MOST_RECIPIENTS => Some(Fault::Recipients),
            None if has_passphrase && !self.recipients.is_empty() => Some(Fault::TwoWays),
            None if self.keeps_passphrase && self.sealed_passphrase.is_empty() => Some(Fault::NoPassphrase),
            None => None,
        }
    }
}

/// Most recipients of a copy.
const MOST_RECIPIENTS: usize = 20;

fn default_directory() -> String {
    DIRECTORY.to_owned()
}

fn yes() -> bool {
    true
}

/// What is wrong with a configuration in itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An address to report to.
    #[error("{0:?} is no e-mail address")]
    ReportTo(String),
    /// The directory.
    #[error("the directory {0:?} is no name of a single directory")]
    Directory(String),
    /// Archiving without an age.
    #[error("archiving needs an age: say how many days old the data must be, 1 to 36500")]
    NoAge,
    /// An age without archiving.
    #[error("only archiving has an age")]
    Age,
    /// Archiving without a destination.
    #[error("archiving needs a destination: what is moved must not lie on the satellite alone")]
    NoDestination,
    /// A destination twice.
    #[error("destination {0} is named twice")]
    Twice(String),
    /// Not a recipient.
    #[error("{0:?} is no recipient: it begins with age1, as `age-keygen` shows it")]
    Recipient(String),
    /// Too many.
    #[error("copies can be encrypted for at most {MOST_RECIPIENTS} recipients")]
    Recipients,
    /// Recipients and a passphrase.
    #[error("copies are encrypted for recipients or with a passphrase, not both")]
    TwoWays,
    /// No passphrase is known.
    #[error("there is no passphrase that could stay: give one")]
    NoPassphrase,
}

impl Configuration {
    /// Everything that is wrong with it in itself.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let bad = self.report_to.iter().filter(|address| !is_address(address));
        let mut faults: Vec<Fault> = bad.cloned().map(Fault::ReportTo).collect();
        if self.directory.parse::<ConfigurationName>().is_err() {
            faults.push(Fault::Directory(self.directory.clone()));
        }
        let is_archiving = self.kind == Kind::Archiving;
        match (is_archiving, self.older_than_days) {
            (true, 0 | 36_501..) => faults.push(Fault::NoAge),
            (false, 1..) => faults.push(Fault::Age),
            _ => {}
        }
        if is_archiving && self.destinations.is_empty() {
            faults.push(Fault::NoDestination);
        }
        faults.extend(self.encryption.fault());
        for (number, name) in self.destinations.iter().enumerate() {
            if self.destinations.iter().take(number).any(|other| other == name) {
                faults.push(Fault::Twice(name.clone()));
            }
        }
        faults
    }
}

/// Enough to keep what is surely no address from being stored; whether it is one, its server knows.
pub(crate) fn is_address(text: &str) -> bool {
    let plain = text.len() <= 254
        && !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "<>,;\"".contains(c));
    let parts = text.rsplit_once('@');
    plain && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_on_every_destination() {
        for good in ["Nightly", "Büro 1", "Zürich (alt)", "a", "v1.2", "comet", "CON 1"] {
            assert_eq!(good.parse::<ConfigurationName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        let bad = [
            "",
            " a",
            "a ",
            "a.",
            ".a",
            "-a",
            "a/b",
            "a\\b",
            "a:b",
            "a*",
            "con",
            "Lpt1.x",
            "COM9",
            "nul .txt",
            "e\u{301}t",
            "a\nb",
            long.as_str(),
        ];
        for bad in bad {
            assert!(bad.parse::<ConfigurationName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_only_are_one_directory() {
        let folded = |text: &str| text.parse::<ConfigurationName>().unwrap().folded();
        assert_eq!(folded("NIGHTLY Büro"), folded("nightly BÜRO"));
        assert_eq!(folded("Straße"), folded("STRASSE"));
        assert_ne!(folded("a"), folded("b"));
    }

    #[test]
    fn a_file_needs_little_and_everything_wrong_is_named() {
        let text = "name = 'n'\ncentral = 'pbx'\n[schedule]\nevery = 'daily'\nstart = '2026-11-22T02:00'\ntime-zone = 'Europe/Berlin'\n";
        let mut configuration: Configuration = toml::from_str(text).unwrap();
        assert_eq!(configuration.faults(), []);
        assert_eq!(
            (configuration.directory.as_str(), configuration.enabled),
            (DIRECTORY, true)
        );
        configuration.kind = Kind::Archiving;
        configuration.directory = "a/b".into();
        configuration.report_to = vec!["a@b.example".into(), "nobody".into()];
        let wanted = [
            Fault::ReportTo("nobody".into()),
            Fault::Directory("a/b".into()),
            Fault::NoAge,
            Fault::NoDestination,
        ];
        assert_eq!(configuration.faults(), wanted);
        let unknown = format!("{text}nonsense = 1\n");
        assert!(toml::from_str::<Configuration>(&unknown).is_err());
    }
}
