//! The message around an archive: what stands before and after it, and the archive as lines of text. Pure.

use std::fmt::Write as _;

use data_encoding::BASE64;
use jiff::Zoned;

use super::Settings;
use crate::destination::path::PlacePath;

/// Bytes of the archive on a line of 76 characters.
const LINE: u64 = 57;

/// Bytes that the message may have beside the archive, with long addresses and names.
const AROUND: u64 = 6 << 10;

/// What stands around an archive.
#[derive(Debug)]
pub(super) struct Head {
    /// Before it.
    pub(super) text: String,
    /// After it.
    pub(super) tail: String,
    /// Bytes of the whole message.
    pub(super) size: u64,
}

/// Most bytes of an archive in a message of at most `limit`.
pub(super) fn fits(limit: u64, settings: &Settings) -> u64 {
    let addresses: usize = settings.to.iter().map(|to| to.len() + 4).sum();
    let left = limit.saturating_sub(AROUND + addresses as u64);
    left / (LINE / 3 * 4 + 2) * LINE
}

impl Head {
    /// The message for an archive of `total` bytes.
    pub(super) fn new(settings: &Settings, path: &PlacePath, total: u64) -> Self {
        let name = path.name();
        let directory = path
            .parent()
            .map(|parent| parent.name().to_owned())
            .unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path.to_string().as_bytes());
        let id = data_encoding::HEXLOWER.encode(&digest.as_ref()[..16]);
        let domain = settings
            .from
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain);
        let date = jiff::fmt::rfc2822::to_string(&Zoned::now()).unwrap_or_default();
        let mut text = String::new();
        let mut line = |content: &str| {
            text.push_str(content);
            text.push_str("\r\n");
        };
        line(&format!("Date: {date}"));
        line(&format!("From: <{}>", settings.from));
        let to: Vec<_> = settings.to.iter().map(|to| format!("<{to}>")).collect();
        line(&format!("To: {}", to.join(",\r\n ")));
        line(&format!(
            "Subject: {}",
            words(&format!("Backup {directory}: {name}"))
        ));
        line(&format!("Message-ID: <{id}@{domain}>"));
        line("Auto-Submitted: auto-generated");
        line("MIME-Version: 1.0");
        line(&format!("Content-Type: multipart/mixed; boundary=\"{id}\""));
        line("");
        line(&format!("--{id}"));
        line("Content-Type: text/plain; charset=utf-8");
        line("Content-Transfer-Encoding: base64");
        line("");
        for piece in BASE64
            .encode(words_for_people(&directory, name, total).as_bytes())
            .as_bytes()
            .chunks(76)
        {
            line(&String::from_utf8_lossy(piece));
        }
        line(&format!("--{id}"));
        line("Content-Type: application/octet-stream");
        line("Content-Transfer-Encoding: base64");
        line(&format!(
            "Content-Disposition: attachment;\r\n filename*=UTF-8''{}",
            percent(name)
        ));
        line("");
        let tail = format!("--{id}--\r\n");
        let lines = total.div_ceil(LINE);
        let encoded = total.div_ceil(3) * 4 + lines * 2;
        let size = text.len() as u64 + encoded + tail.len() as u64;
        Self { text, tail, size }
    }
}

/// The message's text, in each of our languages: whoever reads it may speak any.
fn words_for_people(directory: &str, name: &str, total: u64) -> String {
    let megabytes = format!("{:.1} MB", total as f64 / 1e6);
    format!(
        "{directory}: {name} ({megabytes})\n\n\
         Attached is a backup. Keep this message, or save the attachment.\n\
         Im Anhang ist eine Datensicherung. Bewahren Sie diese Nachricht oder den Anhang auf.\n\
         Une sauvegarde est jointe. Conservez ce message ou la pièce jointe.\n\
         In allegato c'è un backup. Conservi questo messaggio o l'allegato.\n"
    )
}

/// Text of a header: words of at most 75 characters that hold whole characters.
fn words(text: &str) -> String {
    if text.is_ascii() && text.len() < 70 {
        return text.to_owned();
    }
    let mut pieces = vec![String::new()];
    for c in text.chars() {
        if pieces.last().is_some_and(|last| last.len() + c.len_utf8() > 42) {
            pieces.push(String::new());
        }
        if let Some(last) = pieces.last_mut() {
            last.push(c);
        }
    }
    let encoded = pieces
        .iter()
        .map(|piece| format!("=?UTF-8?B?{}?=", BASE64.encode(piece.as_bytes())));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Bytes as lines of base64; what does not fill a line waits for more.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    rest: Vec<u8>,
}

impl Base64 {
    /// The lines that are full.
    pub(super) fn add(&mut self, piece: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() / LINE as usize * LINE as usize;
        let waiting = self.rest.split_off(whole);
        let full = std::mem::replace(&mut self.rest, waiting);
        lines(&full)
    }

    /// What is left.
    pub(super) fn finish(self) -> Vec<u8> {
        lines(&self.rest)
    }
}

fn lines(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / LINE as usize * 78 + 78);
    for line in bytes.chunks(LINE as usize) {
        out.extend_from_slice(BASE64.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_hold_what_was_added_however_it_came(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9)) {
            let mut base64 = Base64::default();
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend(base64.add(piece));
            }
            text.extend(base64.finish());
            let total = pieces.iter().map(Vec::len).sum::<usize>() as u64;
            prop_assert_eq!(text.len() as u64, total.div_ceil(3) * 4 + total.div_ceil(LINE) * 2);
            prop_assert!(text.split(|b| *b == b'\n').all(|line| line.len() <= 77 && !line.starts_with(b".")));
            text.retain(|b| !b.is_ascii_whitespace());
            prop_assert_eq!(BASE64.decode(&text).unwrap(), pieces.concat());
        }

        #[test]
        fn a_header_stays_on_short_lines_of_ascii(text in "\\PC{0,200}") {
            let header = words(&text);
            prop_assert!(header.is_ascii());
            prop_assert!(header.split("\r\n").all(|line| line.len() <= 76 && !line.contains('\n')));
        }
    }
}
