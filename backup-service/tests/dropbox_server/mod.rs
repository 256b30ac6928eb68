//! A server that follows the published behaviour of the Dropbox API, as far as it is used.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::support::sha256;

/// Refuses larger requests, as the service does.
const LARGEST: usize = 150 << 20;

/// What the service knows, and what it is told to do wrong.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    sessions: BTreeMap<String, Vec<u8>>,
    access: BTreeSet<String>,
    challenge: String,
    counter: u64,
    pub(crate) room: u64,
    pub(crate) refreshes: u64,
    /// Requests that are answered with 429.
    pub(crate) busy: u32,
    /// Pieces of uploads whose answer is lost.
    pub(crate) lost: u32,
    /// Whether the person took the consent back.
    pub(crate) revoked: bool,
    pub(crate) appends: u64,
    pub(crate) delayed: Vec<std::time::Instant>,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) state: Arc<Mutex<State>>,
}

type Answer = (u16, Vec<u8>);

fn good(value: Value) -> Answer {
    (200, value.to_string().into_bytes())
}

fn bad(summary: &str) -> Answer {
    (
        409,
        json!({"error_summary": format!("{summary}/.."), "error": {}})
            .to_string()
            .into_bytes(),
    )
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub(crate) async fn start_at(address: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            room: 1 << 30,
            ..State::default()
        }));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, state }
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    /// What a person who opened `url` gets to see: a code.
    pub(crate) fn consent(&self, url: &str) -> String {
        let query: BTreeMap<_, _> = url
            .split_once('?')
            .unwrap()
            .1
            .split('&')
            .filter_map(|p| p.split_once('='))
            .collect();
        assert_eq!(query["token_access_type"], "offline");
        assert_eq!(
            (query["response_type"], query["code_challenge_method"]),
            ("code", "S256")
        );
        self.with(|state| state.challenge = query["code_challenge"].to_owned());
        "the code".to_owned()
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let mut state = state.lock().unwrap();
    let mut response = Response::builder();
    let path = parts.uri.path();
    let (status, body) = if path == "/oauth2/token" {
        state.token(&String::from_utf8_lossy(&body))
    } else if !header("authorization").is_some_and(|bearer| state.knows(&bearer)) {
        (
            401,
            json!({"error_summary": "expired_access_token/"})
                .to_string()
                .into_bytes(),
        )
    } else if state.busy > 0 {
        state.busy -= 1;
        state.delayed.push(std::time::Instant::now());
        response = response.header("retry-after", "1");
        (
            429,
            json!({"error_summary": "too_many_requests/"})
                .to_string()
                .into_bytes(),
        )
    } else if body.len() > LARGEST {
        (413, b"{\"error_summary\": \"payload_too_large/\"}".to_vec())
    } else if let Some(argument) = header("dropbox-api-arg") {
        let argument: Value = serde_json::from_str(&argument).unwrap();
        state.content(path, &argument, &body, header("range"))
    } else {
        state.call(path, &serde_json::from_slice(&body).unwrap())
    };
    if status == 0 {
        return Err(std::io::Error::other("the answer is lost"));
    }
    let status = StatusCode::from_u16(status).unwrap();
    Ok(response
        .status(status)
        .body(Full::new(Bytes::from(body)))
        .unwrap())
}

impl State {
    fn knows(&self, bearer: &str) -> bool {
        bearer
            .strip_prefix("Bearer ")
            .is_some_and(|access| self.access.contains(access))
    }

    /// All access that was given has run out.
    pub(crate) fn expire(&mut self) {
        self.access.clear();
    }

    fn token(&mut self, form: &str) -> Answer {
        let form: BTreeMap<_, _> = form.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let good_grant = match form["grant_type"] {
            "refresh_token" => form["refresh_token"] == "the%20refresh%2Ftoken" && !self.revoked,
            _ => {
                let verifier = sha256(form["code_verifier"].as_bytes());
                form["code"] == "the%20code" && BASE64URL_NOPAD.encode(&verifier) == self.challenge
            }
        };
        if !good_grant || form["client_id"] != "the-app" {
            return (400, json!({"error": "invalid_grant"}).to_string().into_bytes());
        }
        self.refreshes += 1;
        let access = format!("access-{}", self.refreshes);
        self.access.insert(access.clone());
        good(json!({"access_token": access, "expires_in": 14400, "refresh_token": "the refresh/token"}))
    }

    fn call(&mut self, path: &str, argument: &Value) -> Answer {
        let text = |name: &str| argument[name].as_str().unwrap_or_default().to_owned();
        let at = text("path");
        match path {
            "/2/users/get_current_account" => {
                good(json!({"name": {"display_name": "Anna"}, "email": "anna@example.test"}))
            }
            "/2/users/get_space_usage" => {
                let used: usize = self.files.values().map(Vec::len).sum();
                let allocated = self.room + used as u64;
                good(json!({"used": used, "allocation": {".tag": "individual", "allocated": allocated}}))
            }
            "/2/files/create_folder_v2" if self.folders.contains(&at) => bad("path/conflict/folder"),
            "/2/files/create_folder_v2" => {
                self.folders.insert(at);
                good(json!({}))
            }
            "/2/files/list_folder" if !self.folders.contains(&at) => bad("path/not_found"),
            "/2/files/list_folder" => good(self.listed(&at, 0)),
            "/2/files/list_folder/continue" => {
                let (from, at) = argument["cursor"].as_str().unwrap().split_once(' ').unwrap();
                good(self.listed(at, from.parse().unwrap()))
            }
            "/2/files/get_metadata" => match self.files.get(&at) {
                Some(file) => good(json!({".tag": "file", "name": at, "size": file.len()})),
                None => bad("path/not_found"),
            },
            "/2/files/move_v2" if self.files.contains_key(&text("to_path")) => bad("to/conflict/file"),
            "/2/files/move_v2" => {
                let file = self.files.remove(&text("from_path")).unwrap();
                self.files.insert(text("to_path"), file);
                good(json!({}))
            }
            "/2/files/delete_v2" => match self.files.remove(&at) {
                Some(_) => good(json!({})),
                None => bad("path_lookup/not_found"),
            },
            other => panic!("{other}"),
        }
    }

    /// One entry an answer, so that there is more than one.
    fn listed(&self, at: &str, from: usize) -> Value {
        let is_in = |path: &str| {
            path.strip_prefix(at)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.contains('/'))
        };
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let folders = self
            .folders
            .iter()
            .filter(|path| is_in(path))
            .map(|path| json!({".tag": "folder", "name": name(path)}));
        let files = self.files.iter().filter(|(path, _)| is_in(path)).map(|(path, file)| {
            json!({".tag": "file", "name": name(path), "size": file.len(), "server_modified": "2026-11-22T02:00:00Z"})
        });
        let all: Vec<_> = folders.chain(files).collect();
        let entries: Vec<_> = all.iter().skip(from).take(1).collect();
        json!({"entries": entries, "cursor": format!("{} {at}", from + 1), "has_more": all.len() > from + 1})
    }

    fn content(&mut self, path: &str, argument: &Value, body: &[u8], range: Option<String>) -> Answer {
        let session = argument["cursor"]["session_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let offset = argument["cursor"]["offset"].as_u64();
        let has = self.sessions.get(&session).map(|session| session.len() as u64);
        match path {
            "/2/files/upload_session/start" => {
                self.counter += 1;
                let session = format!("session-{}", self.counter);
                self.sessions.insert(session.clone(), body.to_vec());
                good(json!({"session_id": session}))
            }
            "/2/files/upload_session/append_v2" | "/2/files/upload_session/finish" if has != offset => {
                let error = json!({".tag": "incorrect_offset", "correct_offset": has});
                let summary = "lookup_failed/incorrect_offset/";
                (
                    409,
                    json!({"error_summary": summary, "error": error})
                        .to_string()
                        .into_bytes(),
                )
            }
            "/2/files/upload_session/append_v2" => {
                self.appends += 1;
                self.sessions.get_mut(&session).unwrap().extend_from_slice(body);
                if self.lost > 0 {
                    self.lost -= 1;
                    return (0, Vec::new());
                }
                good(Value::Null)
            }
            "/2/files/upload_session/finish" => {
                let file = self.sessions.remove(&session).unwrap();
                let at = argument["commit"]["path"].as_str().unwrap().to_owned();
                if self.files.contains_key(&at) {
                    return bad("path/conflict/file");
                }
                self.files.insert(at, file);
                good(json!({}))
            }
            "/2/files/download" => {
                let Some(file) = self.files.get(argument["path"].as_str().unwrap()) else {
                    return bad("path/not_found");
                };
                let range = range.unwrap();
                let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                match file.get(first..file.len().min(last + 1)) {
                    Some(piece) if !piece.is_empty() => (206, piece.to_vec()),
                    _ => (416, Vec::new()),
                }
            }
            other => panic!("{other}"),
        }
    }
}
