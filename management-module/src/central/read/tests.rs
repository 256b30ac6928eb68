//! What is read, also while it changes, and what is not.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngCore as _, SeedableRng as _};
use satellite_proto::wire::backup::v1::{Item, Member, MemberType, item};

use super::super::command::CommandError;
use super::super::testing::{data_set_of, profile, read, read_since};
use super::seen::{Base, Chunks, Head, Recorder, SeenFile};
use super::{Measured, Memory, ReadError, measure, measure_and_sample};
use crate::plan::space::Shrunk;

fn members(items: &[Item]) -> Vec<&Member> {
    let begin = |item: &'_ Item| match item.kind {
        Some(item::Kind::Begin(_)) => true,
        Some(_) | None => false,
    };
    items
        .iter()
        .filter(|item| begin(item))
        .filter_map(|item| match &item.kind {
            Some(item::Kind::Begin(member)) => Some(member),
            Some(_) | None => None,
        })
        .collect()
}

fn sent(items: &[Item]) -> u64 {
    let content = items.iter().filter_map(|item| match &item.kind {
        Some(item::Kind::Content(data)) => Some(data.len() as u64),
        Some(_) | None => None,
    });
    content.sum()
}

#[tokio::test]
async fn excludes_and_special_files_are_left_out_and_links_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cache")).unwrap();
    for name in ["b", "a", "c.tmp", "cache/x"] {
        File::create(dir.path().join(name)).unwrap();
    }
    symlink("/etc", dir.path().join("link")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let root = dir.path().display().to_string();
    let excludes = ["**/*.tmp", &format!("{root}/cache")].map(str::to_owned);
    let got = read(profile(&format!("paths = [{root:?}]\nexcludes = {excludes:?}\n")).data_sets).await;
    let names: Vec<_> = members(&got.items)
        .iter()
        .map(|member| {
            String::from_utf8_lossy(&member.path)
                .rsplit('/')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(names[1..], ["a", "b", "link"]);
    assert_eq!(got.notices.len(), 1, "{:?}", got.notices);
    assert!(got.notices[0].contains("pipe"));
    assert_eq!(got.result.unwrap().members, 4);
}

#[tokio::test]
async fn a_data_set_of_which_nothing_exists_is_an_error() {
    let got = read(profile("paths = [\"/nowhere/at/all\"]\n").data_sets).await;
    assert!(
        matches!(got.result, Err(ReadError::NothingThere { .. })),
        "{:?}",
        got.result
    );
}

#[tokio::test]
async fn what_a_command_prints_is_a_file_of_unknown_size() {
    let got =
        read(profile("[[data-set.command]]\nname = \"x.sql\"\nrun = [\"printf\", \"abc\"]\n").data_sets)
            .await;
    assert_eq!(got.result.unwrap().bytes, 3);
    let member = members(&got.items)[0];
    assert!(member.size_unknown);
    assert_eq!(member.path, "x.sql");
    assert_eq!(got.items.len(), 3);
}

#[tokio::test]
async fn a_command_that_fails_ends_the_run_with_what_it_said() {
    let run = "run = [\"sh\", \"-c\", \"echo some; echo no such database >&2; exit 3\"]";
    let got = read(profile(&format!("[[data-set.command]]\nname = \"x.sql\"\n{run}\n")).data_sets).await;
    let Err(ReadError::Command {
        source: CommandError::Failed { stderr, .. },
        ..
    }) = got.result
    else {
        panic!("{:?}", got.result);
    };
    assert_eq!(stderr, ["no such database"]);
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed() {
    let run = "run = [\"sleep\", \"600\"]\ndeadline = \"100ms\"";
    let got = read(profile(&format!("[[data-set.command]]\nname = \"x.sql\"\n{run}\n")).data_sets).await;
    let Err(ReadError::Command { source, .. }) = got.result else {
        panic!("{:?}", got.result)
    };
    assert!(matches!(source, CommandError::Deadline { .. }), "{source:?}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let run = "run = [\"no-such-program\"]";
    let got = read(profile(&format!("[[data-set.command]]\nname = \"x.sql\"\n{run}\n")).data_sets).await;
    let Err(ReadError::Command { source, .. }) = got.result else {
        panic!("{:?}", got.result)
    };
    assert!(source.to_string().contains("no-such-program"), "{source}");
}

/// Changes a file without a break while it is read, and checks that as much follows as was announced.
async fn check_while(initial: usize, change: impl Fn(&File, u64) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    File::create(&path).unwrap().write_all(&vec![7; initial]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let changer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let file = File::options().write(true).open(path).unwrap();
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                change(&file, round);
                round += 1;
            }
        }
    });
    for _ in 0..20 {
        let got = read(data_set_of(dir.path())).await;
        got.result.unwrap();
        let all = members(&got.items);
        let announced = all
            .iter()
            .find(|member| member.r#type() == MemberType::File)
            .unwrap()
            .size_bytes;
        assert_eq!(sent(&got.items), announced);
    }
    stop.store(true, Ordering::Relaxed);
    changer.join().unwrap();
}

#[tokio::test]
async fn a_small_file_that_changes_is_sent_as_announced() {
    check_while(100_000, |file, round| {
        file.set_len(50_000 + (round % 7) * 20_000).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_large_file_that_grows_and_shrinks_is_sent_as_announced() {
    check_while(8_000_000, |file, round| {
        file.set_len(3_000_000 + (round % 5) * 1_500_000).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_small_file_that_becomes_large_and_small_is_sent_as_announced() {
    check_while(1000, |file, round| file.set_len((round % 2) * 2_000_000).unwrap()).await;
}

#[test]
fn a_measure_counts_each_content_once() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("a"))
        .unwrap()
        .write_all(b"12345")
        .unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    symlink("a", dir.path().join("c")).unwrap();
    let sets = data_set_of(dir.path());
    assert_eq!(measure(&sets[0]), Measured { files: 2, bytes: 5 });
}

#[test]
fn a_sample_tells_what_can_be_compressed_of_however_much_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut noise = vec![0; 12 << 20];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    let sampled = || measure_and_sample(&data_set_of(dir.path()));
    assert_eq!(sampled().1, Shrunk { from: 0, to: 0 });
    put(&dir.path().join("a"), b"ab");
    assert_eq!(sampled().0, [Measured { files: 1, bytes: 2 }]);
    // More than pieces are taken at once, in files larger and smaller than a piece; half of it is noise.
    put(&dir.path().join("b"), &noise);
    for name in 0..600 {
        put(&dir.path().join(format!("c{name}")), [0; 20 << 10]);
    }
    let (measured, shrunk) = sampled();
    assert_eq!(shrunk.from, measured[0].bytes);
    let half = shrunk.from / 2;
    assert!(shrunk.to.abs_diff(half) < half / 5, "{shrunk:?}");
}

#[tokio::test]
async fn what_has_not_changed_is_named_and_what_has_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["still", "touched", "grown"] {
        put(&path(name), name);
    }
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let aged = |name: &str| {
        File::options()
            .write(true)
            .open(path(name))
            .unwrap()
            .set_modified(long_ago)
    };
    for name in ["still", "touched", "grown"] {
        aged(name).unwrap();
    }
    let kept = tempfile::tempdir().unwrap();
    let list = |name: &str| kept.path().join(name);
    let head = Head {
        archive: "a".into(),
        satellite: "s".into(),
    };
    let noting = |name: &str| Memory {
        base: None,
        recorder: Some(Recorder::create(list(name)).unwrap()),
    };
    let (_, first) = read_since(data_set_of(dir.path()), noting("first")).await;
    first.unwrap().keep(&head).unwrap();
    // They were changed a moment ago, says the time that nobody can set: none of them is trusted, and nothing is kept.
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 0);
    let mut by_hand = Recorder::create(list("by hand")).unwrap();
    for name in ["still", "touched", "grown"] {
        by_hand.push(seen_by_hand(&path(name)), &Chunks::default());
    }
    by_hand.keep(&head).unwrap();
    let base = Base::open(&list("by hand")).unwrap();
    assert_eq!(base.head(), &head);
    // The same content and time, and yet it was touched: the time of the last change of anything tells.
    fs::remove_file(path("touched")).unwrap();
    put(&path("touched"), "touched");
    aged("touched").unwrap();
    put(&path("grown"), "grown and more");
    let memory = Memory {
        base: Some(Arc::new(base.indexed().unwrap())),
        ..noting("second")
    };
    let (second, noted) = read_since(data_set_of(dir.path()), memory).await;
    noted.unwrap().keep(&head).unwrap();
    let totals = second.result.unwrap();
    assert_eq!((totals.bytes, totals.sent), (5 + 7 + 14, 7 + 14));
    assert_eq!(sent(&second.items), 7 + 14);
    let copied: Vec<_> = second
        .items
        .iter()
        .filter_map(|item| match &item.kind {
            Some(item::Kind::Copied(part)) => Some(part.clone()),
            _ => None,
        })
        .collect();
    assert_eq!((copied.len(), copied[0].offset, copied[0].length), (1, 0, 5));
    assert!(copied[0].path.ends_with(b"/still"));
    let again = Base::open(&list("second")).unwrap().indexed().unwrap();
    let memory = Memory {
        base: Some(Arc::new(again)),
        recorder: None,
    };
    let (third, _) = read_since(data_set_of(dir.path()), memory).await;
    assert_eq!(third.result.unwrap().sent, 7 + 14);
}

/// Reads a file of `size` bytes, and once more after a few bytes were inserted in its middle; answers how many were sent then.
async fn sent_again(size: usize) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let (file, list) = (dir.path().join("data/dump"), dir.path().join("list"));
    fs::create_dir(dir.path().join("data")).unwrap();
    let mut content = vec![0; size];
    rand::rngs::StdRng::seed_from_u64(1).fill_bytes(&mut content);
    let sets = || data_set_of(&dir.path().join("data"));
    put(&file, &content);
    let memory = Memory {
        base: None,
        recorder: Some(Recorder::create(list.clone()).unwrap()),
    };
    let (first, noted) = read_since(sets(), memory).await;
    assert_eq!(first.result.unwrap().sent, size as u64);
    noted.unwrap().keep(&Head::default()).unwrap();
    // A row is inserted: what follows lies elsewhere.
    content.splice(size / 2..size / 2, *b"INSERT");
    put(&file, &content);
    let memory = Memory {
        base: Base::open(&list)
            .ok()
            .map(|base| Arc::new(base.indexed().unwrap())),
        recorder: None,
    };
    let (second, _) = read_since(sets(), memory).await;
    let totals = second.result.unwrap();
    assert_eq!(
        (totals.bytes, sent(&second.items)),
        (size as u64 + 6, totals.sent)
    );
    totals.sent
}

#[tokio::test]
async fn of_a_large_file_that_changed_a_little_little_is_sent() {
    assert!(sent_again(12 * 1024 * 1024).await <= 2 * 1024 * 1024);
    // It would not be worth it.
    assert_eq!(sent_again(3 * 1024 * 1024).await, 3 * 1024 * 1024 + 6);
}

#[test]
fn what_is_damaged_or_cut_off_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let mut recorder = Recorder::create(list.clone()).unwrap();
    let mut chunks = Chunks::default();
    chunks.push(&[7; 32], 1000);
    for name in ["one", "two"] {
        let file = SeenFile {
            path: name.into(),
            ..SeenFile::default()
        };
        recorder.push(file, &chunks);
    }
    recorder.keep(&Head::default()).unwrap();
    let whole = fs::read(&list).unwrap();
    let is_used = |bytes: &[u8]| {
        put(&list, bytes);
        Base::open(&list).and_then(Base::indexed).is_ok()
    };
    assert!(is_used(&whole));
    for length in 0..whole.len() {
        assert!(!is_used(&whole[..length]), "{length}");
    }
    // A length that leads beyond the end.
    let mut wrong = whole.clone();
    wrong[0] = 255;
    assert!(!is_used(&wrong));
}

#[test]
fn what_an_attempt_before_still_notes_gets_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let file = |name: &'static str| SeenFile {
        path: name.into(),
        inode: 1,
        ..SeenFile::default()
    };
    let mut before = Recorder::create(list.clone()).unwrap();
    let mut now = Recorder::create(list.clone()).unwrap();
    before.push(file("before"), &Chunks::default());
    now.push(file("now"), &Chunks::default());
    now.keep(&Head::default()).unwrap();
    let kept = fs::read(&list).unwrap();
    drop(before);
    assert_eq!(fs::read(&list).unwrap(), kept);
    assert!(kept.windows(3).any(|part| part == b"now"));
    assert!(Base::open(&list).and_then(Base::indexed).is_ok());
}

fn put(path: &std::path::Path, content: impl AsRef<[u8]>) {
    File::create(path).unwrap().write_all(content.as_ref()).unwrap();
}

fn seen_by_hand(path: &std::path::Path) -> SeenFile {
    use std::os::unix::fs::MetadataExt as _;
    let (found, content) = (fs::metadata(path).unwrap(), fs::read(path).unwrap());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    SeenFile {
        data_set: "core".into(),
        path: path
            .to_str()
            .unwrap()
            .trim_start_matches('/')
            .as_bytes()
            .to_vec()
            .into(),
        size: found.len(),
        inode: found.ino(),
        times: vec![
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ],
        sha256: digest.as_ref().to_vec().into(),
        chunks: 0,
    }
}
