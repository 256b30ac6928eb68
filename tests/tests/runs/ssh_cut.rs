//! Work on a central over SSH, cut by the death of the backup-service or of the management module at each step: services run
//! again, nothing half done is listed or stays, the next one works.

use std::collections::BTreeMap;
use std::path::PathBuf;

use e2e::network::write;
use e2e::wait::until;

use crate::kills::{temporaries, tree};
use crate::points;
use crate::servers::Server;
use crate::servers::sshd::sshd_with_units;
use crate::ssh::{added, far};
use crate::world::{SETTLED, World, in_place, json, newest, said};

/// A world with a central on another machine, of which there is a backup.
struct Far {
    world: World,
    server: Server,
    /// What it holds, but for what its own program brings back and what is left out.
    good: BTreeMap<PathBuf, Vec<u8>>,
    /// Its calls, which are archived.
    calls: BTreeMap<PathBuf, Vec<u8>>,
    archive: String,
}

impl Far {
    async fn new() -> Self {
        let server = sshd_with_units();
        let world = World::new().await;
        let sample = far(&world, 1_000_000).await;
        let named = "name = \"core\"\n";
        let profile = sample.profile();
        assert_eq!(profile.matches(named).count(), 1);
        let quiet = format!("{named}quiesce = [\"pbx.service\"]\n");
        write(&world.at("far.toml"), profile.replace(named, &quiet)).unwrap();
        let running = server.dir.path().join("units/pbx.service");
        until("the units to be there", SETTLED, async || {
            write(&running, "").ok()
        })
        .await
        .unwrap();
        let key = server.dir.path().join("user").display().to_string();
        let host_key = std::fs::read_to_string(server.dir.path().join("host.pub")).unwrap();
        let known = ["--key-file", &key, "--host-key", host_key.trim()];
        let new = added(&world, "far", server.port, &known).await;
        assert_eq!(new.code, Some(0), "{new:?}");
        let create =
            "backup config create Far --central far --data-set core --destination disk --then save-and-run";
        said(&world, &create.split(' ').collect::<Vec<_>>()).await;
        let create = "backup config create Old --central far --data-set cdr-voicemail --destination disk \
                      --archive-older-than 30";
        said(&world, &create.split_whitespace().collect::<Vec<_>>()).await;
        let archive = newest(&world).await["archive_name"].as_str().unwrap().to_owned();
        let core = world.at("far/core");
        let mut good = tree(&core);
        good.retain(|path, _| !path.ends_with("pbx.sqlite") && !path.starts_with(core.join("cache")));
        let calls = tree(&world.at("far/cdr-voicemail"));
        Self {
            world,
            server,
            good,
            calls,
            archive,
        }
    }

    /// The words of what has the fail point on its way, after what it overwrites was spoilt.
    fn words(&self, point: &str, is_restore: bool) -> Vec<String> {
        let words: Vec<&str> = match point {
            _ if is_restore => {
                self.spoil(point);
                [&in_place(&self.archive)[..], &["--no-safety-backup"]].concat()
            }
            _ if point.contains("remove") => vec!["backup", "run", "Old"],
            _ => vec!["backup", "run", "Far"],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// Other content everywhere; what the restore command fills must be empty for it.
    fn spoil(&self, text: &str) {
        write(&self.world.at("far/core/pbx.sqlite"), "").unwrap();
        for path in self.good.keys() {
            write(path, text).unwrap();
        }
    }

    /// What holds after each cut.
    async fn is_in_order(&self, point: &str, is_restore: bool) {
        let unit = self.server.dir.path().join("units/pbx.service");
        let runs = until("the service of the central to run again", SETTLED, async || {
            unit.exists().then_some(())
        });
        runs.await.unwrap_or_else(|error| panic!("{point}: {error}"));
        if !is_restore {
            return;
        }
        let restores = json(&self.world, &["backup", "restores"]).await;
        assert_eq!(restores[0]["outcome"], "failed", "{point}: {restores}");
        let now = tree(&self.world.at("far/core"));
        for (path, content) in &self.good {
            let whole = now[path] == point.as_bytes() || now[path] == *content;
            assert!(whole, "killed at {point}: {}", path.display());
        }
    }

    /// What holds in the end: everything works, nothing is left.
    async fn is_whole(&self) {
        let world = &self.world;
        self.spoil("at the end");
        said(
            world,
            &[&in_place(&self.archive)[..], &["--no-safety-backup"]].concat(),
        )
        .await;
        let now = tree(&world.at("far/core"));
        assert!(
            self.good
                .iter()
                .all(|(path, content)| now.get(path) == Some(content))
        );
        assert!(now[&world.at("far/core/pbx.sqlite")].len() > 1000);
        said(world, &["backup", "run", "Far"]).await;
        let half_done = |path: &PathBuf| path.to_string_lossy().contains(".satellite-restore-");
        assert!(!tree(&world.at("far")).into_keys().any(|path| half_done(&path)));
        assert_eq!(temporaries(world), Vec::<PathBuf>::new());
        // Each call is there still, or in an archive.
        said(world, &["backup", "run", "Old"]).await;
        assert_eq!(tree(&world.at("far/cdr-voicemail")).len(), 0);
        let archives = json(world, &["backup", "list"]).await;
        for archive in archives.as_array().unwrap() {
            let name = archive["file_name"].as_str().unwrap();
            said(world, &["backup", "verify", name]).await;
            if archive["configuration"] == "Old" {
                let restore = ["backup", "restore", name, "--in-place", "--overwrite", "--yes"];
                said(world, &[&restore[..], &["--no-safety-backup"]].concat()).await;
            }
        }
        assert!(tree(&world.at("far/cdr-voicemail")) == self.calls);
    }
}

#[tokio::test]
async fn work_on_a_central_over_ssh_survives_the_death_of_the_backup_service_at_each_step() {
    let mut far = Far::new().await;
    let points = points("backup-service/src/central.rs");
    for point in &points {
        let reads = [
            "central.stopped",
            "central.read",
            "central.noted",
            "central.removed",
        ];
        let is_read = reads.contains(&point.as_str());
        let words = far.words(point, !is_read);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let listed = json(&far.world, &["backup", "list"])
            .await
            .as_array()
            .unwrap()
            .len();
        far.world.restart_service(Some(point)).await;
        let ended = far.world.cli_while_the_service_dies(&words).await;
        // The archive is there by then, whoever hears of it.
        let is_made = point == "central.noted";
        assert_eq!(
            ended.code == Some(0),
            is_made,
            "{point} was not passed: {ended:?}"
        );
        far.is_in_order(point, !is_read).await;
        let now = json(&far.world, &["backup", "list"])
            .await
            .as_array()
            .unwrap()
            .len();
        if is_made {
            assert_eq!(now, listed + 1);
            said(&far.world, &words).await;
            continue;
        }
        if point == "central.removed" {
            let run = newest(&far.world).await;
            assert_eq!(run["state"], "partly", "killed at {point}: {run}");
            assert_eq!(now, listed + 1);
            // One is gone, which is in the archive; the next run moves the others.
            let left = tree(&far.world.at("far/cdr-voicemail")).len();
            assert!(
                left < far.calls.len() && left > 0,
                "{left} of {}",
                far.calls.len()
            );
            continue;
        }
        assert_eq!(now, listed, "killed at {point}");
        if is_read {
            let run = newest(&far.world).await;
            assert_eq!(run["state"], "failed", "killed at {point}: {run}");
            said(&far.world, &words).await;
        }
    }
    far.is_whole().await;
    println!("killed at {} points", points.len());
}

#[tokio::test]
async fn work_on_a_central_over_ssh_survives_the_death_of_the_management_module_at_each_step() {
    let mut far = Far::new().await;
    let points = points("management-module/src/app/backup/pull.rs");
    for point in &points {
        let is_restore = point.starts_with("push.");
        if point.starts_with("remove.") {
            for (path, content) in &far.calls {
                write(path, content).unwrap();
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
                    .unwrap();
            }
        }
        let words = far.words(point, is_restore);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        far.world.restart_to_fail(point).await;
        let cut = far.world.cli(&words).await;
        assert_ne!(cut.code, Some(0), "{point} was not passed: {cut:?}");
        far.world.revive().await;
        if !is_restore {
            // It is taken up again.
            let run = newest(&far.world).await;
            assert_eq!(run["state"], "succeeded", "killed at {point}: {run}");
        }
        far.is_in_order(point, is_restore).await;
        if point.starts_with("remove.") {
            assert_eq!(tree(&far.world.at("far/cdr-voicemail")).len(), 0, "{point}");
        }
    }
    far.is_whole().await;
    println!("killed at {} points", points.len());
}
