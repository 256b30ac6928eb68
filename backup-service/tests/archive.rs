//! The archive format on real files: what goes in comes out, other programs read it, and damage is found.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "the programs that users have must read an archive"
)]

mod support;

use std::path::Path;
use std::process::Command;

use backup_service::archive::find::find;
use backup_service::archive::member::{Kind, Moment, Origin};
use backup_service::archive::names::MemberPath;
use backup_service::archive::read::Archive;
use backup_service::archive::select::{SelectError, Selection};
use backup_service::archive::verify::{Report, verify, verify_written};
use backup_service::archive::write::{ArchiveWriter, Fault, WriteError};
use bytes::Bytes;
use proptest::prelude::*;
use support::{file, manifest, member, noise, read, room, sha256, write};
use twox_hash::XxHash3_64;

fn check(path: &Path) -> Result<Report, String> {
    let archive = Archive::open(path).map_err(|e| e.to_string())?;
    verify(&archive, None, 2).map_err(|e| e.to_string())
}

fn sample(directory: &Path, big: usize) -> std::path::PathBuf {
    let mut special = file("core", b"\xff\xfe/\xc3\xa4 \\ new\nline", b"odd name");
    special.0.modified = Moment {
        seconds: -3,
        nanos: 500_000_000,
    };
    special.0.uid = 4_000_000_000;
    special.0.xattrs = vec![(Bytes::from_static(b"user.a=b%"), Bytes::from_static(b"\0\x01"))];
    let mut dump = file("core", b"dump.sql", b"INSERT");
    dump.0.origin = Origin::Command;
    let mut members = vec![
        (member("core", b"dir", Kind::Directory), Vec::new()),
        file("core", b"dir/empty", b""),
        file("core", b"dir/a", b"hello"),
        (
            member(
                "core",
                b"dir/b",
                Kind::HardLink(MemberPath::new(Bytes::from_static(b"dir/a")).unwrap()),
            ),
            Vec::new(),
        ),
        (
            member("core", b"dir/c", Kind::Symlink(Bytes::from_static(b"../../x"))),
            Vec::new(),
        ),
        special,
        dump,
        file("cdr", "l".repeat(250).as_bytes(), b"long"),
    ];
    if big > 0 {
        members.push(file("cdr", b"big.wav", &noise(big, 7)));
        members.extend((0..200).map(|n| file("cdr", format!("many/{n}").as_bytes(), &noise(20_000, n))));
    }
    let path = write(directory, &["core", "cdr", "announcements"], &members).unwrap();
    assert_eq!(read(&path, &Selection::default()).unwrap(), members);
    path
}

#[test]
fn what_goes_in_comes_out_and_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), 11 << 20);
    let report = check(&path).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.members, 209);
    assert_eq!(
        report.sha256,
        data_encoding::HEXLOWER.encode(&sha256(&std::fs::read(&path).unwrap()))
    );
}

#[test]
fn tar_and_zstd_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), 9 << 20);
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let list = Command::new("tar")
        .arg("--zstd")
        .arg("-tf")
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        list.status.success() && list.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&list.stderr)
    );
    let names = String::from_utf8(list.stdout).unwrap();
    assert!(names.starts_with("manifest.json\ndata/core/dir/\n"), "{names}");
    assert!(names.ends_with("\nchecksums.json\n"), "{names}");
    let mut extract = Command::new("tar");
    let extract = extract
        .args(["--zstd", "--no-same-owner", "-xf"])
        .arg(&path)
        .arg("-C")
        .arg(&out);
    let extract = extract.output().unwrap();
    assert!(
        extract.status.success(),
        "{}",
        String::from_utf8_lossy(&extract.stderr)
    );
    assert_eq!(
        std::fs::read(out.join("data/cdr/big.wav")).unwrap(),
        noise(9 << 20, 7)
    );
    assert_eq!(std::fs::read(out.join("data/core/dir/b")).unwrap(), b"hello");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("checksums.json")).unwrap()).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 210);
    let test = Command::new("zstd").arg("-tq").arg(&path).status().unwrap();
    assert!(test.success());
    let mut raw = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap());
    assert_eq!(
        raw.entries().unwrap().map(|e| e.unwrap().size()).take(1).count(),
        1
    );
}

#[test]
fn every_changed_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    let other = dir.path().join("b.sar");
    let intact = |bytes: &[u8]| {
        std::fs::write(&other, bytes).unwrap();
        check(&other).is_ok_and(|report| report.is_intact())
    };
    assert!(intact(&whole));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(!intact(&bytes), "byte {at} of {}", whole.len());
    }
    for length in (0..whole.len()).step_by(3) {
        assert!(!intact(&whole[..length]), "cut to {length}");
    }
    for more in [&b"\0"[..], b"x", &whole] {
        assert!(!intact(&[&whole, more].concat()), "appended");
    }
}

#[test]
fn what_is_on_the_disk_must_be_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sar");
    let content = noise(9 << 20, 3);
    let attempt = |change: &dyn Fn(&Path)| {
        let mut options = std::fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        let out = options.open(&path).unwrap();
        let mut writer = ArchiveWriter::create(out, room(dir.path()), &manifest(&["core"]), 2).unwrap();
        writer
            .begin(member("core", b"sound", Kind::File(content.len() as u64)), false)
            .unwrap();
        writer.content(&content).unwrap();
        writer.end(&sha256(&content), None).unwrap();
        let (written, _) = writer.finish(1, content.len() as u64).unwrap();
        change(&path);
        verify_written(written, 2)
    };
    let intact = attempt(&|_| ()).unwrap();
    assert_eq!(intact.problems, Vec::<String>::new());
    let other = std::fs::read(&path).unwrap();
    assert_eq!(intact.sha256, data_encoding::HEXLOWER.encode(&sha256(&other)));
    for at in [0, 100, 4 << 20, 6_000_000] {
        let flipped = attempt(&|path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[at] ^= 4;
            std::fs::write(path, bytes).unwrap();
        });
        let problem = &flipped.unwrap().problems[0];
        assert!(problem.contains("is not what was written"), "{at}: {problem}");
    }
    // Another archive in its place is sound by itself, and yet not the one.
    let exchanged = attempt(&|path| std::fs::write(path, &other).unwrap()).unwrap();
    assert!(!exchanged.is_intact());
}

#[test]
fn one_file_is_read_by_its_frames_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), 30 << 20);
    // What is not needed is destroyed: reading the chosen ones must not notice.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8 << 20..9 << 20].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let choose = |paths: &[&str]| Selection {
        paths: paths.iter().map(|p| p.as_bytes().to_vec()).collect(),
        ..Selection::default()
    };
    let got = read(&path, &choose(&["core/dir", "cdr/many/150"])).unwrap();
    assert_eq!(got.len(), 6);
    assert_eq!(got[5].1, noise(20_000, 150));
    assert!(matches!(
        read(&path, &choose(&["core/none"])),
        Err(SelectError::Missing(_))
    ));
    assert!(matches!(
        read(&path, &Selection::default()),
        Err(SelectError::Read(_))
    ));
    assert!(!check(&path).unwrap().is_intact());
    let sets = Selection {
        data_sets: ["core".to_owned()].into(),
        ..Selection::default()
    };
    assert_eq!(read(&path, &sets).unwrap().len(), 7);
    let wrong = Selection {
        data_sets: ["x".to_owned()].into(),
        ..Selection::default()
    };
    assert!(matches!(read(&path, &wrong), Err(SelectError::Missing(_))));
}

#[test]
fn members_are_found_by_words_of_their_names_without_reading_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), 3 << 20);
    // The content is destroyed, the index is not.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1 << 20..2 << 20].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let archive = Archive::open(&path).unwrap();
    let names = |text: &str, most, room| {
        let found = find(&archive, text, most, room).unwrap();
        let names = found.first.into_iter().map(|(name, _)| name);
        (names.collect::<Vec<_>>(), found.count)
    };
    let (all, count) = names("", 10_000, 1 << 20);
    assert_eq!(all.len() as u64, count);
    assert!(all.contains(&b"core/dir".to_vec()) && !all.iter().any(|name| name.ends_with(b".json")));
    assert_eq!(
        names("DIR empty", 10, 1000),
        (vec![b"core/dir/empty".to_vec()], 1)
    );
    assert_eq!(
        names("\u{c4} line", 10, 1000).0,
        [b"core/\xff\xfe/\xc3\xa4 \\ new\nline".to_vec()]
    );
    assert_eq!(names("cdr many 150", 10, 1000).0, [b"cdr/many/150".to_vec()]);
    // No more than asked for, and no more than fit; all are counted.
    assert_eq!(names("", 3, 1 << 20), (all[..3].to_vec(), count));
    let room = all[0].len() + all[1].len() + 1;
    assert_eq!(names("", 10, room), (all[..2].to_vec(), count));
    assert_eq!(names("nothing like it", 10, 1000), (Vec::new(), 0));
}

fn fault(members: &[(backup_service::archive::member::Member, Vec<u8>)]) -> Fault {
    let dir = tempfile::tempdir().unwrap();
    match write(dir.path(), &["core", "cdr"], members) {
        Err(WriteError::Refused { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_that_do_not_fit_are_refused() {
    let link = |to: &'static [u8]| Kind::HardLink(MemberPath::new(Bytes::from_static(to)).unwrap());
    let a = || file("core", b"a", b"1");
    assert_eq!(fault(&[a(), a()]), Fault::Twice);
    assert_eq!(fault(&[file("other", b"a", b"")]), Fault::DataSet);
    assert_eq!(fault(&[file("cdr", b"a", b""), a()]), Fault::DataSet);
    assert_eq!(
        fault(&[(member("core", b"l", link(b"a")), Vec::new()), a()]),
        Fault::LinkTarget
    );
    assert_eq!(
        fault(&[a(), (member("cdr", b"l", link(b"a")), Vec::new())]),
        Fault::LinkTarget
    );
    let symlink = (
        member("core", b"s", Kind::Symlink(Bytes::from_static(b"/etc"))),
        Vec::new(),
    );
    assert_eq!(
        fault(&[symlink, file("core", b"s/passwd", b"")]),
        Fault::BelowLink
    );
    assert!(matches!(
        fault(&[(member("core", b"a", Kind::File(2)), b"1".to_vec())]),
        Fault::Size { .. }
    ));
    assert!(matches!(
        fault(&[(member("core", b"a", Kind::File(1)), b"12".to_vec())]),
        Fault::Size { .. }
    ));
    let mut mode = a();
    mode.0.mode = 0o10000;
    assert!(matches!(fault(&[mode]), Fault::Member(_)));
}

#[test]
fn output_of_unknown_size_is_spooled_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sar");
    let out = std::fs::File::create_new(&path).unwrap();
    let mut writer = ArchiveWriter::create(out, room(dir.path()), &manifest(&["core"]), 1).unwrap();
    let dump = noise(6 << 20, 1);
    writer
        .begin(member("core", b"dump.sql", Kind::File(0)), true)
        .unwrap();
    for piece in dump.chunks(70_000) {
        writer.content(piece).unwrap();
    }
    writer
        .end(&sha256(&dump), Some(XxHash3_64::oneshot(&dump)))
        .unwrap();
    writer.finish(1, dump.len() as u64).unwrap();
    assert!(check(&path).unwrap().is_intact());
    assert_eq!(read(&path, &Selection::default()).unwrap()[0].1, dump);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_of_any_size_come_back(sizes in prop::collection::vec(prop_oneof![0..2000usize, 0..3_000_000usize], 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let files = sizes.iter().enumerate();
        let members: Vec<_> =
            files.map(|(n, size)| file("core", format!("f{n}").as_bytes(), &noise(*size, n as u64))).collect();
        let path = write(dir.path(), &["core"], &members).unwrap();
        prop_assert!(check(&path).unwrap().is_intact());
        prop_assert!(read(&path, &Selection::default()).unwrap() == members);
    }

    #[test]
    fn no_file_makes_the_reader_panic(mut bytes: Vec<u8>, whole: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sar");
        if whole {
            bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0xB1, 0xEA, 0x92, 0x8F]);
        }
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(check(&path).is_err());
    }
}
