//! The checked description of a destination.
//!
//! **Invariant:** it can be printed: what is secret prints as nothing.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::directory::Directory;
use super::dropbox::{self, Dropbox};
use super::fault::Fault;
use super::mail::{self, Mail};
use super::place::Place;
use super::probe::Step;
use super::s3::{self, S3};
use super::sftp::{self, Sftp};
use super::smb::{self, Smb};
use super::webdav::{self, WebDav};
use crate::archive::names::Label;

/// Something that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// Takes it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(zeroize::Zeroizing::new(text))
    }

    /// Shows it, to the one who signs in with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where copies go.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// Directory that is made there.
    pub base: Label,
    /// Most bytes a second.
    pub limit: Option<NonZeroU64>,
}

/// What a destination is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A disk, and where it is mounted.
    Disk {
        /// Which, for a person.
        name: String,
        /// Where.
        mounted_at: PathBuf,
    },
    /// An SFTP server.
    Sftp(Box<sftp::Settings>),
    /// A Windows share.
    Smb(Box<smb::Settings>),
    /// A Dropbox.
    Dropbox(Box<dropbox::Settings>),
    /// A mailbox.
    Mail(Box<mail::Settings>),
    /// A bucket of an S3 service.
    S3(Box<s3::Settings>),
    /// A directory of a WebDAV server.
    WebDav(Box<webdav::Settings>),
}

impl Target {
    /// The same text for the same place, as far as can be told from its description; without secrets.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.kind {
            Kind::Directory(path) => format!("file://{}", path.display()),
            Kind::Disk { name, .. } => format!("usb://{name}"),
            Kind::Sftp(at) => {
                let login = &at.login;
                format!(
                    "sftp://{}@{}:{}/{}",
                    login.user, login.server, login.port, at.path
                )
            }
            Kind::Smb(at) => {
                let below = at.below.join("/");
                format!("smb://{}@{}:{}/{}/{below}", at.user, at.server, at.port, at.share)
            }
            // The token stands for the account, and must not be seen.
            Kind::Dropbox(at) => format!("dropbox://{}", at.app_key),
            Kind::Mail(at) => format!("smtp://{}:{}/{}", at.server, at.port, at.to.join(",")),
            Kind::S3(at) => format!("{}/{}/{}", at.origin, at.bucket, at.prefix),
            Kind::WebDav(at) => format!("{}{}/", at.origin, at.path),
        }
    }

    /// The steps of connecting that this kind has, with what to say of each if it went well.
    #[must_use]
    pub fn met(&self) -> Vec<(Step, String)> {
        match &self.kind {
            Kind::Directory(path) => vec![(Step::Connect, format!("`{}` is there", path.display()))],
            Kind::Disk { name, .. } => vec![(
                Step::Connect,
                format!("the disk {name} is plugged in and mounted"),
            )],
            Kind::Sftp(at) => vec![
                (Step::Connect, format!("{} answers", at.login.at())),
                (Step::HostKey, "its key is the one that was confirmed".to_owned()),
                (
                    Step::SignIn,
                    format!("it takes the sign-in of `{}`", at.login.user),
                ),
            ],
            Kind::Smb(at) => vec![
                (Step::Connect, format!("{} answers", at.server)),
                (Step::SignIn, format!("it takes the sign-in of `{}`", at.user)),
            ],
            Kind::Dropbox(_) => vec![
                (Step::Connect, "Dropbox answers".to_owned()),
                (Step::SignIn, "it gives access to the account".to_owned()),
            ],
            Kind::Mail(at) => {
                let user = at.user.as_ref().map(|(user, _)| user.as_str());
                met_by_tls(&at.at(), at.security != mail::Security::None, user)
            }
            Kind::S3(at) => met_by_tls(&at.at(), at.origin.starts_with("https"), Some(&at.access_key)),
            Kind::WebDav(at) => {
                let user = at.user.as_ref().map(|(user, _)| user.as_str());
                met_by_tls(&at.at(), at.origin.starts_with("https"), user)
            }
        }
    }

    /// Connects and signs in, once.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(&self) -> Result<Box<dyn Place>, Fault> {
        match &self.kind {
            Kind::Directory(path) => Ok(Box::new(Directory::open(path.clone()).await?)),
            Kind::Disk { name, mounted_at } => Ok(Box::new(
                Directory::of_disk(mounted_at.clone(), name.clone()).await?,
            )),
            Kind::Sftp(settings) => Ok(Box::new(Sftp::connect(settings.as_ref().clone()).await?)),
            Kind::Smb(settings) => Ok(Box::new(Smb::connect(settings.as_ref().clone()).await?)),
            Kind::Dropbox(settings) => Ok(Box::new(Dropbox::connect(settings.as_ref().clone()).await?)),
            Kind::Mail(settings) => Ok(Box::new(Mail::connect(settings.as_ref().clone()).await?)),
            Kind::S3(settings) => Ok(Box::new(S3::connect(settings.as_ref().clone()).await?)),
            Kind::WebDav(settings) => Ok(Box::new(WebDav::connect(settings.as_ref().clone()).await?)),
        }
    }
}

/// The steps of connecting to a server with a certificate.
fn met_by_tls(at: &str, encrypted: bool, user: Option<&str>) -> Vec<(Step, String)> {
    let is_encrypted = "it is encrypted and its certificate is trusted".to_owned();
    let steps = [
        Some((Step::Connect, format!("{at} answers"))),
        encrypted.then_some((Step::HostKey, is_encrypted)),
        user.map(|user| (Step::SignIn, format!("it takes the sign-in of `{user}`"))),
    ];
    steps.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_nothing() {
        let secret = Secret::new("pä ss%,".to_owned());
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret)),
            "Secret(…) Some(\n    Secret(…),\n)"
        );
        assert_eq!(secret.reveal(), "pä ss%,");
    }
}
