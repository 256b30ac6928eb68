//! Asks a provider of OpenID Connect who somebody is: the code flow with PKCE (OpenID Connect Core 1.0, Discovery 1.0,
//! RFC 7636, RFC 9207).
//!
//! **Invariant:** what a token says counts only if a key of the provider signed it, for us, for this very sign-in, and it
//! has not expired; a symmetric or an absent signature never does.

use std::path::PathBuf;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::http::{self, HttpError};
use crate::config::is_safe_address;
use crate::config::openid::OpenId;

/// Most bytes of an answer.
const ANSWER: usize = 256 * 1024;
/// Seconds by which the clocks of both may differ.
const LEEWAY: u64 = 60;
/// Signatures of a token that are accepted.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why the provider does not tell who somebody is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdError {
    /// The client's secret cannot be read.
    #[error("cannot read the client's secret, {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no answer.
    #[error("the provider cannot be asked for {what}")]
    Http {
        /// For what.
        what: &'static str,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The request cannot be written.
    #[error("the request for {what} cannot be written")]
    Write {
        /// For what.
        what: &'static str,
        /// Why.
        #[source]
        source: hyper::http::Error,
    },
    /// It answered something else.
    #[error("the provider's answer for {what} is none: {said}")]
    Answer {
        /// For what.
        what: &'static str,
        /// What there is instead.
        said: String,
    },
    /// It describes another provider, or asks for secrets in the clear.
    #[error("the provider's description is not acceptable: {0}")]
    Description(String),
    /// The token proves nothing.
    #[error("the provider's token is not acceptable: {0}")]
    Token(String),
}

/// Where a provider does what.
#[derive(Debug, Clone, Deserialize)]
pub struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    /// It says in its answers who it is.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// What is made for one sign-in.
#[derive(Clone)]
pub struct Secrets {
    /// Comes back with the browser.
    pub state: String,
    /// Stands in the token.
    pub nonce: String,
    /// Proves that who redeems the code had it asked for.
    pub verifier: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Who somebody is at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Never changes, and is given to nobody else.
    pub subject: String,
    /// The name by which the person is known; none: the provider does not tell.
    pub name: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl Provider {
    /// Asks the provider where it does what.
    ///
    /// # Errors
    /// [`OpenIdError`]. The caller bounds the time.
    pub async fn discover(config: &OpenId) -> Result<Self, OpenIdError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            config.issuer.trim_end_matches('/')
        );
        let found: Self = get(config, &url, "its description", None).await?;
        if found.issuer != config.issuer {
            return Err(OpenIdError::Description(format!(
                "it is of {:?}, not of `openid.issuer`",
                found.issuer
            )));
        }
        let places = [
            &found.authorization_endpoint,
            &found.token_endpoint,
            &found.jwks_uri,
        ];
        for place in places.into_iter().chain(&found.userinfo_endpoint) {
            if !is_safe_address(place) {
                return Err(OpenIdError::Description(format!("{place:?} is not encrypted")));
            }
        }
        Ok(found)
    }

    /// Whether an answer that says it is of `issuer` is this provider's.
    #[must_use]
    pub fn is_issuer(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.issuer,
            None => !self.authorization_response_iss_parameter_supported,
        }
    }

    /// Where somebody is sent to sign in.
    #[must_use]
    pub fn place(&self, config: &OpenId, secrets: &Secrets) -> String {
        let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secrets.verifier.as_bytes());
        let mut query = Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &config.client_id)
            .append_pair("redirect_uri", &config.back())
            .append_pair("scope", &config.scopes.join(" "))
            .append_pair("state", &secrets.state)
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &BASE64URL_NOPAD.encode(challenge.as_ref()))
            .append_pair("code_challenge_method", "S256");
        let mark = if self.authorization_endpoint.contains('?') {
            '&'
        } else {
            '?'
        };
        format!("{}{mark}{}", self.authorization_endpoint, query.finish())
    }

    /// Redeems the code with which somebody came back, and tells who it is; none: the provider does not take the code.
    ///
    /// # Errors
    /// [`OpenIdError`]. The caller bounds the time.
    pub async fn redeem(
        &self,
        config: &OpenId,
        code: &str,
        secrets: &Secrets,
    ) -> Result<Option<Person>, OpenIdError> {
        let what = "a token";
        let mut form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", config.back()),
            ("code_verifier", secrets.verifier.clone()),
        ];
        let (uri, place) =
            http::parts(&self.token_endpoint).map_err(|source| OpenIdError::Http { what, source })?;
        let mut request = Request::post(place)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let methods = &self.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|taken| taken == method);
        match secret(config).await? {
            None => form.push(("client_id", config.client_id.clone())),
            Some(secret) if takes("client_secret_post") && !takes("client_secret_basic") => {
                form.push(("client_id", config.client_id.clone()));
                form.push(("client_secret", secret));
            }
            // RFC 6749 §2.3.1: both are encoded as in a form first.
            Some(secret) => {
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let both = format!("{}:{}", encoded(&config.client_id), encoded(&secret));
                request = request.header(
                    header::AUTHORIZATION,
                    format!("Basic {}", BASE64.encode(both.as_bytes())),
                );
            }
        }
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|source| OpenIdError::Write { what, source })?;
        let answer = http::send(&uri, config.ca_file.as_deref(), request, ANSWER).await;
        let answer = answer.map_err(|source| OpenIdError::Http { what, source })?;
        // RFC 6749 §5.2: a code that is wrong, used or of somebody else.
        if answer.status == StatusCode::BAD_REQUEST && error_of(answer.body.as_ref()) == "invalid_grant" {
            return Ok(None);
        }
        let tokens: Tokens = read(answer, what)?;
        let keys: JwkSet = get(config, &self.jwks_uri, "its keys", None).await?;
        let mut claims = claims(
            &tokens.id_token,
            &keys,
            (&self.issuer, &config.client_id),
            &secrets.nonce,
        )?;
        let wanted = [&config.user_claim, &config.groups_claim];
        if wanted.iter().any(|name| !claims.contains_key(*name))
            && let (Some(place), Some(token)) = (&self.userinfo_endpoint, &tokens.access_token)
        {
            let more: Map<String, Value> = get(config, place, "more about the person", Some(token)).await?;
            if more.get("sub") != claims.get("sub") {
                return Err(OpenIdError::Token("more is told about somebody else".to_owned()));
            }
            more.into_iter().for_each(|(name, value)| {
                claims.entry(name).or_insert(value);
            });
        }
        person(&claims, config).map(Some)
    }
}

async fn secret(config: &OpenId) -> Result<Option<String>, OpenIdError> {
    let Some(path) = config.secret_path() else {
        return Ok(None);
    };
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())),
        Err(source) => Err(OpenIdError::Secret { path, source }),
    }
}

async fn get<T: DeserializeOwned>(
    config: &OpenId,
    url: &str,
    what: &'static str,
    token: Option<&str>,
) -> Result<T, OpenIdError> {
    let (uri, place) = http::parts(url).map_err(|source| OpenIdError::Http { what, source })?;
    let mut request = Request::get(place).header(header::ACCEPT, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Full::default())
        .map_err(|source| OpenIdError::Write { what, source })?;
    let answer = http::send(&uri, config.ca_file.as_deref(), request, ANSWER).await;
    read(answer.map_err(|source| OpenIdError::Http { what, source })?, what)
}

fn read<T: DeserializeOwned>(answer: http::Answer, what: &'static str) -> Result<T, OpenIdError> {
    let wrong = |said: String| OpenIdError::Answer { what, said };
    if !answer.status.is_success() {
        let error = error_of(answer.body.as_ref());
        return Err(wrong(format!("{} {error}", answer.status)));
    }
    let body = answer
        .body
        .ok_or_else(|| wrong("it is too long or was cut off".to_owned()))?;
    // What it says instead may be a secret: the place of the fault is enough.
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!("unexpected content in line {line}, column {column}"))
    })
}

/// The word for the error of an answer (RFC 6749 §5.2), if it is one.
fn error_of(body: Option<&Bytes>) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal = body.and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
    let word = refusal.map_or_else(String::new, |refusal| refusal.error);
    let is_word = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
    word.chars().filter(is_word).take(64).collect()
}

/// What a token says, if it proves anything to `client`.
fn claims(
    token: &str,
    keys: &JwkSet,
    (issuer, client): (&str, &str),
    nonce: &str,
) -> Result<Map<String, Value>, OpenIdError> {
    let bad = |why: String| OpenIdError::Token(why);
    let head = jsonwebtoken::decode_header(token).map_err(|error| bad(error.to_string()))?;
    if !ALGORITHMS.contains(&head.alg) {
        return Err(bad(format!("it is signed by {:?}", head.alg)));
    }
    let mut fitting = keys.keys.iter().filter(|key| {
        let same = head.kid.is_none() || key.common.key_id == head.kid;
        same && key.common.public_key_use != Some(jsonwebtoken::jwk::PublicKeyUse::Encryption)
    });
    let mut validation = Validation::new(head.alg);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let mut why = "none of the provider's keys fits it".to_owned();
    let claims = fitting.find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        decoded
            .map_err(|error| why = error.to_string())
            .ok()
            .map(|decoded| decoded.claims)
    });
    let claims = claims.ok_or(OpenIdError::Token(why))?;
    if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
        return Err(bad("it is of another sign-in".to_owned()));
    }
    // OpenID Connect Core §3.1.3.7: of several receivers one is who asked for it.
    let several = claims
        .get("aud")
        .and_then(Value::as_array)
        .is_some_and(|aud| aud.len() > 1);
    let azp = claims.get("azp").and_then(Value::as_str);
    if azp.map_or(several, |azp| azp != client) {
        return Err(bad("it is for somebody else".to_owned()));
    }
    Ok(claims)
}

fn person(claims: &Map<String, Value>, config: &OpenId) -> Result<Person, OpenIdError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let groups = match claims.get(&config.groups_claim) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Ok(Person {
        subject: text("sub")
            .filter(|subject| !subject.is_empty() && subject.len() <= 255)
            .ok_or_else(|| OpenIdError::Token("it is about nobody".to_owned()))?,
        name: text(&config.user_claim),
        groups,
    })
}

#[cfg(test)]
mod tests;
