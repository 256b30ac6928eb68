//! A server with a backup-service of its own, all on one machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::central::Sample;
use e2e::command::{Ended, command, finish};
use e2e::network::write;
use e2e::release::Release;
use e2e::wait::until;
use serde_json::Value;
use tokio::process::Child;

pub(crate) const SETTLED: Duration = Duration::from_secs(90);

/// A server with a backup-service of its own, a small central and the destinations `disk`, `copies` and `broken`.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) release: Release,
    module: Child,
    service: Child,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (dir, release) = (tempfile::tempdir().unwrap(), Release::find().unwrap());
        let at = |name: &str| dir.path().join(name);
        for name in ["run", "copies"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let socket = at("run/backup.sock");
        let (state, config) = (at("backup-state"), at("backup.toml"));
        let text = format!("socket = {socket:?}\nstate = {state:?}\nlocal-role = \"admin\"\n");
        write(&config, text).unwrap();
        let service = service_started(&release, dir.path(), None);
        let text = format!(
            "state-dir = {:?}\nsocket = {:?}\nserver-name = \"here\"\nweb-listen = \"127.0.0.1:0\"\n\
             local-backup-service = {socket:?}\n",
            at("state"),
            at("run/api.sock"),
        );
        write(&at("config.toml"), text).unwrap();
        let module = started(&release, dir.path(), None);
        let world = Self {
            dir,
            release,
            module,
            service,
        };
        world.is_up().await;
        let up = until("the backup-service to answer", SETTLED, async || {
            socket.exists().then_some(())
        });
        up.await.unwrap();
        world.furnish().await;
        world
    }

    /// A central and destinations.
    async fn furnish(&self) {
        let sample = Sample::at(self.at("central"), 2_000_000);
        sample.make(|_, _| ()).await.unwrap();
        write(&self.at("central.toml"), sample.profile()).unwrap();
        write(&self.at("file"), "no directory").unwrap();
        let path = |name: &str| self.at(name).display().to_string();
        said(
            self,
            &["central", "add", &path("central.toml"), "--satellite", "server"],
        )
        .await;
        for (name, kind, place) in [
            ("disk", "server", "disk"),
            ("broken", "server", "file"),
            ("copies", "directory", "copies"),
        ] {
            said(self, &["destination", "add", name, kind, &path(place)]).await;
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn is_up(&self) {
        let up = until("the management module to answer", SETTLED, async || {
            let answer = self.cli(&["system", "status"]).await;
            (answer.code == Some(0)).then_some(())
        });
        let tail = || std::fs::read_to_string(self.at("module.log")).unwrap_or_default();
        up.await.unwrap_or_else(|error| panic!("{error}: {}", tail()));
    }

    pub(crate) async fn cli(&self, words: &[&str]) -> Ended {
        self.cli_within(words, SETTLED).await
    }

    pub(crate) async fn cli_within(&self, words: &[&str], limit: Duration) -> Ended {
        cli(&self.release, self.dir.path(), words, limit).await
    }

    /// The most bytes that module and backup-service have had in memory.
    pub(crate) fn most_memory(&self) -> [(&'static str, u64); 2] {
        let most = |child: &Child| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        [
            ("management-module", most(&self.module)),
            ("backup-service", most(&self.service)),
        ]
    }

    /// Ends the module and starts it so that it is killed when it comes to a fail point.
    pub(crate) async fn restart_to_fail(&mut self, point: &str) {
        self.module.kill().await.unwrap();
        self.module = started(&self.release, self.dir.path(), Some(point));
        self.is_up().await;
    }

    /// Starts the backup-service anew, to be killed when it comes to a fail point if one is named.
    pub(crate) async fn restart_service(&mut self, point: Option<&str>) {
        self.service.kill().await.unwrap();
        self.service = service_started(&self.release, self.dir.path(), point);
        self.is_served().await;
    }

    /// Runs a command in the course of which the backup-service dies, and starts that again at once.
    pub(crate) async fn cli_while_the_service_dies(&mut self, words: &[&str]) -> Ended {
        let (release, dir) = (&self.release, self.dir.path());
        let asked = cli(release, dir, words, SETTLED);
        let service = &mut self.service;
        let started = async {
            tokio::time::timeout(SETTLED, service.wait())
                .await
                .unwrap()
                .unwrap();
            *service = service_started(release, dir, None);
        };
        let (ended, ()) = tokio::join!(asked, started);
        self.is_served().await;
        ended
    }

    async fn is_served(&self) {
        let up = until("the backup-service to answer", SETTLED, async || {
            (self.cli(&["backup", "list"]).await.code == Some(0)).then_some(())
        });
        up.await.unwrap();
    }

    /// Starts the module anew with another configuration.
    pub(crate) async fn reconfigure(&mut self, change: impl FnOnce(&str) -> String) {
        self.module.kill().await.unwrap();
        let path = self.at("config.toml");
        write(&path, change(&std::fs::read_to_string(&path).unwrap())).unwrap();
        self.module = started(&self.release, self.dir.path(), None);
        self.is_up().await;
    }

    /// Whether the module dies soon.
    pub(crate) async fn dies(&mut self) -> bool {
        let soon = Duration::from_secs(20);
        tokio::time::timeout(soon, self.module.wait()).await.is_ok()
    }

    /// Waits until the module is dead, and starts it again.
    pub(crate) async fn revive(&mut self) {
        tokio::time::timeout(SETTLED, self.module.wait())
            .await
            .unwrap()
            .unwrap();
        self.module = started(&self.release, self.dir.path(), None);
        self.is_up().await;
    }
}

async fn cli(release: &Release, dir: &Path, words: &[&str], limit: Duration) -> Ended {
    let mut program = command(release.program("management-module"));
    program
        .env("MANAGEMENT_MODULE_CONFIG", dir.join("config.toml"))
        .env("LC_ALL", "C")
        .args(words);
    finish(program, limit).await.unwrap()
}

fn service_started(release: &Release, dir: &Path, fail_point: Option<&str>) -> Child {
    let mut service = command(release.program("backup-service"));
    service
        .args(["serve", "--config"])
        .arg(dir.join("backup.toml"))
        .stderr(log(&dir.join("backup.log")));
    if let Some(point) = fail_point {
        service.env("SATELLITE_FAIL_POINT", point);
    }
    service.spawn().unwrap()
}

fn log(path: &Path) -> Stdio {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    Stdio::from(file)
}

fn started(release: &Release, dir: &Path, fail_point: Option<&str>) -> Child {
    let mut module = command(release.program("management-module"));
    module
        .arg("--config")
        .arg(dir.join("config.toml"))
        .arg("serve")
        .stderr(log(&dir.join("module.log")));
    if let Some(point) = fail_point {
        module.env("SATELLITE_FAIL_POINT", point);
    }
    module.spawn().unwrap()
}

pub(crate) async fn said(world: &World, words: &[&str]) -> String {
    let ended = world.cli(words).await;
    assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
    ended.stdout
}

pub(crate) async fn json(world: &World, words: &[&str]) -> Value {
    let words: Vec<_> = words.iter().copied().chain(["--output", "json"]).collect();
    serde_json::from_str(&said(world, &words).await).unwrap()
}

/// The words that put an archive back in place of what is there.
pub(crate) fn in_place(archive: &str) -> [&str; 6] {
    ["backup", "restore", archive, "--in-place", "--overwrite", "--yes"]
}

/// The newest run, once it has come to an end.
pub(crate) async fn newest(world: &World) -> Value {
    let words = ["backup", "runs", "--limit", "1", "--output", "json"];
    let rest = until("the newest run to end", SETTLED, async || {
        let ended = world.cli(&words).await;
        let runs: Value = serde_json::from_str(&ended.stdout).ok()?;
        let run = runs.get(0)?.clone();
        let waits = ["waiting", "running"].contains(&run["state"].as_str()?);
        (!waits).then_some(run)
    });
    rest.await.unwrap()
}

pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
