//! The section `[webhook]`: where what happens is told to a program.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;

/// Where and how what happens is told to a program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    /// Where it is posted to.
    pub url: String,
    /// Certificates, as PEM: only these are trusted then.
    pub ca_file: Option<PathBuf>,
    /// What signs each message; none: nothing does.
    pub secret_file: Option<PathBuf>,
    /// How long each message may take.
    #[serde(with = "humantime_serde", default = "deadline")]
    pub deadline: Duration,
    /// How long the first wait before a message is sent again is at most.
    #[serde(with = "humantime_serde", default = "retry_first")]
    pub retry_first: Duration,
    /// How long any wait is at most.
    #[serde(with = "humantime_serde", default = "retry_longest")]
    pub retry_longest: Duration,
    /// After how long a message is given up.
    #[serde(with = "humantime_serde", default = "give_up_after")]
    pub give_up_after: Duration,
}

fn deadline() -> Duration {
    Duration::from_secs(20)
}

fn retry_first() -> Duration {
    Duration::from_secs(10)
}

fn retry_longest() -> Duration {
    Duration::from_mins(10)
}

/// After how long a message is given up unless the configuration says otherwise.
pub(crate) fn give_up_after() -> Duration {
    Duration::from_hours(24)
}

impl Webhook {
    /// Adds what is wrong with it to the faults of the file.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut check = Check::of("webhook", faults);
        check.address("url", &self.url);
        check.absolute("ca-file", self.ca_file.as_ref());
        check.absolute("secret-file", self.secret_file.as_ref());
        check.within("deadline", self.deadline, 1, 600);
        check.within("give-up-after", self.give_up_after, 60, 86_400 * 30);
        check.waits(self.retry_first, self.retry_longest);
    }

    /// The host that it goes to, for lists and logs: the rest of an address may be a secret.
    #[must_use]
    pub fn host(&self) -> String {
        let url: Option<hyper::Uri> = self.url.parse().ok();
        let authority = url.as_ref().and_then(hyper::Uri::authority);
        authority.map(ToString::to_string).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_webhook_goes_over_https_or_stays_on_this_machine() {
        let parse = |more: &str| Config::parse(&format!("[webhook]\n{more}")).map(|config| config.webhook);
        for url in [
            "https://hooks.example.com/x?y",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/",
        ] {
            let webhook = parse(&format!("url = '{url}'")).unwrap().unwrap();
            assert!(!webhook.host().contains('x') || url.contains("example"), "{url}");
        }
        for more in [
            "url = 'http://hooks.example.com/x'",
            "url = 'ftp://x/'",
            "url = '/x'",
            "url = 'https://a:b@hooks.example.com/'",
            "url = 'https://x/'\nsecret-file = 'x'",
            "url = 'https://x/'\ndeadline = '0s'",
            "url = 'https://x/'\nretry-first = '1h'",
        ] {
            assert!(
                parse(more).unwrap_err().to_string().contains("webhook."),
                "{more}"
            );
        }
    }
}
