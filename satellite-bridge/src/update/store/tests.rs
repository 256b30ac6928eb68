//! What is stored is found again, and what nobody needs takes no space.

use super::*;

fn digest(number: usize) -> Digest {
    Digest::of(number.to_string().as_bytes())
}

fn frame(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap(); 1000]
}

fn put(store: &ChunkStore, numbers: std::ops::Range<usize>) {
    let writer = store.writer();
    for number in numbers {
        writer.put(&[(digest(number), &frame(number))]).unwrap();
    }
}

fn size(dir: &Path) -> u64 {
    entries(dir)
        .unwrap()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum()
}

#[test]
fn chunks_are_kept_until_nobody_needs_them_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chunks");
    let store = ChunkStore::open(path.clone()).unwrap();
    assert_eq!(store.read(digest(0)).unwrap(), None);
    put(&store, 0..2);
    let one = size(&path);
    put(&store, 0..2);
    assert_eq!(size(&path), one, "no chunk is stored twice");
    store.sync().unwrap();
    let store = ChunkStore::open(path.clone()).unwrap();
    assert_eq!(store.read(digest(1)).unwrap().unwrap(), frame(1));
    assert_eq!(store.sweep(&HashSet::from([digest(0)])).unwrap(), 1);
    assert!(store.has(digest(0)) && !store.has(digest(1)));
    assert_eq!(store.read(digest(0)).unwrap().unwrap(), frame(0));
    assert_eq!(size(&path), one / 2, "its space is given back");
    let store = ChunkStore::open(path.clone()).unwrap();
    assert!(store.has(digest(0)) && !store.has(digest(1)));
    assert_eq!(store.sweep(&HashSet::new()).unwrap(), 1);
    assert_eq!(entries(&path).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_stream_under_way_is_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    let writer = store.writer();
    writer.put(&[(digest(1), &frame(1))]).unwrap();
    assert_eq!(store.sweep(&HashSet::new()).unwrap(), 0);
    writer.put(&[(digest(2), &frame(2))]).unwrap();
    assert_eq!(store.read(digest(2)).unwrap().unwrap(), frame(2));
    drop(writer);
    assert_eq!(store.sweep(&HashSet::new()).unwrap(), 2);
}

#[test]
fn many_small_packs_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    let all: HashSet<Digest> = (0..3 * PACKS_MOST).map(digest).collect();
    for number in 0..3 * PACKS_MOST {
        put(&store, number..number + 1);
    }
    assert_eq!(store.sweep(&all).unwrap(), 0);
    assert_eq!(entries(dir.path()).unwrap().len(), 1);
    for store in [store, ChunkStore::open(dir.path().to_owned()).unwrap()] {
        for number in 0..3 * PACKS_MOST {
            assert_eq!(store.read(digest(number)).unwrap().unwrap(), frame(number));
        }
    }
}

#[test]
fn streams_that_are_cut_leave_no_pile_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    for number in 0..3 * PACKS_MOST {
        put(&store, number..number + 1);
        store.gather().unwrap();
        assert!(entries(dir.path()).unwrap().len() <= PACKS_MOST + 1);
    }
    for number in 0..3 * PACKS_MOST {
        assert_eq!(store.read(digest(number)).unwrap().unwrap(), frame(number));
    }
}

#[test]
fn a_stream_of_which_nothing_could_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    let writer = store.writer();
    let begun = writer.begin().unwrap();
    assert_eq!(entries(dir.path()).unwrap().len(), 1);
    *writer.appending.lock().unwrap() = Some(begun);
    drop(writer);
    assert_eq!(entries(dir.path()).unwrap(), Vec::<PathBuf>::new());
    assert!(store.index().packs.is_empty());
}

#[test]
fn what_a_cut_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    put(&store, 0..3);
    let whole = size(dir.path());
    let pack = entries(dir.path()).unwrap().remove(0);
    let file = File::options().write(true).open(&pack).unwrap();
    file.set_len(whole - 1).unwrap();
    files::write_atomic(&pack.with_extension("part"), b"half", 0o600).unwrap();
    fs::create_dir(dir.path().join("00")).unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    assert!(store.has(digest(1)) && !store.has(digest(2)));
    assert_eq!(file.metadata().unwrap().len(), whole / 3 * 2);
    let all: HashSet<Digest> = (0..3).map(digest).collect();
    assert_eq!(store.sweep(&all).unwrap(), 0);
    assert_eq!(entries(dir.path()).unwrap(), [pack]);
    put(&store, 2..3);
    assert_eq!(store.read(digest(2)).unwrap().unwrap(), frame(2));
}

#[test]
fn a_chunk_that_was_found_damaged_is_missing_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    put(&store, 0..2);
    store.remove(digest(0)).unwrap();
    assert!(!store.has(digest(0)));
    let store = ChunkStore::open(dir.path().to_owned()).unwrap();
    assert!(!store.has(digest(0)) && store.has(digest(1)));
    put(&store, 0..1);
    assert_eq!(store.read(digest(0)).unwrap().unwrap(), frame(0));
}
