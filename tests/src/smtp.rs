//! A mail server on loopback (Debian's python3-aiosmtpd) that keeps each mail as a file.
//!
//! Addresses that begin with `refused` get 550, those that begin with `later` 451 until [`SmtpServer::open`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::process::Child;

use crate::command::{command, stdout_of};
use crate::network::write;
use crate::wait::until;

/// The interpreter for which Debian has the library.
const PYTHON: &str = "/usr/bin/python3";

/// How a mail server is to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its port; 0: any.
    pub port: u16,
    /// Certificate and key: it offers STARTTLS and demands it.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// It encrypts from the beginning instead.
    pub implicit: bool,
    /// Who has to sign in, and with which password.
    pub user: Option<(String, String)>,
}

/// A mail server; it ends when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    directory: PathBuf,
    /// Its port.
    pub port: u16,
    _process: Child,
}

/// A mail that was taken.
#[derive(Debug, Clone, Deserialize)]
pub struct Taken {
    /// The receivers.
    pub to: Vec<String>,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Who had signed in.
    pub user: String,
    /// Header and body.
    pub text: String,
}

impl Taken {
    /// A line of the header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::trim)
    }
}

impl SmtpServer {
    /// Starts one that keeps mails in `directory`.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start(directory: &Path, wish: &Wish) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let at = directory.join("port");
        let _first = std::fs::remove_file(&at);
        let mut options = Map::from_iter([
            ("directory".to_owned(), json!(directory)),
            ("port".to_owned(), json!(wish.port)),
            ("implicit".to_owned(), json!(wish.implicit)),
        ]);
        if let Some((certificate, key)) = &wish.certificate {
            options.insert("certificate".to_owned(), json!(certificate));
            options.insert("key".to_owned(), json!(key));
        }
        if let Some((user, password)) = &wish.user {
            options.insert("user".to_owned(), json!(user));
            options.insert("password".to_owned(), json!(password));
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/smtp-server.py");
        let mut python = command(PYTHON);
        python.arg(script).arg(Value::Object(options).to_string());
        let process = python.spawn().context("cannot start the mail server")?;
        let port = until("the mail server to listen", Duration::from_secs(60), async || {
            std::fs::read_to_string(&at).ok()?.parse().ok()
        });
        Ok(Self {
            directory: directory.to_owned(),
            port: port.await?,
            _process: process,
        })
    }

    /// From now on addresses that begin with `later` are taken.
    ///
    /// # Errors
    ///
    /// If the file that says so cannot be written.
    pub fn open(&self) -> anyhow::Result<()> {
        write(&self.directory.join("open"), "")
    }

    /// The mails that were taken, oldest first.
    ///
    /// # Errors
    ///
    /// If one cannot be read.
    pub fn taken(&self) -> anyhow::Result<Vec<Taken>> {
        let mut paths: Vec<_> = std::fs::read_dir(&self.directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|found| found == "json"));
        paths.sort();
        let read = |path: &PathBuf| Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?);
        paths.iter().map(read).collect()
    }
}

/// A certificate for 127.0.0.1 and localhost that signs itself, and its key.
///
/// # Errors
///
/// If openssl fails.
pub async fn certificate(directory: &Path, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}.key")),
    );
    // Not a certificate of an authority: those are no server's.
    let config = directory.join(format!("{name}.cnf"));
    write(
        &config,
        "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n[name]\nCN = localhost\n\
         [more]\nsubjectAltName = IP:127.0.0.1,DNS:localhost\nbasicConstraints = critical,CA:FALSE\n",
    )?;
    let mut openssl = command("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    stdout_of(openssl, Duration::from_secs(60)).await?;
    Ok((certificate, key))
}
