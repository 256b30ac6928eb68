//! Whom a satellite follows, on a real disk, and when it is killed while it changes that.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use satellite_host::fail::VARIABLE;
use satellite_proto::bundle::{KeyPair, Keys, Root, SecretKey};

use super::*;
use crate::workload::world::World;
use crate::writes::{Disk, cuts, record};

const WORLD: &str = "SATELLITE_TEST_WORLD";

fn key() -> SecretKey {
    SecretKey::from_file_text(&KeyPair::generate(None).unwrap().secret_file, None).unwrap()
}

fn in_a_year() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * 365)
}

fn signed(document: Vec<u8>, by: &[&SecretKey]) -> Signed {
    let mut signed = Signed {
        document: document.into(),
        signatures: Vec::new(),
    };
    for key in by {
        signed.sign(key, "").unwrap();
    }
    signed
}

fn keys(sequence: u64, release: &SecretKey, by: &[&SecretKey]) -> Signed {
    let set = Keys::new(sequence, in_a_year(), 1, vec![release.public_key()]).unwrap();
    signed(set.to_bytes().unwrap(), by)
}

fn root(sequence: u64, threshold: usize, of: &[&SecretKey]) -> Root {
    let all = of.iter().map(|key| key.public_key()).collect();
    Root::new(sequence, in_a_year(), threshold, all).unwrap()
}

/// A satellite whose image trusts `first`.
fn world(first: &Root) -> (World, Truster) {
    let world = World::new();
    let anchor = &world.places.trust_anchors[0];
    files::write_atomic(anchor, Anchor::toml_of(first).as_bytes(), 0o644).unwrap();
    files::create_dir(&world.places.trust(), 0o700).unwrap();
    let truster = Truster::new(&world.places);
    (world, truster)
}

fn offer(roots: &[Signed], keys: Option<Signed>) -> TrustRecord {
    TrustRecord {
        roots: roots.to_vec(),
        keys,
    }
}

#[test]
fn release_keys_come_from_the_root_keys_and_stay() {
    let (a, b, release) = (key(), key(), key());
    let (world, truster) = world(&root(1, 2, &[&a, &b]));
    let refused = Status::from(truster.release_keys().unwrap_err());
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let few = truster.follow(&offer(&[], Some(keys(1, &release, &[&a]))));
    assert_eq!(Status::from(few.unwrap_err()).code(), Code::FailedPrecondition);
    assert!(!world.places.trust().join("record.json").exists());
    let set = keys(1, &release, &[&a, &b]);
    assert!(truster.follow(&offer(&[], Some(set.clone()))).unwrap());
    assert!(!truster.follow(&offer(&[], Some(set))).unwrap());
    let again = Truster::new(&world.places).release_keys().unwrap();
    assert_eq!(again.keys().collect::<Vec<_>>(), [release.public_key()]);
}

#[test]
fn a_record_that_does_not_follow_from_the_image_is_worth_nothing() {
    let (a, stranger, release) = (key(), key(), key());
    let (world, truster) = world(&root(1, 1, &[&a]));
    let file = world.places.trust().join("record.json");
    let planted = offer(
        &[signed(root(2, 1, &[&stranger]).to_bytes().unwrap(), &[&stranger])],
        Some(keys(9, &release, &[&stranger])),
    );
    journal::write(&file, &planted).unwrap();
    assert!(truster.release_keys().is_err());
    files::write_atomic(&file, b"{", 0o600).unwrap();
    assert!(truster.release_keys().is_err());
    assert!(
        truster
            .follow(&offer(&[], Some(keys(1, &release, &[&a]))))
            .unwrap()
    );
    assert!(truster.release_keys().is_ok());
}

#[test]
fn killed_while_it_follows_a_satellite_trusts_the_old_keys_or_the_new_ones() {
    for point in FAIL_POINTS {
        let (a, b, old, new) = (key(), key(), key(), key());
        let first = root(1, 1, &[&a]);
        let (world, truster) = world(&first);
        truster.follow(&offer(&[], Some(keys(1, &old, &[&a])))).unwrap();
        let next = signed(root(2, 1, &[&b]).to_bytes().unwrap(), &[&a, &b]);
        let offered = offer(&[next], Some(keys(2, &new, &[&b])));
        journal::write(&world.root.join("offered.json"), &offered).unwrap();
        kill_child_at(point, &world.root);
        let trusted = Truster::new(&world.places).release_keys().unwrap();
        let expected = if *point == "trust.recorded" { &new } else { &old };
        assert_eq!(
            trusted.keys().collect::<Vec<_>>(),
            [expected.public_key()],
            "{point}"
        );
        let left = fs::read_dir(world.places.trust()).unwrap().count();
        assert_eq!(left, 1, "{point}: something half-made is left");
        Truster::new(&world.places).follow(&offered).unwrap();
        let trusted = Truster::new(&world.places).release_keys().unwrap();
        assert_eq!(trusted.keys().collect::<Vec<_>>(), [new.public_key()], "{point}");
    }
}

#[tokio::test]
async fn cut_after_any_write_while_it_follows_a_satellite_trusts_the_old_keys_or_the_new_ones() {
    let (a, b, old, new) = (key(), key(), key(), key());
    let (world, truster) = world(&root(1, 1, &[&a]));
    truster.follow(&offer(&[], Some(keys(1, &old, &[&a])))).unwrap();
    let next = signed(root(2, 1, &[&b]).to_bytes().unwrap(), &[&a, &b]);
    let offered = offer(&[next], Some(keys(2, &new, &[&b])));
    journal::write(&world.root.join("offered.json"), &offered).unwrap();
    let disk = Disk::read(&world.root);
    let calls = record("trust::tests::the_child", &[(WORLD, world.root.as_os_str())]).await;
    let (mut disks, mut followed) = (0, 0);
    let changes = cuts(&disk, &calls, |left| {
        let point = format!("{:?} after {} calls", left.cut, left.after);
        let dir = tempfile::tempdir().unwrap();
        left.lay_out(dir.path());
        let truster = Truster::new(&World::at(dir.path()).places);
        let trusted = truster.release_keys().unwrap();
        let trusted: Vec<_> = trusted.keys().collect();
        let is_new = trusted == [new.public_key()];
        assert!(is_new || trusted == [old.public_key()], "{point}");
        assert_eq!(truster.follow(&offered).unwrap(), !is_new, "{point}");
        let trusted = truster.release_keys().unwrap();
        let trusted: Vec<_> = trusted.keys().collect();
        assert_eq!(trusted, [new.public_key()], "{point}");
        disks += 1;
        followed += usize::from(is_new);
    });
    println!(
        "cut after each of {changes} calls that write: {disks} different disks, {followed} with the new keys"
    );
    assert!(followed > 0 && followed < disks, "{followed} of {disks}");
}

fn kill_child_at(point: &str, root: &Path) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process that is killed is this test itself"
    )]
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trust::tests::the_child", "--ignored", "--nocapture"])
        .env(WORLD, root)
        .env(VARIABLE, point)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.signal(), Some(9), "{point} was not passed: {said}");
}

#[test]
#[ignore = "the child of the test above"]
fn the_child() {
    let Some(root) = std::env::var_os(WORLD) else {
        return;
    };
    let world = World::at(Path::new(&root));
    let offered: TrustRecord = journal::read(&world.root.join("offered.json")).unwrap().unwrap();
    Truster::new(&world.places).follow(&offered).unwrap();
}
