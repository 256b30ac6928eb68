//! Backup configurations with the real programs, all on one machine: a backup-service on the server itself, a run and its
//! copies, and the server killed at every step of one.
#![expect(clippy::unwrap_used, reason = "a test")]

mod browser;
mod cut;
mod encrypted;
mod kills;
mod large;
#[path = "../web/page.rs"]
#[allow(dead_code, reason = "the tests with satellites use all of it")]
mod page;
mod places;
mod postgresql;
#[path = "../../../backup-service/tests/servers/mod.rs"]
mod servers;
mod services;
mod ssh;
mod ssh_cut;
mod wire;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use e2e::command::{command, stdout_of};
use e2e::network::write;
use e2e::terminal::Terminal;
use serde_json::Value;

use crate::world::{SETTLED, World, files, json, newest, said};

/// The places at which a program may be killed, from its source: a new one cannot be forgotten.
pub(crate) fn points(file: &str) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(top.join(file)).unwrap();
    let list = text.split("pub const FAIL_POINTS").nth(1).unwrap();
    let list = list.split("];").next().unwrap();
    let found: Vec<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(found.len() >= 5, "where are the fail points? {found:?}");
    found
}

fn length(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

#[tokio::test]
async fn a_configuration_runs_copies_and_survives_a_kill_at_each_step() {
    let mut world = World::new().await;
    let places = ["disk", "copies"].map(|name| world.at(name).join("starface-backup/Nightly"));
    one_destination_fails(&world, &places).await;
    let two = "backup config edit Nightly --destination disk --destination copies";
    said(&world, &two.split(' ').collect::<Vec<_>>()).await;
    let points = points("management-module/src/app/runs.rs");
    for point in &points {
        killed_at(point, &mut world, &places).await;
    }
    // Nothing stands in the way of the next one, nothing half done is left, and each run has made one archive.
    said(&world, &["backup", "run", "Nightly"]).await;
    let made = points.len() + 2;
    let runs = json(&world, &["backup", "runs", "Nightly"]).await;
    let names = runs.as_array().unwrap().iter();
    let names: BTreeSet<_> = names
        .map(|run| run["archive_name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), made);
    for place in &places {
        assert_eq!(files(place), names.iter().cloned().collect::<Vec<_>>());
    }
    assert_eq!(length(&json(&world, &["backup", "list"]).await), made);
    println!("killed at {} points", points.len());
    what_is_not_kept_goes(&world, &places, made).await;
    what_is_old_moves(&world).await;
}

async fn one_destination_fails(world: &World, places: &[PathBuf]) {
    let broken = world.cli(&["destination", "test", "broken"]).await;
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.stderr.contains("Directory"), "{broken:?}");
    for good in ["disk", "copies"] {
        said(world, &["destination", "test", good]).await;
    }
    let create = "backup config create Nightly --central sample --destination disk --destination broken \
                  --destination copies --report-to it@customer.example --every weekly:mon,thu \
                  --start 2026-11-22T02:00 --time-zone Europe/Berlin --keep-last 100 --then save-and-run";
    let partly = world.cli(&create.split_whitespace().collect::<Vec<_>>()).await;
    assert_eq!(partly.code, Some(4), "{partly:?}");
    assert!(partly.stderr.contains("destination broken: "), "{partly:?}");
    let run = newest(world).await;
    let how = (run["state"].as_str(), run["cause"].as_str());
    assert_eq!(how, (Some("partly"), Some("by hand")), "{run}");
    let copies = run["copies"].as_array().unwrap().iter();
    let states: Vec<_> = copies.map(|copy| copy["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["copied", "failed", "copied"], "{run}");
    let name = run["archive_name"].as_str().unwrap();
    let downloaded = world.at("downloaded.sar");
    let to = downloaded.display().to_string();
    said(world, &["backup", "download", name, "--to", &to]).await;
    for place in places {
        assert_eq!(files(place), [name]);
        assert!(std::fs::read(&downloaded).unwrap() == std::fs::read(place.join(name)).unwrap());
    }
    let archive = json(world, &["backup", "show", name]).await;
    assert_eq!(archive["configuration"], "Nightly");
}

async fn killed_at(point: &str, world: &mut World, places: &[PathBuf]) {
    world.restart_to_fail(point).await;
    let cut = world.cli(&["backup", "run", "Nightly"]).await;
    assert_ne!(cut.code, Some(0), "{point} was not passed: {cut:?}");
    world.revive().await;
    let run = newest(world).await;
    assert_eq!(run["state"], "succeeded", "killed at {point}: {run}");
    for place in places {
        let copy = place.join(run["archive_name"].as_str().unwrap());
        assert!(copy.exists(), "killed at {point}: {run}");
    }
}

async fn what_is_not_kept_goes(world: &World, places: &[PathBuf], made: usize) {
    said(
        world,
        &["backup", "config", "edit", "Nightly", "--keep-last", "2"],
    )
    .await;
    let dry = json(world, &["backup", "retention", "Nightly", "--dry-run"]).await;
    let is_going = |one: &&Value| length(&one["kept_as"]) == 0;
    let going = dry.as_array().unwrap().iter().filter(is_going).count();
    assert_eq!(going, (made - 2) * (places.len() + 1), "{dry}");
    assert_eq!(files(&places[0]).len(), made);
    said(world, &["backup", "retention", "Nightly", "--yes"]).await;
    let left = files(&places[0]);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(files(&places[1]), left);
    assert_eq!(length(&json(world, &["backup", "list"]).await), 2);
    // What was let go of on the satellite comes back from a destination.
    for (destination, path) in [("copies", &places[1]), ("disk", &places[0])] {
        said(world, &["backup", "delete", &left[1], "--yes"]).await;
        let copies = json(
            world,
            &["destination", "copies", destination, "--configuration", "Nightly"],
        )
        .await;
        let copy = copies
            .as_array()
            .unwrap()
            .iter()
            .find(|copy| copy["file_name"] == left[1].as_str());
        let from = copy.unwrap()["path"].as_str().unwrap();
        assert!(path.ends_with(Path::new(from).parent().unwrap()), "{from}");
        said(world, &["destination", "fetch", destination, from]).await;
        assert_eq!(length(&json(world, &["backup", "list"]).await), 2);
    }
    // What stays can be restored, and the history says so.
    said(world, &["backup", "restore", &left[1], "--test"]).await;
    let restores = json(world, &["backup", "restores"]).await;
    let how = (&restores[0]["outcome"], &restores[0]["directory"]);
    assert_eq!(how, (&"succeeded".into(), &"test".into()), "{restores}");
}

pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

/// Everything of the sample was last changed in January: a file of today stays.
async fn what_is_old_moves(world: &World) {
    let calls = world.at("central/cdr-voicemail");
    write(&calls.join("today.json"), "{}").unwrap();
    let before = files_below(&calls).len();
    assert!(before > 2);
    let create = "backup config create Old --central sample --data-set cdr-voicemail --destination disk \
                  --archive-older-than 30 --then save-and-run";
    said(world, &create.split_whitespace().collect::<Vec<_>>()).await;
    let run = newest(world).await;
    let how = (&run["state"], &run["kind"]);
    assert_eq!(how, (&"succeeded".into(), &"archiving".into()), "{run}");
    assert_eq!(files_below(&calls), [calls.join("today.json")]);
    // It all lies in the archive, at the destination too.
    let archive = world
        .at("disk/starface-backup/Old")
        .join(run["archive_name"].as_str().unwrap());
    let mut list = command("tar");
    list.args(["--zstd", "-tf"]).arg(&archive);
    let names = stdout_of(list, SETTLED).await.unwrap();
    let is_file = |name: &&str| name.starts_with("data/") && !name.ends_with('/');
    assert_eq!(names.lines().filter(is_file).count(), before - 1);
    // A second time nothing is old enough.
    let again = world.cli(&["backup", "run", "Old"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("nothing was old enough"), "{again:?}");
}

#[tokio::test]
async fn the_wizard_asks_its_four_steps_in_the_language_of_the_terminal() {
    let world = World::new().await;
    let program = world.release.program("management-module");
    let line = format!(
        "MANAGEMENT_MODULE_CONFIG='{}' '{}' --lang de backup config create; echo \"ended $?\"; read x",
        world.at("config.toml").display(),
        program.display()
    );
    let terminal = Terminal::with("wizard", world.dir.path(), &line).await.unwrap();
    let answer = async |question: &str, keys: &[&str]| {
        terminal.shows(question).await.unwrap();
        terminal.press(keys).await.unwrap();
    };
    terminal.shows("1/4 Name und Zeit").await.unwrap();
    answer("Name:", &["-l", "--", "CON"]).await;
    answer("Name: CON", &["Enter"]).await;
    // Windows keeps that name: it is asked again.
    terminal.shows("cannot be the name of a directory").await.unwrap();
    terminal.paste("Nachts").await.unwrap();
    answer("Name: Nachts", &["Enter"]).await;
    answer("Fehlerbericht an", &["-l", "--", "it@kunde.example"]).await;
    answer("it@kunde.example", &["Enter"]).await;
    answer("jeden Tag", &["Enter"]).await;
    answer("Zeitzone", &["Enter"]).await;
    answer("Beginn", &["Enter"]).await;
    terminal.shows("2/4 Daten").await.unwrap();
    answer("announcements", &["Enter"]).await;
    terminal.shows("3/4 Ziel").await.unwrap();
    answer("nur auf dem Satelliten", &["Down", "Down", "Enter"]).await;
    terminal.shows("4/4 Überblick").await.unwrap();
    answer("Einstellungen behalten und Backup", &["Enter"]).await;
    terminal.shows("ended 0").await.unwrap();
    terminal.stop().await;
    let shown = json(&world, &["backup", "config", "show", "Nachts"]).await;
    assert_eq!(
        (&shown["every"], &shown["report_to"], &shown["destinations"]),
        (
            &"daily".into(),
            &"it@kunde.example".into(),
            &serde_json::json!(["disk"])
        ),
        "{shown}"
    );
    assert!(!shown["next_due_time"].as_str().unwrap().is_empty(), "{shown}");
    assert_eq!(newest(&world).await["state"], "succeeded");
}
