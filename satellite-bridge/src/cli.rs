//! The commands that look at the satellite or act without the daemon.
//!
//! **Invariant:** only `render` and `render_error` print.

pub mod network;

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Read as _},
};

use clap::{Args, ValueEnum};
use satellite_proto::{
    join::LONGEST,
    wire::bridge::v1::{GetConsoleResponse, PairingState},
};
use uuid::Uuid;

use crate::{
    change::{self, RollbackError},
    config::Config,
    firewall::{self, FirewallError},
    join::{self, JoinError},
    menu::client::{ClientError, Console},
    reset::{self, ResetError},
};

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Shows how the satellite is.
#[derive(Debug, Args)]
pub struct Status {
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

impl Status {
    /// Asks the daemon and prints what it says.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the daemon does not answer.
    pub async fn run(&self, config: &Config) -> Result<(), ClientError> {
        let mut console = Console::connect(&config.console_socket()).await?;
        let answer = console.status().await?;
        render(&match self.output {
            Output::Table => as_table(&answer),
            Output::Json => as_json(&answer),
        });
        Ok(())
    }
}

/// Takes back the change with this id, without the daemon. Nothing happens if it is no longer open.
///
/// # Errors
///
/// If what was before cannot be brought back: the change stays open, and another try may succeed.
pub async fn rollback(config: &Config, id: Uuid) -> Result<(), RollbackError> {
    let was_open = change::rollback_from_disk(config, id).await?;
    tracing::info!(change = %id, was_open, "Rollback ended");
    Ok(())
}

/// Brings the confirmed firewall rules into force, without the daemon. An open change is taken back first.
///
/// # Errors
///
/// If they cannot be put in force.
pub async fn firewall_restore(config: &Config) -> Result<(), FirewallError> {
    firewall::restore_at_boot(&config.firewall(config.listen.port())).await
}

/// Gives the token on stdin to the daemon.
///
/// # Errors
///
/// [`JoinError`].
pub async fn join(config: &Config) -> Result<(), JoinError> {
    let mut text = String::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    // What cannot be read is no token, as the check of its text will say.
    let _ = io::stdin().take(limit).read_to_string(&mut text);
    join::start(config, text.trim()).await
}

/// Lets go of the server, and says so.
///
/// # Errors
///
/// [`ResetError`].
pub async fn disconnect(config: &Config) -> Result<(), ResetError> {
    let was_paired = reset::disconnect(config).await?;
    render(if was_paired {
        "disconnected\n"
    } else {
        "it was not paired\n"
    });
    Ok(())
}

/// Prints what is left of an earlier life.
///
/// # Errors
///
/// [`ResetError::Left`] if anything is.
pub fn self_test(config: &Config) -> Result<(), ResetError> {
    let left = reset::self_test(config);
    for one in &left {
        render(&format!("{one}\n"));
    }
    if left.is_empty() {
        render("nothing is left\n");
        return Ok(());
    }
    Err(ResetError::Left(left.len()))
}

/// Where pairing stands, in one word.
#[must_use]
pub fn pairing_word(state: PairingState) -> &'static str {
    match state {
        PairingState::Unspecified => "unknown",
        PairingState::Unpaired => "unpaired",
        PairingState::WindowOpen => "window-open",
        PairingState::Candidate => "candidate",
        PairingState::Paired => "paired",
    }
}

fn as_table(answer: &GetConsoleResponse) -> String {
    let satellite = answer.satellite.clone().unwrap_or_default();
    let rows = [
        ("Name", satellite.name),
        ("Addresses", satellite.addresses.join(", ")),
        ("Port", answer.port.to_string()),
        ("Pairing", pairing_word(answer.pairing()).to_owned()),
        ("Server", answer.server_name.clone()),
        ("Fingerprint", satellite.fingerprint),
        ("Version", satellite.bridge_version),
        ("System", satellite.os_version),
        ("Last error", answer.last_error.clone()),
    ];
    let mut text = String::new();
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    for workload in satellite.workloads {
        let state = workload
            .state()
            .as_str_name()
            .trim_start_matches("WORKLOAD_STATE_");
        let _ = writeln!(
            text,
            "{:<12} {} {} {}",
            "Workload",
            workload.name,
            workload.version,
            state.to_lowercase()
        );
    }
    text
}

fn as_json(answer: &GetConsoleResponse) -> String {
    let satellite = answer.satellite.clone().unwrap_or_default();
    let workloads: Vec<_> = satellite
        .workloads
        .iter()
        .map(|workload| {
            let state = workload.state().as_str_name().trim_start_matches("WORKLOAD_STATE_").to_lowercase();
            serde_json::json!({
                "name": workload.name, "version": workload.version, "state": state, "problem": workload.problem,
            })
        })
        .collect();
    // The pairing code is for the console's screen only.
    let answer = serde_json::json!({
        "name": satellite.name,
        "addresses": satellite.addresses,
        "port": answer.port,
        "pairing": pairing_word(answer.pairing()),
        "server": answer.server_name,
        "fingerprint": satellite.fingerprint,
        "version": satellite.bridge_version,
        "system": satellite.os_version,
        "disk_free_bytes": satellite.disk_free_bytes,
        "disk_total_bytes": satellite.disk_total_bytes,
        "firewall_revision": satellite.firewall_revision,
        "open_change": satellite.open_change_id,
        "workloads": workloads,
        "last_error": answer.last_error,
    });
    format!("{answer:#}\n")
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn render(text: &str) {
    print!("{text}");
}

/// Prints why a command failed.
#[expect(clippy::print_stderr, reason = "the end of a command")]
pub fn render_error(error: &dyn Error) {
    eprintln!("satellite-bridge: {}", error_chain(error));
}

/// An error with all its causes.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
