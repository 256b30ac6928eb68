//! Sources and their names.

use super::*;

fn logs(state: &std::path::Path) -> Logs {
    std::fs::create_dir_all(state.join("logs")).unwrap();
    satellite_host::files::write_atomic(&state.join("logs/run.log"), b"one\ntwo\n", 0o644).unwrap();
    let workload = WorkloadLog {
        name: "backup-service".into(),
        unit: "satellite-workload-backup-service.service".into(),
        state: state.to_owned(),
        files: vec!["run.log".into(), "later.log".into()],
    };
    Logs::new(Arc::new(vec![workload]))
}

#[test]
fn sources_are_listed_by_name_with_the_sizes_of_files_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let sources = logs(dir.path()).sources();
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let expected = [
        "bridge",
        "kernel",
        "system",
        "workload/backup-service",
        "workload/backup-service/run.log",
    ];
    assert_eq!(names, expected);
    assert_eq!(sources[4].size, 8);
    assert!(sources[4].modified.is_some());
}

#[tokio::test]
async fn a_name_that_is_not_in_the_list_is_refused_however_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(dir.path());
    for name in [
        "",
        "/etc/passwd",
        "sshd",
        "workload/",
        "workload/other",
        "workload/backup-service/",
        "workload/backup-service/other.log",
        "workload/backup-service/../../etc/passwd",
        "workload/backup-service/./run.log",
    ] {
        let refused = logs
            .fetch(Query {
                source: name.into(),
                ..Query::default()
            })
            .await
            .unwrap_err();
        assert!(matches!(refused, LogError::NoSource(_)), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn readers_are_limited_in_number() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(dir.path());
    let query = Query {
        source: "workload/backup-service/run.log".into(),
        follow: true,
        ..Query::default()
    };
    let mut open = Vec::new();
    for _ in 0..READERS {
        open.push(logs.fetch(query.clone()).await.unwrap());
    }
    assert!(matches!(logs.fetch(query).await, Err(LogError::Busy)));
}
