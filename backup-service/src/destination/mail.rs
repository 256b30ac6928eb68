//! A mailbox: each archive is sent as the attachment of a message.
//!
//! The message is streamed: it is never whole in memory, and the server's limit is known before anything is sent.
//!
//! **Invariants:** a password goes over an encrypted connection only; a message that is cut is none, as its end was
//! never sent; the same copy has the same message id, so that one that was sent twice is seen to be one.

mod message;
mod smtp;

use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;

use super::fault::Fault;
use super::path::PlacePath;
use super::place::{Entry, Place};
use super::target::Secret;
use message::{Base64, Head};
use smtp::Session;

/// Most bytes of a message where neither the server nor the description says: what most providers take.
pub const MOST: u64 = 25_000_000;

/// How the server is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Begins in the clear and goes on encrypted.
    StartTls,
    /// Encrypted from the beginning.
    Tls,
    /// Not encrypted.
    None,
}

/// Where to send, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name or address.
    pub server: String,
    /// Port.
    pub port: u16,
    /// How it is spoken with.
    pub security: Security,
    /// Name of the user and password, if a sign-in is wanted.
    pub user: Option<(String, Secret)>,
    /// Address of the sender.
    pub from: String,
    /// Addresses of the receivers.
    pub to: Vec<String>,
    /// Most bytes of a message, if the description says so.
    pub most: Option<u64>,
    /// Whose certificates are trusted.
    pub tls: Arc<ClientConfig>,
}

impl Settings {
    /// Who it is, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("the mail server {}:{}", self.server, self.port)
    }
}

/// The mailbox.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Mail {
    settings: Settings,
    session: Option<Session>,
    writing: Option<(Base64, Head)>,
}

impl Mail {
    /// Connects and signs in.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            settings,
            session: None,
            writing: None,
        };
        place.again().await?;
        Ok(place)
    }

    fn session(&mut self) -> Result<&mut Session, Fault> {
        let at = self.settings.at();
        self.session.as_mut().ok_or(Fault::Cut {
            at,
            why: "it was closed".to_owned(),
        })
    }

    /// Most bytes of a message.
    fn limit(&self) -> u64 {
        let said = self.session.as_ref().and_then(Session::limit);
        match (said, self.settings.most) {
            (Some(said), Some(given)) => said.min(given),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => MOST,
        }
    }

    fn cannot() -> Fault {
        super::check::unreadable()
    }
}

#[tonic::async_trait]
impl Place for Mail {
    async fn again(&mut self) -> Result<(), Fault> {
        (self.session, self.writing) = (None, None);
        self.session = Some(Session::begin(&self.settings).await?);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(Some(message::fits(self.limit(), &self.settings)))
    }

    fn only_takes(&self) -> bool {
        true
    }

    async fn make_directory(&mut self, _: &PlacePath) -> Result<(), Fault> {
        Err(Self::cannot())
    }

    async fn list(&mut self, _: &PlacePath) -> Result<Vec<Entry>, Fault> {
        Err(Self::cannot())
    }

    async fn size(&mut self, _: &PlacePath) -> Result<Option<u64>, Fault> {
        Err(Self::cannot())
    }

    async fn begin(&mut self, path: &PlacePath, _offset: u64, total: u64) -> Result<(), Fault> {
        let head = Head::new(&self.settings, path, total);
        let settings = self.settings.clone();
        let session = self.session()?;
        session.envelope(&settings, head.size).await?;
        session.send(head.text.as_bytes()).await?;
        self.writing = Some((Base64::default(), head));
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some((mut lines, head)) = self.writing.take() else {
            return Err(Self::cannot());
        };
        let text = lines.add(&piece);
        self.session()?.send(&text).await?;
        self.writing = Some((lines, head));
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Fault> {
        let Some((lines, head)) = self.writing.take() else {
            return Ok(());
        };
        let mut text = lines.finish();
        text.extend_from_slice(head.tail.as_bytes());
        let session = self.session()?;
        session.send(&text).await?;
        session.deliver().await
    }

    async fn rename(&mut self, _: &PlacePath, _: &PlacePath) -> Result<(), Fault> {
        Err(Self::cannot())
    }

    async fn get(&mut self, _: &PlacePath, _: u64, _: usize) -> Result<Bytes, Fault> {
        Err(Self::cannot())
    }

    async fn remove(&mut self, _: &PlacePath) -> Result<(), Fault> {
        Err(Self::cannot())
    }
}
