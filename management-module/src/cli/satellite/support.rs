//! `satellite support`

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use satellite_proto::wire::management::v1::FetchSupportBundleRequest;

use super::super::job::Progress;
use super::super::{CliError, Global, client, render};

#[derive(Debug, Args)]
pub(in crate::cli) struct Support {
    /// Name of the satellite.
    name: String,
    /// File that is written, which must not be there yet; without it the name that the satellite gives it, here.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Support {
    /// Writes the bundle beside its place, and names it when it is whole.
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = FetchSupportBundleRequest { satellite: self.name };
        let mut pieces = client.fleet.fetch_support_bundle(request).await?.into_inner();
        let mut progress = Progress::default();
        let mut open: Option<(File, PathBuf, PathBuf)> = None;
        let mut done = 0_u64;
        while let Some(message) = pieces.message().await? {
            let Some(piece) = message.piece else { continue };
            if open.is_none() {
                let path = match &self.to {
                    Some(path) => path.clone(),
                    None => plain_name(&piece.file_name)?,
                };
                let part = path.with_added_extension("part");
                if path.symlink_metadata().is_ok() {
                    return Err(CliError::said(format!("`{}` is there already", path.display())));
                }
                let file = File::create(&part).with_context(|| format!("cannot write `{}`", part.display()));
                open = Some((file.map_err(CliError::Failed)?, part, path));
            }
            if let Some((file, ..)) = &mut open {
                file.write_all(&piece.data).map_err(CliError::failed)?;
                done += piece.data.len() as u64;
                progress.set("receiving the support bundle", done, 0, true);
            }
        }
        progress.finish();
        let Some((file, part, path)) = open else {
            return Err(CliError::said("the satellite sent an empty bundle"));
        };
        file.sync_all().map_err(CliError::failed)?;
        std::fs::rename(&part, &path).map_err(CliError::failed)?;
        render::word(global.output, "file", &path.display().to_string())
    }
}

/// The name that a satellite gives its file, if it is only that.
fn plain_name(name: &str) -> Result<PathBuf, CliError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = !name.is_empty() && !name.starts_with('.') && name.len() <= 200 && name.bytes().all(plain);
    is_name.then(|| PathBuf::from(name)).ok_or_else(|| {
        CliError::said("the satellite names its file in a strange way: choose a name with --to")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_satellite_does_not_choose_the_directory() {
        assert!(plain_name("support-s1-20261122-100000.tar.zst").is_ok());
        for name in ["", "../x", "/etc/passwd", ".bashrc", "a b", "a/b"] {
            assert!(plain_name(name).is_err(), "{name}");
        }
    }
}
