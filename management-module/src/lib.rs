//! Commissions satellites from the server and drives what runs on them.
//!
//! **Invariant:** edges (`cli`, `rpc`, `web`, `store`, `fleet`, `notify`) never import one another; use cases in `app` do.

pub mod app;
mod bounded;
pub mod central;
pub mod cli;
pub mod config;
pub mod files;
pub mod fleet;
pub mod host;
pub mod installation;
pub mod language;
pub mod names;
pub mod notify;
pub mod plan;
pub mod rpc;
pub mod serve;
pub mod store;
pub mod vault;
pub mod web;

/// An error with all its causes, for a log line or the last word to a person.
#[must_use]
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
