//! Destinations that are named by an address: S3 and WebDAV. Pure.

use std::net::IpAddr;

use http::Uri;
use satellite_proto::wire::backup::v1 as pb;

use super::{optional, required, secret, text};
use crate::destination::fault::Fault;
use crate::destination::http::{escaped, unescaped};
use crate::destination::{s3, trust, webdav};

/// The region where none is said.
const USUAL_REGION: &str = "us-east-1";

pub(super) fn bucket(given: pb::S3Destination) -> Result<s3::Settings, Fault> {
    let wrong = |what: &str| Err(Fault::Description(what.to_owned()));
    let (origin, path) = address(&text(given.endpoint, "endpoint")?, "endpoint")?;
    if !path.is_empty() {
        return wrong("`endpoint` has a path: give the bucket and the directory in it by themselves");
    }
    let is_word = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_graphic() && !b"/,;=?#".contains(&b))
    };
    let region = match text(given.region, "region") {
        Ok(region) => region,
        Err(_) => USUAL_REGION.to_owned(),
    };
    let (bucket, access_key) = (
        text(given.bucket, "bucket")?,
        text(given.access_key, "access_key")?,
    );
    for (word, field) in [
        (&region, "region"),
        (&bucket, "bucket"),
        (&access_key, "access_key"),
    ] {
        if !is_word(word) {
            return wrong(&format!("`{field}` has a character that none has"));
        }
    }
    let prefix = optional(given.prefix, "prefix")?;
    let prefix = prefix.trim_matches('/').to_owned();
    if !prefix.is_empty() && prefix.split('/').any(is_no_part) {
        return wrong("`prefix` is no path of a directory without `.`, `..` and `//`");
    }
    Ok(s3::Settings {
        origin,
        region,
        bucket,
        prefix,
        access_key,
        secret_key: required(given.secret_key, "secret_key")?,
        tls: authority(&given.authority)?,
    })
}

pub(super) fn directory(given: pb::WebDavDestination) -> Result<webdav::Settings, Fault> {
    let wrong = |what: &str| Err(Fault::Description(what.to_owned()));
    let (origin, path) = address(&text(given.url, "url")?, "url")?;
    let user = match (given.user.is_empty(), secret(given.password)) {
        (true, None) => None,
        (false, Some(password)) => Some((text(given.user, "user")?, password)),
        _ => return wrong("`user` and `password` go together"),
    };
    if user.as_ref().is_some_and(|(user, _)| user.contains(':')) {
        return wrong("`user` has a colon, which the protocol cannot send");
    }
    Ok(webdav::Settings {
        origin,
        path,
        user,
        tls: authority(&given.authority)?,
    })
}

fn authority(pem: &str) -> Result<Option<std::sync::Arc<rustls::ClientConfig>>, Fault> {
    (!pem.is_empty()).then(|| trust::trust(Some(pem))).transpose()
}

fn is_no_part(part: &str) -> bool {
    matches!(part, "" | "." | "..")
}

/// Scheme, name and port of an address; and its path, encoded, without `/` at its end.
fn address(given: &str, field: &str) -> Result<(String, String), Fault> {
    let wrong = |why: &str| Fault::Description(format!("`{field}`: {why}"));
    let rest = given.trim().split_once("://");
    let (scheme, rest) = rest.ok_or_else(|| wrong("it must begin with `https://`"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(wrong("it has a user in it: give user and password by themselves"));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong("it has a `?` or a `#` in it"));
    }
    let origin = format!(
        "{}://{}",
        scheme.to_ascii_lowercase(),
        authority.to_ascii_lowercase()
    );
    let uri: Uri = origin.parse().map_err(|_| wrong("it names no server"))?;
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !name.is_empty() => {}
        Some("http") if is_local => {}
        _ => {
            return Err(wrong(
                "it must begin with `https://`: what is sent there would be readable on its way",
            ));
        }
    }
    let path = path.trim_end_matches('/');
    let plain = unescaped(path).unwrap_or_else(|| path.to_owned());
    if plain.contains(char::is_control) || plain.split('/').skip(1).any(is_no_part) {
        return Err(wrong("its path has `.`, `..` or `//` in it"));
    }
    Ok((origin, escaped(&plain, "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_its_path_is_encoded_once() {
        for (given, origin, path) in [
            ("https://Cloud.example.org", "https://cloud.example.org", ""),
            ("https://s3.example.org:9000/", "https://s3.example.org:9000", ""),
            (
                "https://h/dav/jörg/Sicherung 1/",
                "https://h",
                "/dav/j%C3%B6rg/Sicherung%201",
            ),
            (
                "https://h/dav/j%c3%b6rg/100%",
                "https://h",
                "/dav/j%25c3%25b6rg/100%25",
            ),
            ("https://h/dav/j%c3%b6rg", "https://h", "/dav/j%C3%B6rg"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080", "/a"),
            ("http://[::1]:8080/a", "http://[::1]:8080", "/a"),
        ] {
            assert_eq!(
                address(given, "url").unwrap(),
                (origin.to_owned(), path.to_owned()),
                "{given}"
            );
        }
    }

    #[test]
    fn an_address_that_is_not_encrypted_or_holds_more_than_a_place_is_refused() {
        for given in [
            "cloud.example.org/dav",
            "http://cloud.example.org/dav",
            "ftp://cloud.example.org/dav",
            "https://",
            "https:///dav",
            "https://anna:geheim@cloud.example.org/dav",
            "https://h/dav?x=1",
            "https://h/a/../b",
            "https://h/a//b",
            "https://h/a/%2e%2e/b",
            "https://h/a/%0a",
            "https://h h/",
        ] {
            let refused = address(given, "url").unwrap_err().to_string();
            assert!(
                refused.contains("`url`") && !refused.contains("geheim"),
                "{given}: {refused}"
            );
        }
    }
}
