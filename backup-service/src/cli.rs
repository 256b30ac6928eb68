//! The command line: `serve`, and helpers that look at archive files without a service.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::archive::names::escape;
use crate::archive::read::Archive;
use crate::archive::threads;
use crate::archive::verify::verify;
use crate::config::Config;

/// Writes, keeps and serves the archives of centrals.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    #[command(subcommand)]
    Archive(ArchiveCommand),
}

/// Take calls on the unix socket.
#[derive(Debug, Args)]
struct Serve {
    /// Configuration file; without it the environment says where things are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Look at archive files.
#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    /// List the members of an archive: size, digest, name.
    List(File),
    /// Read an archive whole and check every digest; fails if anything is wrong.
    Verify(File),
    /// Show what an archive is.
    Show(File),
}

#[derive(Debug, Args)]
struct File {
    /// The `.sar` file.
    file: PathBuf,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What stopped it, with all causes.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => {
                let config = Config::load(serve.config.as_deref())?;
                Ok(crate::serve::serve(config).await?)
            }
            Command::Archive(ArchiveCommand::List(of)) => list(&of.file),
            Command::Archive(ArchiveCommand::Verify(of)) => check(&of.file),
            Command::Archive(ArchiveCommand::Show(of)) => show(&of.file),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Archive> {
    Archive::open(path).with_context(|| format!("cannot use `{}`", path.display()))
}

fn list(path: &Path) -> anyhow::Result<()> {
    let mut index = open(path)?.index()?;
    while let Some(entry) = index.entry()? {
        let digest = entry.sha256.as_deref().unwrap_or("-");
        // Control characters in a name must not reach a terminal.
        let name: String = entry.path.chars().flat_map(printable).collect();
        render(&format!("{:>14}  {digest:64}  {name}", entry.size))?;
    }
    Ok(())
}

fn printable(c: char) -> Vec<char> {
    if c.is_control() {
        escape(c.escape_default().to_string().as_bytes())
            .chars()
            .collect()
    } else {
        vec![c]
    }
}

fn check(path: &Path) -> anyhow::Result<()> {
    let report = verify(&open(path)?, None, threads())?;
    for problem in &report.problems {
        render(problem)?;
    }
    anyhow::ensure!(report.is_intact(), "`{}` is damaged", path.display());
    render(&format!(
        "intact: {} members, SHA-256 {}",
        report.members, report.sha256
    ))
}

fn show(path: &Path) -> anyhow::Result<()> {
    let archive = open(path)?;
    let manifest = archive.manifest()?;
    render(&serde_json::to_string_pretty(&manifest)?)?;
    let index = archive.index()?;
    let head = index.head()?;
    for set in &head.data_sets {
        render(&format!(
            "{}: {} members, {} bytes",
            set.name, set.members, set.size
        ))?;
    }
    if !head.left_out.is_nothing() {
        render(&format!("left out: {}", head.left_out.count))?;
    }
    for text in &head.left_out.first {
        render(&format!("  {text}"))?;
    }
    Ok(())
}

/// Writes a line to stdout.
fn render(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
