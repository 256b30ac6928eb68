//! The checked description of a destination.
//!
//! **Invariant:** it can be printed: what is secret prints as nothing.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::directory::Directory;
use super::fault::Fault;
use super::place::Place;
use super::probe::Step;
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
}

impl Target {
    /// The same text for the same place, as far as can be told from its description; without secrets.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.kind {
            Kind::Directory(path) => format!("file://{}", path.display()),
        }
    }

    /// The steps of connecting that this kind has, with what to say of each if it went well.
    #[must_use]
    pub fn met(&self) -> Vec<(Step, String)> {
        match &self.kind {
            Kind::Directory(path) => vec![(Step::Connect, format!("`{}` is there", path.display()))],
        }
    }

    /// Connects and signs in, once.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(&self) -> Result<Box<dyn Place>, Fault> {
        match &self.kind {
            Kind::Directory(path) => Ok(Box::new(Directory::open(path.clone()).await?)),
        }
    }
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
