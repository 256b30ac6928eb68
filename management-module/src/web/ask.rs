//! One request, with who asks.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::Web;
use super::access::{Need, may};
use super::failure::Failure;
use super::form::Form;
use super::text::Text;
pub(super) use crate::app::page::escaped;
use crate::app::users::{Session, User};
use crate::app::{Actor, App};
use crate::language::Language;

/// What a handler answers.
pub(super) type Answer = Result<Response, Failure>;

/// A request whose sender may make it.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) web: Web,
    pub(super) language: Language,
    pub(super) session: Option<Session>,
    pub(super) ip: IpAddr,
    /// Under which host and port the page was asked for.
    pub(super) host: String,
    /// Path and query, as the browser shows them.
    pub(super) place: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) query: Form,
    /// What a form sent; empty for other requests.
    pub(super) form: Form,
    pub(super) headers: HeaderMap,
    /// What is sent as it comes, where a route takes that.
    pub(super) body: Mutex<Option<Body>>,
}

impl Ask {
    pub(super) fn app(&self) -> &App {
        self.web.app()
    }

    pub(super) fn say(&self, text: Text) -> &'static str {
        self.language.say(text)
    }

    pub(super) fn fill(&self, text: Text, values: &[&str]) -> String {
        self.language.fill(text, values)
    }

    /// Who asks.
    pub(super) fn session(&self) -> Result<&Session, Failure> {
        self.session.as_ref().ok_or(Failure::SignIn)
    }

    pub(super) fn user(&self) -> Result<&User, Failure> {
        Ok(&self.session()?.user)
    }

    pub(super) fn actor(&self) -> Result<Actor, Failure> {
        Ok(self.user()?.actor())
    }

    /// What is sent as it comes; it can be had once.
    pub(super) fn take_body(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether to show what needs that.
    pub(super) fn may(&self, need: Need) -> bool {
        let session = self.session.as_ref().filter(|session| session.is_proved);
        session.is_some_and(|session| may(session.user.role, need))
    }

    /// What stands in the path.
    pub(super) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// The same as a name of its own kind; what is none is not there.
    pub(super) fn named<T: std::str::FromStr>(&self, param: &str) -> Result<T, Failure> {
        self.param(param).parse().map_err(|_| Failure::NoPage)
    }
}

/// Go there, by GET.
pub(super) fn go(place: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let value = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, value);
    response
}

/// A place of this page to go back to; anything else is the first page.
pub(super) fn own_place(text: &str) -> &str {
    let is_path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_clean { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (text, expected) in [
            ("/satellites?x=1", "/satellites?x=1"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example/", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_place(text), expected);
        }
        assert_eq!(escaped("a/b ü.sar"), "a%2Fb%20%C3%BC.sar");
    }
}
