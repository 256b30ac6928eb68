//! Style sheet, script and icon: part of the program, named by their content so that browsers may keep them.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::ask::{Answer, Ask};
use super::failure::Failure;

const STYLE: &str = include_str!("static/style.css");
const SCRIPT: &str = include_str!("static/page.js");
const ICON: &str = include_str!("static/icon.svg");

/// One of them, by its kind.
fn find(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "style.css" => Some((STYLE, "text/css; charset=utf-8")),
        "page.js" => Some((SCRIPT, "text/javascript; charset=utf-8")),
        "icon.svg" => Some((ICON, "image/svg+xml")),
        _ => None,
    }
}

/// Where one of them is; the address changes with its content.
pub(super) fn place(kind: &str) -> String {
    let text = find(kind).map_or("", |(text, _)| text);
    // FNV-1a: it only has to change with the content.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("/static/{hash:016x}/{kind}")
}

pub(super) async fn get(ask: Ask) -> Answer {
    let (text, kind) = find(ask.param("file")).ok_or(Failure::NoPage)?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, keep);
    Ok(response)
}
