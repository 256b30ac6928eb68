//! Copies that are encrypted: opened by Debian's `age` and `tar` alone, brought back with the key and not without.

use std::path::Path;

use e2e::command::{DEADLINE, command, finish, run, stdout_of};
use e2e::network::write;

use crate::world::{SETTLED, World, files, json, newest, said};

/// A key by `age-keygen` in a file; answers the recipient.
async fn keygen(file: &Path) -> String {
    let path = file.display().to_string();
    run("age-keygen", &["-o", &path]).await.unwrap();
    let mut show = command("age-keygen");
    show.args(["-y", &path]);
    stdout_of(show, DEADLINE).await.unwrap().trim().to_owned()
}

/// Names in an encrypted archive, without any program of ours.
async fn listed(archive: &Path, key: &Path) -> String {
    let line = format!(
        "age -d -i '{}' '{}' | tar --zstd -tf -",
        key.display(),
        archive.display()
    );
    let mut shell = command("bash");
    shell.args(["-o", "pipefail", "-c", &line]);
    stdout_of(shell, SETTLED).await.unwrap()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn copies_are_encrypted_for_recipients_and_open_with_age_and_tar_alone() {
    let world = World::new().await;
    let (key, other) = (world.at("key.txt"), world.at("other.txt"));
    let (recipient, second) = (keygen(&key).await, keygen(&other).await);
    let wrong = world
        .cli(&words(
            "backup config create Bad --central sample --encrypt-to age1nonsense",
        ))
        .await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("is no recipient"), "{wrong:?}");
    let create = format!(
        "backup config create Sealed --central sample --destination disk --destination copies --encrypt-to {recipient} \
         --encrypt-to {second} --then save-and-run"
    );
    said(&world, &words(&create)).await;
    let made = newest(&world).await;
    let name = format!("{}.age", made["archive_name"].as_str().unwrap());
    let mut same = Vec::new();
    for place in ["disk", "copies"] {
        let place = world.at(place).join("starface-backup/Sealed");
        assert_eq!(files(&place), [name.as_str()]);
        for key in [&key, &other] {
            let names = listed(&place.join(&name), key).await;
            assert!(
                names.contains("data/core/pbx.sql") && names.ends_with("checksums.json\n"),
                "{names}"
            );
        }
        same.push(std::fs::read(place.join(&name)).unwrap());
    }
    assert!(same[0] == same[1], "the file is encrypted once");
    comes_back_with_its_key(&world, &name, &key).await;
}

async fn comes_back_with_its_key(world: &World, name: &str, key: &Path) {
    let plain = name.strip_suffix(".age").unwrap();
    said(world, &["backup", "delete", plain, "--yes"]).await;
    let copies = json(
        world,
        &["destination", "copies", "copies", "--configuration", "Sealed"],
    )
    .await;
    let path = copies[0]["path"].as_str().unwrap();
    assert!(path.ends_with(name), "{path}");
    let stranger = world.at("stranger.txt");
    keygen(&stranger).await;
    let stranger = stranger.display().to_string();
    for more in [&[][..], &["--identity", &stranger]] {
        let locked = world
            .cli(&[&["destination", "fetch", "copies", path], more].concat())
            .await;
        assert_eq!(locked.code, Some(1), "{locked:?}");
        assert!(locked.stderr.contains("cannot be decrypted"), "{locked:?}");
    }
    let key = key.display().to_string();
    said(
        world,
        &["destination", "fetch", "copies", path, "--identity", &key],
    )
    .await;
    said(world, &["backup", "restore", plain, "--test"]).await;
}

#[tokio::test]
async fn a_passphrase_is_kept_sealed_and_opens_what_it_has_closed() {
    let world = World::new().await;
    let phrase = "korrekt-Pferd-Batterie-Heftklammer";
    let file = world.at("phrase.txt");
    write(&file, format!("{phrase}\n")).unwrap();
    let short = world.at("short.txt");
    write(&short, "too short").unwrap();
    let create = |file: &Path| {
        format!(
            "backup config create Phrase --central sample --destination disk --encrypt-passphrase-file {} --then save-and-run",
            file.display()
        )
    };
    let refused = world.cli(&words(&create(&short))).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("fewer than 16 characters"), "{refused:?}");
    said(&world, &words(&create(&file))).await;
    let shown = json(&world, &["backup", "config", "show", "Phrase"]).await;
    assert_eq!(shown["encrypted_with_passphrase"], true, "{shown}");
    // Another change keeps it, and nothing of it stands anywhere in the clear.
    said(&world, &words("backup config edit Phrase --keep-last 5")).await;
    said(&world, &words("backup run Phrase")).await;
    let made = newest(&world).await;
    let name = format!("{}.age", made["archive_name"].as_str().unwrap());
    let place = world.at("disk/starface-backup/Phrase");
    assert!(
        std::fs::read(place.join(&name))
            .unwrap()
            .starts_with(b"age-encryption.org/v1\n-> scrypt ")
    );
    for left in ["state", "backup-state", "module.log", "backup.log"] {
        let mut find = command("grep");
        find.args(["-rlF", phrase]).arg(world.at(left));
        let found = finish(find, DEADLINE).await.unwrap();
        assert_eq!((found.code, found.stdout.as_str()), (Some(1), ""), "{left}");
    }
    let plain = made["archive_name"].as_str().unwrap();
    said(&world, &["backup", "delete", plain, "--yes"]).await;
    let copy = place.join(&name).display().to_string();
    said(&world, &["destination", "fetch", "disk", &copy]).await;
    said(&world, &["backup", "restore", plain, "--test"]).await;
    said(&world, &words("backup config edit Phrase --no-encryption")).await;
    let shown = json(&world, &["backup", "config", "show", "Phrase"]).await;
    assert_eq!(shown["encrypted_with_passphrase"], false, "{shown}");
}
