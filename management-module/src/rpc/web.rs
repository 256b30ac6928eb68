//! Where the web page is, and its users.

use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, to_the_end, wire_time};
use crate::app::users::{self, Change, Role, User, UserName};
use crate::app::{App, AppError};

/// The service.
#[derive(Debug, Clone)]
pub struct Web(pub App);

#[tonic::async_trait]
impl wire::web_service_server::WebService for Web {
    async fn get_web(
        &self,
        _request: Request<wire::GetWebRequest>,
    ) -> Result<Response<wire::GetWebResponse>, Status> {
        let (offer, renewal) = (self.0.page.offer(), self.0.page.renewal());
        Ok(Response::new(wire::GetWebResponse {
            address: offer
                .address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            problem: offer.problem,
            certificate_fingerprint: offer.fingerprint,
            expire_time: offer.expires_at.map(wire_time),
            renewal_problem: renewal.problem,
            renewal_time: renewal.next_at.map(wire_time),
        }))
    }

    async fn add_user(
        &self,
        request: Request<wire::AddUserRequest>,
    ) -> Result<Response<wire::AddUserResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "WebService/AddUser";
        let role = role_of(request.role()).ok_or_else(|| Status::invalid_argument("`role` is missing"));
        let wish = name_of(&request.name).and_then(|name| Ok((name, role?)));
        let (name, role) = asked(&self.0, (&actor, action, &request.name), wish).await?;
        let app = self.0.clone();
        to_the_end(async move {
            let added = users::add(&app, &name, &request.password, role, request.tenants).await;
            app.audit.recorded(&actor, action, name.as_str(), added).await
        })
        .await?;
        Ok(Response::new(wire::AddUserResponse {}))
    }

    async fn list_users(
        &self,
        _request: Request<wire::ListUsersRequest>,
    ) -> Result<Response<wire::ListUsersResponse>, Status> {
        let users = users::list(&self.0).await?.into_iter().map(user).collect();
        Ok(Response::new(wire::ListUsersResponse { users }))
    }

    async fn change_user(
        &self,
        request: Request<wire::ChangeUserRequest>,
    ) -> Result<Response<wire::ChangeUserResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "WebService/ChangeUser";
        let role = role_of(request.role());
        let name = asked(&self.0, (&actor, action, &request.name), name_of(&request.name)).await?;
        let change = Change {
            password: Some(request.password).filter(|password| !password.is_empty()),
            role,
            tenants: Some(request.tenants).filter(|tenants| !tenants.is_empty()),
            reset_second_factor: request.reset_second_factor,
            disabled: request.disabled,
        };
        let app = self.0.clone();
        to_the_end(async move {
            let changed = users::change(&app, &name, change, "").await;
            app.audit.recorded(&actor, action, name.as_str(), changed).await
        })
        .await?;
        Ok(Response::new(wire::ChangeUserResponse {}))
    }

    async fn remove_user(
        &self,
        request: Request<wire::RemoveUserRequest>,
    ) -> Result<Response<wire::RemoveUserResponse>, Status> {
        let actor = actor(&request)?;
        let text = request.into_inner().name;
        let action = "WebService/RemoveUser";
        let name = asked(&self.0, (&actor, action, &text), name_of(&text)).await?;
        let app = self.0.clone();
        to_the_end(async move {
            let removed = users::remove(&app, &name).await;
            app.audit.recorded(&actor, action, name.as_str(), removed).await
        })
        .await?;
        Ok(Response::new(wire::RemoveUserResponse {}))
    }
}

fn name_of(text: &str) -> Result<UserName, Status> {
    text.parse().map_err(|error: AppError| error.into())
}

fn role_of(role: wire::WebRole) -> Option<Role> {
    match role {
        wire::WebRole::Unspecified => None,
        wire::WebRole::Administrator => Some(Role::Administrator),
        wire::WebRole::Operator => Some(Role::Operator),
        wire::WebRole::Viewer => Some(Role::Viewer),
        wire::WebRole::Customer => Some(Role::Customer),
    }
}

fn user(user: User) -> wire::WebUser {
    let role = match user.role {
        Role::Administrator => wire::WebRole::Administrator,
        Role::Operator => wire::WebRole::Operator,
        Role::Viewer => wire::WebRole::Viewer,
        Role::Customer => wire::WebRole::Customer,
    };
    wire::WebUser {
        name: user.name.to_string(),
        role: role.into(),
        tenants: user.tenants,
        second_factor: user.has_second_factor,
        disabled: user.disabled,
        create_time: Some(wire_time(user.created_at)),
        sign_in_time: user.signed_in_at.map(wire_time),
    }
}
