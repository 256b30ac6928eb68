//! Operations and replies on a real directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use satellite_proto::wire::bridge::v1::{OperationState, RevokePeerResponse};
use tonic::{Code, Status};

use super::*;

fn begin(operations: &Operations, key: &str) -> OperationHandle {
    match operations.begin("install", "backup-service", key).unwrap() {
        Begun::New(handle) => handle,
        Begun::Existing(operation) => panic!("not new: {operation:?}"),
    }
}

#[test]
fn the_same_key_finds_the_same_operation_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let handle = begin(&operations, "k1");
    handle.succeed();
    handle.fail(Code::Internal, "too late", Vec::new(), false);
    let operations = Operations::open(dir.path()).unwrap();
    let Begun::Existing(again) = operations.begin("install", "backup-service", "k1").unwrap() else {
        panic!("a second operation for one key");
    };
    assert_eq!(
        (again.id, again.state),
        (handle.id(), OperationState::Succeeded as i32)
    );
    let error = operations.begin("remove", "backup-service", "k1").unwrap_err();
    assert!(matches!(error, OperationError::KeyReused { .. }));
}

#[test]
fn a_bad_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    for key in ["", "a b", "ü", &"x".repeat(129)] {
        assert!(matches!(
            operations.begin("install", "x", key),
            Err(OperationError::Key)
        ));
    }
}

#[test]
fn what_nobody_adopts_after_a_restart_has_failed_and_what_is_adopted_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let (lost, kept) = (begin(&operations, "lost"), begin(&operations, "kept"));
    let operations = Operations::open(dir.path()).unwrap();
    let adopted = operations.adopt(&kept.id()).unwrap();
    assert!(operations.adopt(&kept.id()).is_none());
    operations.fail_unadopted();
    assert_eq!(
        operations.get(&lost.id()).unwrap().state,
        OperationState::Failed as i32
    );
    assert_eq!(adopted.snapshot().state, OperationState::Running as i32);
    assert!(operations.adopt(&lost.id()).is_none());
}

#[test]
fn history_is_bounded_and_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let running = begin(&operations, "running");
    let mut last = String::new();
    for number in 0..HISTORY + 3 {
        let handle = begin(&operations, &format!("k{number}"));
        handle.succeed();
        last = handle.id();
    }
    let all = operations.list(usize::MAX);
    assert_eq!(all.len(), HISTORY + 1);
    assert_eq!(all[0].id, last);
    assert_eq!(running.snapshot().state, OperationState::Running as i32);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), HISTORY + 1);
}

#[tokio::test]
async fn a_watcher_sees_progress_cancellation_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let handle = begin(&operations, "k");
    let mut seen = operations.watch(&handle.id()).unwrap();
    handle.progress(1, 2, "steps", "unpack");
    assert_eq!(seen.borrow_and_update().progress.as_ref().unwrap().step, "unpack");
    operations.cancel(&handle.id()).unwrap();
    assert!(handle.cancel_token().is_cancelled());
    handle.cancelled();
    assert_eq!(seen.borrow_and_update().state, OperationState::Cancelled as i32);
    assert!(matches!(
        operations.cancel(&handle.id()),
        Err(OperationError::Ended(_))
    ));
    assert!(matches!(
        operations.get("nonsense"),
        Err(OperationError::Unknown(_))
    ));
}

#[tokio::test]
async fn the_first_answer_is_given_again_also_after_a_restart_and_errors_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let work = |answer: Result<u32, Status>| {
        let calls = calls.clone();
        move || async move {
            calls.fetch_add(1, Ordering::Relaxed);
            answer.map(|connections_cut| RevokePeerResponse { connections_cut })
        }
    };
    let replies = Replies::open(dir.path()).unwrap();
    let failed = replies
        .replay("/x/Revoke", "k", work(Err(Status::unavailable(""))))
        .await;
    assert_eq!(failed.unwrap_err().code(), Code::Unavailable);
    assert_eq!(
        replies
            .replay("/x/Revoke", "k", work(Ok(1)))
            .await
            .unwrap()
            .connections_cut,
        1
    );
    assert_eq!(
        replies
            .replay("/x/Revoke", "k", work(Ok(2)))
            .await
            .unwrap()
            .connections_cut,
        1
    );
    let replies = Replies::open(dir.path()).unwrap();
    assert_eq!(
        replies
            .replay("/x/Revoke", "k", work(Ok(3)))
            .await
            .unwrap()
            .connections_cut,
        1
    );
    assert_eq!(
        replies
            .replay("/x/Other", "k", work(Ok(4)))
            .await
            .unwrap()
            .connections_cut,
        4
    );
    let bad = replies.replay("/x/Revoke", "", work(Ok(5))).await;
    assert_eq!(bad.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn two_calls_with_one_key_at_once_do_the_work_once() {
    let dir = tempfile::tempdir().unwrap();
    let replies = Replies::open(dir.path()).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let call = || {
        let calls = calls.clone();
        replies.replay("/x/Revoke", "k", move || async move {
            let number = calls.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(RevokePeerResponse {
                connections_cut: number,
            })
        })
    };
    let (first, second) = tokio::join!(call(), call());
    assert_eq!(
        (first.unwrap().connections_cut, second.unwrap().connections_cut),
        (0, 0)
    );
}

#[tokio::test]
async fn the_answer_to_a_caller_that_went_away_is_given_when_it_asks_again() {
    let dir = tempfile::tempdir().unwrap();
    let replies = Replies::open(dir.path()).unwrap();
    // The longest key that there may be.
    let key = "k".repeat(128);
    let work = |connections_cut| {
        move || async move {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            Ok(RevokePeerResponse { connections_cut })
        }
    };
    let cut = replies.replay("/x/Revoke", &key, work(1));
    tokio::time::timeout(std::time::Duration::from_millis(5), cut)
        .await
        .unwrap_err();
    let again = replies.replay("/x/Revoke", &key, work(2)).await.unwrap();
    assert_eq!(again.connections_cut, 1);
    let later = replies.replay("/x/Revoke", &key, work(3)).await.unwrap();
    assert_eq!(later.connections_cut, 1);
}

#[test]
fn what_a_workload_logs_before_it_fails_does_not_fill_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let handle = begin(&operations, "k");
    let log: Vec<String> = vec!["\u{1b}[2Jä".repeat(100_000); 60];
    handle.fail(Code::Internal, "m".repeat(1_000_000), log, false);
    let error = handle.snapshot().error.unwrap();
    assert!(error.message.len() <= 4096);
    assert_eq!(error.log_tail.len(), 50);
    for line in error.log_tail {
        assert!(line.len() <= 1024 && !line.contains('\u{1b}'));
    }
}

#[test]
fn what_is_cut_off_by_the_end_of_the_daemon_goes_on_at_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::open(dir.path()).unwrap();
    let handle = begin(&operations, "k");
    operations.close();
    handle.fail(Code::Internal, "the runtime is gone", Vec::new(), false);
    let operations = Operations::open(dir.path()).unwrap();
    assert!(operations.adopt(&handle.id()).is_some());
}
