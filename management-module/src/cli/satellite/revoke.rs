//! `satellite revoke`

use clap::Args;
use satellite_proto::wire::management::v1::RevokePeerRequest;
use serde::Serialize;

use super::super::{CliError, Global, client, prompt, render, texts};

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// Fingerprint of the key, 64 hexadecimal digits: the own key that `system status` shows on the replica, or showed.
    fingerprint: String,
    /// Satellite that is to refuse it, can be repeated; without it all.
    #[arg(long, value_name = "NAME")]
    satellite: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct View {
    satellite: String,
    connections_cut: u32,
    problem: String,
}

impl Revoke {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = format!("Have the key {} refused for good?", self.fingerprint);
        prompt::confirm_loss(&question, self.yes)?;
        let request = RevokePeerRequest {
            fingerprint: self.fingerprint,
            satellites: self.satellite,
        };
        let told = client.fleet.revoke_peer(request).await?.into_inner().revocations;
        let views: Vec<View> = told
            .into_iter()
            .map(|told| View {
                satellite: told.satellite,
                connections_cut: told.connections_cut,
                problem: told.problem,
            })
            .collect();
        let heading = [texts::SATELLITE, texts::CONNECTIONS_CUT, texts::PROBLEM];
        render::list(global.output, &views, &heading, |view| {
            vec![
                view.satellite.clone(),
                view.connections_cut.to_string(),
                view.problem.clone(),
            ]
        })?;
        let left: Vec<&str> = views
            .iter()
            .filter(|view| !view.problem.is_empty())
            .map(|view| view.satellite.as_str())
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(CliError::Partly(format!(
            "{} could not be told and would still take the key: say it again when they answer",
            left.join(", ")
        )))
    }
}
