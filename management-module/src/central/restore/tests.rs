//! Whatever can be read comes back as it was; whatever is hostile is refused and nothing is written outside.

mod hostile;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::super::testing::{data_set_of, profile, read, restore, told};
use super::Target;

#[derive(Debug, Clone)]
enum Node {
    File {
        data: Vec<u8>,
        hole: u64,
    },
    Directory(Vec<(Vec<u8>, Self)>),
    Symlink(Vec<u8>),
    /// Another name of the first file made, if there is one.
    HardLink,
}

#[derive(Debug, Clone)]
struct Tree {
    nodes: Vec<(Vec<u8>, Node)>,
    modes: Vec<u32>,
    seconds: Vec<i64>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::collection::vec(1_u8.., 1..30).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| **byte == b'/')
            .for_each(|byte| *byte = b'\n');
        name
    });
    odd.prop_filter("not a name", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        (any::<u8>(), 200_000..1_500_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ];
    let leaf = prop_oneof![
        4 => (data, prop_oneof![Just(0), 1..3_000_000_u64]).prop_map(|(data, hole)| Node::File { data, hole }),
        1 => prop::collection::vec(1_u8.., 1..60).prop_map(Node::Symlink),
        1 => Just(Node::HardLink),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop::collection::vec((name(), inner), 0..6).prop_map(Node::Directory)
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let nodes = prop::collection::vec((name(), node()), 1..6);
    let modes = prop::collection::vec(0..0o10000_u32, 5);
    let seconds = prop::collection::vec(-3_000_000_000..4_000_000_000_i64, 5);
    (nodes, modes, seconds).prop_map(|(nodes, modes, seconds)| Tree {
        nodes,
        modes,
        seconds,
    })
}

/// Makes trees on disk.
struct Planter<'a> {
    tree: &'a Tree,
    made: usize,
    first_file: Option<PathBuf>,
}

impl Planter<'_> {
    fn plant(&mut self, dir: &Path, nodes: &[(Vec<u8>, Node)]) {
        for (name, node) in nodes {
            let path = dir.join(OsStr::from_bytes(name));
            if path.symlink_metadata().is_err() {
                self.plant_one(&path, node);
            }
        }
    }

    fn plant_one(&mut self, path: &Path, node: &Node) {
        match node {
            Node::File { data, hole } => {
                let mut file = File::create(path).unwrap();
                file.seek(SeekFrom::Start(*hole)).unwrap();
                file.write_all(data).unwrap();
                file.set_len(hole * 2 + data.len() as u64).unwrap();
                self.first_file.get_or_insert_with(|| path.to_path_buf());
            }
            Node::Directory(nodes) => {
                fs::create_dir(path).unwrap();
                self.plant(path, nodes);
            }
            Node::Symlink(target) => return symlink(OsStr::from_bytes(target), path).unwrap(),
            Node::HardLink => {
                if let Some(first) = &self.first_file {
                    fs::hard_link(first, path).unwrap();
                }
                return;
            }
        }
        self.made += 1;
        if self.made.is_multiple_of(2) {
            // Where the file system has none, there is nothing to lose.
            drop(xattr::set(path, "user.odd", &[0, 255, 10]));
        }
        let mode = self.tree.modes[self.made % 5];
        // Its owner can read and enter it also if the tests do not run as root, and keeps no foreign rights.
        let mode = if nix::unistd::geteuid().is_root() {
            mode
        } else {
            (mode & 0o777) | 0o700
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let seconds = self.tree.seconds[self.made % 5];
        let span = Duration::new(seconds.unsigned_abs(), 123_456_789);
        let time = if seconds < 0 {
            UNIX_EPOCH - span
        } else {
            UNIX_EPOCH + span
        };
        File::open(path).unwrap().set_modified(time).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_read_comes_back_as_it_was(tree in tree()) {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        Planter { tree: &tree, made: 0, first_file: None }.plant(&source, &tree.nodes);
        let before = told(&source);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(read(data_set_of(&source)));
        prop_assert_eq!(got.notices, Vec::<String>::new());
        let totals = got.result.unwrap();
        let target = dir.path().join("target");
        let report = restore(Target::Directory(target.clone()), got.items).unwrap();
        prop_assert_eq!(&report.notices, &Vec::<String>::new());
        prop_assert_eq!((report.members, report.bytes), (totals.members, totals.bytes));
        let back = target.join("core").join(source.strip_prefix("/").unwrap());
        prop_assert_eq!(before, told(&back));
    }
}

/// Bytes that a file takes.
fn taken(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().unwrap().blocks() * 512
}

#[tokio::test]
async fn holes_come_back_as_holes_and_zeros_that_were_written_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let (holed, full) = (source.join("holed"), source.join("full"));
    let mut file = File::create(&holed).unwrap();
    // Islands of no round place or length, the last byte of all among them.
    for (at, data) in [
        (5_000_001_u64, vec![7; 70_003]),
        (9_000_000, vec![1; 1]),
        (63_999_999, vec![9; 1]),
    ] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&data).unwrap();
    }
    file.sync_all().unwrap();
    let mut file = File::create(&full).unwrap();
    file.write_all(&vec![0; 3_000_000]).unwrap();
    file.sync_all().unwrap();
    let small = taken(&holed);
    assert!(
        small < 1_000_000,
        "the file system of this test knows no holes: {small}"
    );
    let before = told(&source);

    let got = read(data_set_of(&source)).await;
    assert_eq!(got.notices, Vec::<String>::new());
    let target = dir.path().join("target");
    restore(Target::Directory(target.clone()), got.items).unwrap();
    let back = target.join("core").join(source.strip_prefix("/").unwrap());
    assert_eq!(before, told(&back));
    let restored = taken(&back.join("holed"));
    assert!(restored <= small + 65_536, "{restored} of {small}");
    assert!(taken(&back.join("full")) >= 3_000_000);
}

#[tokio::test]
async fn a_restore_in_place_replaces_what_changed_and_runs_the_restore_command() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy.sql"));
    fs::create_dir(&data).unwrap();
    File::create(data.join("a"))
        .unwrap()
        .write_all(b"as it was")
        .unwrap();
    let restore_with = ["dd", &format!("of={}", copy.display())].map(str::to_owned);
    let profile = profile(&format!(
        "paths = [{:?}]\n[[data-set.command]]\nname = \"x.sql\"\nrun = [\"echo\", \"select\"]\nrestore = {restore_with:?}\n",
        data.display().to_string(),
    ));
    let got = read(profile.data_sets.clone()).await;
    File::create(data.join("a"))
        .unwrap()
        .write_all(b"spoiled")
        .unwrap();

    let profile = Box::new(profile);
    let kept = Target::InPlace {
        profile: profile.clone(),
        overwrite: false,
    };
    let report = restore(kept, got.items.clone()).unwrap();
    assert_eq!(report.refused, 2, "{report:?}");
    assert!(report.notices[0].contains("--overwrite") && report.notices[1].contains("is there already"));
    assert_eq!(fs::read(data.join("a")).unwrap(), b"spoiled");
    assert!(!copy.exists(), "a command ran without leave");

    let report = restore(
        Target::InPlace {
            profile,
            overwrite: true,
        },
        got.items,
    )
    .unwrap();
    assert_eq!(report.refused, 0, "{report:?}");
    assert_eq!(fs::read(data.join("a")).unwrap(), b"as it was");
    assert_eq!(fs::read(copy).unwrap(), b"select\n");
    let left = fs::read_dir(&data).unwrap().count();
    assert_eq!(left, 1, "no temporary file is left");
}

#[tokio::test]
async fn a_second_name_of_a_file_that_was_kept_is_not_given_to_what_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    File::create(data.join("a"))
        .unwrap()
        .write_all(b"as it was")
        .unwrap();
    fs::hard_link(data.join("a"), data.join("b")).unwrap();
    let profile = profile(&format!("paths = [{:?}]\n", data.display().to_string()));
    let got = read(profile.data_sets.clone()).await;
    fs::remove_file(data.join("b")).unwrap();
    File::create(data.join("a"))
        .unwrap()
        .write_all(b"of today")
        .unwrap();

    let target = Target::InPlace {
        profile: Box::new(profile),
        overwrite: false,
    };
    let report = restore(target, got.items).unwrap();
    assert_eq!(report.refused, 2, "{report:?}");
    assert_eq!(fs::read(data.join("a")).unwrap(), b"of today");
    assert!(
        !data.join("b").exists(),
        "b would have another content than was backed up"
    );
}
