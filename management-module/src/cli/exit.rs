//! What can go wrong for who types a command, and which exit code it has.

use std::process::ExitCode;

use tonic::{Code, Status};

use super::{render, texts};

/// Why a command did not do what was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum CliError {
    /// It was tried and failed. Exit code 1.
    Failed(anyhow::Error),
    /// The command line or a document is wrong. Exit code 2.
    Usage(String),
    /// The module, or the satellite behind it, cannot be reached. Exit code 3.
    Unreachable(anyhow::Error),
    /// A part was done; what was not has been printed. Exit code 4.
    Partly(String),
}

impl CliError {
    /// Something failed.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into())
    }

    /// Something failed, said in full.
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(text.into()))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Partly(_) => 4,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Failed(error) | Self::Unreachable(error) => error
                .chain()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
            Self::Usage(text) | Self::Partly(text) => text.clone(),
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let said = if status.message().is_empty() {
            format!("{} ({})", texts::NO_REASON.say(), status.code())
        } else {
            status.message().to_owned()
        };
        let said = format!("{said}{}", hint(&said));
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Self::Unreachable(anyhow::Error::msg(said)),
            Code::InvalidArgument => Self::Usage(said),
            _ => Self::said(said),
        }
    }
}

/// What to do next, where the module cannot know that a command line was used.
fn hint(said: &str) -> String {
    let lists = [
        ("there is no log source", "satellite logs NAME --list"),
        ("there is no satellite", "satellite list"),
        ("there is no workload", "workload list"),
        ("there is no bundle", "bundle list"),
        ("there is no central", "central list"),
        ("there is no archive", "backup list"),
        ("there is no configuration", "backup config list"),
        ("there is no destination", "destination list"),
        ("there is no run", "backup runs"),
    ];
    let found = lists.iter().find(|(text, _)| said.contains(text));
    found.map_or_else(String::new, |(_, list)| {
        format!("\nnext: `management-module {list}` shows what there is")
    })
}

/// Prints what went wrong and answers the exit code.
pub(super) fn report(done: Result<(), CliError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error.text());
            ExitCode::from(error.code())
        }
    }
}
