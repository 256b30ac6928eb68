//! The section `[openid]`: the provider of OpenID Connect at which people may sign in to the web page.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;
use super::is_safe_address;

/// The credential of systemd that holds the client's secret unless a file is named.
const CREDENTIAL: &str = "openid-secret";

/// Where the provider sends people back to, below the page's address.
pub const BACK: &str = "/sign-in/provider/back";

/// A provider of OpenID Connect, and who of its users may do what here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OpenId {
    /// Its name for itself: an address below which `.well-known/openid-configuration` lies.
    pub issuer: String,
    /// What this module is called there.
    pub client_id: String,
    /// Where the client's secret lies; none, and no credential of systemd: the client is public.
    pub secret_file: Option<PathBuf>,
    /// The page of this module, as its readers reach it.
    pub page: String,
    /// What the provider is called for the people who sign in.
    #[serde(default = "name")]
    pub name: String,
    /// Certificates, as PEM: only these are trusted then.
    pub ca_file: Option<PathBuf>,
    /// What is asked for.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that becomes the user's name.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// The claim with the user's groups.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// The group whose members are administrators.
    pub administrators: Option<String>,
    /// The group whose members are operators.
    pub operators: Option<String>,
    /// The group whose members are viewers.
    pub viewers: Option<String>,
    /// How long all that is asked of it for one sign-in may take.
    #[serde(with = "humantime_serde", default = "deadline")]
    pub deadline: Duration,
}

fn name() -> String {
    "OpenID".into()
}

fn scopes() -> Vec<String> {
    vec!["openid".into(), "profile".into()]
}

fn user_claim() -> String {
    "preferred_username".into()
}

fn groups_claim() -> String {
    "groups".into()
}

fn deadline() -> Duration {
    Duration::from_secs(20)
}

impl OpenId {
    /// Adds what is wrong with it to the faults of the file.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut check = Check::of("openid", faults);
        check.address("issuer", &self.issuer);
        if self.issuer.contains(['?', '#']) {
            check.fault("issuer", "must not have `?` or `#`");
        }
        if !is_safe_address(&self.page)
            || !self.page.starts_with("https://")
            || self.page.contains(['?', '#'])
        {
            check.fault("page", "must be the page's own address and begin with https://");
        }
        if self.client_id.trim().is_empty() {
            check.fault("client-id", "must be what this module is called at the provider");
        }
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            check.fault("name", "must be a word that people know the provider by");
        }
        check.absolute("ca-file", self.ca_file.as_ref());
        check.absolute("secret-file", self.secret_file.as_ref());
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        if !self.scopes.iter().all(is_scope) || !self.scopes.iter().any(|scope| scope == "openid") {
            check.fault("scopes", "must be words, one of them `openid`");
        }
        if self.user_claim.is_empty() || self.groups_claim.is_empty() {
            check.fault("user-claim", "and `groups-claim` must name claims");
        }
        check.within("deadline", self.deadline, 1, 120);
    }

    /// Where the provider sends people back to: it must be told the same.
    #[must_use]
    pub fn back(&self) -> String {
        format!("{}{BACK}", self.page.trim_end_matches('/'))
    }

    /// Where the client's secret lies: the file that is named, else a credential that systemd hands over; none: nowhere.
    #[must_use]
    pub fn secret_path(&self) -> Option<PathBuf> {
        self.secret_file
            .clone()
            .or_else(|| super::mail::credential(CREDENTIAL).filter(|path| path.exists()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn parse(more: &str) -> Result<super::OpenId, String> {
        let text = format!(
            "[openid]\nclient-id = 'satellites'\nissuer = 'https://id.example.com'\n{more}\n\
             page = 'https://pbx.example.com:7600/'"
        );
        let config = Config::parse(&text).map_err(|error| error.to_string())?;
        Ok(config.openid.unwrap())
    }

    #[test]
    fn a_provider_and_the_own_address_are_enough_and_the_rest_is_checked() {
        let openid = parse("").unwrap();
        assert_eq!(
            openid.back(),
            "https://pbx.example.com:7600/sign-in/provider/back"
        );
        for (more, key) in [
            ("scopes = ['profile']", "openid.scopes"),
            ("scopes = ['openid', 'a b']", "openid.scopes"),
            ("deadline = '0s'", "openid.deadline"),
            ("name = ''", "openid.name"),
            ("secret-file = 'x'", "openid.secret-file"),
            ("user-claim = ''", "openid.user-claim"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(key), "{more}: {error}");
        }
        let text = "[openid]\nclient-id = ''\nissuer = 'http://id.example.com'\npage = 'http://127.0.0.1'";
        let error = Config::parse(text).unwrap_err().to_string();
        for key in ["openid.client-id", "openid.issuer", "openid.page"] {
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
