//! The program `backup-service`: parses, calls the library, turns the result into an exit code.

use std::process::ExitCode;

use backup_service::cli::Cli;
use clap::Parser as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "Stopped by an error");
            ExitCode::FAILURE
        }
    }
}

/// Logs to the journal under systemd, else to stderr.
fn log() {
    let filter = EnvFilter::try_from_env("BACKUP_SERVICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = under_systemd.then(tracing_journald::layer).and_then(Result::ok);
    let plain = journal.is_none().then(|| {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false);
        // The journal has its own clock.
        if under_systemd {
            layer.without_time().boxed()
        } else {
            layer.boxed()
        }
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(plain)
        .init();
}
