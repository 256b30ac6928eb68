//! `bundle root …` and `bundle keys …`: what key holders do, each on a machine of their own, without the module.
//!
//! **Invariant:** no step changes a document that others may have signed; a change is a new document with the next number.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use satellite_proto::bundle::{self, Anchor, Keys, Root};

use super::{create, document, first_line};
use crate::cli::{CliError, Global, read_text, render};

/// The commands for root keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RootCommand {
    /// Makes the first set of root keys. It goes into images, by `--anchor`, and needs no signature for that.
    Init(RootInit),
    /// Makes the next set of root keys: enough holders of the old keys and of the new ones sign it.
    Replace(RootReplace),
    /// Signs a set of root or release keys with root keys.
    Sign(Sign),
}

/// The commands for release keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// Makes the first set of release keys, to be signed with root keys.
    Init(KeysInit),
    /// Makes the next set, with one more release key.
    Add(KeysChange),
    /// Makes the next set, without a release key: what only that one signed is not installed any more.
    Revoke(KeysChange),
    /// Makes the next set, with the same keys and a later end.
    Renew(KeysRenew),
    /// Signs a set of release keys with root keys.
    Sign(Sign),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RootInit {
    /// Public key of the new set: a file or the key itself; can be repeated.
    #[arg(long, value_name = "FILE_OR_KEY", required = true)]
    key: Vec<String>,
    #[command(flatten)]
    terms: Terms<3650>,
    /// File that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the list of trusted keys (trust.toml) of an image that begins with this set.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RootReplace {
    /// The set before.
    old: PathBuf,
    #[command(flatten)]
    new: RootInit,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeysInit {
    /// Public key: a file or the key itself; can be repeated.
    #[arg(long, value_name = "FILE_OR_KEY", required = true)]
    key: Vec<String>,
    #[command(flatten)]
    terms: Terms<365>,
    /// File that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeysChange {
    /// The set before.
    old: PathBuf,
    /// Public key: a file, the key itself, or its id; can be repeated.
    #[arg(long, value_name = "FILE_OR_KEY", required = true)]
    key: Vec<String>,
    /// How many of the keys must sign; without it as before.
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,
    /// How long the set counts, from now on, such as `365days`.
    #[arg(long, value_name = "TIME", default_value = "365days", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// File that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeysRenew {
    /// The set before.
    old: PathBuf,
    /// How long the set counts, from now on, such as `365days`.
    #[arg(long, value_name = "TIME", default_value = "365days", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// File that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Threshold and end of a set that counts for so many days unless somebody says otherwise.
#[derive(Debug, Args)]
struct Terms<const DAYS: u64> {
    /// How many of the keys must sign.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: usize,
    /// How long the set counts, from now on, such as `365days`; without it ten years for root keys and one for release keys.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    valid: Option<Duration>,
}

impl<const DAYS: u64> Terms<DAYS> {
    fn end(&self) -> Result<Timestamp, CliError> {
        end_of(self.valid.unwrap_or(Duration::from_secs(DAYS * 24 * 3600)))
    }
}

/// The document and the keys.
#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// The document.
    file: PathBuf,
    /// File of a secret key, can be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// File that holds the password of the keys; without it it is asked, if one is needed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl RootInit {
    fn write(&self, global: &Global, sequence: u64) -> Result<Root, CliError> {
        let (keys, end) = (public_keys(&self.key)?, self.terms.end()?);
        let root = Root::new(sequence, end, self.terms.threshold, keys).map_err(CliError::failed)?;
        write_root(global, &root, &self.out, self.anchor.as_deref())?;
        Ok(root)
    }
}

impl RootCommand {
    pub(super) fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Init(init) => init.write(global, 1).map(drop),
            Self::Replace(next) => {
                let old = Root::parse(&document::load(&next.old)?.document).map_err(CliError::failed)?;
                let root = next.new.write(global, old.sequence + 1)?;
                render::note(&format!(
                    "it counts once {} of the old keys and {} of the new ones have signed it (`bundle root sign`)",
                    old.threshold, root.threshold
                ));
                Ok(())
            }
            Self::Sign(command) => command.run(global),
        }
    }
}

impl KeysCommand {
    pub(super) fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Init(init) => {
                let (keys, end) = (public_keys(&init.key)?, init.terms.end()?);
                write_keys(global, Keys::new(1, end, init.terms.threshold, keys), &init.out)
            }
            Self::Add(change) => {
                let old = old_keys(&change.old)?;
                let mut keys = old.keys.clone();
                keys.extend(public_keys(&change.key)?);
                change.write(global, &old, keys)
            }
            Self::Revoke(change) => {
                let old = old_keys(&change.old)?;
                let mut keys = old.keys.clone();
                for named in &change.key {
                    let gone = one_of(&keys, named)?;
                    keys.retain(|key| *key != gone);
                }
                change.write(global, &old, keys)
            }
            Self::Renew(renew) => {
                let old = old_keys(&renew.old)?;
                let next = Keys::new(
                    old.sequence + 1,
                    end_of(renew.valid)?,
                    old.threshold,
                    old.keys.clone(),
                );
                write_keys(global, next, &renew.out)
            }
            Self::Sign(command) => command.run(global),
        }
    }
}

impl KeysChange {
    fn write(&self, global: &Global, old: &Keys, keys: Vec<String>) -> Result<(), CliError> {
        let threshold = self.threshold.unwrap_or(old.threshold);
        let next = Keys::new(old.sequence + 1, end_of(self.valid)?, threshold, keys);
        write_keys(global, next, &self.out)
    }
}

impl Sign {
    pub(super) fn run(&self, global: &Global) -> Result<(), CliError> {
        let comment = document::comment_of(&self.file)?;
        let password = self.password_file.as_deref().map(first_line).transpose()?;
        for file in document::sign(&self.file, &self.key, password.as_deref(), &comment)? {
            render::note(&format!("`{}` was written", file.display()));
        }
        render::word(global.output, "signed", &comment.replace('\t', " "))
    }
}

fn write_root(global: &Global, root: &Root, out: &Path, anchor: Option<&Path>) -> Result<(), CliError> {
    create(out, 0o644, &root.to_bytes().map_err(CliError::failed)?)?;
    if let Some(anchor) = anchor {
        create(anchor, 0o644, Anchor::toml_of(root).as_bytes())?;
    }
    render::word(global.output, "sequence", &root.sequence.to_string())
}

fn write_keys(global: &Global, keys: Result<Keys, bundle::BundleError>, out: &Path) -> Result<(), CliError> {
    let keys = keys.map_err(CliError::failed)?;
    create(out, 0o644, &keys.to_bytes().map_err(CliError::failed)?)?;
    render::word(global.output, "sequence", &keys.sequence.to_string())
}

fn old_keys(path: &Path) -> Result<Keys, CliError> {
    Keys::parse(&document::load(path)?.document).map_err(CliError::failed)
}

fn end_of(valid: Duration) -> Result<Timestamp, CliError> {
    let end = SignedDuration::try_from(valid)
        .ok()
        .and_then(|valid| Timestamp::now().checked_add(valid).ok());
    let whole = end.and_then(|end| Timestamp::from_second(end.as_second()).ok());
    whole.ok_or_else(|| CliError::Usage("--valid: so late a time cannot be written".to_owned()))
}

fn public_keys(named: &[String]) -> Result<Vec<String>, CliError> {
    named.iter().map(|named| public_key(named)).collect()
}

/// A public key: itself, or the last line of a file as minisign's tool and `bundle keygen` write it.
fn public_key(named: &str) -> Result<String, CliError> {
    if bundle::key_id(named).is_some() {
        return Ok(named.to_owned());
    }
    let text = read_text(Path::new(named))?;
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let key = line.filter(|line| bundle::key_id(line).is_some());
    key.map(str::to_owned)
        .ok_or_else(|| CliError::Usage(format!("`{named}` holds no public key of minisign")))
}

/// The key of a set that somebody means: by its id, itself, or a file.
fn one_of(keys: &[String], named: &str) -> Result<String, CliError> {
    let by_id = keys
        .iter()
        .find(|key| bundle::key_id(key).is_some_and(|id| id.eq_ignore_ascii_case(named)));
    let meant = match by_id {
        Some(key) => key.clone(),
        None => public_key(named)?,
    };
    if keys.contains(&meant) {
        return Ok(meant);
    }
    Err(CliError::Usage(format!("`{named}` is not in the set")))
}
