//! Real files: read whole, in part, on from a cursor, and while they grow and rotate.

use std::io::Write;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

fn world(content: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    append(&dir, content);
    dir
}

fn append(dir: &TempDir, content: &[u8]) {
    let path = dir.path().join("logs/a.log");
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
        .write_all(content)
        .unwrap();
}

/// All pieces of a fetch that ends by itself.
fn fetch(dir: &TempDir, query: &Query) -> Result<Vec<Piece>, LogError> {
    let tail = Tail::open(dir.path(), "a.log", query)?;
    let (sink, mut pieces) = mpsc::channel(4);
    let format = query.format;
    let thread = std::thread::spawn(move || tail.send(format, &sink));
    let mut all = Vec::new();
    while let Some(piece) = pieces.blocking_recv() {
        all.push(piece?);
    }
    thread.join().unwrap();
    Ok(all)
}

fn text(pieces: &[Piece]) -> String {
    let stream: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.to_vec()).collect();
    String::from_utf8(zstd::decode_all(stream.as_slice()).unwrap()).unwrap()
}

fn last(lines: u64) -> Query {
    Query {
        lines: Some(lines),
        ..Query::default()
    }
}

#[test]
fn a_file_is_read_whole_or_its_last_lines() {
    let dir = world(b"one\ntwo\nthree");
    assert_eq!(text(&fetch(&dir, &Query::default()).unwrap()), "one\ntwo\nthree");
    assert_eq!(text(&fetch(&dir, &last(1)).unwrap()), "three");
    assert_eq!(text(&fetch(&dir, &last(2)).unwrap()), "two\nthree");
    assert_eq!(text(&fetch(&dir, &last(9)).unwrap()), "one\ntwo\nthree");
    append(&dir, b"\n");
    assert_eq!(text(&fetch(&dir, &last(1)).unwrap()), "three\n");
}

#[test]
fn each_message_ends_where_its_lines_can_be_decompressed_and_its_cursor_goes_on_there() {
    let content: String = (0..50_000)
        .map(|n| format!("line {n} of a log that is long enough\n"))
        .collect();
    let dir = world(content.as_bytes());
    let pieces = fetch(&dir, &Query::default()).unwrap();
    assert!(pieces.len() > 5);
    let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
    for piece in pieces.iter().take(4) {
        assert!(piece.data.len() <= satellite_proto::wire::MAX_PIECE);
        decoder.write_all(&piece.data).unwrap();
        decoder.flush().unwrap();
        let so_far = decoder.get_ref();
        assert_eq!(so_far.last(), Some(&b'\n'));
        assert_eq!(count(so_far), piece.lines);
        let rest = Query {
            cursor: Some(piece.cursor.clone()),
            ..Query::default()
        };
        let rest = text(&fetch(&dir, &rest).unwrap());
        assert_eq!(format!("{}{rest}", String::from_utf8_lossy(so_far)), content);
    }
    assert_eq!(pieces.last().unwrap().lines, 50_000);
}

#[test]
fn json_has_an_object_for_each_line() {
    let dir = world(b"one\n\xff\"\n");
    let query = Query {
        format: Format::Json,
        ..Query::default()
    };
    assert_eq!(
        text(&fetch(&dir, &query).unwrap()),
        "{\"message\":\"one\"}\n{\"message\":\"\u{fffd}\\\"\"}\n"
    );
}

#[test]
fn a_cursor_of_a_file_that_was_rotated_or_cut_is_not_known() {
    let dir = world(b"one\ntwo\n");
    let cursor = fetch(&dir, &Query::default())
        .unwrap()
        .last()
        .unwrap()
        .cursor
        .clone();
    let query = Query {
        cursor: Some(cursor),
        ..Query::default()
    };
    assert_eq!(text(&fetch(&dir, &query).unwrap()), "");
    let path = dir.path().join("logs/a.log");
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(3)
        .unwrap();
    assert!(matches!(fetch(&dir, &query), Err(LogError::UnknownCursor)));
    std::fs::rename(&path, dir.path().join("logs/a.log.1")).unwrap();
    append(&dir, b"new and longer than before\n");
    assert!(matches!(fetch(&dir, &query), Err(LogError::UnknownCursor)));
    let nonsense = Query {
        cursor: Some("file-x".into()),
        ..Query::default()
    };
    assert!(matches!(fetch(&dir, &nonsense), Err(LogError::Invalid(_))));
}

#[test]
fn a_followed_file_goes_on_with_new_lines_through_its_rotation() {
    let dir = world(b"one\n");
    let query = Query {
        follow: true,
        ..Query::default()
    };
    let tail = Tail::open(dir.path(), "a.log", &query).unwrap();
    let (sink, mut pieces) = mpsc::channel(4);
    let thread = std::thread::spawn(move || tail.send(Format::Text, &sink));
    let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
    let mut wait_for = |expected: &str| {
        while decoder.get_ref() != expected.as_bytes() {
            decoder
                .write_all(&pieces.blocking_recv().unwrap().unwrap().data)
                .unwrap();
            decoder.flush().unwrap();
        }
    };
    wait_for("one\n");
    append(&dir, b"two\nhalf");
    wait_for("one\ntwo\n");
    append(&dir, b" done\n");
    wait_for("one\ntwo\nhalf done\n");
    std::fs::rename(dir.path().join("logs/a.log"), dir.path().join("logs/a.log.1")).unwrap();
    append(&dir, b"new\n");
    wait_for("one\ntwo\nhalf done\nnew\n");
    drop(pieces);
    thread.join().unwrap();
}

#[test]
fn links_are_not_followed() {
    let dir = world(b"");
    let secret = tempfile::NamedTempFile::new().unwrap();
    let logs = dir.path().join("logs");
    std::os::unix::fs::symlink(secret.path(), logs.join("soft.log")).unwrap();
    std::fs::hard_link(logs.join("a.log"), logs.join("hard.log")).unwrap();
    for name in ["soft.log", "hard.log", "../a.log", "."] {
        assert!(open(dir.path(), name).is_err(), "{name}");
    }
    std::fs::rename(&logs, dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &logs).unwrap();
    assert!(open(dir.path(), "a.log").is_err(), "a link in place of logs/");
}

#[test]
fn what_a_file_cannot_be_asked_is_refused() {
    let dir = world(b"one\n");
    let query = Query {
        max_priority: Some(3),
        ..Query::default()
    };
    assert!(matches!(fetch(&dir, &query), Err(LogError::Invalid(_))));
}
