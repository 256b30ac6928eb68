//! An LDAP server on loopback (Debian's slapd) with the object classes of stoney backup.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::command::{command, stdout_of};
use crate::network::write;
use crate::wait::until;

/// Below it everything lies.
pub const SUFFIX: &str = "dc=example,dc=org";
/// Who may read everything.
pub const READER: &str = "cn=reader,dc=example,dc=org";
/// With this password.
pub const PASSWORD: &str = "pä ss%,w0rd";

/// Who of the persons is an operator, by the group [`OPERATORS`].
pub const OPERATOR: &str = "otto";
/// That group.
pub const OPERATORS: &str = "cn=operators,dc=example,dc=org";
/// The password of every person.
pub const PERSON_PASSWORD: &str = "pérsön's (own)* p\\ss";

/// What stoney's own schema calls things; its numbers are not public, so these are of the arc for examples.
const SCHEMA: &str = "\
attributetype ( 1.3.6.1.4.1.32473.1.1 NAME 'sstBackupWarnings' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.2 NAME 'sstBelongsToPersonUID' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.3 NAME 'sstBelongsToResellerUID' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.4 NAME 'sstBelongsToServiceUID' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.5 NAME 'sstVolumeCapacity' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.6 NAME 'sstIsActive' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.7 NAME 'exampleQuotaPercent' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.32473.2.1 NAME 'sstBackup' SUP top AUXILIARY MAY ( sstBackupWarnings $ sstVolumeCapacity $ mail $ preferredLanguage $ exampleQuotaPercent ) )
objectclass ( 1.3.6.1.4.1.32473.2.2 NAME 'sstRelationship' SUP top AUXILIARY MAY ( sstBelongsToPersonUID $ sstBelongsToResellerUID $ sstBelongsToServiceUID ) )
objectclass ( 1.3.6.1.4.1.32473.2.3 NAME 'sstProvisioning' SUP top AUXILIARY MAY sstIsActive )
";

/// What an account has in the directory.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Its name.
    pub uid: String,
    /// TRUE, FALSE, or not there.
    pub warnings: Option<bool>,
    /// Its own addresses.
    pub mails: Vec<String>,
    /// The person to whom it belongs.
    pub person: String,
    /// Its reseller.
    pub reseller: String,
    /// The service to which it belongs if it belongs to no person.
    pub service: String,
}

/// An LDAP server; it ends when dropped.
#[derive(Debug)]
pub struct Slapd {
    /// Its port, for connections that are encrypted by StartTLS.
    pub port: u16,
    /// Its port for those that are from their beginning.
    pub tls_port: u16,
    _process: Child,
}

impl Slapd {
    /// Starts one in `directory` with accounts, and persons and resellers with one address each. It shows `certificate`.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start(
        directory: &Path,
        certificate: &(PathBuf, PathBuf),
        accounts: &[Account],
    ) -> anyhow::Result<Self> {
        Self::referring(directory, certificate, accounts, None).await
    }

    /// The same, whose accounts are also elsewhere: at the server with that port, it says.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn referring(
        directory: &Path,
        (certificate, key): &(PathBuf, PathBuf),
        accounts: &[Account],
        elsewhere: Option<u16>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory.join("data"))?;
        let at = |name: &str| directory.join(name);
        write(&at("sst.schema"), SCHEMA)?;
        let schemas: String = ["core", "cosine", "nis", "inetorgperson"]
            .iter()
            .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"))
            .collect();
        // A search without pages gets a hundred entries at most, one with pages all of them.
        let config = format!(
            "{schemas}include {}\npidfile {}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCertificateFile {}\nTLSCertificateKeyFile {}\nsecurity simple_bind=128\n\
             database mdb\nsuffix \"{SUFFIX}\"\ndirectory {}\nmaxsize 16777216\n\
             limits * size.soft=100 size.hard=100 size.pr=100 size.prtotal=unlimited\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"{READER}\" read by * none\n",
            at("sst.schema").display(),
            at("slapd.pid").display(),
            certificate.display(),
            key.display(),
            at("data").display(),
        );
        write(&at("slapd.conf"), config)?;
        let mut content = ldif(accounts);
        if let Some(port) = elsewhere {
            let _ = write!(
                content,
                "dn: cn=elsewhere,ou=accounts,{SUFFIX}\nobjectClass: referral\nobjectClass: extensibleObject\n\
                 cn: elsewhere\nref: ldap://127.0.0.1:{port}/ou=accounts,{SUFFIX}\n\n"
            );
        }
        write(&at("content.ldif"), content)?;
        let mut load = command("/usr/sbin/slapadd");
        load.arg("-f")
            .arg(at("slapd.conf"))
            .arg("-l")
            .arg(at("content.ldif"));
        stdout_of(load, Duration::from_secs(60)).await?;
        let free = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (port, tls_port) = (free()?, free()?);
        let mut slapd = command("/usr/sbin/slapd");
        slapd.arg("-f").arg(at("slapd.conf")).args([
            "-h",
            &format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"),
            "-d",
            "0",
        ]);
        let process = slapd.spawn().context("cannot start slapd")?;
        until("slapd to listen", Duration::from_secs(60), async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            TcpStream::connect(("127.0.0.1", tls_port)).await.ok()
        })
        .await?;
        Ok(Self {
            port,
            tls_port,
            _process: process,
        })
    }
}

fn ldif(accounts: &[Account]) -> String {
    let mut text = format!(
        "dn: {SUFFIX}\nobjectClass: domain\ndc: example\n\n\
         dn: {READER}\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: {PASSWORD}\n\n"
    );
    for unit in ["accounts", "people", "reseller", "services"] {
        let _ = write!(
            text,
            "dn: ou={unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
        );
    }
    let named = |all: Vec<&String>| {
        let mut names: Vec<_> = all.into_iter().filter(|name| !name.is_empty()).cloned().collect();
        names.sort();
        names.dedup();
        names
    };
    let operator = OPERATOR.to_owned();
    let _ = write!(
        text,
        "dn: {OPERATORS}\nobjectClass: groupOfNames\ncn: operators\nmember: uid={OPERATOR},ou=people,{SUFFIX}\n\n"
    );
    let persons = accounts.iter().map(|one| &one.person).chain([&operator]);
    for name in named(persons.collect()) {
        let _ = write!(
            text,
            "dn: uid={name},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n\
             mail: {name}@people.example\nuserPassword: {PERSON_PASSWORD}\n\n"
        );
    }
    for name in named(accounts.iter().map(|one| &one.reseller).collect()) {
        let _ = write!(
            text,
            "dn: uid={name},ou=reseller,{SUFFIX}\nobjectClass: account\nobjectClass: sstBackup\nuid: {name}\n\
             sstBackupWarnings: TRUE\nmail: {name}@reseller.example\n\n"
        );
    }
    for name in named(accounts.iter().map(|one| &one.service).collect()) {
        let _ = write!(
            text,
            "dn: uid={name},ou=services,{SUFFIX}\nobjectClass: account\nobjectClass: sstBackup\nuid: {name}\n\
             mail: {name}@services.example\n\n"
        );
    }
    for (number, one) in accounts.iter().enumerate() {
        let uid = &one.uid;
        let _ = write!(
            text,
            "dn: uid={uid},ou=accounts,{SUFFIX}\nobjectClass: account\nobjectClass: posixAccount\nobjectClass: shadowAccount\n\
             objectClass: sstBackup\nobjectClass: sstProvisioning\nobjectClass: sstRelationship\nuid: {uid}\ncn: {uid}\n\
             uidNumber: {number}\ngidNumber: 100\nhomeDirectory: /var/backup/{uid}\nsstIsActive: TRUE\n\
             sstVolumeCapacity: 107374182400\npreferredLanguage: de-CH\nexampleQuotaPercent: 75\n"
        );
        if let Some(warnings) = one.warnings {
            let _ = writeln!(
                text,
                "sstBackupWarnings: {}",
                if warnings { "TRUE" } else { "FALSE" }
            );
        }
        for (name, value) in [
            ("sstBelongsToPersonUID", &one.person),
            ("sstBelongsToResellerUID", &one.reseller),
            ("sstBelongsToServiceUID", &one.service),
        ] {
            if !value.is_empty() {
                let _ = writeln!(text, "{name}: {value}");
            }
        }
        for mail in &one.mails {
            let _ = writeln!(text, "mail: {mail}");
        }
        text.push('\n');
    }
    text
}
