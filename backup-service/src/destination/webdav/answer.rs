//! What a WebDAV server says of files and directories ("multi-status"). Pure.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::destination::http::unescaped;
use crate::destination::place::Entry;
use crate::destination::xml::Element;

/// What is at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path, as text, without `/` at its end.
    path: String,
    pub(super) is_directory: bool,
    /// Bytes of a file.
    pub(super) size: u64,
    modified: Option<Timestamp>,
    /// Bytes that may still be written below it.
    pub(super) free: Option<u64>,
}

/// The only thing that an answer tells of.
pub(super) fn one(body: &[u8]) -> Option<Found> {
    found(&Element::read(body)?).into_iter().next()
}

/// What is in a directory; none if it is no answer about one.
pub(super) fn listed(body: &[u8], most: usize) -> Option<Vec<Entry>> {
    let found = found(&Element::read(body)?);
    // The directory itself is told of too, and all others are below it. Its path may be another than was asked for:
    // servers behind others do not know what they are called outside.
    let own = found.iter().map(|one| one.path.len()).min()?;
    let own = found.iter().find(|one| one.path.len() == own)?.path.clone();
    let inside = found.into_iter().filter_map(|one| {
        let name = one.path.strip_prefix(&own)?.strip_prefix('/')?;
        let is_name = !name.is_empty() && !name.contains('/');
        is_name.then(|| Entry {
            name: name.to_owned(),
            is_directory: one.is_directory,
            size: one.size,
            modified: one.modified,
        })
    });
    Some(inside.take(most).collect())
}

fn found(answer: &Element) -> Vec<Found> {
    answer.all("response").filter_map(response).collect()
}

fn response(response: &Element) -> Option<Found> {
    let said = response.said("href");
    // Some name themselves, some only the path.
    let path = match said.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => said,
    };
    let path = unescaped(path)?.trim_end_matches('/').to_owned();
    // What a server cannot say comes in a group of its own, with another status.
    let groups = response.all("propstat");
    let good: Vec<_> = groups
        .filter(|group| group.said("status").split(' ').nth(1) == Some("200"))
        .filter_map(|group| group.one("prop"))
        .collect();
    let text = |name: &str| {
        good.iter()
            .find_map(|properties| properties.one(name))
            .map(Element::text)
    };
    let kind = good
        .iter()
        .find_map(|properties| properties.one("resourcetype"))?;
    Some(Found {
        path,
        is_directory: kind.one("collection").is_some(),
        size: text("getcontentlength")
            .and_then(|size| size.parse().ok())
            .unwrap_or(0),
        modified: text("getlastmodified")
            .and_then(|at| rfc2822::DateTimeParser::new().parse_timestamp(at).ok()),
        // Negative numbers mean "no limit" and "not known".
        free: text("quota-available-bytes").and_then(|free| free.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">
 <d:response><d:href>/dav/T%c3%a4glich%201/</d:href>
  <d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype><d:quota-available-bytes>-3</d:quota-available-bytes></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status></d:propstat>
  <d:propstat><d:prop><d:getcontentlength/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
 <d:response><d:href>https://cloud.test/dav/T%C3%A4glich%201/a%26b.sar</d:href>
  <d:propstat><d:prop><d:resourcetype/><d:getcontentlength>7</d:getcontentlength>
   <d:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</d:getlastmodified></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>
 <d:response><d:href>/dav/T%C3%A4glich%201/sub/</d:href>
  <d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>
 <d:response><d:href>/dav/elsewhere-and-longer/x</d:href>
  <d:propstat><d:prop><d:resourcetype/></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>
 <d:response><d:href>/dav/T%C3%A4glich%201/secret</d:href><d:status>HTTP/1.1 403 Forbidden</d:status></d:response>
</d:multistatus>"#;

    #[test]
    fn a_directory_is_told_from_what_is_in_it() {
        let listed = listed(ANSWER.as_bytes(), 10).unwrap();
        let file = Entry {
            name: "a&b.sar".to_owned(),
            is_directory: false,
            size: 7,
            modified: Some("1994-11-06T08:49:37Z".parse().unwrap()),
        };
        let directory = Entry {
            name: "sub".to_owned(),
            is_directory: true,
            size: 0,
            modified: None,
        };
        assert_eq!(listed, [file, directory]);
        let own = one(ANSWER.as_bytes()).unwrap();
        assert_eq!(
            (own.path.as_str(), own.is_directory, own.free),
            ("/dav/Täglich 1", true, None)
        );
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        for answer in [
            "",
            "<html><body>Hello</body></html>",
            "<multistatus xmlns=\"DAV:\"/>",
        ] {
            assert_eq!(
                (one(answer.as_bytes()), listed(answer.as_bytes(), 10)),
                (None, None),
                "{answer}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_path_of_any_form_leads_out_of_no_directory(href: String) {
            let href = href.replace(['<', '&', '\r'], "%");
            let answer = ANSWER.replace("/dav/T%C3%A4glich%201/sub/", &href);
            for entry in listed(answer.as_bytes(), 10).unwrap_or_default() {
                prop_assert!(!entry.name.is_empty() && !entry.name.contains('/'));
            }
        }
    }
}
