//! The section `[acme]`: the authority that certifies the web page's names (RFC 8555).

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;

/// Most names of one certificate.
const MOST: usize = 20;

/// An authority, and what it is to certify.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Acme {
    /// Where the authority says what it offers.
    pub directory: String,
    /// The names under which the page is reached.
    pub names: Vec<String>,
    /// The authority's terms are agreed to.
    pub accept_terms: bool,
    /// Mail addresses that the authority may write to.
    #[serde(default)]
    pub contact: Vec<String>,
    /// Certificates, as PEM: only these are trusted then when the authority is asked.
    pub ca_file: Option<PathBuf>,
    /// What the authority calls the account that one has there already; none: it wants none.
    pub external_key_id: Option<String>,
    /// Where the key for it lies, as the authority gives it: base64.
    pub external_key_file: Option<PathBuf>,
    /// How long it may take to get a certificate.
    #[serde(with = "humantime_serde", default = "deadline")]
    pub deadline: Duration,
    /// How long the first wait after a failure is at most.
    #[serde(with = "humantime_serde", default = "retry_first")]
    pub retry_first: Duration,
    /// How long any wait is at most.
    #[serde(with = "humantime_serde", default = "retry_longest")]
    pub retry_longest: Duration,
}

fn deadline() -> Duration {
    Duration::from_mins(3)
}

// Authorities of the internet take few failures in an hour.
fn retry_first() -> Duration {
    Duration::from_mins(20)
}

fn retry_longest() -> Duration {
    Duration::from_hours(12)
}

impl Acme {
    /// Adds what is wrong with it to the faults of the file.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut check = Check::of("acme", faults);
        check.address("directory", &self.directory);
        if !(1..=MOST).contains(&self.names.len()) || !self.names.iter().all(|name| is_name(name)) {
            check.fault(
                "names",
                &format!(
                    "must be 1 to {MOST} host names in lower case, without `*`: the page is asked under each"
                ),
            );
        }
        if !self.accept_terms {
            check.fault("accept-terms", "must be true: read the authority's terms first");
        }
        let is_address = |text: &String| {
            let (user, host) = text.split_once('@').unwrap_or_default();
            let is_fine = |c: char| c.is_ascii_graphic() && !":?,&<>".contains(c);
            !user.is_empty() && user.chars().all(is_fine) && is_name(host)
        };
        if !self.contact.iter().all(is_address) {
            check.fault("contact", "must be mail addresses");
        }
        check.absolute("ca-file", self.ca_file.as_ref());
        check.absolute("external-key-file", self.external_key_file.as_ref());
        if self.external_key_id.is_some() != self.external_key_file.is_some() {
            check.fault("external-key-id", "and `external-key-file` go together");
        }
        check.within("deadline", self.deadline, 5, 3600);
        check.waits(self.retry_first, self.retry_longest);
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&part.len())
            && part.bytes().all(is_fine)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    name.len() <= 253 && !is_address && name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn an_authority_is_asked_safely_for_names_that_it_can_certify() {
        let good =
            "directory = 'https://ca.example.com/dir'\nnames = ['page.example.com']\naccept-terms = true\n";
        let parse = |text: &str| Config::parse(&format!("[acme]\n{text}"));
        assert!(parse(good).unwrap().acme.is_some());
        for (what, instead) in [
            ("https://", "http://"),
            ("https://", "https://a:b@"),
            ("'page.example.com'", ""),
            ("page.", "*."),
            ("page.example.com", "192.0.2.1"),
            ("page", "Page"),
            ("page", "-page"),
            ("accept-terms = true", "accept-terms = false"),
            ("accept-terms", "contact = ['nobody']\naccept-terms"),
            ("accept-terms", "ca-file = 'x'\naccept-terms"),
            ("accept-terms", "external-key-id = 'x'\naccept-terms"),
            ("accept-terms", "retry-first = '2days'\naccept-terms"),
            ("accept-terms", "deadline = '1s'\naccept-terms"),
        ] {
            let error = parse(&good.replace(what, instead)).unwrap_err().to_string();
            assert!(error.contains("`acme."), "{what} {instead}: {error}");
        }
        let both = format!("web-certificate = '/a'\nweb-key = '/b'\n[acme]\n{good}");
        let error = Config::parse(&both).unwrap_err().to_string();
        assert!(error.contains("web-certificate"), "{error}");
    }
}
