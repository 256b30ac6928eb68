//! A mail server, spoken to command by command: so that what is wrong with one mail is told from what is wrong with the server.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as Said;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::{Address, Message};

use crate::config::mail::{Mail, Security};

/// The largest password file.
const PASSWORD_MOST: usize = 4096;

/// Sends mails through the server of the configuration.
#[derive(Debug, Clone)]
pub struct Mailer {
    config: Mail,
}

/// A connection to the mail server, signed in if need be.
pub struct Connection {
    smtp: AsyncSmtpConnection,
    from: Mailbox,
    server: String,
    deadline: Duration,
}

/// A mail as it is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Message-ID, without the brackets.
    pub id: &'a str,
    /// The address.
    pub to: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// Plain text.
    pub plain: &'a str,
    /// HTML.
    pub html: &'a str,
    /// When it was written.
    pub date: SystemTime,
}

/// What the server says of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has taken it.
    Taken,
    /// It will never take it.
    Refused(String),
    /// It may take it later.
    Later(String),
}

/// Why no mail can be sent at the moment: none is to blame, all wait.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpError {
    /// A file of the configuration cannot be used.
    #[error("cannot use `{key}` of the mail configuration, {}", path.display())]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is a user and no password.
    #[error(
        "there is no password for the mail server: name `password-file`, or hand over the credential `mail-password`"
    )]
    NoPassword,
    /// The connection failed.
    #[error("mail server {server}: cannot {doing}")]
    Server {
        /// The server.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Said,
    },
    /// It took too long.
    #[error("mail server {server}: cannot {doing} within {deadline:?}")]
    Deadline {
        /// The server.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// How long it may take.
        deadline: Duration,
    },
}

/// Tells programs that answer mails not to answer this one.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mailer {
    /// Sends as the configuration says.
    #[must_use]
    pub fn new(config: Mail) -> Self {
        Self { config }
    }

    /// Connects and signs in.
    ///
    /// # Errors
    /// [`SmtpError`]: no mail can be sent now.
    pub async fn connect(&self) -> Result<Connection, SmtpError> {
        let (server, deadline) = (self.config.server.clone(), self.config.deadline);
        let connected = tokio::time::timeout(deadline, self.connected()).await;
        connected.map_err(|_| SmtpError::Deadline {
            server,
            doing: "connect",
            deadline,
        })?
    }

    async fn connected(&self) -> Result<Connection, SmtpError> {
        let config = &self.config;
        let failed = |doing| {
            move |source| SmtpError::Server {
                server: config.server.clone(),
                doing,
                source,
            }
        };
        let tls = match config.security {
            Security::None => None,
            Security::Starttls | Security::Tls => Some(self.tls().await?),
        };
        let (at_once, later) = match config.security {
            Security::Tls => (tls, None),
            _ => (None, tls),
        };
        let hello = hello();
        let address = (config.server.as_str(), config.port);
        let connected =
            AsyncSmtpConnection::connect_tokio1(address, Some(config.deadline), &hello, at_once, None).await;
        let mut smtp = connected.map_err(failed("connect"))?;
        if let Some(tls) = later {
            // A server that does not offer it is refused: nothing is sent in the clear.
            smtp.starttls(tls, &hello)
                .await
                .map_err(failed("encrypt the connection by STARTTLS"))?;
        }
        if let Some(user) = &config.user {
            let credentials = Credentials::new(user.clone(), self.password().await?);
            smtp.auth(DEFAULT_MECHANISMS, &credentials)
                .await
                .map_err(failed("sign in"))?;
        }
        Ok(Connection {
            smtp,
            from: config.from.clone(),
            server: config.server.clone(),
            deadline: config.deadline,
        })
    }

    async fn tls(&self) -> Result<TlsParameters, SmtpError> {
        let mut tls = TlsParameters::builder(self.config.server.clone());
        if let Some(path) = &self.config.ca_file {
            let unusable = |source| SmtpError::File {
                key: "ca-file",
                path: path.clone(),
                source,
            };
            let pem = tokio::fs::read(path)
                .await
                .map_err(|error| unusable(error.into()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| unusable(error.into()))?;
            tls = tls.add_root_certificate(certificate);
        }
        tls.build_rustls().map_err(|source| SmtpError::Server {
            server: self.config.server.clone(),
            doing: "prepare TLS",
            source,
        })
    }

    async fn password(&self) -> Result<String, SmtpError> {
        let path = self.config.password_path().ok_or(SmtpError::NoPassword)?;
        let unusable = |source| SmtpError::File {
            key: "password-file",
            path: path.clone(),
            source,
        };
        let text = tokio::fs::read_to_string(&path)
            .await
            .map_err(|error| unusable(error.into()))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        if password.is_empty() || password.len() > PASSWORD_MOST {
            return Err(unusable("it holds no password of 1 to 4096 bytes".into()));
        }
        Ok(password.to_owned())
    }
}

impl Connection {
    /// Sends a mail.
    ///
    /// # Errors
    /// [`SmtpError`]: the server takes no mail now, or has gone. Whether it has taken this one is not known if it had
    /// been sent whole; its Message-ID tells the receiver that a second one is the same.
    pub async fn send(&mut self, mail: &Outgoing<'_>) -> Result<Verdict, SmtpError> {
        let deadline = self.deadline;
        let sent = tokio::time::timeout(deadline, self.sent(mail)).await;
        sent.map_err(|_| SmtpError::Deadline {
            server: self.server.clone(),
            doing: "send a mail",
            deadline,
        })?
    }

    async fn sent(&mut self, mail: &Outgoing<'_>) -> Result<Verdict, SmtpError> {
        let (to, message) = match self.message(mail) {
            Ok(whole) => whole,
            Err(problem) => return Ok(Verdict::Refused(problem)),
        };
        let is_foreign = |address: &Address| !AsRef::<str>::as_ref(address).is_ascii();
        let mut options = Vec::new();
        if is_foreign(&to) || is_foreign(&self.from.email) {
            if !self.smtp.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Ok(Verdict::Refused(
                    "the mail server takes no addresses beyond ASCII".into(),
                ));
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        let from = MailFrom::new(Some(self.from.email.clone()), options);
        // Who sends is the same in all mails: they wait until that is mended.
        self.smtp
            .command(from)
            .await
            .map_err(|source| self.failed("name the sender", source))?;
        match self.smtp.command(Rcpt::new(to, Vec::new())).await {
            Ok(_) => {}
            Err(said) => return self.verdict("name the receiver", said),
        }
        match self.smtp.command(Data).await {
            Ok(_) => {}
            Err(said) => return self.verdict("begin the mail", said),
        }
        match self.smtp.message(&message).await {
            Ok(_) => Ok(Verdict::Taken),
            Err(said) => self.verdict("send the mail", said),
        }
    }

    /// Says good-bye; a server that does not answer is left.
    pub async fn end(mut self) {
        let _late = tokio::time::timeout(self.deadline, self.smtp.quit()).await;
    }

    fn message(&self, mail: &Outgoing<'_>) -> Result<(Address, Vec<u8>), String> {
        let to: Address = mail
            .to
            .parse()
            .map_err(|error| format!("{:?} is no e-mail address: {error}", mail.to))?;
        let body = MultiPart::alternative_plain_html(mail.plain.to_owned(), mail.html.to_owned());
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(mail.subject)
            .message_id(Some(format!("<{}>", mail.id)))
            .date(mail.date)
            .header(AutoSubmitted)
            .multipart(body);
        let message = message.map_err(|error| format!("the mail cannot be written: {error}"))?;
        Ok((to, message.formatted()))
    }

    /// An answer to one mail, or the end of the connection.
    fn verdict(&self, doing: &'static str, said: Said) -> Result<Verdict, SmtpError> {
        // 421: the server is about to go.
        let goes = said.status().is_some_and(|code| code.to_string() == "421");
        if said.is_permanent() {
            Ok(Verdict::Refused(crate::error_chain(&said)))
        } else if said.is_transient() && !goes {
            Ok(Verdict::Later(crate::error_chain(&said)))
        } else {
            Err(self.failed(doing, said))
        }
    }

    fn failed(&self, doing: &'static str, source: Said) -> SmtpError {
        SmtpError::Server {
            server: self.server.clone(),
            doing,
            source,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server)
            .finish()
    }
}

/// How we name ourselves: mail servers look at it.
fn hello() -> ClientId {
    let name = crate::host::name();
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_plain {
        ClientId::Domain(name)
    } else {
        ClientId::default()
    }
}
