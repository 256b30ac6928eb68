//! Logs of a booted satellite, read from its real journal.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, SystemTime};

use e2e::manager::{Line, Manager, WORKLOAD};
use e2e::scratch::Scratch;
use e2e::variant::Variant;
use e2e::wait::until;
use satellite_proto::wire::bridge::v1 as pb;
use tonic::Code;

/// Writes into the journal as the unit of the bridge cannot: as the system.
async fn say(lab: &Scratch, priority: &str, text: &str) {
    let words = ["systemd-cat", "-t", "probe", "-p", priority, "echo", text];
    lab.satellite().exec(&words).await.unwrap();
}

fn of(source: &str) -> pb::FetchLogsRequest {
    pb::FetchLogsRequest {
        source: source.to_owned(),
        ..Default::default()
    }
}

async fn read(line: &Line, query: pb::FetchLogsRequest) -> String {
    line.log(query).await.unwrap().all().await.unwrap()
}

/// Waits until the journal has written down what was said.
async fn written(line: &Line, text: &str) {
    until("the journal to have it", Duration::from_secs(20), async || {
        read(line, of("system")).await.contains(text).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_journal_is_listed_filtered_followed_and_resumed() {
    let lab = Scratch::new().await.unwrap();
    let manager = Manager::instead_of_the_server(&lab).await.unwrap();
    let line = manager.up().await.unwrap();
    let bundle = Variant::good("1.0.0")
        .pack(&lab.release, &lab.data().join("bundles"))
        .await
        .unwrap();
    line.bring(&bundle).await.unwrap();

    sources(&line).await;
    filters(&lab, &line).await;
    let cursor = resumes(&lab, &line).await;
    follows(&lab, &line).await;

    // After a restart the log before it is still there.
    lab.satellite().reboot().await.unwrap();
    let line = manager.up().await.unwrap();
    let after = pb::FetchLogsRequest {
        cursor,
        ..of("system")
    };
    let after = read(&line, after).await;
    assert!(
        after.contains("fourth mark") && !after.contains("second mark"),
        "{after}"
    );
}

async fn sources(line: &Line) {
    let sources = line.log_sources().await.unwrap();
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let workload = format!("workload/{WORKLOAD}");
    for wanted in ["bridge", "kernel", "system", workload.as_str()] {
        assert!(names.contains(&wanted), "no {wanted} in {names:?}");
    }
    let unknown = line
        .log(of("/etc/shadow"))
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(unknown, Some(Code::NotFound));

    // All of a unit, and nothing of others.
    let bridge = read(line, of("bridge")).await;
    assert!(bridge.contains("Version installed"), "{bridge}");
    let of_workload = read(line, of(&workload)).await;
    assert!(
        of_workload.contains("backup-service") && !of_workload.contains("Version installed"),
        "{of_workload}"
    );
    // A container's journal has no messages of the host's kernel; the source answers all the same.
    read(line, of("kernel")).await;
}

/// By urgency, count and time.
async fn filters(lab: &Scratch, line: &Line) {
    say(lab, "info", "first mark").await;
    say(lab, "err", "urgent mark").await;
    written(line, "urgent mark").await;
    let urgent = pb::FetchLogsRequest {
        max_priority: Some(3),
        ..of("system")
    };
    let urgent = read(line, urgent).await;
    assert!(
        urgent.contains("urgent mark") && !urgent.contains("first mark"),
        "{urgent}"
    );
    let last = pb::FetchLogsRequest {
        lines: 3,
        ..of("system")
    };
    assert_eq!(read(line, last).await.lines().count(), 3);

    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    say(lab, "info", "second mark").await;
    written(line, "second mark").await;
    let since = pb::FetchLogsRequest {
        since: Some(between.into()),
        ..of("system")
    };
    let since = read(line, since).await;
    assert!(
        since.contains("second mark") && !since.contains("first mark"),
        "{since}"
    );
    let until_then = pb::FetchLogsRequest {
        until: Some(between.into()),
        ..of("system")
    };
    let until_then = read(line, until_then).await;
    assert!(
        until_then.contains("first mark") && !until_then.contains("second mark"),
        "{until_then}"
    );
}

/// From where another fetch stopped; answers where that was.
async fn resumes(lab: &Scratch, line: &Line) -> String {
    let mut first = line.log(of("system")).await.unwrap();
    let seen = first.all().await.unwrap();
    assert!(seen.contains("second mark") && !first.cursor.is_empty());
    say(lab, "info", "third mark").await;
    written(line, "third mark").await;
    let on = pb::FetchLogsRequest {
        cursor: first.cursor.clone(),
        ..of("system")
    };
    let on = read(line, on).await;
    assert!(on.contains("third mark") && !on.contains("second mark"), "{on}");

    first.cursor
}

/// New lines as they come, for as long as somebody wants them.
async fn follows(lab: &Scratch, line: &Line) {
    let follow = pb::FetchLogsRequest {
        follow: true,
        lines: 1,
        ..of("system")
    };
    let mut follow = line.log(follow).await.unwrap();
    follow.until("\n").await.unwrap();
    say(lab, "info", "fourth mark").await;
    let followed = follow.until("fourth mark").await.unwrap();
    assert!(!followed.contains("first mark"), "{followed}");
    drop(follow);
    until(
        "the reader of the journal to end",
        Duration::from_secs(20),
        async || {
            let running = lab
                .satellite()
                .exec(&["pgrep", "-f", "journalctl.*--follow"])
                .await;
            running.is_err().then_some(())
        },
    )
    .await
    .unwrap();
}
