//! Makes the data of a sample central, and its profile beside it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::central::Sample;

/// Makes the data of a sample central, and its profile beside it.
#[derive(Debug, Parser)]
struct Cli {
    /// Directory to make it in.
    directory: PathBuf,
    /// Megabytes, roughly.
    #[arg(long, default_value_t = 300)]
    megabytes: u64,
    /// What the content is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the central.
    #[arg(long, default_value = "sample")]
    name: String,
}

impl Cli {
    async fn run(self) -> anyhow::Result<PathBuf> {
        let directory = std::path::absolute(self.directory)?;
        let root = directory.join("data");
        let sample = Sample {
            name: self.name,
            root,
            seed: self.seed,
            bytes: self.megabytes * 1_000_000,
        };
        sample.make(|_, _| ()).await?;
        let profile = directory.join("central.toml");
        e2e::network::write(&profile, sample.profile())?;
        Ok(profile)
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(profile) => {
            println!("{}", profile.display());
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("sample-central: {err:#}");
            ExitCode::FAILURE
        }
    }
}
