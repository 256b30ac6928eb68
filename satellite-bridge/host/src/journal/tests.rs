//! Arguments and entries; a journal with real entries is read in the container's tests.

use super::*;

fn words(query: &Query) -> Vec<String> {
    query
        .arguments()
        .into_iter()
        .skip(6)
        .map(|word| word.into_string().unwrap())
        .collect()
}

#[test]
fn a_query_becomes_options_with_their_values_attached() {
    let time = Timestamp::from_microsecond(1_700_000_000_000_001).unwrap();
    let query = Query {
        scope: Scope::Unit("satellite-bridge.service".into()),
        since: Some(time),
        until: Some(time),
        max_priority: Some(4),
        lines: Some(7),
        after: Some("-s=x".into()),
        follow: true,
        directory: Some("/j".into()),
    };
    let expected = [
        "--unit=satellite-bridge.service",
        "--since=@1700000000.000001",
        "--until=@1700000000.000001",
        "--priority=0..4",
        "--after-cursor=-s=x",
        "--lines=7",
        "--follow",
        "--directory=/j",
    ];
    assert_eq!(words(&query), expected);
    assert_eq!(
        words(&Query {
            scope: Scope::Kernel,
            ..Query::default()
        }),
        ["_TRANSPORT=kernel"]
    );
    assert_eq!(
        words(&Query {
            follow: true,
            ..Query::default()
        }),
        ["--no-tail", "--follow"]
    );
}

#[test]
fn an_entry_is_read_from_its_json() {
    let line =
        br#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1700000000000001","MESSAGE":"hello","PRIORITY":"6",
        "_SYSTEMD_UNIT":"a.service","SYSLOG_IDENTIFIER":"a","_PID":"42"}"#;
    let entry = Entry::parse(line).unwrap();
    assert_eq!(
        (entry.unit.as_str(), entry.pid, entry.priority),
        ("a.service", Some(42), Some(6))
    );
    assert_eq!(entry.time.to_string(), "2023-11-14T22:13:20.000001Z");
    assert_eq!(
        (entry.message.as_str(), entry.cursor.as_str()),
        ("hello", "s=1;i=2")
    );
}

#[test]
fn a_message_may_be_bytes_missing_or_given_twice() {
    let parse = |message: &str| {
        let line = format!(r#"{{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1","MESSAGE":{message}}}"#);
        Entry::parse(line.as_bytes()).unwrap().message
    };
    assert_eq!(parse("[104,105,255]"), "hi\u{fffd}");
    assert_eq!(parse("null"), "");
    assert_eq!(parse(r#"["a","b"]"#), "a b");
}

#[tokio::test]
async fn an_empty_journal_has_no_entries_and_knows_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let query = Query {
        directory: Some(dir.path().to_owned()),
        ..Query::default()
    };
    assert_eq!(Reader::start(&query).unwrap().next().await.unwrap(), None);
    assert!(!knows("s=0;i=1", query.directory).await.unwrap());
}

#[tokio::test]
async fn a_journal_that_is_not_there_is_an_error_that_says_so() {
    let query = Query {
        directory: Some("/does/not/exist".into()),
        ..Query::default()
    };
    let err = Reader::start(&query).unwrap().next().await.unwrap_err();
    assert!(err.to_string().contains("/does/not/exist"), "{err}");
}
