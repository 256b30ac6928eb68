//! Wire for the firewall service: wire to one call to wire.

use std::time::SystemTime;

use satellite_proto::tls::Peer;
use satellite_proto::wire::bridge::v1 as wire;
use satellite_proto::wire::bridge::v1::firewall_service_server::FirewallService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::change::confirm_time;
use crate::firewall::wire::{fitting, from_wire, to_wire};
use crate::firewall::{Firewall, FirewallError, OpenChange, RulesetError, SetOutcome, Wanted};
use crate::operations::Replies;

/// The firewall service.
#[derive(Debug, Clone)]
pub struct FirewallRpc {
    firewall: Firewall,
    replies: Replies,
}

impl FirewallRpc {
    /// Serves `firewall`, and answers repeated calls from `replies`.
    #[must_use]
    pub fn new(firewall: Firewall, replies: Replies) -> Self {
        Self { firewall, replies }
    }
}

#[tonic::async_trait]
impl FirewallService for FirewallRpc {
    async fn get_firewall(
        &self,
        request: Request<wire::GetFirewallRequest>,
    ) -> Result<Response<wire::GetFirewallResponse>, Status> {
        let counters = if request.get_ref().counters {
            self.firewall.counters().await.map_err(|err| refusal(&err))?
        } else {
            Vec::new()
        };
        let status = self.firewall.get().await.map_err(|err| refusal(&err))?;
        let ruleset = to_wire(&status.ruleset);
        let (ipv4, ipv6, lines_left_out) = fitting(&ruleset, status.ipv4, status.ipv6);
        Ok(Response::new(wire::GetFirewallResponse {
            ruleset: Some(ruleset),
            revision: status.revision,
            ipv4,
            ipv6,
            lines_left_out,
            open_change: status.open_change.map(change_to_wire),
            in_sync: status.in_sync,
            counters,
        }))
    }

    async fn set_firewall(
        &self,
        request: Request<wire::SetFirewallRequest>,
    ) -> Result<Response<wire::SetFirewallResponse>, Status> {
        let wire::SetFirewallRequest {
            ruleset,
            base_revision,
            confirm_seconds,
            idempotency_key,
        } = request.into_inner();
        let firewall = self.firewall.clone();
        let work = move || async move {
            let ruleset =
                ruleset.ok_or_else(|| Status::invalid_argument("the request carries no ruleset"))?;
            let ruleset = from_wire(ruleset).map_err(|err| bad_ruleset(&err))?;
            let base = Some(base_revision).filter(|base| !base.is_empty());
            let wanted = Wanted {
                ruleset,
                base,
                confirm: confirm(confirm_seconds)?,
            };
            let SetOutcome { change, revision } = firewall.set(wanted).await.map_err(|err| refusal(&err))?;
            Ok(wire::SetFirewallResponse {
                change: change.map(change_to_wire),
                revision,
            })
        };
        self.replies
            .replay("SetFirewall", &idempotency_key, work)
            .await
            .map(Response::new)
    }

    async fn confirm_firewall(
        &self,
        request: Request<wire::ConfirmFirewallRequest>,
    ) -> Result<Response<wire::ConfirmFirewallResponse>, Status> {
        let established = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.established)
            .ok_or_else(|| Status::failed_precondition("a change is confirmed over the network only"))?;
        let wire::ConfirmFirewallRequest {
            change_id,
            idempotency_key,
        } = request.into_inner();
        let firewall = self.firewall.clone();
        let work = move || async move {
            let id = change_id_from(&change_id)?;
            let revision = firewall
                .confirm(id, established)
                .await
                .map_err(|err| refusal(&err))?;
            Ok(wire::ConfirmFirewallResponse { revision })
        };
        self.replies
            .replay("ConfirmFirewall", &idempotency_key, work)
            .await
            .map(Response::new)
    }

    async fn rollback_firewall(
        &self,
        request: Request<wire::RollbackFirewallRequest>,
    ) -> Result<Response<wire::RollbackFirewallResponse>, Status> {
        let wire::RollbackFirewallRequest {
            change_id,
            idempotency_key,
        } = request.into_inner();
        let firewall = self.firewall.clone();
        let work = move || async move {
            let id = change_id_from(&change_id)?;
            let revision = firewall.rollback(id).await.map_err(|err| refusal(&err))?;
            Ok(wire::RollbackFirewallResponse { revision })
        };
        self.replies
            .replay("RollbackFirewall", &idempotency_key, work)
            .await
            .map(Response::new)
    }

    async fn reset_firewall(
        &self,
        request: Request<wire::ResetFirewallRequest>,
    ) -> Result<Response<wire::ResetFirewallResponse>, Status> {
        let wire::ResetFirewallRequest {
            confirm_seconds,
            idempotency_key,
        } = request.into_inner();
        let firewall = self.firewall.clone();
        let work = move || async move {
            let time = confirm(confirm_seconds)?;
            let SetOutcome { change, revision } = firewall.reset(time).await.map_err(|err| refusal(&err))?;
            Ok(wire::ResetFirewallResponse {
                change: change.map(change_to_wire),
                revision,
            })
        };
        self.replies
            .replay("ResetFirewall", &idempotency_key, work)
            .await
            .map(Response::new)
    }
}

fn confirm(seconds: u32) -> Result<std::time::Duration, Status> {
    confirm_time(seconds).ok_or_else(|| {
        Status::invalid_argument("the time to confirm must be 10 to 600 seconds, or 0 for 120")
    })
}

/// An id that is none cannot name an open change.
fn change_id_from(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| refusal(&FirewallError::NoSuchChange))
}

fn change_to_wire(change: OpenChange) -> wire::Change {
    wire::Change {
        id: change.id.to_string(),
        deadline: Some(SystemTime::from(change.deadline).into()),
    }
}

fn bad_ruleset(err: &RulesetError) -> Status {
    Status::invalid_argument(err.to_string())
}

fn refusal(err: &FirewallError) -> Status {
    match err {
        FirewallError::ChangeOpen(_) | FirewallError::OtherRevision { .. } | FirewallError::OldConnection => {
            Status::failed_precondition(err.to_string())
        }
        FirewallError::NoSuchChange => Status::not_found(err.to_string()),
        FirewallError::TooLarge(_) => Status::invalid_argument(err.to_string()),
        FirewallError::Stopping | FirewallError::Timer(_) | FirewallError::Change(_) => {
            tracing::warn!(error = ?err, "A firewall change was not made");
            Status::unavailable(err.to_string())
        }
        FirewallError::Iptables(_) | FirewallError::Store(_) | FirewallError::Encode(_) => {
            tracing::error!(error = ?err, "The firewall failed");
            Status::internal(err.to_string())
        }
    }
}
