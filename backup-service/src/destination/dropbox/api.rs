//! Calls of the API: access is asked for and renewed, errors become faults.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::Value;

use super::{AT, Settings, oauth};
use crate::destination::fault::Fault;
use crate::destination::http::{Content, Http, Response, shown};
use crate::destination::target::Secret;

/// What answers to the calls.
pub(super) struct Api {
    settings: Settings,
    http: Http,
    access: Option<Secret>,
}

/// An answer that may be an error.
pub(super) struct Reply {
    pub(super) status: u16,
    body: Bytes,
}

impl Reply {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn summary(&self) -> String {
        let answer = self.json();
        let said = answer["error_summary"]
            .as_str()
            .or_else(|| answer["error"].as_str());
        shown(said.unwrap_or_default())
    }

    /// Whether it is the error of this name.
    pub(super) fn says(&self, error: &str) -> bool {
        self.status == 409 && self.summary().starts_with(error)
    }

    /// The answer, or the fault.
    pub(super) fn good(self, what: &str) -> Result<Value, Fault> {
        if self.is_good() {
            Ok(self.json())
        } else {
            Err(self.fault(what))
        }
    }

    /// The content, or the fault.
    pub(super) fn bytes(self, what: &str) -> Result<Bytes, Fault> {
        if self.is_good() {
            Ok(self.body)
        } else {
            Err(self.fault(what))
        }
    }

    /// What an error means.
    pub(super) fn fault(&self, what: &str) -> Fault {
        let why = self.summary();
        let at = AT.to_owned();
        if why.contains("insufficient_space") {
            return Fault::Full {
                needed: 1,
                available: 0,
            };
        }
        if why.contains("no_write_permission") || why.contains("missing_scope") {
            return Fault::Denied {
                what: format!("{what} at {AT}"),
                why,
            };
        }
        if why.contains("not_found") {
            return Fault::NoPlace {
                what: format!("what was wanted at {AT} ({why})"),
            };
        }
        if why.contains("payload_too_large") || self.status == 413 {
            return Fault::TooLarge {
                at,
                needed: 0,
                most: super::MOST,
            };
        }
        if why.contains("incorrect_offset") || why.contains("too_many_write_operations") || self.status >= 500
        {
            let why = format!("{} {why}", self.status);
            return Fault::Cut { at, why };
        }
        Fault::Other {
            at,
            what: what.to_owned(),
            why: format!("{} {why}", self.status),
        }
    }
}

impl Api {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            http: Http::new(AT.to_owned(), None),
            access: None,
        }
    }

    /// Asks for access, unless it was given.
    pub(super) async fn sign_in(&mut self) -> Result<(), Fault> {
        if self.access.is_none() {
            self.access = Some(oauth::refresh(&mut self.http, &self.settings).await?);
        }
        Ok(())
    }

    /// A call with an argument; null for none.
    pub(super) async fn call(&mut self, name: &str, argument: &Value) -> Result<Reply, Fault> {
        let host = self.settings.hosts.api.clone();
        let body = Bytes::from(argument.to_string());
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json".to_owned())];
        self.send(&host, &format!("/2/{name}"), &headers, body).await
    }

    /// A call with a content in either direction.
    pub(super) async fn content(
        &mut self,
        name: &str,
        argument: &Value,
        body: Bytes,
        range: Option<(u64, u64)>,
    ) -> Result<Reply, Fault> {
        let host = self.settings.hosts.content.clone();
        let mut headers = vec![("dropbox-api-arg", ascii(&argument.to_string()))];
        match range {
            Some((first, last)) => headers.push((header::RANGE.as_str(), format!("bytes={first}-{last}"))),
            None => headers.push((
                header::CONTENT_TYPE.as_str(),
                "application/octet-stream".to_owned(),
            )),
        }
        self.send(&host, &format!("/2/files/{name}"), &headers, body)
            .await
    }

    /// Access runs out every few hours: it is asked for again once.
    async fn send(
        &mut self,
        host: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Reply, Fault> {
        for last in [false, true] {
            self.sign_in().await?;
            let access = self.access.as_ref().map(Secret::reveal).unwrap_or_default();
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(path)
                .header(header::AUTHORIZATION, format!("Bearer {access}"));
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let request = request.body(Content::from(body.clone()));
            let request = request.map_err(|error| Fault::Description(error.to_string()))?;
            let response = self.http.send(host, request).await?;
            let reply = judge(response)?;
            if reply.status != 401 || last {
                if reply.status == 401 {
                    self.access = None;
                    return Err(refused(&reply));
                }
                return Ok(reply);
            }
            self.access = None;
        }
        Err(Fault::SignIn {
            at: AT.to_owned(),
            why: "access was refused".to_owned(),
        })
    }
}

/// Sorts out what every call may be answered with.
pub(super) fn judge(response: Response) -> Result<Reply, Fault> {
    let after = response.retry_after();
    let reply = Reply {
        status: response.status,
        body: response.body,
    };
    if matches!(reply.status, 429 | 503) {
        return Err(Fault::Busy {
            at: AT.to_owned(),
            why: reply.summary(),
            after,
        });
    }
    Ok(reply)
}

/// The sign-in is not taken.
pub(super) fn refused(reply: &Reply) -> Fault {
    Fault::SignIn {
        at: AT.to_owned(),
        why: format!("{}: connect the account again", reply.summary()),
    }
}

/// JSON in a header is ASCII.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_argument_in_a_header_is_ascii_and_means_the_same(text: String) {
            let argument = serde_json::json!({"path": text});
            let header = ascii(&argument.to_string());
            prop_assert!(http::HeaderValue::from_str(&header).is_ok());
            prop_assert_eq!(serde_json::from_str::<Value>(&header).unwrap(), argument);
        }
    }
}
