//! What is noted of restores, tests of archives, and the backup before something is overwritten.

use super::*;
use crate::store::{RestoreOutcome, RestoreRow};

/// A central whose data is `data/note`, and a backup of it.
async fn backed_up() -> (tempfile::TempDir, Backups, std::path::PathBuf) {
    let (dir, backups) = world().await;
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let note = data.join("note");
    put(&note, b"as it was");
    add(&backups, &format!("paths = [{data:?}]\n")).await.unwrap();
    assert!(run(&backups, "").await.error.is_empty());
    (dir, backups, note)
}

fn put(path: &Path, content: &[u8]) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(content).unwrap();
}

async fn restored(backups: &Backups, wish: RestoreWish) -> (JobEvent, RestoreRow) {
    let job = backups.restore(Actor::user(0), wish).await.unwrap();
    let ended = end_of(backups, &job).await;
    (ended, backups.app.store.restores("", 1).await.unwrap().remove(0))
}

fn in_place() -> RestoreWish {
    RestoreWish {
        directory: None,
        overwrite: true,
        ..wish(Path::new("/"))
    }
}

#[tokio::test]
async fn a_test_restores_everything_and_leaves_nothing() {
    let (dir, backups, note) = backed_up().await;
    put(&note, b"as it is");
    let test = RestoreWish {
        directory: None,
        test: true,
        ..wish(Path::new("/"))
    };
    let (ended, row) = restored(&backups, test).await;
    assert!(ended.error.is_empty() && ended.done == 9, "{ended:?}");
    assert_eq!(
        (row.outcome, row.directory.as_str(), row.target_central.as_str()),
        (RestoreOutcome::Succeeded, "test", "")
    );
    assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);
    assert_eq!(std::fs::read(&note).unwrap(), b"as it is");
}

#[tokio::test]
async fn what_is_overwritten_is_backed_up_before_unless_told_not_to() {
    let (_dir, backups, note) = backed_up().await;
    put(&note, b"as it is");
    let (ended, row) = restored(&backups, in_place()).await;
    assert!(ended.error.is_empty(), "{ended:?}");
    assert_eq!(
        (row.outcome, row.target_central.as_str(), row.url.as_str()),
        (RestoreOutcome::Succeeded, "pbx", "here")
    );
    assert_eq!(row.safety_archive, "a.sar");
    assert!(row.ended_at.is_some() && row.error.is_empty());
    let without = RestoreWish {
        safety_backup: false,
        ..in_place()
    };
    let (ended, row) = restored(&backups, without).await;
    assert!(
        ended.error.is_empty() && row.safety_archive.is_empty(),
        "{ended:?}"
    );
}

#[tokio::test]
async fn nothing_is_overwritten_if_it_cannot_be_backed_up_before() {
    let (_dir, backups, note) = backed_up().await;
    // The backup fails: a command of the data set does.
    let data = note.parent().unwrap();
    let more = format!("paths = [{data:?}]\n[[data-set.command]]\nname = \"dump\"\nrun = [\"/bin/false\"]\n");
    add(&backups, &more).await.unwrap();
    put(&note, b"as it is");
    let (ended, row) = restored(&backups, in_place()).await;
    assert!(ended.error.starts_with("nothing was restored"), "{ended:?}");
    assert_eq!((row.outcome, row.error), (RestoreOutcome::Failed, ended.error));
    assert_eq!(std::fs::read(&note).unwrap(), b"as it is");
}

#[tokio::test]
async fn a_restore_during_a_backup_is_refused_and_noted() {
    let (_dir, backups, _note) = backed_up().await;
    let lease = leases::demand(&backups.app.store, "pbx", LeaseKind::Backup, "other")
        .await
        .unwrap();
    let (ended, row) = restored(&backups, in_place()).await;
    lease.end().await;
    assert!(
        ended.error.contains("a backup of central pbx is under way"),
        "{ended:?}"
    );
    assert_eq!(row.outcome, RestoreOutcome::Failed);
}

#[tokio::test]
async fn a_wish_that_contradicts_itself_is_refused() {
    let (_dir, backups, _note) = backed_up().await;
    let both = RestoreWish {
        test: true,
        ..wish(Path::new("/x"))
    };
    let onto_nobody = RestoreWish {
        central: "pbx-2".into(),
        ..in_place()
    };
    for (wish, code) in [(both, Code::InvalidArgument), (onto_nobody, Code::NotFound)] {
        let error = backups.restore(Actor::user(0), wish).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(backups.app.store.restores("", 10).await.unwrap().is_empty());
}
