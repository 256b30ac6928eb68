//! Streams that were made to break out, or broke on the way.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use satellite_proto::wire::backup::v1::{Item, MemberOrigin, MemberType, item};

use super::super::super::testing::{begin, content, end, file, profile, restore, told};
use super::super::content::UNFINISHED;
use super::super::{RestoreError, Target};

/// Restores into `DIR/target` beside `DIR/outside`, which must stay as it is; answers what was refused.
#[track_caller]
fn check_refused(items: Vec<Item>, reason: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::File::create(dir.path().join("outside/secret")).unwrap();
    let before = told(&dir.path().join("outside"));
    let items = items.into_iter().map(|item| at(item, dir.path())).collect();
    let report = restore(Target::Directory(dir.path().join("target")), items).unwrap();
    assert_eq!(report.refused, 1, "{report:?}");
    assert!(report.notices[0].contains(reason), "{report:?}");
    assert_eq!(before, told(&dir.path().join("outside")));
}

/// Puts the directory of the test where a link says `DIR`.
fn at(mut item: Item, dir: &Path) -> Item {
    if let Some(item::Kind::Begin(member)) = &mut item.kind {
        let target = String::from_utf8_lossy(&member.link_target).replace("DIR", &dir.display().to_string());
        member.link_target = target.into_bytes().into();
    }
    item
}

#[test]
fn a_path_that_leads_up_or_is_absolute_is_refused() {
    for path in [
        "../outside/x",
        "a/../../../outside/x",
        "/outside/x",
        "a//b",
        "./a",
        "a/",
        ".",
        "..",
        "",
    ] {
        check_refused(file(path.as_bytes(), b"x"), "its path is");
    }
}

#[test]
fn a_name_with_a_nul_is_refused() {
    check_refused(file(b"a\0b", b"x"), "not a plain name");
}

#[test]
fn a_data_set_that_leads_up_is_refused() {
    let mut items = file(b"x", b"x");
    let Some(item::Kind::Begin(member)) = &mut items[0].kind else {
        panic!()
    };
    member.data_set = "..".to_owned();
    check_refused(items, "data set's name");
}

#[test]
fn nothing_is_written_through_a_symbolic_link_of_the_archive() {
    let mut items = vec![begin(b"door", MemberType::Symlink, 0, b"DIR/outside")];
    items.extend(file(b"door/x", b"x"));
    check_refused(items, "not a directory");
}

#[test]
fn a_directory_does_not_take_the_place_of_a_link() {
    let items = vec![
        begin(b"door", MemberType::Symlink, 0, b"DIR/outside"),
        begin(b"door", MemberType::Directory, 0, b""),
    ];
    check_refused(items, "not a directory");
}

#[test]
fn a_hard_link_to_the_outside_is_refused() {
    check_refused(
        vec![begin(b"a", MemberType::HardLink, 0, b"../../outside/secret")],
        "its path is",
    );
    check_refused(
        vec![begin(b"a", MemberType::HardLink, 0, b"/etc/passwd")],
        "its path is",
    );
}

#[test]
fn a_hard_link_through_or_to_a_symbolic_link_is_refused() {
    let door = begin(b"door", MemberType::Symlink, 0, b"DIR/outside");
    check_refused(
        vec![door, begin(b"a", MemberType::HardLink, 0, b"door/secret")],
        "not a directory",
    );
    let door = begin(b"door", MemberType::Symlink, 0, b"DIR/outside/secret");
    check_refused(
        vec![door, begin(b"a", MemberType::HardLink, 0, b"door")],
        "not a file",
    );
}

#[test]
fn the_same_name_twice_is_refused() {
    let mut items = file(b"a", b"first");
    items.extend(file(b"a", b"second"));
    check_refused(items, "is there already");
}

#[track_caller]
fn check_error(items: Vec<Item>) -> RestoreError {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let err = restore(Target::Directory(target.clone()), items).expect_err("the stream is broken");
    let files = walkdir::WalkDir::new(target)
        .into_iter()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file()));
    assert_eq!(files.count(), 0, "nothing is left of a broken file");
    err
}

#[test]
fn a_wrong_digest_is_an_error() {
    let items = vec![begin(b"a", MemberType::File, 1, b""), content(b"x"), end(b"y")];
    assert!(matches!(check_error(items), RestoreError::Digest { .. }));
}

#[test]
fn what_was_whole_before_a_broken_file_stays_and_nothing_of_it_or_after_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let name = |number: usize| format!("f{number:03}").into_bytes();
    let mut items: Vec<Item> = (0..100).flat_map(|number| file(&name(number), b"good")).collect();
    items.extend([
        begin(b"broken", MemberType::File, 1, b""),
        content(b"x"),
        end(b"y"),
    ]);
    items.push(begin(b"its other name", MemberType::HardLink, 0, b"broken"));
    items.extend((100..200).flat_map(|number| file(&name(number), b"late")));
    let err = restore(Target::Directory(target.clone()), items).unwrap_err();
    assert!(matches!(err, RestoreError::Digest { label } if label.ends_with("broken")));
    for entry in fs::read_dir(target.join("core")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::read(&path).unwrap(), b"good", "{}", path.display());
        let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o644, "{}", path.display());
    }
    assert_eq!(fs::read_dir(target.join("core")).unwrap().count(), 100);
}

#[test]
fn a_file_whose_mode_says_unfinished_comes_back_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut items = file(b"a", b"content");
    let Some(item::Kind::Begin(member)) = &mut items[0].kind else {
        panic!("a file begins with its member");
    };
    member.mode = UNFINISHED;
    items.extend(file(b"b", b"content"));
    restore(Target::Directory(dir.path().join("target")), items).unwrap();
    let mode = |name: &str| {
        fs::metadata(dir.path().join("target/core").join(name))
            .unwrap()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("a"), mode("b")), (UNFINISHED, 0o644));
}

#[test]
fn a_missing_end_and_a_lie_about_the_size_are_errors() {
    let open = || begin(b"a", MemberType::File, 2, b"");
    for items in [
        vec![open(), content(b"xx")],
        vec![open(), content(b"x"), end(b"x")],
        vec![open(), content(b"xxx"), end(b"xxx")],
        vec![open(), open()],
        vec![content(b"x")],
        vec![end(b"")],
        vec![Item { kind: None }],
        vec![begin(b"a", MemberType::Unspecified, 0, b"")],
    ] {
        assert!(matches!(check_error(items), RestoreError::Malformed(_)));
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("there")).unwrap();
    let err = restore(Target::Directory(dir.path().to_path_buf()), Vec::new()).unwrap_err();
    assert!(matches!(err, RestoreError::Target { .. }));
    let err = restore(Target::Directory(PathBuf::from("relative")), Vec::new()).unwrap_err();
    assert!(matches!(err, RestoreError::Target { .. }));
}

#[test]
fn in_place_nothing_outside_the_profile_is_written_or_run() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["data", "outside"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    symlink(dir.path().join("outside"), dir.path().join("data/door")).unwrap();
    let data = dir.path().join("data").display().to_string();
    let profile = profile(&format!("paths = [{data:?}]\n"));
    let inside = |path: &str| format!("{}/{path}", data.trim_start_matches('/')).into_bytes();
    let mut command = file(b"evil.sql", b"x");
    let Some(item::Kind::Begin(member)) = &mut command[0].kind else {
        panic!()
    };
    member.origin = MemberOrigin::Command.into();
    let outside = inside("../outside/x");
    let sibling = format!("{}-more/x", data.trim_start_matches('/')).into_bytes();
    let items = [
        file(b"etc/satellite-test-must-not-exist", b"x"),
        file(&outside, b"x"),
        file(&sibling, b"x"),
        file(&inside("door/x"), b"x"),
        command,
        file(&inside("sub/good"), b"good"),
    ];
    let target = Target::InPlace {
        profile: Box::new(profile),
        overwrite: true,
    };
    let report = restore(target, items.concat()).unwrap();
    assert_eq!((report.refused, report.members), (5, 1), "{report:?}");
    assert_eq!(fs::read(dir.path().join("data/sub/good")).unwrap(), b"good");
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    assert!(!Path::new("/etc/satellite-test-must-not-exist").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
