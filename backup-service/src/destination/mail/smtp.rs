//! SMTP, as far as it takes to hand over one message at a time (RFC 5321, with SIZE, STARTTLS and AUTH).
//!
//! **Invariants:** an answer is read up to a limit; no command holds a line end that we did not put there; what was
//! said before encryption began is forgotten.

use std::time::Duration;

use data_encoding::BASE64;
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Security, Settings};
use crate::destination::fault::Fault;
use crate::destination::trust::not_encrypted;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// How long the answer to a message may take: it is stored and looked through.
const DELIVERY: Duration = Duration::from_secs(600);

/// Most bytes of an answer.
const LONGEST: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that was greeted, is encrypted as wanted, and signed in.
pub(super) struct Session {
    at: String,
    stream: BufReader<Box<dyn Stream>>,
    offers: Vec<String>,
}

/// An answer.
struct Answer {
    code: u16,
    lines: Vec<String>,
}

impl Answer {
    fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| line.trim());
        format!("{} {}", self.code, lines.collect::<Vec<_>>().join(" "))
    }

    fn is_good(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

impl Session {
    /// Connects, encrypts, signs in.
    pub(super) async fn begin(settings: &Settings) -> Result<Self, Fault> {
        let at = settings.at();
        let unreachable = |why: String| Fault::Unreachable { at: at.clone(), why };
        let connecting = TcpStream::connect((settings.server.as_str(), settings.port));
        let stream = tokio::time::timeout(ANSWER, connecting).await;
        let stream = stream.map_err(|_| unreachable("no answer".to_owned()))?;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let here = stream
            .local_addr()
            .map_err(|error| unreachable(error.to_string()))?;
        let hello = match here.ip() {
            std::net::IpAddr::V4(ip) => format!("[{ip}]"),
            std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        };
        let plain: Box<dyn Stream> = if settings.security == Security::Tls {
            encrypt(settings, Box::new(stream)).await?
        } else {
            Box::new(stream)
        };
        let mut session = Self {
            at,
            stream: BufReader::new(plain),
            offers: Vec::new(),
        };
        let greeting = session.answer(ANSWER).await?;
        session.good("take a connection", greeting)?;
        session.hello(&hello).await?;
        if settings.security == Security::StartTls {
            session = session.start_tls(settings).await?;
            session.hello(&hello).await?;
        }
        session.sign_in(settings).await?;
        Ok(session)
    }

    /// Most bytes of a message, if the server says so.
    pub(super) fn limit(&self) -> Option<u64> {
        let said = self.offer("SIZE")?;
        said.trim().parse().ok().filter(|limit| *limit > 0)
    }

    /// What follows the name of something that the server offers.
    fn offer(&self, name: &str) -> Option<&str> {
        self.offers.iter().find_map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            word.eq_ignore_ascii_case(name).then_some(rest)
        })
    }

    async fn hello(&mut self, name: &str) -> Result<(), Fault> {
        let answer = self.command(&format!("EHLO {name}")).await?;
        let mut answer = self.good("speak ESMTP", answer)?;
        answer.lines.drain(..1.min(answer.lines.len()));
        self.offers = answer.lines;
        Ok(())
    }

    async fn start_tls(mut self, settings: &Settings) -> Result<Self, Fault> {
        if self.offer("STARTTLS").is_none() {
            return Err(Fault::Security {
                at: self.at,
                why: "it offers no STARTTLS: nothing was said to it in the clear".to_owned(),
            });
        }
        let answer = self.command("STARTTLS").await?;
        self.good("begin encryption", answer)?;
        // What came with the answer was said by nobody knows whom.
        if !self.stream.buffer().is_empty() {
            return Err(Fault::Security {
                at: self.at,
                why: "it spoke before encryption had begun".to_owned(),
            });
        }
        let stream = encrypt(settings, self.stream.into_inner()).await?;
        Ok(Self {
            at: self.at,
            stream: BufReader::new(stream),
            offers: Vec::new(),
        })
    }

    async fn sign_in(&mut self, settings: &Settings) -> Result<(), Fault> {
        let Some((user, password)) = &settings.user else {
            return Ok(());
        };
        let ways: Vec<_> = self
            .offer("AUTH")
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let has = |way: &str| ways.iter().any(|offered| offered.eq_ignore_ascii_case(way));
        let answer = if has("PLAIN") {
            let secret = format!("\0{user}\0{}", password.reveal());
            self.command(&format!("AUTH PLAIN {}", BASE64.encode(secret.as_bytes())))
                .await?
        } else if has("LOGIN") {
            self.command("AUTH LOGIN").await?;
            self.command(&BASE64.encode(user.as_bytes())).await?;
            self.command(&BASE64.encode(password.reveal().as_bytes())).await?
        } else {
            return Err(Fault::Security {
                at: self.at.clone(),
                why: "it offers no sign-in by password here: try another port or security".to_owned(),
            });
        };
        if answer.code == 235 {
            return Ok(());
        }
        Err(Fault::SignIn {
            at: self.at.clone(),
            why: answer.text(),
        })
    }

    /// Says from whom and to whom a message of `size` bytes is, and begins it.
    pub(super) async fn envelope(&mut self, settings: &Settings, size: u64) -> Result<(), Fault> {
        let mut from = format!("MAIL FROM:<{}>", settings.from);
        if self.offer("SIZE").is_some() {
            from.push_str(&format!(" SIZE={size}"));
        }
        let answer = self.command(&from).await?;
        self.taken(&format!("send as {}", settings.from), answer, size)?;
        for to in &settings.to {
            let answer = self.command(&format!("RCPT TO:<{to}>")).await?;
            self.taken(&format!("send to {to}"), answer, size)?;
        }
        let answer = self.command("DATA").await?;
        self.taken("send a message", answer, size)
    }

    /// Sends a part of the message that has whole lines, none of which begins with a dot.
    pub(super) async fn send(&mut self, lines: &[u8]) -> Result<(), Fault> {
        let sent = tokio::time::timeout(ANSWER, self.stream.write_all(lines)).await;
        self.done(sent)
    }

    /// Ends the message: it is the server's now.
    pub(super) async fn deliver(&mut self) -> Result<(), Fault> {
        self.send(b".\r\n").await?;
        let flushed = tokio::time::timeout(ANSWER, self.stream.flush()).await;
        self.done(flushed)?;
        let answer = self.answer(DELIVERY).await?;
        self.taken("send the message", answer, 0)
    }

    /// Takes leave.
    pub(super) async fn quit(mut self) {
        if let Err(error) = self.command("QUIT").await {
            tracing::debug!(%error, "The mail server was gone before it was left");
        }
    }

    async fn command(&mut self, line: &str) -> Result<Answer, Fault> {
        let line = format!("{line}\r\n");
        let said = tokio::time::timeout(ANSWER, async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.flush().await
        });
        let said = said.await;
        self.done(said)?;
        self.answer(ANSWER).await
    }

    fn done(&self, done: Result<std::io::Result<()>, tokio::time::error::Elapsed>) -> Result<(), Fault> {
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.cut(error.to_string())),
            Err(_) => Err(self.cut("no answer".to_owned())),
        }
    }

    fn cut(&self, why: String) -> Fault {
        Fault::Cut {
            at: self.at.clone(),
            why,
        }
    }

    async fn answer(&mut self, deadline: Duration) -> Result<Answer, Fault> {
        match tokio::time::timeout(deadline, read(&mut self.stream)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.cut(error.to_string())),
            Err(_) => Err(self.cut("no answer".to_owned())),
        }
    }

    fn good(&self, what: &str, answer: Answer) -> Result<Answer, Fault> {
        if answer.is_good() {
            return Ok(answer);
        }
        let (at, why) = (self.at.clone(), answer.text());
        Err(match answer.code {
            400..500 => Fault::Busy { at, why, after: None },
            _ => Fault::Other {
                at,
                what: what.to_owned(),
                why,
            },
        })
    }

    /// What an answer to a part of the message means.
    fn taken(&self, what: &str, answer: Answer, size: u64) -> Result<(), Fault> {
        let (at, why) = (self.at.clone(), answer.text());
        match answer.code {
            200..400 => Ok(()),
            552 => Err(Fault::TooLarge {
                at: format!("{at} ({why})"),
                needed: size,
                most: self.limit().unwrap_or(0),
            }),
            530 | 534 | 535 | 538 => Err(Fault::SignIn { at, why }),
            550 | 551 | 553 | 554 => Err(Fault::Denied {
                what: format!("{what} at {at}"),
                why,
            }),
            _ => self.good(what, answer).map(|_| ()),
        }
    }
}

async fn encrypt(settings: &Settings, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Fault> {
    let at = settings.at();
    let name = ServerName::try_from(settings.server.clone())
        .map_err(|_| Fault::Description("`server` is no name and no address".to_owned()))?;
    let connecting = TlsConnector::from(settings.tls.clone()).connect(name, stream);
    match tokio::time::timeout(ANSWER, connecting).await {
        Ok(Ok(encrypted)) => Ok(Box::new(encrypted)),
        Ok(Err(error)) => Err(not_encrypted(at, &error)),
        Err(_) => Err(Fault::Unreachable {
            at,
            why: "it does not answer to TLS: another port or security may be right".to_owned(),
        }),
    }
}

/// Reads lines up to the last of an answer.
async fn read(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<Answer> {
    let bad = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut lines = Vec::new();
    let mut left = LONGEST;
    loop {
        let mut line = Vec::new();
        let length = (&mut *stream)
            .take(left as u64)
            .read_until(b'\n', &mut line)
            .await?;
        left -= length;
        if !line.ends_with(b"\n") {
            return Err(match left {
                0 => bad("its answer is too long"),
                _ => std::io::ErrorKind::UnexpectedEof.into(),
            });
        }
        let text: String = String::from_utf8_lossy(&line)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        let code = text.get(..3).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| bad("its answer is not one of a mail server"))?;
        lines.push(text.get(4..).unwrap_or_default().to_owned());
        if text.as_bytes().get(3) != Some(&b'-') {
            return Ok(Answer { code, lines });
        }
    }
}
