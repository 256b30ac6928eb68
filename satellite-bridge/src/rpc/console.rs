//! Wire for the console service.

use satellite_proto::wire::bridge::v1::{
    ClosePairingWindowRequest, ClosePairingWindowResponse, ConsoleJoinRequest, ConsoleJoinResponse,
    DisconnectRequest, DisconnectResponse, GetConsoleRequest, GetConsoleResponse, JoinProgress, JoinState,
    OpenPairingWindowRequest, OpenPairingWindowResponse, PairingState, PairingWindow,
    ResetFirewallNowRequest, ResetFirewallNowResponse, console_service_server::ConsoleService,
};
use tonic::{Request, Response, Status};

use super::satellite::SatelliteRpc;
use crate::{
    join::{Ended, JoinError, Joiner, Standing},
    pairing::{Overview, Stage, WindowView},
};

/// Answers the person at the machine.
#[derive(Debug, Clone)]
pub struct ConsoleRpc {
    /// What the status page shows.
    pub satellite: SatelliteRpc,
    /// TCP port of the bridge.
    pub port: u16,
    /// Joins by token.
    pub joiner: Joiner,
}

#[tonic::async_trait]
impl ConsoleService for ConsoleRpc {
    async fn get_console(
        &self,
        _: Request<GetConsoleRequest>,
    ) -> Result<Response<GetConsoleResponse>, Status> {
        let overview = self.satellite.pairing.overview();
        let standing = self.joiner.standing();
        let mut last_error = overview.last_error.clone();
        let quarantine = self.satellite.pairing.generations().quarantine();
        if let Some(reason) = quarantine {
            reason.problem().clone_into(&mut last_error);
        } else if last_error.is_empty() && overview.stage == Stage::Unpaired {
            last_error = standing.problem();
        }
        Ok(Response::new(GetConsoleResponse {
            satellite: Some(self.satellite.snapshot().await),
            pairing: state_of(&overview) as i32,
            server_name: overview.server_name,
            window: overview.window.as_ref().map(window_to_wire),
            server_seen_time: overview.seen.map(super::timestamp),
            port: u32::from(self.port),
            last_error,
            join: join_to_wire(standing),
        }))
    }

    async fn open_pairing_window(
        &self,
        _: Request<OpenPairingWindowRequest>,
    ) -> Result<Response<OpenPairingWindowResponse>, Status> {
        let window = self.satellite.pairing.open_window()?;
        Ok(Response::new(OpenPairingWindowResponse {
            window: Some(window_to_wire(&window)),
        }))
    }

    async fn close_pairing_window(
        &self,
        _: Request<ClosePairingWindowRequest>,
    ) -> Result<Response<ClosePairingWindowResponse>, Status> {
        self.satellite.pairing.close_window()?;
        Ok(Response::new(ClosePairingWindowResponse {}))
    }

    async fn join(
        &self,
        request: Request<ConsoleJoinRequest>,
    ) -> Result<Response<ConsoleJoinResponse>, Status> {
        let started = self.joiner.start(&request.into_inner().token);
        started.map_err(|error| {
            let text = crate::cli::error_chain(&error);
            match error {
                JoinError::Token(_) => Status::invalid_argument(text),
                JoinError::Paired => Status::failed_precondition(text),
                _ => Status::internal(text),
            }
        })?;
        Ok(Response::new(ConsoleJoinResponse {}))
    }

    async fn disconnect(
        &self,
        _: Request<DisconnectRequest>,
    ) -> Result<Response<DisconnectResponse>, Status> {
        self.satellite.pairing.disconnect()?;
        self.satellite.pairing.parted().await;
        Ok(Response::new(DisconnectResponse {}))
    }

    async fn reset_firewall_now(
        &self,
        _: Request<ResetFirewallNowRequest>,
    ) -> Result<Response<ResetFirewallNowResponse>, Status> {
        match self.satellite.firewall.reset_now().await {
            Some(Ok(())) => Ok(Response::new(ResetFirewallNowResponse {})),
            Some(Err(error)) => {
                tracing::error!(error = %crate::cli::error_chain(&error), "Firewall not reset");
                Err(Status::internal(error.to_string()))
            }
            None => Err(Status::unavailable(
                "the packet filter of this machine cannot be used: see the bridge's log",
            )),
        }
    }
}

fn join_to_wire(standing: Standing) -> Option<JoinProgress> {
    let ended = |state: JoinState| JoinProgress {
        state: state.into(),
        ..JoinProgress::default()
    };
    Some(match standing {
        Standing::Idle => return None,
        Standing::Trying {
            server,
            problem,
            expires,
        } => JoinProgress {
            state: JoinState::Trying.into(),
            server,
            problem,
            expire_time: expires.map(super::timestamp),
        },
        Standing::Ended(Ended::Joined) => ended(JoinState::Joined),
        Standing::Ended(Ended::Unknown) => ended(JoinState::Unknown),
        Standing::Ended(Ended::Used) => ended(JoinState::Used),
        Standing::Ended(Ended::Expired) => ended(JoinState::Expired),
        Standing::Ended(Ended::Revoked) => ended(JoinState::Revoked),
    })
}

fn state_of(overview: &Overview) -> PairingState {
    match (overview.stage, &overview.window) {
        (Stage::Unpaired, None) => PairingState::Unpaired,
        (Stage::Unpaired, Some(_)) => PairingState::WindowOpen,
        (Stage::Candidate, _) => PairingState::Candidate,
        (Stage::Paired | Stage::Quarantined, _) => PairingState::Paired,
    }
}

fn window_to_wire(window: &WindowView) -> PairingWindow {
    PairingWindow {
        code: window.code.to_string(),
        expire_time: Some(super::timestamp(window.expires)),
        tries_left: window.tries_left,
    }
}
