//! Wire for the console service.

use satellite_proto::wire::bridge::v1::{
    ClosePairingWindowRequest, ClosePairingWindowResponse, DisconnectRequest, DisconnectResponse,
    GetConsoleRequest, GetConsoleResponse, OpenPairingWindowRequest, OpenPairingWindowResponse, PairingState,
    PairingWindow, ResetFirewallNowRequest, ResetFirewallNowResponse, console_service_server::ConsoleService,
};
use tonic::{Request, Response, Status};

use super::satellite::SatelliteRpc;
use crate::pairing::{Overview, Stage, WindowView};

/// Answers the person at the machine.
#[derive(Debug, Clone)]
pub struct ConsoleRpc {
    /// What the status page shows.
    pub satellite: SatelliteRpc,
    /// TCP port of the bridge.
    pub port: u16,
}

#[tonic::async_trait]
impl ConsoleService for ConsoleRpc {
    async fn get_console(
        &self,
        _: Request<GetConsoleRequest>,
    ) -> Result<Response<GetConsoleResponse>, Status> {
        let overview = self.satellite.pairing.overview();
        Ok(Response::new(GetConsoleResponse {
            satellite: Some(self.satellite.snapshot().await),
            pairing: state_of(&overview) as i32,
            server_name: overview.server_name,
            window: overview.window.as_ref().map(window_to_wire),
            server_seen_time: overview.seen.map(super::timestamp),
            port: u32::from(self.port),
            last_error: overview.last_error,
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

fn state_of(overview: &Overview) -> PairingState {
    match (overview.stage, &overview.window) {
        (Stage::Unpaired, None) => PairingState::Unpaired,
        (Stage::Unpaired, Some(_)) => PairingState::WindowOpen,
        (Stage::Candidate, _) => PairingState::Candidate,
        (Stage::Paired, _) => PairingState::Paired,
    }
}

fn window_to_wire(window: &WindowView) -> PairingWindow {
    PairingWindow {
        code: window.code.to_string(),
        expire_time: Some(super::timestamp(window.expires)),
        tries_left: window.tries_left,
    }
}
