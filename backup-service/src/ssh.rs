//! Connects over SSH: the key first, then the sign-in. For destinations and for centrals.
//!
//! **Invariant:** nothing is sent to a server, not even a user's name, whose key is not the one that a person confirmed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::Channel;
use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse, Msg};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::destination::fault::Fault;
use crate::destination::target::Secret;

/// How long a connection, a sign-in and the opening of a channel may take each.
pub(crate) const CONNECT: Duration = Duration::from_secs(20);

/// How long a server may be silent before it is asked whether it is there; three times without an answer is a cut.
const SILENCE: Duration = Duration::from_secs(15);

/// Where to sign in, and how.
#[derive(Debug, Clone)]
pub struct Login {
    /// What it is to us, for messages.
    pub what: &'static str,
    /// Name or address.
    pub server: String,
    /// Port.
    pub port: u16,
    /// Name of the user.
    pub user: String,
    /// Password, if there is one.
    pub password: Option<Secret>,
    /// Private key, if there is one.
    pub key: Option<Arc<PrivateKey>>,
    /// The server's key, if a person has confirmed one.
    pub host_key: Option<PublicKey>,
}

impl Login {
    /// Who it is, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("{} {}:{}", self.what, self.server, self.port)
    }
}

/// Reads a private key.
///
/// # Errors
/// [`Fault::Description`].
pub fn private_key(text: &Secret, passphrase: Option<&Secret>) -> Result<PrivateKey, Fault> {
    // What the parser says may hold a piece of what it was given.
    decode_secret_key(text.reveal(), passphrase.map(Secret::reveal)).map_err(|error| {
        let why = match error {
            russh::keys::Error::KeyIsEncrypted => "it is encrypted and needs its passphrase",
            _ => "it is no private key that is known, or its passphrase is wrong",
        };
        Fault::Description(format!("`private_key`: {why}"))
    })
}

/// Reads a server's key as it was answered by a test.
///
/// # Errors
/// [`Fault::Description`].
pub fn host_key(text: &str) -> Result<PublicKey, Fault> {
    PublicKey::from_openssh(text).map_err(|error| Fault::Description(format!("`host_key`: {error}")))
}

/// Compares the server's key with the confirmed one.
#[derive(Debug)]
struct Verifier {
    confirmed: Option<PublicKey>,
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        // Certificates were not asked for.
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        let confirmed = self.confirmed.as_ref();
        Ok(confirmed.is_some_and(|confirmed| confirmed.key_data() == key.key_data()))
    }
}

/// A connection that was signed in. It ends when it is dropped.
pub(crate) struct Ssh {
    handle: Handle<Verifier>,
    at: String,
    /// Whether the account runs programs, once that was asked.
    pub(crate) has_shell: OnceCell<bool>,
}

impl Ssh {
    /// Opens a channel, for a subsystem or a program.
    pub(crate) async fn session(&self) -> Result<Channel<Msg>, Fault> {
        let opened = tokio::time::timeout(CONNECT, self.handle.channel_open_session()).await;
        match opened {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(self.cut(error.to_string())),
            Err(_) => Err(self.cut(format!("no answer for {}", humantime::format_duration(CONNECT)))),
        }
    }

    /// The line has ended.
    pub(crate) fn cut(&self, why: String) -> Fault {
        Fault::Cut {
            at: self.at.clone(),
            why,
        }
    }

    /// Ends it in good order, if the server is still there.
    pub(crate) async fn leave(self) -> bool {
        let goodbye = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        matches!(tokio::time::timeout(CONNECT, goodbye).await, Ok(Ok(())))
    }
}

/// Connects and signs in, once.
pub(crate) async fn connect(login: &Login) -> Result<Ssh, Fault> {
    let unreachable = |why: String| Fault::Unreachable { at: login.at(), why };
    let late = |_| unreachable(format!("no answer for {}", humantime::format_duration(CONNECT)));
    let address = (login.server.as_str(), login.port);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = stream
        .map_err(late)?
        .map_err(|error| unreachable(error.to_string()))?;
    // The crate's own option is not used when it is handed a stream.
    stream
        .set_nodelay(true)
        .map_err(|error| unreachable(error.to_string()))?;
    let seen = Arc::new(Mutex::new(None));
    let verifier = Verifier {
        confirmed: login.host_key.clone(),
        seen: Arc::clone(&seen),
    };
    let config = Arc::new(config(login.host_key.as_ref()));
    let begun = tokio::time::timeout(CONNECT, russh::client::connect_stream(config, stream, verifier));
    let mut handle = match begun.await.map_err(late)? {
        Ok(handle) => handle,
        Err(russh::Error::UnknownKey) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(stranger(login, seen));
        }
        Err(error) => {
            return Err(unreachable(format!(
                "it does not speak SSH as is needed: {error}"
            )));
        }
    };
    let signed_in = tokio::time::timeout(CONNECT, sign_in(login, &mut handle)).await;
    signed_in.map_err(late)??;
    Ok(Ssh {
        has_shell: OnceCell::new(),
        handle,
        at: login.at(),
    })
}

/// A server with several keys shows the kind that was confirmed, if that is asked for first.
fn config(confirmed: Option<&PublicKey>) -> russh::client::Config {
    let mut config = russh::client::Config {
        keepalive_interval: Some(SILENCE),
        keepalive_max: 3,
        nodelay: true,
        ..russh::client::Config::default()
    };
    if let Some(confirmed) = confirmed {
        let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
        let wanted = confirmed.algorithm();
        let same = |other: &Algorithm| *other == wanted || (is_rsa(other) && is_rsa(&wanted));
        let mut keys = config.preferred.key.to_vec();
        keys.sort_by_key(|algorithm| !same(algorithm));
        config.preferred.key = keys.into();
    }
    config
}

fn stranger(login: &Login, seen: Option<PublicKey>) -> Fault {
    let key = seen
        .as_ref()
        .and_then(|key| key.to_openssh().ok())
        .unwrap_or_default();
    let fingerprint = seen.map(|key| key.fingerprint(HashAlg::Sha256).to_string());
    let (at, fingerprint) = (login.at(), fingerprint.unwrap_or_default());
    if login.host_key.is_some() {
        Fault::HostKeyChanged { at, key, fingerprint }
    } else {
        Fault::HostKeyUnknown { at, key, fingerprint }
    }
}

/// Key first, then password, then the password as the answer to what the server asks.
async fn sign_in(login: &Login, handle: &mut Handle<Verifier>) -> Result<(), Fault> {
    let lost = |error: russh::Error| Fault::Cut {
        at: login.at(),
        why: error.to_string(),
    };
    let mut tried = Vec::new();
    if let Some(key) = &login.key {
        // Only signatures of RSA keys come in several kinds.
        let hash = match key.algorithm() {
            Algorithm::Rsa { .. } => {
                let best = handle.best_supported_rsa_hash().await.map_err(lost)?;
                best.unwrap_or(Some(HashAlg::Sha256))
            }
            _ => None,
        };
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        let answer = handle.authenticate_publickey(&login.user, key).await;
        if let AuthResult::Success = answer.map_err(lost)? {
            return Ok(());
        }
        tried.push("the key");
    }
    if let Some(password) = &login.password {
        let answer = handle.authenticate_password(&login.user, password.reveal()).await;
        if let AuthResult::Success = answer.map_err(lost)? {
            return Ok(());
        }
        if answers(login, handle, password).await.map_err(lost)? {
            return Ok(());
        }
        tried.push("the password");
    }
    Err(Fault::SignIn {
        at: login.at(),
        why: format!("it does not take {} of `{}`", tried.join(" and "), login.user),
    })
}

/// Answers the server's questions, as many servers ask for a password.
async fn answers(
    login: &Login,
    handle: &mut Handle<Verifier>,
    password: &Secret,
) -> Result<bool, russh::Error> {
    let mut asked = handle
        .authenticate_keyboard_interactive_start(&login.user, None)
        .await?;
    for _ in 0..5 {
        match asked {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.reveal().to_owned()).collect();
                asked = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(false)
}
