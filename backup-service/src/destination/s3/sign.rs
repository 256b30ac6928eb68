//! Signs requests as S3 wants it ("Signature Version 4"), in a header: no address holds a signature that somebody could use
//! again. The digest of what is sent is signed too. Pure.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::destination::target::Secret;

/// Who signs, and for which region.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a Secret,
    pub(super) region: &'a str,
}

/// What is signed of a request.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it is in the request, encoded.
    pub(super) path: &'a str,
    /// As it is in the request: encoded and by name.
    pub(super) query: &'a str,
    /// Headers: lower case, by name.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Of the content, as [`content_digest`] makes it.
    pub(super) content: &'a str,
}

/// SHA-256 of a content, in lower hexadecimal digits.
pub(super) fn content_digest(content: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, content).as_ref())
}

/// The time as a request names it.
pub(super) fn stamp(now: Timestamp) -> String {
    let now = now.to_zoned(TimeZone::UTC);
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

impl Signer<'_> {
    /// The header `authorization` of a request that has the time `stamp` in it.
    pub(super) fn authorization(&self, request: &Signed<'_>, stamp: &str) -> String {
        let names: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\n{}",
            request.method, request.path, request.query, request.content
        );
        let day = stamp.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            content_digest(canonical.as_bytes())
        );
        let key = zeroize::Zeroizing::new(format!("AWS4{}", self.secret_key.reveal()));
        let key = [day, self.region, "s3", "aws4_request"]
            .iter()
            .fold(hmac::Key::new(HMAC_SHA256, key.as_bytes()), |key, part| {
                hmac::Key::new(HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
            });
        let signature = HEXLOWER.encode(hmac::sign(&key, text.as_bytes()).as_ref());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            self.access_key
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the service's own documentation.
    #[test]
    fn the_examples_of_the_documentation_come_out() {
        const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");
        const STAMP: (&str, &str) = ("x-amz-date", "20130524T000000Z");
        let nothing = content_digest(b"");
        let text = content_digest(b"Welcome to Amazon S3.");
        let no_content = ("x-amz-content-sha256", nothing.as_str());
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE",
            secret_key: &secret,
            region: "us-east-1",
        };
        let object = [HOST, ("range", "bytes=0-9"), no_content, STAMP];
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            HOST,
            ("x-amz-content-sha256", &text),
            STAMP,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let plain = [HOST, no_content, STAMP];
        for (method, path, query, headers, content, signature) in [
            (
                "GET",
                "/test.txt",
                "",
                &object[..],
                &nothing,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "/test%24file.text",
                "",
                &put[..],
                &text,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/",
                "lifecycle=",
                &plain[..],
                &nothing,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "/",
                "max-keys=2&prefix=J",
                &plain[..],
                &nothing,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let request = Signed {
                method,
                path,
                query,
                headers,
                content,
            };
            let header = signer.authorization(&request, STAMP.1);
            assert!(header.ends_with(signature), "{method} {path}: {header}");
        }
    }

    #[test]
    fn a_time_is_named_without_signs() {
        let at: Timestamp = "2013-05-24T00:00:00.9Z".parse().unwrap();
        assert_eq!(stamp(at), "20130524T000000Z");
    }
}
