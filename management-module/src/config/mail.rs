//! The section `[mail]`: how mails are sent, and to whom when nobody else is known.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lettre::message::Mailbox;
use serde::Deserialize;

use super::check::Check;

/// The credential of systemd that holds the password unless a file is named.
const CREDENTIAL: &str = "mail-password";

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// The connection begins in the clear and is encrypted before anything is said; never sent without.
    #[default]
    Starttls,
    /// It is encrypted from the beginning.
    Tls,
    /// Not at all.
    None,
}

/// How mails are sent. The password is read when it is needed, so that it can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The mail server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Certificates, as PEM, that are trusted beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Who signs in; none: nobody does.
    pub user: Option<String>,
    /// Where the password lies.
    pub password_file: Option<PathBuf>,
    /// Who sends.
    pub from: Mailbox,
    /// Who hears of what nobody else can be told; none: nobody.
    pub operator: Option<String>,
    /// How long a connection and each mail may take.
    pub deadline: Duration,
    /// Whether runs that succeed are told, too.
    pub report_success: bool,
    /// The page of this module, as its readers reach it; empty: by the name of this machine.
    pub link: String,
    /// How long the first wait before a mail is sent again is at most.
    pub retry_first: Duration,
    /// How long any wait is at most.
    pub retry_longest: Duration,
    /// After how long a mail is given up.
    pub give_up_after: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    server: String,
    port: Option<u16>,
    #[serde(default)]
    security: Security,
    ca_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
    operator: Option<String>,
    #[serde(with = "humantime_serde", default = "deadline")]
    deadline: Duration,
    #[serde(default)]
    report_success: bool,
    #[serde(default)]
    link: String,
    #[serde(with = "humantime_serde", default = "retry_first")]
    retry_first: Duration,
    #[serde(with = "humantime_serde", default = "retry_longest")]
    retry_longest: Duration,
    #[serde(with = "humantime_serde", default = "give_up_after")]
    give_up_after: Duration,
}

fn deadline() -> Duration {
    Duration::from_secs(60)
}

fn retry_first() -> Duration {
    Duration::from_mins(1)
}

fn retry_longest() -> Duration {
    Duration::from_hours(1)
}

/// After how long a message is given up unless the configuration says otherwise.
pub(crate) fn give_up_after() -> Duration {
    Duration::from_hours(24 * 5)
}

impl File {
    /// The section, checked; its faults are added to those of the file.
    pub(super) fn checked(self, faults: &mut Vec<String>) -> Option<Mail> {
        let before = faults.len();
        let mut check = Check::of("mail", faults);
        let server = self.server.trim();
        if server.is_empty() || server.contains(|c: char| c.is_whitespace() || c.is_control()) {
            check.fault("server", "must be a host name or IP address");
        }
        let from = Mailbox::from_str(&self.from).ok();
        if from.is_none() {
            check.fault("from", "must be an address such as `Backup <backup@example.com>`");
        }
        if self.operator.as_ref().is_some_and(|text| !is_address(text)) {
            check.fault("operator", "must be an e-mail address");
        }
        check.absolute("ca-file", self.ca_file.as_ref());
        check.absolute("password-file", self.password_file.as_ref());
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&server);
        if self.security == Security::None && self.user.is_some() && !is_here {
            check.fault("user", "needs `security`: a password is not sent in the clear");
        }
        if self.user.is_none() && self.password_file.is_some() {
            check.fault("password-file", "needs `user`");
        }
        check.within("deadline", self.deadline, 1, 600);
        check.within("give-up-after", self.give_up_after, 60, 86_400 * 30);
        check.waits(self.retry_first, self.retry_longest);
        let port = self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        });
        let server = server.to_owned();
        let is_fine = faults.len() == before;
        from.filter(|_| is_fine).map(|from| Mail {
            server,
            port,
            security: self.security,
            ca_file: self.ca_file,
            user: self.user,
            password_file: self.password_file,
            from,
            operator: self.operator,
            deadline: self.deadline,
            report_success: self.report_success,
            link: self.link,
            retry_first: self.retry_first,
            retry_longest: self.retry_longest,
            give_up_after: self.give_up_after,
        })
    }
}

impl Mail {
    /// Where the password lies: the file that is named, else a credential that systemd hands over; none: nowhere.
    #[must_use]
    pub fn password_path(&self) -> Option<PathBuf> {
        self.password_file.clone().or_else(|| credential(CREDENTIAL))
    }
}

/// Where systemd hands over a credential; none: it does not.
pub(super) fn credential(name: &str) -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(name))
}

/// Whether a text can be an address of mail.
#[must_use]
pub fn is_address(text: &str) -> bool {
    lettre::Address::from_str(text).is_ok()
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(more: &str) -> Result<Mail, String> {
        let text = format!("[mail]\nserver = 'mail.example.com'\nfrom = 'Backup <b@example.com>'\n{more}");
        let config = Config::parse(&text).map_err(|error| error.to_string())?;
        Ok(config.mail.unwrap())
    }

    #[test]
    fn a_server_and_a_sender_are_enough() {
        let mail = parse("").unwrap();
        assert_eq!((mail.port, mail.security), (587, Security::Starttls));
        assert_eq!(parse("security = 'tls'").unwrap().port, 465);
        assert!(!mail.report_success && mail.user.is_none());
        assert!(Config::default().mail.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (more, key) in [
            ("operator = 'nobody'", "mail.operator"),
            ("ca-file = 'x'", "mail.ca-file"),
            ("password-file = '/x'", "mail.password-file"),
            ("security = 'none'\nuser = 'u'", "mail.user"),
            ("deadline = '0s'", "mail.deadline"),
            ("retry-first = '2h'", "mail.retry-first"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(key), "{more}: {error}");
        }
        assert!(parse("security = 'none'\nserver-x = 1").is_err());
    }
}
