//! Checks that sections of the configuration file share. A fault is told by the key's full name.

use std::path::PathBuf;
use std::time::Duration;

/// The faults of one section, added to those of the file.
pub(super) struct Check<'a> {
    section: &'static str,
    faults: &'a mut Vec<String>,
}

impl<'a> Check<'a> {
    /// Of the section with that name; empty: of the keys outside all sections.
    pub(super) fn of(section: &'static str, faults: &'a mut Vec<String>) -> Self {
        Self { section, faults }
    }

    /// `key` is not right; `text` goes on after its name.
    pub(super) fn fault(&mut self, key: &str, text: &str) {
        let dot = if self.section.is_empty() { "" } else { "." };
        self.faults.push(format!("`{}{dot}{key}` {text}", self.section));
    }

    /// Secrets are sent to that address.
    pub(super) fn address(&mut self, key: &str, url: &str) {
        if !super::is_safe_address(url) {
            self.fault(
                key,
                "must be an address that begins with https:// (http:// on this machine only), without a password",
            );
        }
    }

    /// A path that is given does not depend on where the program was started.
    pub(super) fn absolute(&mut self, key: &str, path: Option<&PathBuf>) {
        if path.is_some_and(|path| !path.is_absolute()) {
            self.fault(key, "must be an absolute path");
        }
    }

    /// A time lies between two, in seconds, both allowed.
    pub(super) fn within(&mut self, key: &str, value: Duration, least: u64, most: u64) {
        if !(Duration::from_secs(least)..=Duration::from_secs(most)).contains(&value) {
            self.fault(key, &format!("must be between {least}s and {most}s"));
        }
    }

    /// The waits before something is tried again.
    pub(super) fn waits(&mut self, first: Duration, longest: Duration) {
        self.within("retry-longest", longest, 1, 86_400);
        if first.is_zero() || first > longest {
            self.fault(
                "retry-first",
                "must be more than nothing and at most `retry-longest`",
            );
        }
    }
}
