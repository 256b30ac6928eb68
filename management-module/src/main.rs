//! The program: parses, runs, answers an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use management_module::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
