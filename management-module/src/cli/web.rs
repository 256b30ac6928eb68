//! `web show`, `user …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::{CliError, Global, client, prompt, read_text, render, texts};

/// The commands on the web page.
#[derive(Debug, Subcommand)]
pub(super) enum Web {
    /// Shows where the web page is offered, and the fingerprint of its certificate to compare with the browser's.
    Show,
}

#[derive(Debug, Serialize)]
struct WebView {
    address: String,
    problem: String,
    certificate_fingerprint: String,
    expire_time: String,
    renewal_problem: String,
    renewal_time: String,
}

impl Web {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let web = client.web.get_web(pb::GetWebRequest {}).await?.into_inner();
        let view = WebView {
            expire_time: render::time(web.expire_time.as_ref()),
            renewal_time: render::time(web.renewal_time.as_ref()),
            renewal_problem: web.renewal_problem,
            address: web.address,
            problem: web.problem,
            certificate_fingerprint: web.certificate_fingerprint,
        };
        render::one(global.output, &view, |view| {
            let mut rows = vec![
                (texts::ADDRESS, view.address.clone()),
                (texts::PROBLEM, view.problem.clone()),
                (texts::FINGERPRINT, view.certificate_fingerprint.clone()),
                (texts::EXPIRES, view.expire_time.clone()),
            ];
            if !view.renewal_time.is_empty() {
                rows.push((texts::RENEWED, view.renewal_time.clone()));
                rows.push((texts::NOT_RENEWED, view.renewal_problem.clone()));
            }
            rows
        })
    }
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// All.
    Administrator,
    /// All but users and the audit log.
    Operator,
    /// Sees what an operator sees, and changes nothing.
    Viewer,
    /// Sees and starts the backups of some tenants.
    Customer,
}

impl From<Role> for pb::WebRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Administrator => Self::Administrator,
            Role::Operator => Self::Operator,
            Role::Viewer => Self::Viewer,
            Role::Customer => Self::Customer,
        }
    }
}

/// The commands on users of the web page.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Adds a user; the first one has to be an administrator.
    Add(Add),
    /// Lists the users.
    List,
    /// Changes a user and ends the user's sessions.
    Change(Change),
    /// Removes a user.
    Remove {
        /// Name of the user.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name: a-z, 0-9, dot, hyphen and underscore.
    name: String,
    /// What the user may do.
    #[arg(long, value_enum)]
    role: Role,
    /// A tenant of a customer; may be repeated.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<String>,
    /// File whose first line is the password; `-` reads it from stdin. Without it the password is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// Name of the user.
    name: String,
    /// Another role.
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// A tenant of a customer, in place of those that there are; may be repeated.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<String>,
    /// Ask for a new password.
    #[arg(long)]
    password: bool,
    /// File whose first line is the new password; `-` reads it from stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// Take the second factor away: its device was lost.
    #[arg(long)]
    reset_second_factor: bool,
    /// The user may not sign in.
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// The user may sign in again.
    #[arg(long)]
    enable: bool,
}

#[derive(Debug, Serialize)]
struct UserView {
    name: String,
    role: &'static str,
    tenants: Vec<String>,
    second_factor: bool,
    disabled: bool,
    create_time: String,
    sign_in_time: String,
}

impl From<pb::WebUser> for UserView {
    fn from(user: pb::WebUser) -> Self {
        Self {
            role: match user.role() {
                pb::WebRole::Unspecified => "",
                pb::WebRole::Administrator => "administrator",
                pb::WebRole::Operator => "operator",
                pb::WebRole::Viewer => "viewer",
                pb::WebRole::Customer => "customer",
            },
            create_time: render::time(user.create_time.as_ref()),
            sign_in_time: render::time(user.sign_in_time.as_ref()),
            name: user.name,
            tenants: user.tenants,
            second_factor: user.second_factor,
            disabled: user.disabled,
        }
    }
}

impl User {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Add(add) => add.run(global).await,
            Self::List => list(global).await,
            Self::Change(change) => change.run(global).await,
            Self::Remove { name, yes } => {
                prompt::confirm_loss(&format!("{} {name}?", texts::REMOVE_USER.say()), yes)?;
                let mut client = client::connect(global).await?;
                client
                    .web
                    .remove_user(pb::RemoveUserRequest { name: name.clone() })
                    .await?;
                render::done(global.output, &format!("user {name} was removed"))
            }
        }
    }
}

async fn list(global: &Global) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let users = client
        .web
        .list_users(pb::ListUsersRequest {})
        .await?
        .into_inner()
        .users;
    let views: Vec<_> = users.into_iter().map(UserView::from).collect();
    let heading = [
        texts::NAME,
        texts::ROLE,
        texts::TENANTS,
        texts::SECOND_FACTOR,
        texts::DISABLED,
        texts::SIGNED_IN,
    ];
    let yes = |is: bool| if is { texts::YES } else { texts::NO }.say().to_owned();
    render::list(global.output, &views, &heading, |view| {
        vec![
            view.name.clone(),
            view.role.to_owned(),
            view.tenants.join(", "),
            yes(view.second_factor),
            yes(view.disabled),
            view.sign_in_time.clone(),
        ]
    })
}

impl Add {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let password = new_password(self.password_file.as_deref())?;
        let mut client = client::connect(global).await?;
        let request = pb::AddUserRequest {
            name: self.name.clone(),
            password,
            role: pb::WebRole::from(self.role).into(),
            tenants: self.tenants,
        };
        client.web.add_user(request).await?;
        render::done(global.output, &format!("user {} was added", self.name))
    }
}

impl Change {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let password = if self.password || self.password_file.is_some() {
            new_password(self.password_file.as_deref())?
        } else {
            String::new()
        };
        let mut client = client::connect(global).await?;
        let request = pb::ChangeUserRequest {
            name: self.name.clone(),
            password,
            role: self.role.map(pb::WebRole::from).unwrap_or_default().into(),
            tenants: self.tenants,
            reset_second_factor: self.reset_second_factor,
            disabled: match (self.disable, self.enable) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
        };
        client.web.change_user(request).await?;
        render::done(global.output, &format!("user {} was changed", self.name))
    }
}

/// A password from a file, from stdin, or asked for twice. Never from the command line, which all users can read.
fn new_password(file: Option<&Path>) -> Result<String, CliError> {
    let text = match file {
        None => return prompt::password(texts::ASK_PASSWORD.say(), true),
        Some(path) if path == Path::new("-") => {
            std::io::read_to_string(std::io::stdin()).map_err(CliError::failed)?
        }
        Some(path) => read_text(path)?,
    };
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
