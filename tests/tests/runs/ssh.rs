//! A central on another machine: added, checked, backed up and restored over SSH, by the real programs and a real sshd.

use std::path::Path;

use e2e::central::Sample;
use e2e::command::{Ended, command, finish};
use e2e::network::write;
use serde_json::Value;

use crate::files_below;
use crate::kills::{temporaries, tree};
use crate::servers::sshd::sshd;
use crate::wire::at_rest;
use crate::world::{SETTLED, World, in_place, json, newest, said};

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A small central on another machine, whose files lie in `far`, as does its profile in `far.toml`.
pub(crate) async fn far(world: &World, bytes: u64) -> Sample {
    let sample = Sample {
        name: "far".into(),
        root: world.at("far"),
        seed: 2,
        bytes,
    };
    sample.make(|_, _| ()).await.unwrap();
    write(&world.at("far.toml"), sample.profile()).unwrap();
    sample
}

/// Adds the central of that name, or adds it again, with the end of the line.
pub(crate) async fn added(world: &World, name: &str, port: u16, more: &[&str]) -> Ended {
    let profile = path(&world.at(&format!("{name}.toml")));
    let port = port.to_string();
    let first = [
        "central",
        "add",
        &profile,
        "--satellite",
        "server",
        "--replace",
        "--kind",
        "ssh",
    ];
    let second = ["--host", "127.0.0.1", "--port", &port, "--user", "root"];
    world.cli(&[&first[..], &second[..], more].concat()).await
}

async fn checked(world: &World, more: &[&str]) -> Value {
    let words = [&["central", "check", "far", "--output", "json"][..], more].concat();
    let ended = world.cli(&words).await;
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test]
async fn a_central_on_another_machine_is_checked_backed_up_and_restored_by_its_satellite() {
    let server = sshd();
    let mut world = World::new().await;
    far(&world, 2_000_000).await;
    let key = path(&server.dir.path().join("user"));
    let secret = std::fs::read_to_string(&key).unwrap();
    let line = secret.lines().nth(2).unwrap();

    let lost = added(
        &world,
        "far",
        server.port,
        &["--password-file", &path(&world.at("nowhere"))],
    )
    .await;
    assert_ne!(lost.code, Some(0));
    let new = added(&world, "far", server.port, &["--key-file", &key]).await;
    assert_eq!(new.code, Some(0), "{new:?}");
    let shown = json(&world, &["central", "show", "far"]).await;
    assert_eq!(
        shown["reached"],
        format!("ssh://root@127.0.0.1:{}", server.port),
        "{shown}"
    );

    // Nobody has confirmed its key: nothing is done but to show it.
    let stranger = checked(&world, &[]).await;
    let problem = stranger["problem"].as_str().unwrap();
    assert!(
        problem.contains("not confirmed yet") && stranger["ok"] == false,
        "{stranger}"
    );
    let refused = world.cli(&["backup", "run", "far"]).await;
    assert!(refused.stderr.contains("not confirmed yet"), "{refused:?}");
    let fingerprint = stranger["host_key_fingerprint"].as_str().unwrap();
    let wrong = world
        .cli(&["central", "check", "far", "--accept-host-key", "SHA256:AAAA"])
        .await;
    assert!(wrong.stderr.contains("nothing was accepted"), "{wrong:?}");
    let good = checked(&world, &["--accept-host-key", fingerprint]).await;
    assert!(good["ok"] == true && good["host_key_confirmed"] == true, "{good}");
    backed_up_and_restored(&world).await;
    killed_meanwhile(&mut world).await;

    // It shows another key, or does so because it is replaced: what was entered for this one stays.
    let other = std::fs::read_to_string(server.dir.path().join("other.pub")).unwrap();
    let other = added(&world, "far", server.port, &["--host-key", other.trim()]).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    let refused = world.cli(&["backup", "run", "far"]).await;
    assert!(refused.stderr.contains("another key"), "{refused:?}");
    let again = checked(&world, &["--accept-host-key", fingerprint]).await;
    assert!(again["ok"] == true, "{again}");
    what_is_old_moves(&world).await;
    let mut named = command("grep");
    named
        .args(["-rlF", line])
        .arg(world.at("state"))
        .arg(world.at("backup-state"));
    let found = finish(named, SETTLED).await.unwrap();
    assert_eq!(found.stdout, "", "the key lies somewhere in the clear");
}

async fn backed_up_and_restored(world: &World) {
    let core = world.at("far/core");
    let mut good = tree(&core);
    // The profile leaves these out: one comes back by its own program, the other not at all.
    good.retain(|path, _| !path.ends_with("pbx.sqlite") && !path.starts_with(core.join("cache")));
    let sizes = json(world, &["central", "measure", "far"]).await;
    assert!(
        sizes[0]["files"].as_u64().unwrap() >= good.len() as u64,
        "{sizes}"
    );
    at_rest(&core).await;
    let create = "backup config create Far --central far --destination disk --then save-and-run";
    said(world, &create.split(' ').collect::<Vec<_>>()).await;
    let run = newest(world).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    let name = run["archive_name"].as_str().unwrap();
    said(world, &["backup", "verify", name]).await;

    // What has not changed is copied from it.
    let again = world.cli(&["backup", "run", "Far"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("the satellite had the others"), "{again:?}");
    let archives = json(world, &["backup", "list"]).await;
    let [second, first] = [0, 1].map(|number| &archives[number]);
    assert!(second["data_sets"].is_array(), "{second}");
    assert_eq!(second["data_sets"], first["data_sets"]);
    let second = second["file_name"].as_str().unwrap();
    said(world, &["backup", "delete", second, "--yes"]).await;

    said(world, &["backup", "restore", name, "--test"]).await;
    for path in tree(&core).into_keys() {
        write(&path, "").unwrap();
    }
    // Where what is there now cannot be dumped, nothing is overwritten.
    let database = core.join("pbx.sqlite");
    std::fs::remove_file(&database).unwrap();
    let refused = world.cli(&in_place(name)).await;
    assert!(refused.stderr.contains("nothing was restored"), "{refused:?}");
    assert!(tree(&core).values().all(Vec::is_empty));
    write(&database, "").unwrap();
    let restore = [&in_place(name)[..], &["--no-safety-backup"]].concat();
    said(world, &restore).await;
    let back = tree(&core);
    assert!(good.iter().all(|(path, content)| back.get(path) == Some(content)));
    assert!(back[&core.join("pbx.sqlite")].len() > 1000);
    // With one, a single file.
    let one = good.keys().next().unwrap();
    write(one, "other").unwrap();
    let member = format!("core{}", one.display());
    let restore = [&in_place(name)[..], &["--path", &member]].concat();
    said(world, &restore).await;
    assert_eq!(std::fs::read(one).unwrap(), good[one]);
    let restores = json(world, &["backup", "restores"]).await;
    let newest = (&restores[0]["outcome"], restores[0]["safety_archive"].as_str());
    assert_eq!(newest.0, "succeeded", "{restores}");
    // What was overwritten is in the archive that was made before.
    let before = newest.1.unwrap();
    let (to, only) = (path(&world.at("before")), [&member[..]]);
    let restore = ["backup", "restore", before, "--to", &to, "--path", only[0]];
    said(world, &restore).await;
    assert_eq!(std::fs::read(world.at("before").join(&member)).unwrap(), b"other");
}

/// Everything of the sample was last changed in January: a file of today stays. What is gone comes back by its data set.
async fn what_is_old_moves(world: &World) {
    let calls = world.at("far/cdr-voicemail");
    let before = tree(&calls);
    write(&calls.join("today.json"), "{}").unwrap();
    let create = "backup config create Old --central far --data-set cdr-voicemail --destination disk \
                  --archive-older-than 30 --then save-and-run";
    let ended = said(world, &create.split_whitespace().collect::<Vec<_>>()).await;
    let run = newest(world).await;
    let how = (&run["state"], &run["kind"]);
    assert_eq!(how, (&"succeeded".into(), &"archiving".into()), "{run} {ended}");
    assert_eq!(files_below(&calls), [calls.join("today.json")]);
    let again = world.cli(&["backup", "run", "Old"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("nothing was old enough"), "{again:?}");

    let announcements = world.at("far/announcements");
    let others = tree(&announcements);
    let name = run["archive_name"].as_str().unwrap();
    let restore = [
        "backup",
        "restore",
        name,
        "--in-place",
        "--yes",
        "--data-set",
        "cdr-voicemail",
    ];
    said(world, &restore).await;
    let mut after = tree(&calls);
    assert_eq!(after.remove(&calls.join("today.json")).unwrap(), b"{}");
    assert!(after == before, "{} of {} came back", after.len(), before.len());
    assert!(tree(&announcements) == others);
}

/// The backup-service is killed while it reads: nothing stays of that archive, and the next run makes a whole one.
async fn killed_meanwhile(world: &mut World) {
    let before = json(world, &["backup", "list"]).await.as_array().unwrap().len();
    for point in ["archive.begun", "archive.taken", "archive.written"] {
        world.restart_service(Some(point)).await;
        world.cli_while_the_service_dies(&["backup", "run", "Far"]).await;
        let run = newest(world).await;
        assert_eq!(run["state"], "failed", "killed at {point}: {run}");
    }
    said(world, &["backup", "run", "Far"]).await;
    let archives = json(world, &["backup", "list"]).await;
    assert_eq!(archives.as_array().unwrap().len(), before + 1, "{archives}");
    for archive in archives.as_array().unwrap() {
        let name = archive["file_name"].as_str().unwrap();
        said(world, &["backup", "verify", name]).await;
    }
    assert_eq!(temporaries(world), Vec::<std::path::PathBuf>::new());
}
