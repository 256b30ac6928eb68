//! OAuth 2 with PKCE: a person gives consent once, and access is renewed from then on.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::api::{Reply, judge, refused};
use super::hosts::Hosts;
use super::{AT, Settings};
use crate::destination::fault::Fault;
use crate::destination::http::{Content, Http, escaped};
use crate::destination::target::Secret;

/// The page that a person opens, and the verifier that is kept until the code has come.
#[must_use]
pub fn begin(hosts: &Hosts, app_key: &str) -> (String, Secret) {
    let verifier = BASE64URL_NOPAD.encode(&rand::random::<[u8; 48]>());
    let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
    let form = form(&[
        ("client_id", app_key),
        ("response_type", "code"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("token_access_type", "offline"),
    ]);
    let url = format!("{}/oauth2/authorize?{form}", hosts.consent);
    (url, Secret::new(verifier))
}

/// The refresh token for a code, and whose account it is.
///
/// # Errors
/// [`Fault::SignIn`] if the code is wrong or too old; [`Fault`].
pub async fn finish(
    hosts: Hosts,
    app_key: &str,
    verifier: &Secret,
    code: &Secret,
) -> Result<(Secret, String), Fault> {
    let mut http = Http::new(AT.to_owned(), None);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.reveal()),
        ("client_id", app_key),
        ("code_verifier", verifier.reveal()),
    ];
    let answer = token(&mut http, &hosts, &fields).await?;
    let (Some(refresh), Some(access)) = (answer["refresh_token"].as_str(), answer["access_token"].as_str())
    else {
        return Err(Fault::Other {
            at: AT.to_owned(),
            what: "give lasting access".to_owned(),
            why: "its answer has no refresh token".to_owned(),
        });
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri("/2/users/get_current_account")
        .header(header::AUTHORIZATION, format!("Bearer {access}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Content::from(Bytes::from(json!(null).to_string())));
    let request = request.map_err(|error| Fault::Description(error.to_string()))?;
    let account = judge(http.send(&hosts.api, request).await?)?;
    let account = account.good("name the account")?;
    let name = account["name"]["display_name"].as_str().unwrap_or_default();
    let address = account["email"].as_str().unwrap_or_default();
    Ok((Secret::new(refresh.to_owned()), format!("{name} <{address}>")))
}

/// Access for some hours.
pub(super) async fn refresh(http: &mut Http, settings: &Settings) -> Result<Secret, Fault> {
    let mut fields = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", settings.refresh_token.reveal()),
        ("client_id", settings.app_key.as_str()),
    ];
    if let Some(secret) = &settings.app_secret {
        fields.push(("client_secret", secret.reveal()));
    }
    let answer = token(http, &settings.hosts, &fields).await?;
    let access = answer["access_token"].as_str().unwrap_or_default();
    Ok(Secret::new(access.to_owned()))
}

async fn token(http: &mut Http, hosts: &Hosts, fields: &[(&str, &str)]) -> Result<Value, Fault> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/oauth2/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Content::from(Bytes::from(form(fields))));
    let request = request.map_err(|error| Fault::Description(error.to_string()))?;
    let reply: Reply = judge(http.send(&hosts.api, request).await?)?;
    match reply.status {
        400 | 401 => Err(refused(&reply)),
        _ => reply.good("give access"),
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name, ""), escaped(value, "")))
        .collect();
    pairs.join("&")
}
