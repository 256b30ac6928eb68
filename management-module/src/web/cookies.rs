//! The cookies of the page. All are `__Host-` ones: only this very host sets them, only over TLS, for the whole host.

use axum::http::{HeaderMap, HeaderValue, header};

/// Names the session.
pub(super) const SESSION: &str = "__Host-session";
/// Names the device, so that the wrong tries of others do not count against it.
pub(super) const DEVICE: &str = "__Host-device";
/// What the form for signing in carries, too.
pub(super) const BEFORE: &str = "__Host-before";
/// What a sign-in at a provider belongs to.
pub(super) const PROVIDER: &str = "__Host-provider";
/// The language that was chosen.
pub(super) const LANGUAGE: &str = "__Host-language";

/// Seconds of a year.
pub(super) const YEAR: u32 = 365 * 24 * 60 * 60;

/// The value of a cookie that came.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// Sets a cookie for so many seconds (0: for as long as the browser is open). The value must be a token or a word.
pub(super) fn set(headers: &mut HeaderMap, name: &str, value: &str, seconds: u32) {
    let age = if seconds == 0 {
        String::new()
    } else {
        format!("; Max-Age={seconds}")
    };
    append(
        headers,
        &format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}"),
    );
}

/// Takes a cookie away.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    append(
        headers,
        &format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
    );
}

fn append(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(header::SET_COOKIE, value);
    }
}
