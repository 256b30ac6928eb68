//! `bundle allow-downgrade`

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use satellite_proto::bundle::{self, BundleReader, Downgrade, Manifest};

use super::{create, document, first_line};
use crate::cli::{CliError, Global, render};

/// The bundle, the keys, and where the permit goes.
#[derive(Debug, Args)]
pub(in crate::cli) struct AllowDowngrade {
    /// The bundle to which satellites may go back.
    bundle: PathBuf,
    /// File of a secret release key, can be repeated. Others can sign later with `bundle keys sign`.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// File that holds the password of the keys; without it it is asked, if one is needed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long it can be used, from now on, such as `7days`.
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// Why, for a person.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// File that is written; the signatures lie beside it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl AllowDowngrade {
    pub(super) fn run(self, global: &Global) -> Result<(), CliError> {
        let file = File::open(&self.bundle)
            .with_context(|| format!("cannot read `{}`", self.bundle.display()))
            .map_err(CliError::Failed)?;
        let reader = BundleReader::open(std::io::BufReader::new(file)).map_err(CliError::failed)?;
        let bytes = reader.manifest_bytes();
        let manifest = Manifest::parse(bytes).map_err(CliError::failed)?;
        let now = Timestamp::now();
        let too_late = || CliError::Usage("--valid: so late a time cannot be written".to_owned());
        let valid = SignedDuration::try_from(self.valid).map_err(|_| too_late())?;
        let end = now.checked_add(valid).map_err(|_| too_late())?;
        let end = Timestamp::from_second(end.as_second()).map_err(|_| too_late())?;
        // Milliseconds rise from permit to permit without anybody keeping count.
        let sequence = u64::try_from(now.as_millisecond()).map_err(|_| too_late())?;
        let named = (&manifest, bundle::digest_of_manifest(bytes));
        let permit = Downgrade::new(named, sequence, end, &self.reason).map_err(CliError::failed)?;
        create(&self.out, 0o644, &permit.to_bytes().map_err(CliError::failed)?)?;
        let password = self.password_file.as_deref().map(first_line).transpose()?;
        let comment = document::comment_of(&self.out)?;
        document::sign(&self.out, &self.key, password.as_deref(), &comment)?;
        render::note(&format!(
            "satellites may go back to {} {} once, until {end}: `update push {} --version {} --permit {}`",
            manifest.workload,
            manifest.version,
            manifest.workload,
            manifest.version,
            self.out.display()
        ));
        render::word(global.output, "sequence", &sequence.to_string())
    }
}
