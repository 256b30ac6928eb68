//! Connects to an SFTP server: the key first, then the sign-in, then SFTP itself.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::{Config as SftpConfig, SftpSession};
use tokio::net::TcpStream;

use super::{CONNECT, REQUEST, SILENCE, Settings};
use crate::destination::fault::Fault;
use crate::destination::target::Secret;

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

/// A connection that was signed in.
pub(super) struct Connection {
    // The session ends with it.
    handle: Handle<Verifier>,
    pub(super) sftp: SftpSession,
}

impl Connection {
    /// Ends it in good order, if the server is still there.
    pub(super) async fn leave(self) -> bool {
        let goodbye = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        matches!(tokio::time::timeout(CONNECT, goodbye).await, Ok(Ok(())))
    }
}

/// Connects, once.
pub(super) async fn connect(settings: &Settings) -> Result<Connection, Fault> {
    let unreachable = |why: String| Fault::Unreachable {
        at: settings.at(),
        why,
    };
    let late = |_| unreachable(format!("no answer for {}", humantime::format_duration(CONNECT)));
    let address = (settings.server.as_str(), settings.port);
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
        confirmed: settings.host_key.clone(),
        seen: Arc::clone(&seen),
    };
    let config = Arc::new(config(settings.host_key.as_ref()));
    let begun = tokio::time::timeout(CONNECT, russh::client::connect_stream(config, stream, verifier));
    let mut handle = match begun.await.map_err(late)? {
        Ok(handle) => handle,
        Err(russh::Error::UnknownKey) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(stranger(settings, seen));
        }
        Err(error) => {
            return Err(unreachable(format!(
                "it does not speak SSH as is needed: {error}"
            )));
        }
    };
    let signed_in = tokio::time::timeout(CONNECT, sign_in(settings, &mut handle)).await;
    signed_in.map_err(late)??;
    let opened = async {
        let channel = handle.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        Ok::<_, russh::Error>(channel)
    };
    let channel = tokio::time::timeout(CONNECT, opened).await.map_err(late)?;
    let no_sftp = |why: String| Fault::Other {
        at: settings.at(),
        what: "begin SFTP".to_owned(),
        why,
    };
    let channel = channel.map_err(|error| no_sftp(error.to_string()))?;
    let sftp_config = SftpConfig {
        request_timeout_secs: REQUEST.as_secs(),
        ..SftpConfig::default()
    };
    let sftp = SftpSession::new_with_config(channel.into_stream(), sftp_config);
    let sftp = tokio::time::timeout(CONNECT, sftp).await.map_err(late)?;
    Ok(Connection {
        handle,
        sftp: sftp.map_err(|error| no_sftp(format!("the user may have no SFTP: {error}")))?,
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

fn stranger(settings: &Settings, seen: Option<PublicKey>) -> Fault {
    let key = seen
        .as_ref()
        .and_then(|key| key.to_openssh().ok())
        .unwrap_or_default();
    let fingerprint = seen.map(|key| key.fingerprint(HashAlg::Sha256).to_string());
    let (at, fingerprint) = (settings.at(), fingerprint.unwrap_or_default());
    if settings.host_key.is_some() {
        Fault::HostKeyChanged { at, key, fingerprint }
    } else {
        Fault::HostKeyUnknown { at, key, fingerprint }
    }
}

/// Key first, then password, then the password as the answer to what the server asks.
async fn sign_in(settings: &Settings, handle: &mut Handle<Verifier>) -> Result<(), Fault> {
    let lost = |error: russh::Error| Fault::Cut {
        at: settings.at(),
        why: error.to_string(),
    };
    let mut tried = Vec::new();
    if let Some(key) = &settings.key {
        // Only signatures of RSA keys come in several kinds.
        let hash = match key.algorithm() {
            Algorithm::Rsa { .. } => {
                let best = handle.best_supported_rsa_hash().await.map_err(lost)?;
                best.unwrap_or(Some(HashAlg::Sha256))
            }
            _ => None,
        };
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        let answer = handle.authenticate_publickey(&settings.user, key).await;
        if let AuthResult::Success = answer.map_err(lost)? {
            return Ok(());
        }
        tried.push("the key");
    }
    if let Some(password) = &settings.password {
        let answer = handle
            .authenticate_password(&settings.user, password.reveal())
            .await;
        if let AuthResult::Success = answer.map_err(lost)? {
            return Ok(());
        }
        if answers(settings, handle, password).await.map_err(lost)? {
            return Ok(());
        }
        tried.push("the password");
    }
    Err(Fault::SignIn {
        at: settings.at(),
        why: format!("it does not take {} of `{}`", tried.join(" and "), settings.user),
    })
}

/// Answers the server's questions, as many servers ask for a password.
async fn answers(
    settings: &Settings,
    handle: &mut Handle<Verifier>,
    password: &Secret,
) -> Result<bool, russh::Error> {
    let mut asked = handle
        .authenticate_keyboard_interactive_start(&settings.user, None)
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
