//! The section `[directory]`: where accounts are read from, and what their attributes are called there.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;
use super::mail::Security;

/// The credential of systemd that holds the password unless a file is named.
const CREDENTIAL: &str = "directory-password";

/// How accounts are read from an LDAP directory. The names of attributes are those of stoney backup unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// The server.
    pub server: String,
    /// Its port.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: Security,
    /// Certificates, as PEM: only these are trusted then.
    pub ca_file: Option<PathBuf>,
    /// Who signs in; none: anonymous.
    pub bind_dn: Option<String>,
    /// Where the password lies.
    pub password_file: Option<PathBuf>,
    /// Below it the accounts lie.
    pub accounts_base: String,
    /// Which entries are accounts.
    #[serde(default = "accounts_filter")]
    pub accounts_filter: String,
    /// Below it persons lie; empty: none are looked up.
    #[serde(default)]
    pub people_base: String,
    /// Below it resellers lie; empty: none are looked up.
    #[serde(default)]
    pub resellers_base: String,
    /// Below it services lie to which accounts may belong; empty: none are looked up.
    #[serde(default)]
    pub services_base: String,
    /// The attribute that names accounts, persons and resellers.
    #[serde(default = "name_attribute")]
    pub name_attribute: String,
    /// The attribute with an account's tenant; not there: the account's name.
    #[serde(default = "tenant_attribute")]
    pub tenant_attribute: String,
    /// The attribute that says whether warnings are wanted.
    #[serde(default = "warnings_attribute")]
    pub warnings_attribute: String,
    /// The attribute with addresses.
    #[serde(default = "mail_attribute")]
    pub mail_attribute: String,
    /// The attribute that names the person to whom an account or a reseller belongs.
    #[serde(default = "person_attribute")]
    pub person_attribute: String,
    /// The attribute that names the service to which an account or a reseller belongs that belongs to no person.
    #[serde(default = "service_attribute")]
    pub service_attribute: String,
    /// The attribute that names an account's reseller.
    #[serde(default = "reseller_attribute")]
    pub reseller_attribute: String,
    /// The attribute with an account's space in bytes.
    #[serde(default = "quota_attribute")]
    pub quota_attribute: String,
    /// The attribute with the per cent of its space above which an account is warned; empty: the directory does not say.
    #[serde(default)]
    pub quota_percent_attribute: String,
    /// The attribute with how many times have to be missed; empty: the directory does not say.
    #[serde(default)]
    pub missed_attribute: String,
    /// The attribute with how many runs have to end with errors; empty: the directory does not say.
    #[serde(default)]
    pub failed_attribute: String,
    /// The attribute with how many days have to be without a backup; empty: the directory does not say.
    #[serde(default)]
    pub unused_days_attribute: String,
    /// The attribute with the language.
    #[serde(default = "language_attribute")]
    pub language_attribute: String,
    /// How often it is read.
    #[serde(with = "humantime_serde", default = "interval")]
    pub interval: Duration,
    /// How long each answer may take.
    #[serde(with = "humantime_serde", default = "deadline")]
    pub deadline: Duration,
    /// Entries that are asked for at once.
    #[serde(default = "page_size")]
    pub page_size: u16,
    /// Who of the directory may sign in to the web page; none: nobody.
    pub sign_in: Option<SignIn>,
}

/// Who of the directory may sign in to the web page. Persons to whom accounts belong may, as their customers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SignIn {
    /// The group whose members are administrators.
    pub administrators: Option<String>,
    /// The group whose members are operators.
    pub operators: Option<String>,
    /// The group whose members are viewers.
    pub viewers: Option<String>,
}

fn accounts_filter() -> String {
    "(objectClass=sstBackup)".into()
}

fn name_attribute() -> String {
    "uid".into()
}

fn tenant_attribute() -> String {
    "sstTenant".into()
}

fn warnings_attribute() -> String {
    "sstBackupWarnings".into()
}

fn service_attribute() -> String {
    "sstBelongsToServiceUID".into()
}

fn mail_attribute() -> String {
    "mail".into()
}

fn person_attribute() -> String {
    "sstBelongsToPersonUID".into()
}

fn reseller_attribute() -> String {
    "sstBelongsToResellerUID".into()
}

fn quota_attribute() -> String {
    "sstVolumeCapacity".into()
}

fn language_attribute() -> String {
    "preferredLanguage".into()
}

fn interval() -> Duration {
    Duration::from_mins(15)
}

fn deadline() -> Duration {
    Duration::from_secs(30)
}

fn page_size() -> u16 {
    500
}

impl Directory {
    /// Adds what is wrong with it to the faults of the file.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut check = Check::of("directory", faults);
        let is_host = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-.:".contains(c))
        };
        if !is_host(&self.server) {
            check.fault("server", "must be a host name or IP address");
        }
        if self.accounts_base.is_empty() {
            check.fault("accounts-base", "must name the entry below which accounts lie");
        }
        check.absolute("ca-file", self.ca_file.as_ref());
        check.absolute("password-file", self.password_file.as_ref());
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&self.server.as_str());
        if self.security == Security::None && self.bind_dn.is_some() && !is_here {
            check.fault("bind-dn", "needs `security`: a password is not sent in the clear");
        }
        check.within("interval", self.interval, 1, 86_400);
        check.within("deadline", self.deadline, 1, 600);
        if self.sign_in.is_some()
            && (self.people_base.is_empty() || self.security == Security::None && !is_here)
        {
            check.fault(
                "sign-in",
                "needs `people-base`, and `security`: passwords are not sent in the clear",
            );
        }
        if !(1..=10_000).contains(&self.page_size) {
            check.fault("page-size", "must be between 1 and 10000");
        }
    }

    /// As LDAP programs write it.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, usual) = match self.security {
            Security::Tls => ("ldaps", 636),
            Security::Starttls | Security::None => ("ldap", 389),
        };
        let port = self.port.unwrap_or(usual);
        if self.server.contains(':') {
            format!("{scheme}://[{}]:{port}", self.server)
        } else {
            format!("{scheme}://{}:{port}", self.server)
        }
    }

    /// Where the password lies: the file that is named, else a credential that systemd hands over; none: nowhere.
    #[must_use]
    pub fn password_path(&self) -> Option<PathBuf> {
        self.password_file
            .clone()
            .or_else(|| super::mail::credential(CREDENTIAL))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn parse(more: &str) -> Result<super::Directory, String> {
        let text = format!("[directory]\nserver = 'ldap.example.com'\naccounts-base = 'ou=a'\n{more}");
        let config = Config::parse(&text).map_err(|error| error.to_string())?;
        Ok(config.directory.unwrap())
    }

    #[test]
    fn a_server_and_a_base_are_enough_and_the_rest_is_checked() {
        let directory = parse("").unwrap();
        assert_eq!(directory.url(), "ldap://ldap.example.com:389");
        assert_eq!(
            parse("security = 'tls'").unwrap().url(),
            "ldaps://ldap.example.com:636"
        );
        for (more, key) in [
            ("ca-file = 'x'", "directory.ca-file"),
            ("bind-dn = 'cn=x'\nsecurity = 'none'", "directory.bind-dn"),
            ("page-size = 0", "directory.page-size"),
            ("sign-in = {}", "directory.sign-in"),
            (
                "sign-in = {}\npeople-base = 'ou=p'\nsecurity = 'none'",
                "directory.sign-in",
            ),
            ("deadline = '0s'", "directory.deadline"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(key), "{more}: {error}");
        }
    }
}
