//! The power of a satellite is cut while it takes an archive, and while it copies one to two servers: what is listed can be
//! read, what was under way is gone on with, and after the next run nothing half done is left anywhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::central::Sample;
use e2e::command::{Ended, command, run as told, stdout_of};
use e2e::lab::SATELLITE;
use e2e::network::{SERVER, write};
use e2e::scratch::Scratch;
use e2e::wait::until;
use serde_json::Value;

use crate::files_below;
use crate::servers::smbd::{USER as SHARE_USER, smbd};
use crate::servers::sshd::{USER, sshd_after};
use crate::servers::{PASSWORD, Server};
use crate::world::SETTLED;

/// How long the upload of an archive takes at least, so that a cut lies in the middle of it.
const UPLOAD: u64 = 6;
/// Both destinations.
const PLACES: [&str; 2] = ["far", "share"];

/// A commissioned satellite, and two servers on the LAN that it copies to.
struct Site {
    lab: Scratch,
    sftp: Server,
    share: Server,
}

/// Starts a server where only the laboratory reaches it.
fn on_the_lan(lab: &Scratch, start: impl FnOnce() -> Server + Send) -> Server {
    std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            lab.lan.enter().unwrap();
            start()
        });
        started.join().unwrap()
    })
}

impl Site {
    async fn new() -> Self {
        let lab = Scratch::new().await.unwrap();
        lab.boot().await.unwrap();
        lab.serve().await.unwrap();
        lab.add_bundle().await.unwrap();
        lab.pair(&[]).await.unwrap();
        lab.server.converged(SATELLITE, SETTLED).await.unwrap();
        let sftp = on_the_lan(&lab, || {
            sshd_after("sed -i 's/^ListenAddress .*/ListenAddress 0.0.0.0/' sshd_config;")
        });
        let share = on_the_lan(&lab, || smbd("bind interfaces only = no"));
        let site = Self { lab, sftp, share };
        site.furnish().await;
        site
    }

    /// The central, both destinations without a limit, and two configurations.
    async fn furnish(&self) {
        let sample = Sample {
            name: "sample".into(),
            root: self.at("central"),
            seed: 1,
            bytes: 2_000_000,
        };
        sample.make(|_, _| ()).await.unwrap();
        // A dump that comes to no end.
        let endless = format!(
            "\n[[data-set]]\nname = \"endless\"\ndescription = \"Never whole\"\n[[data-set.command]]\nname = \"endless.bin\"\n\
             run = [\"sh\", \"-c\", \"head -c 3000000 /dev/urandom; touch {}; exec sleep 300\"]\n",
            self.at("half").display()
        );
        write(&self.at("central.toml"), sample.profile() + &endless).unwrap();
        write(&self.at("password"), PASSWORD).unwrap();
        let profile = self.at("central.toml").display().to_string();
        self.said(&["central", "add", &profile, "--satellite", SATELLITE])
            .await;
        for place in PLACES {
            self.destination(place, 0).await;
        }
        for line in [
            "backup config create Nightly --central sample --data-set core --data-set cdr-voicemail --destination far \
             --destination share",
            "backup config create Endless --central sample --data-set core --data-set endless --destination far",
        ] {
            self.said(&line.split_whitespace().collect::<Vec<_>>()).await;
        }
    }

    /// Adds a destination, or gives it another limit of bytes a second.
    async fn destination(&self, name: &str, limit: u64) {
        let (server, limit) = (SERVER.to_string(), limit.to_string());
        let port = |server: &Server| server.port.to_string();
        let path = |path: PathBuf| path.display().to_string();
        let first = [
            "destination",
            "add",
            name,
            "--replace",
            "--bytes-per-second",
            &limit,
        ];
        if name == "far" {
            let key = std::fs::read_to_string(self.sftp.dir.path().join("host.pub")).unwrap();
            let (key, own) = (key.trim(), path(self.sftp.dir.path().join("user")));
            let more = [
                "sftp",
                "--server",
                &server,
                "--port",
                &port(&self.sftp),
                "--user",
                USER,
            ];
            let signed = ["--key-file", &own, "--host-key", key];
            self.said(&[&first[..], &more[..], &signed[..]].concat()).await;
        } else {
            let (user, password) = (format!("PBX\\{SHARE_USER}"), path(self.at("password")));
            let more = [
                "smb",
                "--server",
                &server,
                "--port",
                &port(&self.share),
                "--share",
                "backup",
            ];
            let signed = ["--user", &user, "--password-file", &password];
            self.said(&[&first[..], &more[..], &signed[..]].concat()).await;
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.lab.data().join(name)
    }

    /// Where the copies lie, as the servers see it.
    fn places(&self) -> [PathBuf; 2] {
        [
            self.sftp.dir.path().join("home"),
            self.share.dir.path().join("backup"),
        ]
    }

    /// What something under way has on the satellite's disk.
    fn half_done(&self) -> Vec<PathBuf> {
        let state = self
            .lab
            .satellite()
            .var()
            .join("lib/private/satellite-backup-service");
        assert!(
            state.join("archives").is_dir(),
            "{} is another place",
            state.display()
        );
        let is_half = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            path.starts_with(state.join("spool")) || name.ends_with(".part") || name.ends_with(".new")
        };
        files_below(&state).into_iter().filter(is_half).collect()
    }

    async fn said(&self, words: &[&str]) -> String {
        self.lab.server.cli(words).await.unwrap()
    }

    async fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--output", "json"]].concat();
        serde_json::from_str(&self.said(&words).await).unwrap()
    }

    async fn newest(&self) -> Value {
        self.json(&["backup", "runs", "--limit", "1"]).await[0].clone()
    }

    /// Runs a configuration, whatever comes of it, while something else is done.
    async fn run_while<T>(&self, name: &str, other: impl Future<Output = T>) -> (Ended, T) {
        let words = ["backup", "run", name];
        let ended = async { self.lab.server.try_cli(&words).await.unwrap() };
        tokio::join!(ended, other)
    }

    /// Cuts the power as soon as a quarter of the archive or more is at either server, and not all of it.
    async fn cut_in_mid_upload(&self, size: u64) -> Vec<PathBuf> {
        let parts = until("both uploads to be under way", SETTLED, async || {
            let parts = self.places().map(|place| {
                let mut files = files_below(&place).into_iter();
                files.find(|path| path.extension().is_some_and(|end| end == "part"))
            });
            let arrived = |path: &PathBuf| path.metadata().map_or(0, |found| found.len());
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            (parts.len() == 2 && parts.iter().all(|part| arrived(part) > size / 4)).then_some(parts)
        });
        let parts = parts.await.unwrap();
        self.lab.satellite().cut().await.unwrap();
        for part in &parts {
            let arrived = part.metadata().unwrap().len();
            assert!(arrived < size, "{} was whole before the cut", part.display());
        }
        parts
    }

    async fn starts(&self) {
        self.lab.start().await.unwrap();
        self.lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    }

    /// Each archive that is listed can be read, on the satellite and, as anybody may, at both servers.
    async fn what_is_listed_is_whole(&self) -> usize {
        let archives = self.json(&["backup", "list"]).await;
        let archives = archives.as_array().unwrap();
        for archive in archives {
            self.said(&["backup", "verify", archive["file_name"].as_str().unwrap()])
                .await;
        }
        for (name, place) in PLACES.into_iter().zip(self.places()) {
            let copies = self.json(&["destination", "copies", name]).await;
            for copy in copies.as_array().unwrap() {
                let path = place.join(copy["path"].as_str().unwrap().trim_start_matches('/'));
                opens(&path).await;
            }
        }
        archives.len()
    }

    /// Nothing at both servers but these archives, nothing half done on the satellite.
    fn only_these_are_left(&self, names: &[String]) {
        for place in self.places() {
            let kept = place.join("starface-backup/Nightly");
            let files = files_below(&place.join("starface-backup"));
            let mut left: Vec<_> = files
                .iter()
                .map(|path| path.strip_prefix(&kept).unwrap())
                .collect();
            left.sort();
            let mut wanted: Vec<_> = names.iter().map(Path::new).collect();
            wanted.sort();
            assert_eq!(left, wanted, "{}", place.display());
        }
        assert_eq!(self.half_done(), Vec::<PathBuf>::new());
    }
}

/// Whether any `tar` reads it to its end.
async fn opens(archive: &Path) {
    let path = archive.display().to_string();
    told("zstd", &["--test", "--quiet", &path]).await.unwrap();
    let mut list = command("tar");
    list.args(["--zstd", "-tf", &path]);
    let names = stdout_of(list, Duration::from_secs(60)).await.unwrap();
    assert!(names.trim_end().ends_with("checksums.json"), "{names}");
}

#[tokio::test]
async fn a_satellite_that_loses_power_in_mid_upload_lists_only_what_is_whole_and_goes_on() {
    let begun = Instant::now();
    let lap = |what: &str| println!("{what}: {:.1?}", begun.elapsed());
    let site = Site::new().await;
    lap("commissioned");
    let mut names = Vec::new();
    let done = async |names: &mut Vec<String>| {
        let run = site.newest().await;
        assert_eq!(run["state"], "succeeded", "{run}");
        names.push(run["archive_name"].as_str().unwrap().to_owned());
        run["size_bytes"].as_u64().unwrap()
    };
    site.said(&["backup", "run", "Nightly"]).await;
    let size = done(&mut names).await;
    lap("first run");

    // While the archive comes in: there is none, and the satellite keeps nothing of it.
    let cut = async {
        let half = until("the dump to be half sent", SETTLED, async || {
            (site.at("half").exists() && !site.half_done().is_empty()).then_some(())
        });
        half.await.unwrap();
        site.lab.satellite().cut().await.unwrap();
        assert_ne!(site.half_done(), Vec::<PathBuf>::new());
    };
    let (ended, ()) = site.run_while("Endless", cut).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("satellite s1 does not answer"), "{ended:?}");
    assert_eq!(site.newest().await["state"], "failed");
    site.starts().await;
    assert_eq!(site.what_is_listed_is_whole().await, 1);
    site.only_these_are_left(&names);
    lap("cut while the archive came in");

    // While both copies are under way: the run waits until the satellite is back, and goes on with them.
    for place in PLACES {
        site.destination(place, size / UPLOAD).await;
    }
    let cut = async {
        site.cut_in_mid_upload(size).await;
        site.starts().await;
    };
    let (ended, ()) = site.run_while("Nightly", cut).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    done(&mut names).await;
    assert_eq!(site.what_is_listed_is_whole().await, 2);
    site.only_these_are_left(&names);
    lap("cut in mid-upload, gone on with");

    // The same, and a person ends the run: what is left at the servers goes with the next one.
    let cut = async {
        let parts = site.cut_in_mid_upload(size).await;
        let id = site.newest().await["id"].as_str().unwrap().to_owned();
        site.said(&["backup", "cancel", &id, "--yes"]).await;
        parts
    };
    let (ended, parts) = site.run_while("Nightly", cut).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let run = site.newest().await;
    assert_eq!(run["state"], "partly", "{run}");
    assert!(parts.iter().all(|part| part.exists()));
    site.starts().await;
    assert_eq!(site.what_is_listed_is_whole().await, 3);
    for place in PLACES {
        site.destination(place, 0).await;
    }
    site.said(&["backup", "run", "Nightly"]).await;
    done(&mut names).await;
    assert_eq!(site.what_is_listed_is_whole().await, 4);
    site.only_these_are_left(&names);
    lap("cut in mid-upload, begun anew");
}
