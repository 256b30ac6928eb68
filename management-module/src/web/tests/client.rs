//! A small browser: keeps cookies, sends forms as pages have them, trusts the page's own certificate and no other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// What came.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) text: String,
    pub(super) headers: hyper::HeaderMap,
}

pub(super) struct Browser {
    address: String,
    tls: TlsConnector,
    pub(super) cookies: BTreeMap<String, String>,
    pub(super) language: &'static str,
    /// The `Origin` that forms carry; none: the page's own.
    pub(super) origin: Option<&'static str>,
    token: String,
}

impl Browser {
    pub(super) fn new(address: &str, certificate: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(certificate).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(satellite_proto::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address: address.to_owned(),
            tls: TlsConnector::from(Arc::new(config)),
            cookies: BTreeMap::new(),
            language: "en",
            origin: None,
            token: String::new(),
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, None).await
    }

    /// Sends a form with the token of the page seen last.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.token.clone();
        let mut all = vec![("token", token.as_str())];
        all.extend_from_slice(fields);
        self.post_as_is(path, &all).await
    }

    pub(super) async fn post_as_is(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send("POST", path, Some(body)).await
    }

    pub(super) async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        self.get("/sign-in").await;
        self.post(
            "/sign-in",
            &[("name", name), ("password", password), ("next", "/")],
        )
        .await
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<String>) -> Page {
        let response = self.raw(method, path, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            for wanted in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(rest.contains(wanted), "{cookie:?}");
            }
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(token) = text.split("name=\"token\" value=\"").nth(1) {
            self.token = token.split('"').next().unwrap().to_owned();
        }
        let location = parts
            .headers
            .get(header::LOCATION)
            .map(|place| place.to_str().unwrap().to_owned());
        Page {
            status: parts.status.as_u16(),
            location: location.unwrap_or_default(),
            text,
            headers: parts.headers,
        }
    }

    pub(super) async fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> hyper::Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.tls.connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address)
            .header(header::ACCEPT_LANGUAGE, self.language)
            .header(header::COOKIE, cookies.join("; "));
        if method == "POST" {
            let own = format!("https://{}", self.address);
            let origin = self.origin.map_or(own, str::to_owned);
            request = request
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request
            .body(Full::new(bytes::Bytes::from(body.unwrap_or_default())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }
}
