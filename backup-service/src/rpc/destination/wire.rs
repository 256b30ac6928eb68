//! Messages into checked values and back. Pure.

mod web;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use satellite_proto::wire::backup::v1 as pb;

use crate::age::{AgeError, For, Identity, Keys, LEAST_PASSPHRASE, MOST_RECIPIENTS};
use crate::config::Config;
use crate::destination::check::Checked;
use crate::destination::copy::{Copied, Job};
use crate::destination::fault::Fault;
use crate::destination::gauge::{Reading, Stage};
use crate::destination::path::{PlacePath, is_name};
use crate::destination::place::Entry;
use crate::destination::probe::{Findings, Step};
use crate::destination::target::{Kind, Secret, Target};
use crate::destination::{dropbox, mail, sftp, smb, trust};
use crate::ssh::{self, Login};

/// Where copies go, checked.
pub(super) fn target(described: Option<pb::Destination>, config: &Config) -> Result<Target, Fault> {
    use pb::destination::Kind as Wire;
    let wrong = |what: &str| Fault::Description(what.to_owned());
    let described = described.ok_or_else(|| wrong("it is missing"))?;
    let base = match described.base_directory.as_str() {
        "" => config.directory.clone(),
        given => given
            .parse()
            .map_err(|bad| Fault::Description(format!("`base_directory` cannot name a directory: {bad}")))?,
    };
    let kind = match described
        .kind
        .ok_or_else(|| wrong("it is of no kind that this version knows"))?
    {
        Wire::Directory(directory) => Kind::Directory(own_directory(&directory.path, config)?),
        Wire::Smb(smb) => Kind::Smb(Box::new(share(smb)?)),
        Wire::Sftp(sftp) => Kind::Sftp(Box::new(server(sftp)?)),
        Wire::Dropbox(dropbox) => Kind::Dropbox(Box::new(account(dropbox, config)?)),
        Wire::Usb(usb) => disk(usb, config)?,
        Wire::Mail(mail) => Kind::Mail(Box::new(mailbox(mail)?)),
        Wire::S3(s3) => Kind::S3(Box::new(web::bucket(s3)?)),
        Wire::Webdav(webdav) => Kind::WebDav(Box::new(web::directory(webdav)?)),
    };
    Ok(Target {
        kind,
        base,
        limit: NonZeroU64::new(described.bytes_per_second),
    })
}

/// Longest text of a description, in bytes.
const LONGEST: usize = 1024;

fn server(sftp: pb::SftpDestination) -> Result<sftp::Settings, Fault> {
    let path = match sftp.path.trim_end_matches('/') {
        "" if sftp.path.starts_with('/') => "/".to_owned(),
        "" => ".".to_owned(),
        path => text(path.to_owned(), "path")?,
    };
    let login = login(
        "the SFTP server",
        pb::SshCentral {
            server: sftp.server,
            port: sftp.port,
            user: sftp.user,
            password: sftp.password,
            private_key: sftp.private_key,
            passphrase: sftp.passphrase,
            host_key: sftp.host_key,
        },
    )?;
    Ok(sftp::Settings { login, path })
}

/// Where to sign in over SSH, checked.
pub(in crate::rpc) fn login(what: &'static str, given: pb::SshCentral) -> Result<Login, Fault> {
    let (password, key) = (secret(given.password), secret(given.private_key));
    if password.is_none() && key.is_none() {
        return Err(Fault::Description(
            "it has neither `password` nor `private_key`".to_owned(),
        ));
    }
    let passphrase = secret(given.passphrase);
    let key = key.map(|key| ssh::private_key(&key, passphrase.as_ref()));
    let host_key = (!given.host_key.is_empty()).then(|| ssh::host_key(&given.host_key));
    Ok(Login {
        what,
        server: host(given.server)?,
        port: port(given.port, 22)?,
        user: text(given.user, "user")?,
        password,
        key: key.transpose()?.map(Arc::new),
        host_key: host_key.transpose()?,
    })
}

fn share(smb: pb::SmbDestination) -> Result<smb::Settings, Fault> {
    let security = smb.security();
    let mut parts = smb
        .share
        .split(['/', '\\'])
        .filter(|part| !part.is_empty())
        .map(str::to_owned);
    let share = parts.next().unwrap_or_default();
    let below: Vec<_> = parts.collect();
    if below.iter().any(|part| !is_name(part)) {
        return Err(Fault::Description(
            "`share`: a sub-directory has no name that Windows takes".to_owned(),
        ));
    }
    if smb.user.contains('\\') || smb.domain.contains('\\') {
        return Err(Fault::Description(
            "`user` or `domain` has a backslash: give the domain by itself".to_owned(),
        ));
    }
    Ok(smb::Settings {
        server: host(smb.server)?,
        port: port(smb.port, 445)?,
        share: text(share, "share")?,
        below,
        user: text(smb.user, "user")?,
        domain: optional(smb.domain, "domain")?,
        password: secret(smb.password).unwrap_or_else(|| Secret::new(String::new())),
        encrypted: security == pb::SmbSecurity::Encrypted,
    })
}

fn account(dropbox: pb::DropboxDestination, config: &Config) -> Result<dropbox::Settings, Fault> {
    let refresh_token = secret(dropbox.refresh_token).ok_or_else(|| {
        Fault::Description("`refresh_token` is missing: connect the account first".to_owned())
    })?;
    Ok(dropbox::Settings {
        app_key: app_key(dropbox.app_key)?,
        app_secret: secret(dropbox.app_secret),
        refresh_token,
        hosts: hosts(config),
    })
}

/// Checks the key of an app.
pub(super) fn app_key(given: String) -> Result<String, Fault> {
    text(given, "app_key")
}

/// Checks a verifier or a code.
pub(super) fn required(given: Option<pb::Secret>, field: &str) -> Result<Secret, Fault> {
    secret(given).ok_or_else(|| Fault::Description(format!("`{field}` is empty")))
}

/// A secret that the caller keeps.
pub(super) fn shown(secret: &Secret) -> pb::Secret {
    pb::Secret {
        value: secret.reveal().to_owned(),
    }
}

/// Where the Dropbox API is.
pub(super) fn hosts(config: &Config) -> dropbox::Hosts {
    config
        .dropbox
        .as_deref()
        .map_or_else(dropbox::Hosts::default, dropbox::Hosts::one)
}

/// Most receivers of a message.
const MOST_RECEIVERS: usize = 20;

fn mailbox(mail: pb::MailDestination) -> Result<mail::Settings, Fault> {
    let wrong = |what: &str| Err(Fault::Description(what.to_owned()));
    let (security, usual) = match mail.security() {
        pb::MailSecurity::Unspecified | pb::MailSecurity::Starttls => (mail::Security::StartTls, 587),
        pb::MailSecurity::Tls => (mail::Security::Tls, 465),
        pb::MailSecurity::None => (mail::Security::None, 25),
    };
    let user = match (mail.user.is_empty(), secret(mail.password)) {
        (true, None) => None,
        (false, Some(password)) => Some((text(mail.user, "user")?, password)),
        _ => return wrong("`user` and `password` go together"),
    };
    if user.is_some() && security == mail::Security::None {
        return wrong("a password is not sent in the clear: choose STARTTLS or TLS, or no user");
    }
    if mail.to.is_empty() || mail.to.len() > MOST_RECEIVERS {
        return Err(Fault::Description(format!(
            "`to` must name 1 to {MOST_RECEIVERS} receivers"
        )));
    }
    let to: Result<_, _> = mail.to.into_iter().map(|to| address(to, "to")).collect();
    let authority = (!mail.authority.is_empty()).then_some(mail.authority.as_str());
    Ok(mail::Settings {
        server: host(mail.server)?,
        port: port(mail.port, usual)?,
        security,
        user,
        from: address(mail.from, "from")?,
        to: to?,
        most: (mail.most_bytes > 0).then_some(mail.most_bytes),
        tls: trust::trust(authority)?,
    })
}

/// An address of mail, as every server takes it.
fn address(given: String, field: &str) -> Result<String, Fault> {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
    };
    let parts = given.rsplit_once('@');
    if given.len() <= 254 && parts.is_some_and(|(name, domain)| plain(name) && plain(domain)) {
        Ok(given)
    } else {
        Err(Fault::Description(format!(
            "`{field}` is no plain address such as name@example.org"
        )))
    }
}

fn secret(given: Option<pb::Secret>) -> Option<Secret> {
    given
        .filter(|secret| !secret.value.is_empty())
        .map(|secret| Secret::new(secret.value))
}

fn optional(given: String, field: &str) -> Result<String, Fault> {
    if given.len() > LONGEST || given.contains(char::is_control) {
        return Err(Fault::Description(format!(
            "`{field}` is too long or has control characters"
        )));
    }
    Ok(given)
}

fn text(given: String, field: &str) -> Result<String, Fault> {
    if given.is_empty() {
        return Err(Fault::Description(format!("`{field}` is empty")));
    }
    optional(given, field)
}

/// A name or an address, without brackets.
fn host(given: String) -> Result<String, Fault> {
    let given = text(given, "server")?;
    let bare = given
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&given);
    if bare.contains(|c: char| c.is_whitespace() || "/\\@[]".contains(c)) {
        return Err(Fault::Description(
            "`server` is no name and no address".to_owned(),
        ));
    }
    Ok(bare.to_owned())
}

fn port(given: u32, usual: u16) -> Result<u16, Fault> {
    match u16::try_from(given) {
        Ok(0) => Ok(usual),
        Ok(port) => Ok(port),
        Err(_) => Err(Fault::Description("`port` is above 65535".to_owned())),
    }
}

fn own_directory(path: &str, config: &Config) -> Result<PathBuf, Fault> {
    if path.is_empty() {
        return Ok(config.state.join("copies"));
    }
    let given = PathBuf::from(path);
    let plain = given.is_absolute() && !path.contains('\0') && !path.split('/').any(|part| part == "..");
    if !plain || given.starts_with(&config.state) {
        return Err(Fault::Description(
            "`path` must be absolute, without `..`, and not among the backup-service's own files".to_owned(),
        ));
    }
    Ok(given)
}

fn disk(usb: pb::UsbDestination, config: &Config) -> Result<Kind, Fault> {
    let name = match (usb.label.is_empty(), usb.uuid.is_empty()) {
        (false, _) => format!("`{}`", optional(usb.label, "label")?),
        (true, false) => format!("with the UUID {}", optional(usb.uuid, "uuid")?),
        (true, true) => {
            return Err(Fault::Description(
                "neither `label` nor `uuid` says which disk it is".to_owned(),
            ));
        }
    };
    if usb.mounted_at.is_empty() {
        return Err(Fault::Description(
            "`mounted_at` is empty: a disk is mounted by who calls, before the call".to_owned(),
        ));
    }
    let mounted_at = own_directory(&usb.mounted_at, config)?;
    Ok(Kind::Disk { name, mounted_at })
}

/// For whom a copy is encrypted, checked; none: for nobody.
pub(super) fn encryption(given: Option<pb::Encryption>) -> Result<Option<For>, Fault> {
    let Some(given) = given else { return Ok(None) };
    let wrong = |what: String| Err(Fault::Description(format!("`encryption`: {what}")));
    match (given.recipients.len(), secret(given.passphrase)) {
        (0, None) => wrong("it has neither recipients nor a passphrase".to_owned()),
        (0, Some(passphrase)) if passphrase.reveal().chars().count() < LEAST_PASSPHRASE => wrong(format!(
            "the passphrase has fewer than {LEAST_PASSPHRASE} characters"
        )),
        (0, Some(passphrase)) => Ok(Some(For::Passphrase(passphrase))),
        (1..=MOST_RECIPIENTS, None) => {
            let all: Result<Vec<_>, AgeError> = given.recipients.iter().map(|one| one.parse()).collect();
            match all {
                Ok(all) => Ok(Some(For::Recipients(all))),
                Err(error) => wrong(error.to_string()),
            }
        }
        (_, None) => wrong(format!("at most {MOST_RECIPIENTS} recipients")),
        (_, Some(_)) => wrong("recipients or a passphrase, not both".to_owned()),
    }
}

/// What opens a copy, checked.
pub(super) fn keys(identities: Option<pb::Secret>, passphrase: Option<pb::Secret>) -> Result<Keys, Fault> {
    let identities = match secret(identities) {
        None => Vec::new(),
        Some(text) => Identity::read(text.reveal())
            .map_err(|error| Fault::Description(format!("`identities`: {error}")))?,
    };
    Ok(Keys {
        identities,
        passphrase: secret(passphrase),
    })
}

/// What a test found.
pub(super) fn findings(findings: &Findings) -> pb::TestDestinationResponse {
    let good = findings.good.iter().map(|(step, message)| pb::TestStep {
        name: step_name(*step).into(),
        ok: true,
        message: message.clone(),
        fault: None,
    });
    let bad = findings.bad.as_ref().map(|(step, fault)| pb::TestStep {
        name: step_name(*step).into(),
        ok: false,
        message: crate::rpc::chain(fault),
        fault: Some(fault.on_the_wire()),
    });
    let (host_key, host_key_fingerprint) = match &findings.bad {
        Some((
            _,
            Fault::HostKeyUnknown { key, fingerprint, .. } | Fault::HostKeyChanged { key, fingerprint, .. },
        )) => (key.clone(), fingerprint.clone()),
        _ => Default::default(),
    };
    pb::TestDestinationResponse {
        steps: good.chain(bad).collect(),
        free_bytes: findings.free,
        host_key,
        host_key_fingerprint,
        most_bytes: findings.most,
    }
}

/// A description that is wrong, as the result of a test.
pub(super) fn not_described(fault: &Fault) -> pb::TestDestinationResponse {
    pb::TestDestinationResponse {
        steps: vec![pb::TestStep {
            name: pb::TestStepName::Description.into(),
            ok: false,
            message: fault.to_string(),
            fault: Some(fault.on_the_wire()),
        }],
        ..pb::TestDestinationResponse::default()
    }
}

fn step_name(step: Step) -> pb::TestStepName {
    match step {
        Step::Connect => pb::TestStepName::Connect,
        Step::HostKey => pb::TestStepName::HostKey,
        Step::SignIn => pb::TestStepName::SignIn,
        Step::Directory => pb::TestStepName::Directory,
        Step::Write => pb::TestStepName::Write,
        Step::ReadBack => pb::TestStepName::ReadBack,
        Step::Remove => pb::TestStepName::Remove,
    }
}

/// How far something is.
pub(super) fn progress(reading: Reading) -> pb::CopyProgress {
    let step = match reading.stage {
        Stage::Prepare => pb::CopyStep::Prepare,
        Stage::Send => pb::CopyStep::Send,
        Stage::Verify => pb::CopyStep::Verify,
        Stage::Fetch => pb::CopyStep::Fetch,
    };
    pb::CopyProgress {
        done: reading.done,
        total: reading.total,
        step: step.into(),
        retries: reading.retries,
    }
}

/// The end of a copy.
pub(super) fn copied(job: &Job<'_>, copied: Copied) -> pb::CopyArchiveResponse {
    let done = pb::CopyDone {
        path: job.path.to_string(),
        size_bytes: job.size,
        sha256: job.sha256.to_owned(),
        existed: copied.existed,
        not_read_back: !copied.read_back,
    };
    pb::CopyArchiveResponse {
        kind: Some(pb::copy_archive_response::Kind::Done(done)),
    }
}

/// The end of a check.
pub(super) fn checked(checked: Checked) -> pb::VerifyDone {
    pb::VerifyDone {
        intact: checked.problems.is_empty(),
        problems: checked.problems,
        size_bytes: checked.size,
        sha256: checked.sha256,
    }
}

/// A copy in a list.
pub(super) fn listed(path: &PlacePath, entry: &Entry) -> pb::Copy {
    pb::Copy {
        path: path.to_string(),
        file_name: entry.name.clone(),
        size_bytes: entry.size,
        modify_time: entry.modified.map(crate::rpc::wire::timestamp),
    }
}
