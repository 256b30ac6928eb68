//! The kinds of destinations, each with what it needs.
//!
//! **Invariant:** a password is asked or read from a file or stdin; no argument takes one.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use dialoguer::Input;
use satellite_proto::wire::backup::v1 as backup;
use satellite_proto::wire::backup::v1::destination::Kind as Wire;
use satellite_proto::wire::management::v1 as pb;

use super::super::texts::Text;
use super::super::{CliError, client, prompt, render, texts};

/// What a destination is.
#[derive(Debug, Subcommand)]
pub(super) enum Kind {
    /// A directory of the server itself.
    Server(Server),
    /// A directory of the satellite.
    Directory(Directory),
    /// A Windows share.
    Smb(Smb),
    /// An SFTP server, with a password or a key.
    Sftp(Sftp),
    /// A Dropbox: opens a page on which its owner allows it.
    Dropbox(Dropbox),
    /// A disk on USB, found by label or UUID of its file system.
    Usb(Usb),
    /// A mailbox, for small archives.
    Mail(Mail),
    /// A bucket of an S3 service.
    S3(S3),
    /// A WebDAV server.
    Webdav(Webdav),
}

#[derive(Debug, Args)]
pub(super) struct Server {
    /// Absolute path.
    path: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// Absolute path that is there; without it a directory of the backup-service's own.
    path: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Smb {
    /// Name or address of the server.
    #[arg(long)]
    server: Option<String>,
    /// TCP port; without it 445.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u32,
    /// Share, sub-directories attached with `/`.
    #[arg(long)]
    share: Option<String>,
    /// User, as `NAME` or `DOMAIN\NAME`.
    #[arg(long)]
    user: Option<String>,
    /// Least security.
    #[arg(long, value_enum, default_value = "signed")]
    security: SmbSecurity,
    /// File with the password, `-` for stdin; without it, it is asked.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Least security of a Windows share.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SmbSecurity {
    /// Every message is signed.
    Signed,
    /// Every message is encrypted (SMB 3).
    Encrypted,
}

#[derive(Debug, Args)]
pub(super) struct Sftp {
    /// Name or address of the server.
    #[arg(long)]
    server: Option<String>,
    /// TCP port; without it 22.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u32,
    /// User.
    #[arg(long)]
    user: Option<String>,
    /// Absolute path, or `.` for the directory in which a login begins.
    #[arg(long, default_value = ".")]
    path: String,
    /// File with the password, `-` for stdin; without it and without a key it is asked.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with a private key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with what opens the private key, `-` for stdin.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// The server's key, `ssh-ed25519 AAAA…`; without it `destination test` shows it.
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    host_key: String,
}

#[derive(Debug, Args)]
pub(super) struct Dropbox {
    /// Key of the app, as registered with Dropbox.
    #[arg(long)]
    app_key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Usb {
    /// Label of the file system.
    #[arg(long, conflicts_with = "uuid")]
    label: Option<String>,
    /// UUID of the file system, as `blkid` shows it.
    #[arg(long)]
    uuid: Option<String>,
    /// Also a disk that is not on a USB port, such as one that a hypervisor hands over.
    #[arg(long)]
    on_any_bus: bool,
}

#[derive(Debug, Args)]
pub(super) struct Mail {
    /// Name or address of the server that takes mail.
    #[arg(long)]
    server: Option<String>,
    /// TCP port; without it 587, 465 or 25, as the security says.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u32,
    /// How it is spoken with.
    #[arg(long, value_enum, default_value = "starttls")]
    security: MailSecurity,
    /// User; without it none is needed.
    #[arg(long)]
    user: Option<String>,
    /// File with the password, `-` for stdin; without it, it is asked if there is a user.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Address of the sender.
    #[arg(long)]
    from: Option<String>,
    /// Address of a receiver, can be repeated.
    #[arg(long)]
    to: Vec<String>,
    /// Most bytes of a message, if the server does not say.
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    most_bytes: u64,
    /// File with the certificate (PEM) of the authority that signed the server's.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
}

/// How a mail server is spoken with.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum MailSecurity {
    /// Encrypted after the first words.
    Starttls,
    /// Encrypted from the beginning.
    Tls,
    /// Not encrypted.
    None,
}

#[derive(Debug, Args)]
pub(super) struct S3 {
    /// Address, `https://…`.
    #[arg(long)]
    endpoint: Option<String>,
    /// Region; without it us-east-1.
    #[arg(long, default_value = "", hide_default_value = true)]
    region: String,
    /// Bucket; it must be there.
    #[arg(long)]
    bucket: Option<String>,
    /// Directory in it.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Name of the key.
    #[arg(long)]
    access_key: Option<String>,
    /// File with the secret key, `-` for stdin; without it, it is asked.
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    /// File with the certificate (PEM) of the authority that signed the server's.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Webdav {
    /// Address of the directory, `https://…`, without credentials.
    #[arg(long)]
    url: Option<String>,
    /// User; without it none is needed.
    #[arg(long)]
    user: Option<String>,
    /// File with the password, `-` for stdin; without it, it is asked if there is a user.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the certificate (PEM) of the authority that signed the server's.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
}

/// Asks a person which kind it is to be.
pub(super) fn ask() -> Result<Kind, CliError> {
    let empty: [(Text, fn() -> Kind); 9] = [
        (texts::KIND_SERVER, || Kind::Server(Server { path: None })),
        (texts::KIND_SMB, || {
            Kind::Smb(Smb {
                server: None,
                port: 0,
                share: None,
                user: None,
                security: SmbSecurity::Signed,
                password_file: None,
            })
        }),
        (texts::KIND_SFTP, || {
            Kind::Sftp(Sftp {
                server: None,
                port: 0,
                user: None,
                path: ".".to_owned(),
                password_file: None,
                key_file: None,
                passphrase_file: None,
                host_key: String::new(),
            })
        }),
        (texts::KIND_DROPBOX, || Kind::Dropbox(Dropbox { app_key: None })),
        (texts::KIND_USB, || {
            Kind::Usb(Usb {
                label: None,
                uuid: None,
                on_any_bus: false,
            })
        }),
        (texts::KIND_MAIL, || {
            Kind::Mail(Mail {
                server: None,
                port: 0,
                security: MailSecurity::Starttls,
                user: None,
                password_file: None,
                from: None,
                to: Vec::new(),
                most_bytes: 0,
                authority: None,
            })
        }),
        (texts::KIND_DIRECTORY, || {
            Kind::Directory(Directory { path: None })
        }),
        (texts::KIND_S3, || {
            Kind::S3(S3 {
                endpoint: None,
                region: String::new(),
                bucket: None,
                prefix: String::new(),
                access_key: None,
                secret_key_file: None,
                authority: None,
            })
        }),
        (texts::KIND_WEBDAV, || {
            Kind::Webdav(Webdav {
                url: None,
                user: None,
                password_file: None,
                authority: None,
            })
        }),
    ];
    let names: Vec<_> = empty.iter().map(|(text, _)| text.say()).collect();
    let chosen = prompt::select(texts::KIND.say(), &names)?;
    let (_, make) = empty
        .get(chosen)
        .ok_or_else(|| CliError::said(texts::NOTHING_CHANGED.say()))?;
    Ok(make())
}

/// What was said, or what a person answers; without either the flag is named.
fn need(said: Option<String>, question: Text, flag: &str) -> Result<String, CliError> {
    match said {
        Some(said) => Ok(said),
        None if prompt::is_possible() => Input::new()
            .with_prompt(question.say())
            .interact_text()
            .map_err(CliError::failed),
        None => Err(CliError::Usage(format!("there is nobody to ask: add {flag}"))),
    }
}

/// A secret from a file or stdin, or asked. `may_stay`: nobody need say it, what is known stays.
fn secret(file: Option<&Path>, question: Text, may_stay: bool) -> Result<Option<backup::Secret>, CliError> {
    let value = match file {
        Some(path) if path == Path::new("-") => prompt::line_of_stdin()?,
        Some(path) => super::super::read_text(path)?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        None if may_stay => return Ok(None),
        None => prompt::password(question.say(), false)?,
    };
    Ok(Some(backup::Secret { value }))
}

/// A certificate from a file, if one is named.
fn certificate(file: Option<&Path>) -> Result<String, CliError> {
    file.map_or_else(|| Ok(String::new()), super::super::read_text)
}

/// A secret from a file, if one is named; `-` is stdin.
pub(in crate::cli) fn secret_of(file: Option<&Path>) -> Result<Option<backup::Secret>, CliError> {
    match file {
        None => Ok(None),
        Some(file) => secret(Some(file), texts::PASSWORD, true),
    }
}

impl Kind {
    /// The description as the module takes it: of a satellite's destination, or a directory of the server.
    pub(super) fn described(self, replace: bool) -> Result<(Option<backup::Destination>, String), CliError> {
        let kind = match self {
            Self::Server(one) => return Ok((None, need(one.path, texts::PATH, "PATH")?)),
            Self::Directory(one) => Wire::Directory(backup::DirectoryDestination {
                path: one.path.unwrap_or_default(),
            }),
            Self::Smb(one) => Wire::Smb(one.described(replace)?),
            Self::Sftp(one) => Wire::Sftp(one.described(replace)?),
            Self::Dropbox(one) => Wire::Dropbox(backup::DropboxDestination {
                app_key: one.app_key.unwrap_or_default(),
                ..backup::DropboxDestination::default()
            }),
            Self::Usb(one) => {
                let label = match (&one.uuid, one.label) {
                    (Some(_), _) => String::new(),
                    (None, label) => need(label, texts::USB_LABEL, "--label or --uuid")?,
                };
                Wire::Usb(backup::UsbDestination {
                    label,
                    uuid: one.uuid.unwrap_or_default(),
                    on_any_bus: one.on_any_bus,
                    mounted_at: String::new(),
                })
            }
            Self::Mail(one) => Wire::Mail(one.described(replace)?),
            Self::S3(one) => Wire::S3(backup::S3Destination {
                endpoint: need(one.endpoint, texts::ADDRESS, "--endpoint")?,
                region: one.region,
                bucket: need(one.bucket, texts::BUCKET, "--bucket")?,
                prefix: one.prefix,
                access_key: need(one.access_key, texts::ACCESS_KEY, "--access-key")?,
                secret_key: secret(one.secret_key_file.as_deref(), texts::SECRET_KEY, replace)?,
                authority: certificate(one.authority.as_deref())?,
            }),
            Self::Webdav(one) => {
                let user = one.user.unwrap_or_default();
                let may_stay = replace || user.is_empty();
                Wire::Webdav(backup::WebDavDestination {
                    url: need(one.url, texts::ADDRESS, "--url")?,
                    password: secret(one.password_file.as_deref(), texts::PASSWORD, may_stay)?,
                    user,
                    authority: certificate(one.authority.as_deref())?,
                })
            }
        };
        Ok((
            Some(backup::Destination {
                kind: Some(kind),
                ..backup::Destination::default()
            }),
            String::new(),
        ))
    }
}

impl Smb {
    fn described(self, replace: bool) -> Result<backup::SmbDestination, CliError> {
        let security = match self.security {
            SmbSecurity::Signed => backup::SmbSecurity::Signed,
            SmbSecurity::Encrypted => backup::SmbSecurity::Encrypted,
        };
        let server = need(self.server, texts::SERVER, "--server")?;
        let share = need(self.share, texts::SHARE, "--share")?;
        let user = need(self.user, texts::USER, "--user")?;
        let (domain, user) = match user.split_once('\\') {
            Some((domain, user)) => (domain.to_owned(), user.to_owned()),
            None => (String::new(), user),
        };
        Ok(backup::SmbDestination {
            server,
            port: self.port,
            share,
            user,
            domain,
            password: secret(self.password_file.as_deref(), texts::PASSWORD, replace)?,
            security: security.into(),
        })
    }
}

impl Sftp {
    fn described(self, replace: bool) -> Result<backup::SftpDestination, CliError> {
        let private_key = match &self.key_file {
            Some(path) => Some(backup::Secret {
                value: super::super::read_text(path)?,
            }),
            None => None,
        };
        let may_stay = replace || private_key.is_some();
        Ok(backup::SftpDestination {
            server: need(self.server, texts::SERVER, "--server")?,
            port: self.port,
            user: need(self.user, texts::USER, "--user")?,
            password: secret(self.password_file.as_deref(), texts::PASSWORD, may_stay)?,
            private_key,
            passphrase: secret(self.passphrase_file.as_deref(), texts::PASSWORD, true)?,
            path: self.path,
            host_key: self.host_key,
        })
    }
}

impl Mail {
    fn described(self, replace: bool) -> Result<backup::MailDestination, CliError> {
        let security = match self.security {
            MailSecurity::Starttls => backup::MailSecurity::Starttls,
            MailSecurity::Tls => backup::MailSecurity::Tls,
            MailSecurity::None => backup::MailSecurity::None,
        };
        let server = need(self.server, texts::SERVER, "--server")?;
        let from = need(self.from, texts::MAIL_FROM, "--from")?;
        let to = match self.to {
            to if to.is_empty() => vec![need(None, texts::MAIL_TO, "--to")?],
            to => to,
        };
        let user = self.user.unwrap_or_default();
        let may_stay = replace || user.is_empty();
        Ok(backup::MailDestination {
            server,
            port: self.port,
            security: security.into(),
            password: secret(self.password_file.as_deref(), texts::PASSWORD, may_stay)?,
            user,
            from,
            to,
            most_bytes: self.most_bytes,
            authority: certificate(self.authority.as_deref())?,
        })
    }
}

impl Dropbox {
    /// Shows the page and asks for its code.
    pub(super) async fn connect(
        self,
        client: &mut client::Client,
        wish: pb::FinishDropboxRequest,
    ) -> Result<Option<pb::StoredDestination>, CliError> {
        let app_key = need(self.app_key, texts::DROPBOX_APP_KEY, "--app-key")?;
        let request = pb::BeginDropboxRequest {
            app_key: app_key.clone(),
            satellite: wish.satellite.clone(),
        };
        let begun = client.destination.begin_dropbox(request).await?.into_inner();
        render::note(&format!("{}\n  {}", texts::DROPBOX_OPEN.say(), begun.url));
        let code = prompt::one_time_code(texts::DROPBOX_CODE.say())?;
        let request = pb::FinishDropboxRequest {
            app_key,
            satellite: begun.satellite,
            verifier: begun.verifier,
            code: Some(backup::Secret { value: code }),
            ..wish
        };
        let finished = client.destination.finish_dropbox(request).await?.into_inner();
        render::note(&finished.account);
        Ok(finished.destination)
    }
}
