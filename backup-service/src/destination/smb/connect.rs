//! Connecting to a Windows share and signing in, and what stands in the way of that.

use std::sync::Arc;
use std::time::Duration;

use smb::connection::EncryptionMode;
use smb::{Client, ClientConfig, ConnectionConfig, Dialect, Error, Status, Tree, UncPath};

use super::REQUEST;
use crate::destination::fault::Fault;
use crate::destination::target::Secret;

/// How long connecting and signing in may take.
pub(super) const CONNECT: Duration = Duration::from_secs(30);

// What the crate has no name for.
const PASSWORD_EXPIRED: u32 = 0xC000_0071;
const ACCOUNT_DISABLED: u32 = 0xC000_0072;
const ACCOUNT_RESTRICTION: u32 = 0xC000_006E;
const NO_SUCH_USER: u32 = 0xC000_0064;
const PASSWORD_MUST_CHANGE: u32 = 0xC000_0224;

/// Where to sign in, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name or address.
    pub server: String,
    /// Port.
    pub port: u16,
    /// Name of the share.
    pub share: String,
    /// Directories in it, which must be there.
    pub below: Vec<String>,
    /// Name of the user.
    pub user: String,
    /// Domain or workgroup; may be empty.
    pub domain: String,
    /// Password.
    pub password: Secret,
    /// Every message must be encrypted.
    pub encrypted: bool,
}

impl Settings {
    /// Who it is, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("the share \\\\{}\\{}", self.server, self.share)
    }
}

/// A connection that is signed in.
pub(super) struct Connection {
    // The connection ends with it.
    pub(super) client: Client,
    pub(super) tree: Arc<Tree>,
}

/// What a deadline that has passed is called.
pub(super) fn late(deadline: Duration) -> String {
    format!("no answer for {}", humantime::format_duration(deadline))
}

/// What the server answered, if it did.
pub(super) fn status(error: &Error) -> Option<u32> {
    match error {
        Error::ReceivedErrorMessage(status, _) | Error::UnexpectedMessageStatus(status) => Some(*status),
        _ => None,
    }
}

/// Connects and signs in.
pub(super) async fn connect(settings: &Settings) -> Result<Connection, Fault> {
    let at = settings.at();
    let unreachable = |why: String| Fault::Unreachable { at: at.clone(), why };
    // Asked here as well, so that a name that is unknown is told as such and does not hold up a thread.
    let found = tokio::time::timeout(
        CONNECT,
        tokio::net::lookup_host((settings.server.as_str(), settings.port)),
    );
    let found = found.await.map_err(|_| unreachable(late(CONNECT)))?;
    found.map(drop).map_err(|error| unreachable(error.to_string()))?;
    let client = Client::new(ClientConfig {
        connection: ConnectionConfig {
            port: Some(settings.port),
            timeout: Some(REQUEST),
            min_dialect: Some(if settings.encrypted {
                Dialect::Smb030
            } else {
                Dialect::Smb0202
            }),
            encryption_mode: if settings.encrypted {
                EncryptionMode::Required
            } else {
                EncryptionMode::Allowed
            },
            allow_unsigned_guest_access: false,
            ..ConnectionConfig::default()
        },
        ..ClientConfig::default()
    });
    let path = UncPath::new(&settings.server).and_then(|path| path.with_share(&settings.share));
    let path = path.map_err(|error| Fault::Description(format!("`server` or `share`: {error}")))?;
    let user = if settings.domain.is_empty() {
        settings.user.clone()
    } else {
        format!("{}\\{}", settings.domain, settings.user)
    };
    let connected = async {
        client
            .share_connect(&path, &user, settings.password.reveal().to_owned())
            .await?;
        client.get_tree(&path).await
    };
    match tokio::time::timeout(CONNECT, connected).await {
        Err(_) => Err(unreachable(late(CONNECT))),
        Ok(Ok(tree)) => Ok(Connection { client, tree }),
        Ok(Err(error)) => Err(not_connected(settings, &error)),
    }
}

/// What the end of an attempt to connect means.
fn not_connected(settings: &Settings, error: &Error) -> Fault {
    let at = settings.at();
    let why = error.to_string();
    match status(error) {
        Some(
            Status::U32_LOGON_FAILURE
            | Status::U32_USER_ACCOUNT_LOCKED_OUT
            | PASSWORD_EXPIRED
            | ACCOUNT_DISABLED
            | ACCOUNT_RESTRICTION
            | NO_SUCH_USER
            | PASSWORD_MUST_CHANGE,
        ) => Fault::SignIn { at, why },
        Some(Status::U32_BAD_NETWORK_NAME) => Fault::NoPlace { what: at },
        Some(Status::U32_ACCESS_DENIED) => Fault::Denied {
            what: format!("use {at}"),
            why: format!("{why}; the server may also want encryption"),
        },
        Some(Status::U32_NOT_SUPPORTED) => Fault::Security { at, why },
        Some(_) => Fault::Other {
            at,
            what: "connect".to_owned(),
            why,
        },
        None => match error {
            Error::SspiError(_) | Error::UnsupportedAuthenticationMechanism(_) => Fault::SignIn { at, why },
            Error::NegotiationError(_)
            | Error::SignatureVerificationFailed
            | Error::InvalidConfiguration(_) => Fault::Security { at, why },
            Error::InvalidArgument(_) => Fault::Description(why),
            _ => Fault::Unreachable { at, why },
        },
    }
}
