//! The server killed at each step of a restore, the backup-service at each step of a run, of a restore and of a removal: what
//! was cut is told, nothing that is listed is damaged, nothing half done stays.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::network::write;
use e2e::wait::until;

use crate::points;
use crate::world::{SETTLED, World, in_place, json, newest, said};

/// Everything below a directory, to be compared; nothing if it is not there.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir::WalkDir::new(root).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| (entry.path().to_owned(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Files that only something under way has.
pub(crate) fn temporaries(world: &World) -> Vec<PathBuf> {
    let places = [
        "central",
        "copies",
        "backup-state",
        "state/restores",
        "state/stopped-services",
    ];
    let files = places.iter().flat_map(|place| tree(&world.at(place)).into_keys());
    let half_done = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        let note = path.starts_with(world.at("state"));
        note || name.starts_with(".restore-") || name.ends_with(".part") || name.ends_with(".new")
    };
    files.filter(half_done).collect()
}

/// Other content everywhere; what the sample's restore command fills must be empty for it.
fn spoil(core: &Path, good: &BTreeMap<PathBuf, Vec<u8>>, text: &str) {
    for path in tree(core).keys().filter(|path| !good.contains_key(*path)) {
        write(path, "").unwrap();
    }
    for path in good.keys() {
        write(path, text).unwrap();
    }
}

#[tokio::test]
async fn a_restore_that_is_cut_anywhere_is_told_leaves_nothing_half_done_and_can_be_repeated() {
    let mut world = World::new().await;
    let core = world.at("central/core");
    let mut good = tree(&core);
    // The profile leaves these out: one comes back by its own program, the other not at all.
    good.retain(|path, _| !path.ends_with("pbx.sqlite") && !path.starts_with(core.join("cache")));
    said(&world, &["backup", "run", "sample", "--data-set", "core"]).await;
    let archives = json(&world, &["backup", "list"]).await;
    let archive = archives[0]["file_name"].as_str().unwrap().to_owned();
    let restore = in_place(&archive);
    let points = points("management-module/src/app/backup.rs");
    for point in &points {
        spoil(&core, &good, point);
        world.restart_to_fail(point).await;
        let cut = world.cli(&restore).await;
        assert_ne!(cut.code, Some(0), "{point} was not passed: {cut:?}");
        assert!(world.dies().await, "{point} was not passed: {cut:?}");
        world.revive().await;
        let restores = json(&world, &["backup", "restores"]).await;
        let (outcome, error) = (&restores[0]["outcome"], restores[0]["error"].as_str().unwrap());
        if point == "restore.noted" {
            assert_eq!(outcome, "succeeded", "{point}: {restores}");
        } else {
            assert_eq!(outcome, "failed", "{point}: {restores}");
            assert!(
                error.contains("stopped while this was under way"),
                "{point}: {error}"
            );
        }
        // Each file is what it was or what it is to be.
        for (path, content) in tree(&core).iter().filter(|(path, _)| good.contains_key(*path)) {
            let whole = content == point.as_bytes() || *content == good[path];
            assert!(whole, "killed at {point}: {}", path.display());
        }
    }
    let swept = until("what was half done to go", SETTLED, async || {
        temporaries(&world).is_empty().then_some(())
    });
    swept
        .await
        .unwrap_or_else(|error| panic!("{error}: {:?}", temporaries(&world)));
    spoil(&core, &good, "at the end");
    said(&world, &restore).await;
    let back = tree(&core);
    assert!(good.iter().all(|(path, content)| back.get(path) == Some(content)));
    println!("killed at {} points of a restore", points.len());
}

#[tokio::test]
async fn of_a_restore_into_a_directory_that_is_cut_only_whole_files_stay() {
    let mut world = World::new().await;
    let core = world.at("central/core");
    let good = tree(&core);
    said(&world, &["backup", "run", "sample", "--data-set", "core"]).await;
    let archives = json(&world, &["backup", "list"]).await;
    let archive = archives[0]["file_name"].as_str().unwrap().to_owned();
    for point in ["restore.writing", "restore.placed"] {
        let to = world.at(point);
        world.restart_to_fail(point).await;
        let words = ["backup", "restore", &archive, "--to", to.to_str().unwrap()];
        let cut = world.cli(&words).await;
        assert!(world.dies().await, "{point} was not passed: {cut:?}");
        assert!(!unfinished(&to).is_empty(), "{point}: nothing was under way");
        world.revive().await;
        let swept = until("what was half done to go", SETTLED, async || {
            (unfinished(&to).is_empty() && temporaries(&world).is_empty()).then_some(())
        });
        swept
            .await
            .unwrap_or_else(|error| panic!("{error}: {:?}", unfinished(&to)));
        let below = to.join("core").join(core.strip_prefix("/").unwrap());
        for (path, content) in tree(&below) {
            let source = core.join(path.strip_prefix(&below).unwrap());
            // What a program gives out is no file there.
            let is_whole = good.get(&source).is_none_or(|good| *good == content);
            assert!(is_whole, "killed at {point}: {}", path.display());
        }
    }
}

/// Files that have their names and not yet their content.
fn unfinished(below: &Path) -> Vec<PathBuf> {
    let paths = tree(below).into_keys();
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    paths.filter(|path| mode(path) == 0o1000).collect()
}

#[tokio::test]
async fn a_backup_service_that_is_killed_anywhere_lists_only_what_is_whole_and_leaves_nothing() {
    let mut world = World::new().await;
    let create = "backup config create Nightly --central sample --data-set core --destination copies";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;
    said(&world, &["backup", "run", "Nightly"]).await;
    // The server itself fetches what goes to its own disk.
    let here = "backup config create Here --central sample --data-set core --destination disk";
    said(&world, &here.split(' ').collect::<Vec<_>>()).await;
    let first = newest(&world).await;
    let first = first["archive_name"].as_str().unwrap().to_owned();
    let points = points("backup-service/src/lib.rs");
    let mut removed = 0;
    for point in &points {
        let words: &[&str] = match point.as_str() {
            "archive.read" => &["backup", "restore", &first, "--test"],
            "archive.removed" => {
                removed += 1;
                &["backup", "delete", &first, "--yes"]
            }
            "archive.sent" => &["backup", "run", "Here"],
            _ => &["backup", "run", "Nightly"],
        };
        world.restart_service(Some(point)).await;
        let ended = world.cli_while_the_service_dies(words).await;
        match point.as_str() {
            "archive.removed" => {}
            "archive.read" => {
                assert_ne!(ended.code, Some(0), "{point} was not passed: {ended:?}");
                let restores = json(&world, &["backup", "restores"]).await;
                assert_eq!(restores[0]["outcome"], "failed", "{restores}");
                said(&world, words).await;
            }
            _ => {
                let run = newest(&world).await;
                // From then on it is there, whoever hears of it.
                let is_made = ["archive.named", "archive.listed"].contains(&point.as_str());
                let wanted = if is_made || point == "archive.sent" || point.starts_with("copy.") {
                    "succeeded"
                } else {
                    "failed"
                };
                assert_eq!(run["state"], wanted, "killed at {point}: {run}");
            }
        }
    }
    // The next run removes what is left, also at the destination.
    said(&world, &["backup", "run", "Nightly"]).await;
    assert_eq!(temporaries(&world), Vec::<PathBuf>::new());
    let runs = json(&world, &["backup", "runs"]).await;
    let made = runs.as_array().unwrap().iter();
    let made = made.filter(|run| run["state"] == "succeeded").count();
    let archives = json(&world, &["backup", "list"]).await;
    let archives = archives.as_array().unwrap();
    assert_eq!(archives.len(), made - removed, "{runs}");
    for archive in archives {
        said(
            &world,
            &["backup", "verify", archive["file_name"].as_str().unwrap()],
        )
        .await;
    }
    println!("killed at {} points", points.len());
}
