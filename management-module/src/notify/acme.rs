//! Has an authority certify the names of the web page (RFC 8555), by the challenge of RFC 8737 on the page's own port.
//!
//! **Invariant:** what is answered was compared with its key; the account's key is in a file of its owner only, and in no
//! error.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    ExternalAccountKey, HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use super::http;
use crate::config::acme::Acme;
use crate::config::is_safe_address;
use crate::files;

/// Most bytes of an answer.
const ANSWER: usize = 256 * 1024;
/// How the authority is asked whether it is ready. The caller bounds the time.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_hours(1));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key of the account that one has there already is none.
    #[error("there is no key in base64 in {}", path.display())]
    ExternalKey {
        /// The file.
        path: PathBuf,
    },
    /// The authority does not do its part, or does not answer.
    #[error("the authority cannot be had to {what}")]
    Authority {
        /// What it should do.
        what: &'static str,
        /// What it says.
        #[source]
        source: Box<Error>,
    },
    /// It has not found this page under a name.
    #[error("the authority does not find this page as {name}, port 443: {said}")]
    Name {
        /// The name.
        name: String,
        /// What it says.
        said: String,
    },
    /// It does not know the challenge that the page can answer.
    #[error("the authority does not offer the challenge tls-alpn-01 for {name}")]
    NoChallenge {
        /// The name.
        name: String,
    },
    /// What it gave is no certificate for the key.
    #[error("the authority's certificate cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A certificate with its key, as PEM.
pub struct Issued {
    /// The certificates, that of the page first.
    pub chain: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(..)")
    }
}

/// The account at an authority, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

/// Gets a new certificate with a new key. `account` is the file of the account, which is made if there is none; `answer` is told what
/// the page shows to whoever asks for a name by the challenge.
///
/// # Errors
/// [`AcmeError`]. The caller bounds the time.
pub async fn obtain(
    config: &Acme,
    account: &Path,
    answer: &(dyn Fn(&str, [u8; 32]) + Send + Sync),
) -> Result<Issued, AcmeError> {
    let names: Vec<Identifier> = config.names.iter().cloned().map(Identifier::Dns).collect();
    let order = NewOrder::new(&names);
    let asked = open(config, account).await?.new_order(&order).await;
    let mut order = match asked {
        Err(Error::Api(problem)) if is_unknown(problem.r#type.as_deref()) => {
            // The authority was set up anew, or has removed it.
            tracing::warn!(
                "The authority of the page's certificate does not know our account: a new one is made"
            );
            std::fs::remove_file(account).map_err(failed(account))?;
            open(config, account).await?.new_order(&order).await
        }
        asked => asked,
    }
    .map_err(said("take an order"))?;
    prove(&mut order, answer).await?;
    let key = order.finalize().await.map_err(said("certify"))?;
    let chain = order
        .poll_certificate(&PATIENCE)
        .await
        .map_err(said("give the certificate"))?;
    let issued = Issued { chain, key };
    check(&issued)?;
    Ok(issued)
}

fn said(what: &'static str) -> impl FnOnce(Error) -> AcmeError {
    move |source| AcmeError::Authority {
        what,
        source: Box::new(source),
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> AcmeError + use<> {
    let path = path.to_owned();
    move |source| AcmeError::File { path, source }
}

fn is_unknown(kind: Option<&str>) -> bool {
    kind == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// The account at this authority, or a new one.
async fn open(config: &Acme, path: &Path) -> Result<Account, AcmeError> {
    let builder = || {
        Account::builder_with_http(Box::new(Http {
            ca_file: config.ca_file.clone(),
        }))
    };
    let kept = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<Kept>(&bytes)
            .inspect_err(|error| tracing::warn!(%error, "The account at the page's authority cannot be read: a new one is made"))
            .ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(path)(error)),
    };
    if let Some(kept) = kept.filter(|kept| kept.directory == config.directory) {
        let opened = builder().from_credentials(kept.credentials).await;
        return opened.map_err(said("say what it offers"));
    }
    let contact: Vec<String> = config.contact.iter().map(|one| format!("mailto:{one}")).collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wish = NewAccount {
        contact: &contact,
        terms_of_service_agreed: config.accept_terms,
        only_return_existing: false,
    };
    let external = external(config).await?;
    let made = builder()
        .create(&wish, config.directory.clone(), external.as_ref())
        .await;
    let (account, credentials) = made.map_err(said("make an account"))?;
    let kept = Kept {
        directory: config.directory.clone(),
        credentials,
    };
    let bytes = serde_json::to_vec(&kept).map_err(|error| said("make an account")(error.into()))?;
    files::write_atomic(path, &bytes, 0o600).map_err(failed(path))?;
    Ok(account)
}

async fn external(config: &Acme) -> Result<Option<ExternalAccountKey>, AcmeError> {
    let (Some(id), Some(path)) = (&config.external_key_id, &config.external_key_file) else {
        return Ok(None);
    };
    let text = tokio::fs::read_to_string(path).await.map_err(failed(path))?;
    let text = text.trim().trim_end_matches('=');
    let key = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .or_else(|_| BASE64_NOPAD.decode(text.as_bytes()))
        .ok()
        .filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| AcmeError::ExternalKey { path: path.clone() })?;
    Ok(Some(ExternalAccountKey::new(id.clone(), &key)))
}

/// Answers the challenges, and waits until the authority has seen each.
async fn prove(order: &mut Order, answer: &(dyn Fn(&str, [u8; 32]) + Send + Sync)) -> Result<(), AcmeError> {
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.map_err(said("say what it wants to see"))?;
        if one.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = one.identifier().to_string();
        let Some(mut challenge) = one.challenge(ChallengeType::TlsAlpn01) else {
            return Err(AcmeError::NoChallenge { name });
        };
        let digest = challenge.key_authorization().digest();
        if let Ok(digest) = digest.as_ref().try_into() {
            answer(&name, digest);
        }
        challenge.set_ready().await.map_err(said("look"))?;
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Invalid) | Err(Error::Api(_)) => {}
        Ok(_) => return Ok(()),
        Err(error) => return Err(said("look")(error)),
    }
    // It says why only where the challenge is.
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.map_err(said("say what it wants to see"))?;
        let name = one.identifier().to_string();
        let state = one.refresh().await.map_err(said("say what it has seen"))?;
        let mut faults = state
            .challenges
            .iter()
            .filter_map(|challenge| challenge.error.as_ref());
        if let Some(fault) = faults.next_back() {
            let said = fault.detail.clone().unwrap_or_else(|| fault.to_string());
            return Err(AcmeError::Name { name, said });
        }
    }
    Err(said("certify")(Error::Str("a reason")))
}

/// A certificate is taken only if it is one for this key.
fn check(issued: &Issued) -> Result<(), AcmeError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| AcmeError::Unusable(error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes());
    let key = key.map_err(|error| AcmeError::Unusable(error.into()))?;
    CertifiedKey::from_der(chain, key, &satellite_proto::tls::provider())
        .map(drop)
        .map_err(|error| AcmeError::Unusable(error.into()))
}

/// Requests go the way of all others.
struct Http {
    ca_file: Option<PathBuf>,
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let ca_file = self.ca_file.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let url = parts.uri.to_string();
            if !is_safe_address(&url) {
                return Err(Error::Other(format!("{url:?} is not encrypted").into()));
            }
            let (uri, place) = http::parts(&url).map_err(|error| Error::Other(error.into()))?;
            parts.uri = place.parse()?;
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let request = Request::from_parts(parts, Full::new(body));
            let answer = http::send(&uri, ca_file.as_deref(), request, ANSWER).await;
            let answer = answer.map_err(|error| Error::Other(error.into()))?;
            let body = answer
                .body
                .ok_or(Error::Str("an answer that is whole and not too long"))?;
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response.into())
        })
    }
}
