//! Requests to an S3 service, signed; errors become faults.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::Settings;
use super::sign::{Signed, Signer, content_digest, stamp};
use crate::destination::fault::Fault;
use crate::destination::http::{Content, Http, Reading, Response, authority, escaped, shown};
use crate::destination::xml::Element;

/// What answers to the requests.
pub(super) struct Api {
    settings: Settings,
    http: Http,
}

/// A request.
#[derive(Default)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Key of the object; none: the bucket itself.
    pub(super) key: Option<&'a str>,
    /// By name.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) content: Bytes,
}

impl Api {
    pub(super) fn new(settings: Settings) -> Self {
        let http = Http::new(settings.at(), settings.tls.clone());
        Self { settings, http }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn cut(&self, why: &str) -> Fault {
        self.http.cut(why)
    }

    /// Forgets the connections.
    pub(super) fn close(&mut self) {
        self.http.close();
    }

    /// A request and its answer, whatever that is but a plea for peace.
    pub(super) async fn ask(&mut self, ask: Ask<'_>) -> Result<Response, Fault> {
        let request = self.signed(ask)?;
        let response = self.http.send(&self.settings.origin, request).await?;
        self.judged(response)
    }

    /// Reads an object from `offset` on; whatever else is answered comes as it is.
    pub(super) async fn read(&mut self, key: &str, offset: u64) -> Result<Result<Reading, Response>, Fault> {
        let ask = Ask {
            key: Some(key),
            ..Ask::default()
        };
        let request = self.signed(ask)?;
        match self.http.read(&self.settings.origin, request, offset).await? {
            Ok(reading) => Ok(Ok(reading)),
            Err(response) => self.judged(response).map(Err),
        }
    }

    /// The answer of a request to the bucket, as XML.
    pub(super) async fn list(&mut self, query: &[(&str, &str)], what: &str) -> Result<Element, Fault> {
        let ask = Ask {
            query,
            ..Ask::default()
        };
        let response = self.ask(ask).await?;
        self.element(&response, what)
    }

    /// An answer as XML, or the fault.
    pub(super) fn element(&self, response: &Response, what: &str) -> Result<Element, Fault> {
        let element = Element::read(&response.body);
        // Some requests are answered with "good" before it is known whether they are.
        match element {
            Some(element) if response.is_good() && element.name() != "Error" => Ok(element),
            None if response.is_good() => Err(Fault::Other {
                at: self.settings.at(),
                what: what.to_owned(),
                why: "its answer is none of S3: check the address".to_owned(),
            }),
            _ => Err(self.fault(response, what)),
        }
    }

    fn signed(&self, ask: Ask<'_>) -> Result<Request<Content>, Fault> {
        let bucket = escaped(&self.settings.bucket, "");
        let path = match ask.key {
            Some(key) => format!("/{bucket}/{}", escaped(key, "/")),
            None => format!("/{bucket}"),
        };
        let pairs = ask.query.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{}={}", escaped(name, ""), escaped(value, "")))
            .collect();
        let query = pairs.join("&");
        let (now, content) = (stamp(Timestamp::now()), content_digest(&ask.content));
        let headers = [
            ("host", authority(&self.settings.origin)),
            ("x-amz-content-sha256", &content),
            ("x-amz-date", &now),
        ];
        let signer = Signer {
            access_key: &self.settings.access_key,
            secret_key: &self.settings.secret_key,
            region: &self.settings.region,
        };
        let signed = Signed {
            method: ask.method.as_str(),
            path: &path,
            query: &query,
            headers: &headers,
            content: &content,
        };
        let authorization = signer.authorization(&signed, &now);
        let uri = match query.is_empty() {
            true => path,
            false => format!("{path}?{query}"),
        };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(uri)
            .header(header::AUTHORIZATION, authorization);
        for (name, value) in &headers[1..] {
            request = request.header(*name, *value);
        }
        let request = request.body(Content::from(ask.content));
        request.map_err(|error| Fault::Description(error.to_string()))
    }

    /// Sorts out what every request may be answered with.
    fn judged(&self, response: Response) -> Result<Response, Fault> {
        let is_plea = matches!(response.status, 429 | 503);
        if is_plea {
            return Err(Fault::Busy {
                at: self.settings.at(),
                why: said(&response).1,
                after: response.retry_after(),
            });
        }
        Ok(response)
    }

    /// The answer if it is good, or the fault.
    pub(super) fn good(&self, response: Response, what: &str) -> Result<Response, Fault> {
        match response.is_good() {
            true => Ok(response),
            false => Err(self.fault(&response, what)),
        }
    }

    /// What an answer means that is not good.
    pub(super) fn fault(&self, response: &Response, what: &str) -> Fault {
        let at = self.settings.at();
        let (code, why) = said(response);
        let bucket = || format!("the bucket `{}` at {at}", self.settings.bucket);
        let sign_in = |why: &str| Fault::SignIn {
            at: at.clone(),
            why: why.to_owned(),
        };
        let full = || Fault::Full {
            needed: 1,
            available: 0,
        };
        match (&*code, response.status) {
            ("InvalidAccessKeyId", _) => sign_in("it does not know the access key"),
            ("SignatureDoesNotMatch", _) => {
                sign_in("the secret key does not fit the access key, or its region is another")
            }
            ("ExpiredToken" | "InvalidToken", _) | (_, 401) => sign_in(&why),
            ("RequestTimeTooSkewed" | "RequestExpired", _) => self.clock(response),
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _)
            | (_, 301 | 302 | 307 | 308) => Fault::Description(elsewhere(response, &bucket(), &why)),
            ("NoSuchBucket", _) => Fault::NoPlace { what: bucket() },
            (
                "NoSuchUpload"
                | "BadDigest"
                | "XAmzContentSHA256Mismatch"
                | "RequestTimeout"
                | "IncompleteBody",
                _,
            ) => self.cut(&why),
            // A part is never too large: what is, is a quota.
            ("EntityTooLarge", _) | (_, 413 | 507) => full(),
            (code, _) if code.contains("Quota") || code.contains("StorageFull") => full(),
            (_, 403) => Fault::Denied {
                what: format!("{what} in {}", bucket()),
                why,
            },
            (_, 404) => Fault::NoPlace {
                what: format!("what was wanted in {}", bucket()),
            },
            (_, status) if status >= 500 => self.cut(&why),
            _ => Fault::Other {
                at,
                what: what.to_owned(),
                why,
            },
        }
    }

    /// The clocks differ; by how much, if it says what its own shows.
    fn clock(&self, response: &Response) -> Fault {
        let theirs = rfc2822::DateTimeParser::new().parse_timestamp(response.header(header::DATE));
        let off = match theirs {
            Ok(theirs) => {
                let seconds = Timestamp::now().as_second() - theirs.as_second();
                let by = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
                let way = if seconds > 0 { "ahead" } else { "behind" };
                format!("ours is {by} {way}")
            }
            Err(_) => "it does not say by how much".to_owned(),
        };
        Fault::Clock {
            at: self.settings.at(),
            off,
        }
    }
}

/// The code of an error, and what can be shown of it.
fn said(response: &Response) -> (String, String) {
    let error = Element::read(&response.body).unwrap_or_default();
    let (code, message) = (error.said("Code"), error.said("Message"));
    let shown = shown(&format!("{} {code}: {message}", response.status));
    (code.to_owned(), shown.trim_end_matches([':', ' ']).to_owned())
}

/// Where the bucket is, if it is elsewhere.
fn elsewhere(response: &Response, bucket: &str, why: &str) -> String {
    let error = Element::read(&response.body).unwrap_or_default();
    let told = response.header(HeaderName::from_static("x-amz-bucket-region"));
    let region = match error.said("Region") {
        "" => told,
        region => region,
    };
    match (region, error.said("Endpoint")) {
        ("", "") => format!("{bucket} is not to be had there ({why}): correct `endpoint` and `region`"),
        ("", endpoint) => format!("{bucket} is at `{}`: correct `endpoint`", shown(endpoint)),
        (region, _) => format!("{bucket} is in the region `{}`: correct `region`", shown(region)),
    }
}
