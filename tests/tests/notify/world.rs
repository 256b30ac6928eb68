//! A server with nobody who makes backups: every run of it fails. And the mail servers that it speaks with.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use e2e::command::{Ended, command, finish};
use e2e::network::write;
use e2e::release::Release;
use e2e::smtp::{SmtpServer, Taken, Wish};
use e2e::wait::until;
use serde_json::Value;
use tokio::process::Child;

pub(super) const SETTLED: Duration = Duration::from_secs(90);
const CENTRAL: &str = "name = \"pbx\"\naddress = \"pbx.example.org\"\ntenant = \"customer\"\n\n\
                       [[data-set]]\nname = \"core\"\ndescription = \"Settings\"\npaths = [\"/etc/hostname\"]\n";

/// A server whose backup-service is never there: each run fails.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    release: Release,
    pub(super) module: Option<Child>,
    /// Where the web page is offered.
    pub(super) web: String,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            release: Release::find().unwrap(),
            module: None,
            web: "off".to_owned(),
        }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) async fn mail_server(&self, name: &str, wish: &Wish) -> SmtpServer {
        SmtpServer::start(&self.at(name), wish).await.unwrap()
    }

    /// Starts one more process on the same state, which waits for the end of the one that there is.
    pub(super) async fn stands_by(&self) -> Child {
        let log = std::fs::File::create(self.at("standby.log")).unwrap();
        let mut standby = command(self.release.program("management-module"));
        standby
            .arg("--config")
            .arg(self.at("config.toml"))
            .args(["serve", "--standby"])
            .stderr(Stdio::from(log));
        let standby = standby.spawn().unwrap();
        until("the other process to stand by", SETTLED, async || {
            let said = std::fs::read_to_string(self.at("standby.log")).ok()?;
            said.contains("Standing by").then_some(())
        })
        .await
        .unwrap();
        standby
    }

    /// Starts the module anew with that section `[mail]`, to be killed at `point`.
    pub(super) async fn start(&mut self, mail: &str, point: Option<&str>) {
        if let Some(mut module) = self.module.take() {
            let _gone = module.kill().await;
        }
        let config = format!(
            "state-dir = {:?}\nsocket = {:?}\nserver-name = \"here\"\nweb-listen = {:?}\nlocal-backup-service = {:?}\n\
             satellite-patience = \"0s\"\ncall-deadline = \"1s\"\n{mail}",
            self.at("state"),
            self.at("run/api.sock"),
            self.web,
            self.at("nobody.sock"),
        );
        write(&self.at("config.toml"), config).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.at("module.log"))
            .unwrap();
        let mut module = command(self.release.program("management-module"));
        module
            .arg("--config")
            .arg(self.at("config.toml"))
            .arg("serve")
            .stderr(Stdio::from(log));
        if let Some(point) = point {
            module.env("SATELLITE_FAIL_POINT", point);
        }
        self.module = Some(module.spawn().unwrap());
        let up = until("the management module to answer", SETTLED, async || {
            let answer = self.cli(&["system", "status"]).await;
            (answer.code == Some(0)).then_some(())
        });
        up.await.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.at("module.log")).unwrap_or_default()
    }

    pub(super) async fn cli(&self, words: &[&str]) -> Ended {
        let mut program = command(self.release.program("management-module"));
        program
            .env("MANAGEMENT_MODULE_CONFIG", self.at("config.toml"))
            .env("LC_ALL", "C")
            .args(words);
        finish(program, SETTLED).await.unwrap()
    }

    pub(super) async fn said(&self, words: &[&str]) -> String {
        let ended = self.cli(words).await;
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended.stdout
    }

    pub(super) async fn json(&self, words: &[&str]) -> Value {
        let words: Vec<_> = words.iter().copied().chain(["--output", "json"]).collect();
        serde_json::from_str(&self.said(&words).await).unwrap()
    }

    /// A configuration that reports to those addresses, in German.
    pub(super) async fn configured(&self, addresses: &[&str]) {
        write(&self.at("central.toml"), CENTRAL).unwrap();
        let central = self.at("central.toml").display().to_string();
        self.said(&["central", "add", &central, "--satellite", "server"])
            .await;
        let create = "backup config create Nachts --central pbx --every weekly:mon --start 2026-11-22T02:00 \
                      --time-zone Europe/Berlin --language de --then save";
        let reports = addresses.iter().flat_map(|address| ["--report-to", address]);
        let words: Vec<_> = create.split_whitespace().chain(reports).collect();
        self.said(&words).await;
    }

    /// A run, which fails.
    pub(super) async fn run(&self) {
        let ended = self.cli(&["backup", "run", "Nachts"]).await;
        assert_ne!(ended.code, Some(0), "{ended:?}");
    }

    /// Waits until the mail server has taken mails with so many different Message-IDs.
    pub(super) async fn taken(&self, server: &SmtpServer, count: usize) -> Vec<Taken> {
        let what = format!("{count} mails");
        let taken = until(&what, SETTLED, async || {
            let taken = server.taken().unwrap();
            (ids(&taken).len() >= count).then_some(taken)
        });
        taken
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// Waits until no mail waits, and answers what became of them.
    pub(super) async fn settled(&self) -> Vec<Value> {
        let settled = until("no mail to wait", SETTLED, async || {
            let ended = self.cli(&["notify", "list", "--output", "json"]).await;
            let mails: Vec<Value> = serde_json::from_str(&ended.stdout).ok()?;
            let waits = mails.iter().any(|mail| mail["state"] == "waiting");
            (!waits).then_some(mails)
        });
        settled
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }
}

pub(super) fn ids(taken: &[Taken]) -> BTreeSet<String> {
    let ids = taken
        .iter()
        .map(|mail| mail.header("Message-ID").unwrap().to_owned());
    ids.collect()
}

pub(super) fn mail(port: u16, more: &str) -> String {
    format!(
        "[mail]\nserver = \"127.0.0.1\"\nport = {port}\nfrom = \"Backup <backup@example.com>\"\nretry-first = \"100ms\"\n\
         retry-longest = \"1s\"\n{more}"
    )
}
