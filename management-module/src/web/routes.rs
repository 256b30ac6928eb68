//! Every route of the page with what it asks of who comes, and the one way that every request takes.
//!
//! **Invariant:** a handler is reached only through [`arrive`]: known, allowed, and with a form of the same session.

mod table;

use std::pin::Pin;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use tracing::{Instrument as _, error, info_span};

pub(super) use self::table::ROUTES;
use super::access::{Need, may};
use super::ask::{Answer, Ask, escaped, go};
use super::failure::Failure;
use super::form::Form;
use super::listen::Remote;
use super::{Web, cookies, look};
use crate::app::users::Session;
use crate::language::Language;

/// The largest form, in bytes.
const FORM: usize = 512 * 1024;

/// How long a form may take to come.
const COMES: std::time::Duration = std::time::Duration::from_secs(30);

/// The header in which our script sends the session's token with what is no form.
const TOKEN_HEADER: &str = "x-form-token";

pub(super) type Handler = fn(Ask) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// How a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// GET: changes nothing.
    Get,
    /// POST of a form.
    Post,
    /// POST of a file as it is, by our script.
    Upload,
}

/// A route.
pub(super) struct Route {
    pub(super) how: How,
    pub(super) path: &'static str,
    pub(super) need: Need,
    pub(super) handler: Handler,
}

/// All routes.
pub(super) fn router(web: &Web) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, method(web.clone(), route));
    }
    let web = web.clone();
    router.fallback(move |request: Request| async move {
        let ask = ask(&web, Vec::new(), request.headers(), request.uri(), from(&request)).await;
        finish(match ask {
            Ok(ask) => refused(&ask, &Failure::NoPage),
            Err(failure) => plain(&failure),
        })
    })
}

fn method(web: Web, route: &'static Route) -> MethodRouter {
    let filter = match route.how {
        How::Get => MethodFilter::GET,
        How::Post | How::Upload => MethodFilter::POST,
    };
    on(filter, move |params: RawPathParams, request: Request| {
        let web = web.clone();
        let params = params
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let span = info_span!("web", route = route.path);
        async move { finish(arrive(&web, route, params, request).await) }.instrument(span)
    })
}

fn from(request: &Request) -> Remote {
    let known = request.extensions().get::<Remote>().copied();
    known.unwrap_or(Remote(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Who asks, in which language.
async fn ask(
    web: &Web,
    params: Vec<(String, String)>,
    headers: &HeaderMap,
    uri: &axum::http::Uri,
    remote: Remote,
) -> Result<Ask, Failure> {
    // What is kept up to date in the background does not keep a session from being left alone.
    let is_use = !uri.path().ends_with("/events");
    let session = match cookies::find(headers, cookies::SESSION) {
        Some(token) => Session::of_token(web.app(), token, is_use).await?,
        None => None,
    };
    let chosen = cookies::find(headers, cookies::LANGUAGE).and_then(Language::from_code);
    let of_user = || Language::from_code(&session.as_ref()?.user.language);
    let accepted = || {
        let header = headers.get(header::ACCEPT_LANGUAGE)?;
        Language::accepted(header.to_str().ok()?)
    };
    let language = chosen.or_else(of_user).or_else(accepted).unwrap_or(Language::En);
    Ok(Ask {
        web: web.clone(),
        language,
        session,
        ip: remote.0,
        host: host(headers, uri),
        place: uri
            .path_and_query()
            .map_or("/", |place| place.as_str())
            .to_owned(),
        params,
        query: Form::parse(uri.query().unwrap_or_default().as_bytes()),
        form: Form::default(),
        headers: headers.clone(),
        body: Mutex::default(),
    })
}

/// HTTP/2 has it in the address, HTTP/1.1 in a header.
fn host(headers: &HeaderMap, uri: &axum::http::Uri) -> String {
    let header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(|authority| authority.as_str());
    authority.or_else(header).unwrap_or_default().to_owned()
}

async fn arrive(
    web: &Web,
    route: &'static Route,
    params: Vec<(String, String)>,
    request: Request,
) -> Response {
    let remote = from(&request);
    let (parts, body) = request.into_parts();
    let mut ask = match ask(web, params, &parts.headers, &parts.uri, remote).await {
        Ok(ask) => ask,
        Err(failure) => return plain(&failure),
    };
    if let Err(failure) = allowed(&ask, route.need) {
        if matches!(failure, Failure::SignIn) && route.how == How::Get && !ask.place.ends_with("/events") {
            return go(&format!("/sign-in?next={}", escaped(&ask.place)));
        }
        return refused(&ask, &failure);
    }
    if let Err(failure) = take_body(&mut ask, route.how, body).await {
        return refused(&ask, &failure);
    }
    // What a failure's page needs, should the handler fail.
    let shown = Ask {
        web: ask.web.clone(),
        session: ask.session.clone(),
        host: String::new(),
        place: ask.place.clone(),
        params: Vec::new(),
        query: Form::default(),
        form: Form::default(),
        headers: HeaderMap::new(),
        body: Mutex::default(),
        ..ask
    };
    match (route.handler)(ask).await {
        Ok(response) => response,
        Err(Failure::SignIn) if route.how == How::Get => go("/sign-in"),
        Err(failure) => refused(&shown, &failure),
    }
}

fn allowed(ask: &Ask, need: Need) -> Result<(), Failure> {
    if need == Need::Nothing {
        return Ok(());
    }
    let session = ask.session()?;
    match (need, session.is_proved) {
        (Need::HalfProved, false) => Ok(()),
        (_, false) => Err(Failure::SignIn),
        (need, true) if may(session.user.role, need) => Ok(()),
        (_, true) => Err(Failure::Forbidden),
    }
}

/// Reads a form, after it is clear that our own page sent it.
async fn take_body(ask: &mut Ask, how: How, body: Body) -> Result<(), Failure> {
    match how {
        How::Get => return Ok(()),
        How::Upload => {
            let token = ask
                .headers
                .get(TOKEN_HEADER)
                .and_then(|value| value.to_str().ok());
            same_origin(&ask.headers, &ask.host)?;
            is_token(&ask.session()?.form_token, token.unwrap_or_default())?;
            ask.body = Mutex::new(Some(body));
            return Ok(());
        }
        How::Post => {}
    }
    same_origin(&ask.headers, &ask.host)?;
    let kind = ask
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if kind.is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(Failure::Forged);
    }
    let read = tokio::time::timeout(COMES, axum::body::to_bytes(body, FORM)).await;
    let bytes = read
        .map_err(|_| Failure::TooLarge)?
        .map_err(|_| Failure::TooLarge)?;
    ask.form = Form::parse(&bytes);
    let expected = match &ask.session {
        Some(session) => session.form_token.clone(),
        None => cookies::find(&ask.headers, cookies::BEFORE)
            .unwrap_or_default()
            .to_owned(),
    };
    is_token(&expected, ask.form.raw("token"))
}

/// Browsers say whether a form comes from another site; one that does not say it is too old for this page.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = match text("origin") {
        None => text("sec-fetch-site").is_some(),
        Some(origin) => origin
            .strip_prefix("https://")
            .is_some_and(|origin| origin == host),
    };
    if site && origin {
        Ok(())
    } else {
        Err(Failure::Forged)
    }
}

fn is_token(expected: &str, found: &str) -> Result<(), Failure> {
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), found.as_bytes());
    if expected.is_empty() || same.is_err() {
        return Err(Failure::Forged);
    }
    Ok(())
}

/// The page that says why there is none.
fn refused(ask: &Ask, failure: &Failure) -> Response {
    if let Failure::App(problem) = failure
        && failure.status().is_server_error()
    {
        error!(problem = %crate::error_chain(problem), place = ask.place, "A page could not be made");
    }
    look::failure(ask, failure)
}

/// For when not even the session can be read.
fn plain(failure: &Failure) -> Response {
    if let Failure::App(problem) = failure {
        error!(problem = %crate::error_chain(problem), "A request could not be looked at");
    }
    let mut response = Response::new(Body::from("The server cannot answer at the moment."));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// What every answer carries.
fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// For tests that go through all routes.
impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let method = if self.how == How::Get {
            Method::GET
        } else {
            Method::POST
        };
        write!(f, "{method} {}", self.path)
    }
}
