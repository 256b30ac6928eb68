//! `satellite token …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1::{
    CreateTokenRequest, CreateTokenResponse, JoinToken, ListTokensRequest, RevokeTokenRequest, TokenState,
};
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Makes a token by which one satellite joins with nobody at its console.
    Create(Create),
    /// Lists tokens, newest first.
    List,
    /// Makes a token useless that was not used.
    Revoke {
        /// Its id, or the beginning of it.
        id: String,
    },
}

/// What a token is to be for.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) wish: Wish,
    /// Write the token into this file, for its owner only, instead of printing it.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// What a token is to be for.
#[derive(Debug, Args)]
pub(super) struct Wish {
    /// Host name or IP address under which the satellite reaches this server; without it the configuration's
    /// `join-address`, else the machine's only address.
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
    /// Name in the installation; without it the one that the satellite has.
    #[arg(long)]
    name: Option<String>,
    /// Workload to commission, can be repeated; without it backup-service, if there is a bundle of it.
    #[arg(long, value_name = "NAME", conflicts_with = "bare")]
    workload: Vec<String>,
    /// Commission nothing.
    #[arg(long)]
    bare: bool,
    /// How long the token can be used.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    lifetime: humantime::Duration,
}

impl Wish {
    /// Has the token made; what hinders it is told.
    pub(super) async fn make(self, client: &mut client::Client) -> Result<CreateTokenResponse, CliError> {
        let request = CreateTokenRequest {
            address: self.server.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            workloads: self.workload,
            bare: self.bare,
            lifetime_seconds: self.lifetime.as_secs(),
        };
        let created = client.token.create_token(request).await?.into_inner();
        if !created.problem.is_empty() {
            render::warning(&created.problem);
        }
        Ok(created)
    }
}

#[derive(Debug, Serialize)]
struct TokenView {
    id: String,
    state: Text,
    #[serde(skip_serializing_if = "String::is_empty")]
    token: String,
    server: String,
    name: String,
    workloads: Vec<String>,
    bare: bool,
    create_time: String,
    created_by: String,
    expire_time: String,
    satellite: String,
}

impl TokenView {
    const HEADING: [Text; 6] = [
        texts::ID,
        texts::STATE,
        texts::NAME,
        texts::EXPIRES,
        texts::SATELLITE,
        texts::WHO,
    ];

    fn new(token: JoinToken, text: String) -> Self {
        let state = match token.state() {
            TokenState::Unspecified => texts::UNKNOWN,
            TokenState::Open => texts::OPEN,
            TokenState::Used => texts::USED,
            TokenState::Expired => texts::EXPIRED,
            TokenState::Revoked => texts::REVOKED,
        };
        Self {
            state,
            token: text,
            id: token.id,
            server: token.address,
            name: token.wished_name,
            workloads: token.workloads,
            bare: token.bare,
            create_time: render::time(token.create_time.as_ref()),
            created_by: token.created_by,
            expire_time: render::time(token.expire_time.as_ref()),
            satellite: token.satellite,
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.say().to_owned(),
            self.name.clone(),
            self.expire_time.clone(),
            self.satellite.clone(),
            self.created_by.clone(),
        ]
    }

    fn properties(&self) -> Vec<(Text, String)> {
        let mut properties = vec![
            (texts::ID, self.id.clone()),
            (texts::STATE, self.state.say().to_owned()),
            (texts::SERVER, self.server.clone()),
            (texts::NAME, self.name.clone()),
            (texts::WORKLOADS, self.workloads.join(", ")),
            (texts::EXPIRES, self.expire_time.clone()),
            (texts::SATELLITE, self.satellite.clone()),
        ];
        if !self.token.is_empty() {
            properties.push((texts::TOKEN, self.token.clone()));
        }
        properties
    }
}

impl Token {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        match self {
            Self::Create(create) => create.run(global, &mut client).await,
            Self::List => {
                let answer = client.token.list_tokens(ListTokensRequest {}).await?.into_inner();
                let views = answer
                    .tokens
                    .into_iter()
                    .map(|token| TokenView::new(token, String::new()));
                let views: Vec<_> = views.collect();
                render::list(global.output, &views, &TokenView::HEADING, TokenView::row)
            }
            Self::Revoke { id } => {
                let answer = client
                    .token
                    .revoke_token(RevokeTokenRequest { id })
                    .await?
                    .into_inner();
                let view = TokenView::new(answer.token.unwrap_or_default(), String::new());
                render::one(global.output, &view, TokenView::properties)
            }
        }
    }
}

impl Create {
    async fn run(self, global: &Global, client: &mut client::Client) -> Result<(), CliError> {
        let created = self.wish.make(client).await?;
        let text = match &self.to {
            Some(file) => {
                write_secret(file, created.text.as_bytes())?;
                render::note(&format!("the token is in `{}`", file.display()));
                String::new()
            }
            None => created.text,
        };
        let view = TokenView::new(created.token.unwrap_or_default(), text);
        render::one(global.output, &view, TokenView::properties)
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_secret(file: &std::path::Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = std::path::absolute(file).map_err(CliError::failed)?;
    crate::files::write_atomic(&file, bytes, 0o600).map_err(|error| {
        CliError::failed(anyhow::Error::new(error).context(format!("cannot write `{}`", file.display())))
    })
}
