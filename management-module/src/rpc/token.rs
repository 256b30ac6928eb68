//! Join tokens.

use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, name_of, to_the_end, wire_time, workload_name_of};
use crate::app::join::{self, Wish};
use crate::app::{App, AppError};
use crate::store::TokenRow;

/// The service.
#[derive(Debug, Clone)]
pub struct Token(pub App);

#[tonic::async_trait]
impl wire::token_service_server::TokenService for Token {
    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let name = Some(&request.name).filter(|name| !name.is_empty());
        let workloads = request.workloads.iter().map(|name| workload_name_of(name));
        let wish = Wish {
            address: request.address,
            name: name.map(|name| name_of(name)).transpose()?,
            workloads: workloads.collect::<Result<_, _>>()?,
            bare: request.bare,
            lifetime: (request.lifetime_seconds > 0).then(|| Duration::from_secs(request.lifetime_seconds)),
        };
        let app = self.0.clone();
        let created = to_the_end(async move {
            let created = join::create(&app, &actor, wish).await;
            let subject = match &created {
                Ok(created) => format!("token {}", created.row.id),
                Err(_) => "token".to_owned(),
            };
            app.audit
                .recorded(&actor, "TokenService/CreateToken", &subject, created)
                .await
        })
        .await?;
        Ok(Response::new(wire::CreateTokenResponse {
            text: created.token.to_string(),
            token: Some(token(&created.row)),
            problem: created.problem,
        }))
    }

    async fn list_tokens(
        &self,
        _request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensResponse>, Status> {
        let tokens = join::list(&self.0).await?.iter().map(token).collect();
        Ok(Response::new(wire::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        let actor = actor(&request)?;
        let id = request.into_inner().id;
        // What is no beginning of an id must not reach the audit log: it may be the token itself.
        let is_id = id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(Status::invalid_argument(
                "`id` must be hexadecimal digits, at most 32",
            ));
        }
        let app = self.0.clone();
        let row = to_the_end(async move {
            let result = join::revoke(&app, &id.to_ascii_lowercase()).await;
            let subject = format!("token {id}");
            app.audit
                .recorded(&actor, "TokenService/RevokeToken", &subject, result)
                .await
        });
        let row: Result<TokenRow, AppError> = row.await;
        Ok(Response::new(wire::RevokeTokenResponse {
            token: Some(token(&row?)),
        }))
    }
}

fn token(row: &TokenRow) -> wire::JoinToken {
    use wire::TokenState::{Expired, Open, Revoked, Used};
    let state = if row.used_by.is_some() {
        Used
    } else if row.revoked_at.is_some() {
        Revoked
    } else if row.expires_at <= Timestamp::now() {
        Expired
    } else {
        Open
    };
    wire::JoinToken {
        id: row.id.to_string(),
        state: state.into(),
        address: row.address.clone(),
        wished_name: row
            .wished_name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        workloads: row.workloads.iter().map(ToString::to_string).collect(),
        bare: row.bare,
        create_time: Some(wire_time(row.created_at)),
        created_by: row.created_by.clone(),
        expire_time: Some(wire_time(row.expires_at)),
        satellite: row.satellite.clone().unwrap_or_default(),
    }
}
