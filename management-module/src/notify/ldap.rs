//! A directory, read whole: pages of entries, referrals not followed, the server's certificate verified.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchResult, ldap_escape,
};

use super::trust::{self, TrustError};
use crate::config::directory::Directory;
use crate::config::mail::Security;

/// Entries that are read at most: a directory is not held in memory without bound.
const MOST: usize = 200_000;
/// How much longer than one answer the whole may take.
const WHOLE: u32 = 20;

/// An entry: its values by attribute, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Where it lies.
    pub dn: String,
    /// Values by attribute, in lower case.
    pub values: HashMap<String, Vec<String>>,
}

/// What was read of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Read {
    /// The accounts.
    pub accounts: Vec<Entry>,
    /// The persons.
    pub people: Vec<Entry>,
    /// The resellers.
    pub resellers: Vec<Entry>,
    /// The services.
    pub services: Vec<Entry>,
}

/// Why the directory was not read. What was read before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The password cannot be read.
    #[error("cannot read `password-file` of the directory's configuration, {}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is somebody to sign in and no password.
    #[error(
        "there is no password for the directory: name `password-file`, or hand over the credential `directory-password`"
    )]
    NoPassword,
    /// TLS cannot be set up.
    #[error("cannot prepare TLS for the directory")]
    Tls(#[source] TrustError),
    /// The server failed.
    #[error("directory {url}: cannot {doing}")]
    Server {
        /// The server.
        url: String,
        /// What was being done.
        doing: String,
        /// What it said.
        #[source]
        source: Box<LdapError>,
    },
    /// It took too long.
    #[error("directory {url}: not read within {deadline:?}")]
    Deadline {
        /// The server.
        url: String,
        /// How long it may take.
        deadline: Duration,
    },
    /// It is larger than we read.
    #[error("the directory has more than 200000 entries below {base}: name a smaller base")]
    TooMany {
        /// Below it.
        base: String,
    },
}

impl Entry {
    /// The values of an attribute, however its name is written.
    #[must_use]
    pub fn all(&self, attribute: &str) -> &[String] {
        let found = self.values.get(&attribute.to_lowercase());
        found.map_or(&[], Vec::as_slice)
    }

    /// The first of them; empty if there is none.
    #[must_use]
    pub fn first(&self, attribute: &str) -> &str {
        self.all(attribute).first().map_or("", String::as_str)
    }
}

impl From<SearchEntry> for Entry {
    fn from(entry: SearchEntry) -> Self {
        let values = entry.attrs.into_iter();
        Self {
            dn: entry.dn,
            values: values
                .map(|(name, values)| (name.to_lowercase(), values))
                .collect(),
        }
    }
}

/// Reads all accounts, persons, resellers and services.
///
/// # Errors
/// [`DirectoryError`]: nothing was read.
pub async fn read(config: &Directory) -> Result<Read, DirectoryError> {
    let deadline = config.deadline.saturating_mul(WHOLE);
    let read = tokio::time::timeout(deadline, read_whole(config)).await;
    read.map_err(|_| DirectoryError::Deadline {
        url: config.url(),
        deadline,
    })?
}

async fn read_whole(config: &Directory) -> Result<Read, DirectoryError> {
    let mut ldap = connect(config).await?;
    let whole = async {
        let persons = [&config.name_attribute, &config.mail_attribute];
        let persons: Vec<String> = persons.into_iter().cloned().collect();
        let parties = [
            &config.name_attribute,
            &config.mail_attribute,
            &config.warnings_attribute,
            &config.person_attribute,
            &config.service_attribute,
        ];
        let services = [
            &config.name_attribute,
            &config.mail_attribute,
            &config.person_attribute,
        ];
        let services: Vec<String> = services.into_iter().cloned().collect();
        let parties: Vec<String> = parties.into_iter().cloned().collect();
        let more = [
            &config.tenant_attribute,
            &config.reseller_attribute,
            &config.quota_attribute,
            &config.quota_percent_attribute,
            &config.missed_attribute,
            &config.failed_attribute,
            &config.unused_days_attribute,
            &config.language_attribute,
        ];
        let named = parties.iter().chain(more).filter(|name| !name.is_empty());
        let accounts = named.cloned().collect();
        let any = format!("({}=*)", config.name_attribute);
        Ok(Read {
            accounts: search(
                &mut ldap,
                config,
                (&config.accounts_base, &config.accounts_filter),
                accounts,
            )
            .await?,
            people: search(&mut ldap, config, (&config.people_base, &any), persons).await?,
            resellers: search(&mut ldap, config, (&config.resellers_base, &any), parties).await?,
            services: search(&mut ldap, config, (&config.services_base, &any), services).await?,
        })
    };
    let read = whole.await;
    let _gone = ldap.with_timeout(config.deadline).unbind().await;
    read
}

async fn connect(config: &Directory) -> Result<Ldap, DirectoryError> {
    let mut ldap = open(config).await?;
    if let Some(dn) = &config.bind_dn {
        let password = password(config).await?;
        let answer = ldap
            .with_timeout(config.deadline)
            .simple_bind(dn, &password)
            .await;
        answer
            .and_then(ldap3::LdapResult::success)
            .map_err(failed(config, "sign in"))?;
    }
    Ok(ldap)
}

/// Connects, and signs in as nobody yet.
async fn open(config: &Directory) -> Result<Ldap, DirectoryError> {
    let mut settings = LdapConnSettings::new().set_conn_timeout(config.deadline);
    if config.security != Security::None {
        settings = settings
            .set_config(trust::client(config.ca_file.as_deref()).map_err(DirectoryError::Tls)?)
            .set_starttls(config.security == Security::Starttls);
    }
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &config.url())
        .await
        .map_err(failed(config, "connect"))?;
    // It ends when the handle is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(error = %crate::error_chain(&error), "Connection to the directory ended");
        }
    });
    Ok(ldap)
}

/// Signs in as the person of that name. Answers of which of the groups it is a member; none: there is no such person, or the
/// password is another one.
///
/// # Errors
/// [`DirectoryError`]: it is not known.
pub async fn sign_in(
    config: &Directory,
    name: &str,
    secret: &str,
    groups: &[&str],
) -> Result<Option<Vec<bool>>, DirectoryError> {
    // An empty password would sign in as nobody, and succeed (RFC 4513, 5.1.2).
    if secret.is_empty() {
        return Ok(None);
    }
    let signed_in = tokio::time::timeout(config.deadline, signed_in(config, name, secret, groups)).await;
    signed_in.map_err(|_| DirectoryError::Deadline {
        url: config.url(),
        deadline: config.deadline,
    })?
}

async fn signed_in(
    config: &Directory,
    name: &str,
    secret: &str,
    groups: &[&str],
) -> Result<Option<Vec<bool>>, DirectoryError> {
    let mut reader = connect(config).await?;
    let doing = "look for a person";
    let filter = format!("({}={})", config.name_attribute, ldap_escape(name));
    let found = reader
        .with_timeout(config.deadline)
        .search(&config.people_base, Scope::Subtree, &filter, vec!["1.1"])
        .await
        .and_then(SearchResult::success)
        .map_err(failed(config, doing))?;
    let mut found = found.0.into_iter().filter(|entry| !entry.is_ref());
    // Two of one name are nobody.
    let (Some(entry), None) = (found.next(), found.next()) else {
        return Ok(None);
    };
    let dn = SearchEntry::construct(entry).dn;
    let mut person = open(config).await?;
    let answer = person
        .with_timeout(config.deadline)
        .simple_bind(&dn, secret)
        .await;
    let answer = answer.map_err(failed(config, "check a password"))?;
    let _gone = person.with_timeout(config.deadline).unbind().await;
    match answer.rc {
        0 => {}
        // invalidCredentials
        49 => return Ok(None),
        _ => {
            let refused = LdapError::LdapResult { result: answer };
            return Err(failed(config, "check a password")(refused));
        }
    }
    let mut member_of = Vec::new();
    for group in groups {
        let (dn, name) = (ldap_escape(dn.as_str()), ldap_escape(name));
        let filter = format!("(|(member={dn})(uniqueMember={dn})(memberUid={name}))");
        let found = reader
            .with_timeout(config.deadline)
            .search(group, Scope::Base, &filter, vec!["1.1"])
            .await
            .and_then(SearchResult::success);
        member_of.push(!found.map_err(failed(config, "look into a group"))?.0.is_empty());
    }
    let _gone = reader.with_timeout(config.deadline).unbind().await;
    Ok(Some(member_of))
}

/// Everything that a filter finds below a base; nothing if no base is named.
async fn search(
    ldap: &mut Ldap,
    config: &Directory,
    (base, filter): (&str, &str),
    attributes: Vec<String>,
) -> Result<Vec<Entry>, DirectoryError> {
    if base.is_empty() {
        return Ok(Vec::new());
    }
    let doing = format!("search below {base}");
    let adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = vec![
        // Referrals are left out here: who may answer for us is said in the configuration alone.
        Box::new(EntriesOnly::new()),
        Box::new(PagedResults::new(i32::from(config.page_size))),
    ];
    let mut found = ldap
        .with_timeout(config.deadline)
        .streaming_search_with(adapters, base, Scope::Subtree, filter, attributes)
        .await
        .map_err(failed(config, &doing))?;
    let mut entries = Vec::new();
    while let Some(entry) = found.next().await.map_err(failed(config, &doing))? {
        if entries.len() == MOST {
            return Err(DirectoryError::TooMany {
                base: base.to_owned(),
            });
        }
        entries.push(SearchEntry::construct(entry).into());
    }
    // A limit of the server ends the search early: that is no whole answer.
    found.finish().await.success().map_err(failed(config, &doing))?;
    Ok(entries)
}

async fn password(config: &Directory) -> Result<String, DirectoryError> {
    let path = config.password_path().ok_or(DirectoryError::NoPassword)?;
    let text = tokio::fs::read_to_string(&path).await;
    let text = text.map_err(|source| DirectoryError::Password { path, source })?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn failed(config: &Directory, doing: &str) -> impl FnOnce(LdapError) -> DirectoryError {
    let (url, doing) = (config.url(), doing.to_owned());
    move |source| DirectoryError::Server {
        url,
        doing,
        source: Box::new(source),
    }
}
