//! What is refused, and that a refusal leaves nothing behind.

mod release;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use satellite_proto::bundle::{KeyPair, SecretKey, pack_chunk};
use tonic::{Code, Status};

use super::*;
use crate::workload::world::{Parts, Satellite, World, name};

/// Beginning with these is refused with `code`, and the disk is what it was.
fn check_refused(world: &World, satellite: &Satellite, manifest: &[u8], signatures: &[Bytes], code: Code) {
    let before = world.listing();
    let refused = satellite.updates.begin(manifest, signatures).unwrap_err();
    let status = Status::from(refused);
    assert_eq!(status.code(), code, "{}", status.message());
    assert_eq!(world.listing(), before, "something was left behind");
}

/// A manifest with `from` replaced by `to`, signed by the right key, is refused.
fn check_text_refused(from: &str, to: &str) {
    let world = World::new();
    let satellite = world.boot();
    let text = String::from_utf8(world.bundle(1, "good one").manifest.to_vec()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let changed = text.replacen(from, to, 1);
    let signature = world.key().sign(changed.as_bytes(), "").unwrap();
    check_refused(
        &world,
        &satellite,
        changed.as_bytes(),
        &[signature],
        Code::InvalidArgument,
    );
}

#[tokio::test]
async fn a_flipped_byte_of_the_manifest_is_refused() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    for at in (0..bundle.manifest.len()).step_by(97) {
        let mut manifest = bundle.manifest.to_vec();
        manifest[at] ^= 1;
        check_refused(
            &world,
            &satellite,
            &manifest,
            &bundle.signatures,
            Code::FailedPrecondition,
        );
    }
}

#[tokio::test]
async fn a_truncated_manifest_or_one_with_trailing_bytes_is_refused() {
    let world = World::new();
    let satellite = world.boot();
    let Parts {
        manifest, signatures, ..
    } = world.bundle(1, "good one");
    for length in [0, 1, manifest.len() / 2, manifest.len() - 1] {
        check_refused(
            &world,
            &satellite,
            &manifest[..length],
            &signatures,
            Code::FailedPrecondition,
        );
    }
    let longer = [&manifest, &b" "[..]].concat();
    check_refused(&world, &satellite, &longer, &signatures, Code::FailedPrecondition);
    let signature = world.key().sign(&longer, "").unwrap();
    check_refused(&world, &satellite, &longer, &[signature], Code::InvalidArgument);
}

#[tokio::test]
async fn a_signature_that_is_missing_damaged_or_by_another_key_is_refused() {
    let world = World::new();
    let satellite = world.boot();
    let Parts {
        manifest, signatures, ..
    } = world.bundle(1, "good one");
    check_refused(&world, &satellite, &manifest, &[], Code::FailedPrecondition);
    let mut damaged = signatures[0].to_vec();
    let last = damaged.len() - 8;
    damaged[last] ^= 1;
    check_refused(
        &world,
        &satellite,
        &manifest,
        &[damaged.into()],
        Code::FailedPrecondition,
    );
    let other = KeyPair::generate(None).unwrap();
    let other = SecretKey::from_file_text(&other.secret_file, None).unwrap();
    let signature = other.sign(&manifest, "").unwrap();
    check_refused(
        &world,
        &satellite,
        &manifest,
        &[signature],
        Code::FailedPrecondition,
    );
}

#[tokio::test]
async fn paths_that_lead_out_are_refused() {
    for path in [
        "../data.bin",
        "/data.bin",
        "a/../data.bin",
        "./data.bin",
        "a//data.bin",
        "",
    ] {
        check_text_refused("\"path\":\"data.bin\"", &format!("\"path\":\"{path}\""));
    }
}

#[tokio::test]
async fn links_devices_and_special_modes_cannot_be_said() {
    for kind in ["symlink", "hardlink", "device"] {
        check_text_refused(
            "\"path\":\"data.bin\"",
            &format!("\"type\":\"{kind}\",\"path\":\"data.bin\""),
        );
    }
    check_text_refused(
        "\"path\":\"data.bin\"",
        "\"target\":\"/etc/shadow\",\"path\":\"data.bin\"",
    );
    for mode in [0o4755, 0o2755, 0o1755, 0o777, 0o666, 0] {
        check_text_refused("\"mode\":420", &format!("\"mode\":{mode}"));
    }
}

#[tokio::test]
async fn sizes_beyond_every_limit_are_refused() {
    for size in [
        1_u64 << 31,
        1 << 32,
        (1 << 32) + 1,
        1 << 63,
        u64::MAX,
        599_999,
        600_001,
        0,
    ] {
        check_text_refused("\"size\":600000", &format!("\"size\":{size}"));
    }
}

#[tokio::test]
async fn a_bundle_for_another_machine_or_a_newer_bridge_is_refused() {
    let world = World::new();
    let satellite = world.boot();
    let foreign = world.bundle_of("good", |recipe| recipe.architecture = "aarch64".to_owned());
    check_refused(
        &world,
        &satellite,
        &foreign.manifest,
        &foreign.signatures,
        Code::FailedPrecondition,
    );
    let ahead = world.bundle_of("good", |recipe| {
        recipe.least_bridge = semver::Version::new(1, 5, 1)
    });
    check_refused(
        &world,
        &satellite,
        &ahead.manifest,
        &ahead.signatures,
        Code::FailedPrecondition,
    );
}

#[tokio::test]
async fn an_older_release_is_refused_and_the_same_one_is_not() {
    let world = World::new();
    let satellite = world.boot();
    let installed = world.bundle(2, "good two");
    satellite.install(&installed, true).await;
    let older = world.bundle(1, "good one");
    check_refused(
        &world,
        &satellite,
        &older.manifest,
        &older.signatures,
        Code::FailedPrecondition,
    );
    let (_, missing) = satellite
        .updates
        .begin(&installed.manifest, &installed.signatures)
        .unwrap();
    assert_eq!(missing, [], "the chunks of what is installed are here");
}

#[tokio::test]
async fn a_chunk_that_does_not_match_is_refused_and_not_stored() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite
        .updates
        .begin(&bundle.manifest, &bundle.signatures)
        .unwrap();
    let before = world.listing();
    let good = bundle.pieces[0].clone();
    let mut flipped = good.frame.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let bomb = pack_chunk(&vec![0; 64 << 20]).unwrap();
    let cut = good.frame.slice(..good.frame.len() - 1);
    let longer = Bytes::from([&good.frame, &b"x"[..]].concat());
    for frame in [
        Bytes::from(flipped),
        bomb,
        cut,
        longer,
        Bytes::new(),
        bundle.pieces[1].frame.clone(),
    ] {
        let piece = Piece {
            digest: good.digest,
            frame,
        };
        let refused = satellite
            .updates
            .put_all(bundle.digest, vec![piece])
            .await
            .unwrap_err();
        assert_eq!(Status::from(refused).code(), Code::InvalidArgument);
        assert_eq!(world.listing(), before);
    }
    let foreign = Piece {
        digest: Digest::of(b"foreign"),
        frame: pack_chunk(b"foreign").unwrap(),
    };
    let refused = satellite
        .updates
        .put_all(bundle.digest, vec![foreign])
        .await
        .unwrap_err();
    assert!(matches!(refused, UpdateError::Foreign(_)));
    assert_eq!(world.listing(), before);
    satellite.upload(&bundle).await;
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_where_it_was() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    let (_, missing) = satellite
        .updates
        .begin(&bundle.manifest, &bundle.signatures)
        .unwrap();
    assert_eq!(missing.len(), bundle.pieces.len());
    satellite
        .updates
        .put_all(bundle.digest, bundle.pieces[..2].to_vec())
        .await
        .unwrap();
    let incomplete = satellite.updates.install(bundle.digest, "k", true).unwrap_err();
    assert_eq!(Status::from(incomplete).code(), Code::Aborted);
    let satellite = world.boot();
    let (update, missing) = satellite
        .updates
        .begin(&bundle.manifest, &bundle.signatures)
        .unwrap();
    assert_eq!(missing.len(), bundle.pieces.len() - 2);
    assert!(update.present_bytes > 0 && update.present_bytes < update.total_bytes);
    assert_eq!(satellite.updates.list().unwrap(), [update]);
}

#[tokio::test]
async fn a_cut_costs_no_chunk_that_has_come_whole() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    let begin = || satellite.updates.begin(&bundle.manifest, &bundle.signatures);
    begin().unwrap();
    let (came, left) = bundle.pieces.split_at(bundle.pieces.len() - 1);
    let line = came
        .iter()
        .cloned()
        .map(Ok)
        .chain([Err(Status::unavailable("cut"))]);
    let cut = satellite
        .updates
        .put(bundle.digest, futures_util::stream::iter(line))
        .await;
    assert_eq!(cut.unwrap_err().code(), Code::Unavailable);
    let (_, missing) = begin().unwrap();
    assert_eq!(missing, [left[0].digest]);
}

#[tokio::test]
async fn uploads_are_bounded_and_forgotten_ones_take_their_chunks_along() {
    let world = World::new();
    let satellite = world.boot();
    let before = world.listing();
    for release in 1..=6 {
        satellite
            .upload(&world.bundle(release, &format!("good {release}")))
            .await;
    }
    let uploads = satellite.updates.list().unwrap();
    assert_eq!(uploads.len(), UPLOADS_MOST);
    assert_eq!(uploads[0].version, "6.0.0", "the newest comes first");
    for upload in uploads {
        satellite
            .updates
            .abort(upload.manifest_digest.parse().unwrap())
            .unwrap();
    }
    assert_eq!(world.listing(), before);
    let unknown = satellite.updates.abort(Digest::of(b"")).unwrap_err();
    assert_eq!(Status::from(unknown).code(), Code::NotFound);
}

#[tokio::test]
async fn without_trusted_keys_nothing_is_taken() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    files::remove(&world.root.join("trust.toml")).unwrap();
    check_refused(
        &world,
        &satellite,
        &bundle.manifest,
        &bundle.signatures,
        Code::Unavailable,
    );
}

#[tokio::test]
async fn a_stored_chunk_that_rotted_is_noticed_when_it_is_used() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.upload(&bundle).await;
    satellite.workloads.chunks().spoil(bundle.pieces[1].digest);
    let operation = satellite.install(&bundle, true).await;
    assert!(operation.error.unwrap().message.contains("push the bundle again"));
    assert!(satellite.workloads.get(&name()).await.is_err());
    let operation = satellite.install(&bundle, true).await;
    assert!(operation.error.is_none(), "{operation:?}");
}

#[tokio::test]
async fn all_chunks_that_rotted_come_with_one_push() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.upload(&bundle).await;
    for piece in &bundle.pieces[1..4] {
        satellite.workloads.chunks().spoil(piece.digest);
    }
    let operation = satellite.install(&bundle, true).await;
    assert!(operation.error.is_some());
    let operation = satellite.install(&bundle, true).await;
    assert!(operation.error.is_none(), "{operation:?}");
}

#[tokio::test]
async fn an_upload_that_is_being_made_is_not_taken_away_by_a_look() {
    let world = World::new();
    let satellite = world.boot();
    satellite.upload(&world.bundle(1, "good one")).await;
    let half = world.places.update(Digest::of(b"half")).with_extension("part");
    files::create_dir(&half, 0o700).unwrap();
    satellite.updates.list().unwrap();
    sweep(&world.places, satellite.workloads.chunks()).unwrap();
    assert!(half.exists());
    satellite.upload(&world.bundle(2, "good two")).await;
    assert!(!half.exists(), "whoever makes the next one removes what was left");
}

#[tokio::test]
async fn nothing_is_swept_while_an_upload_cannot_be_read() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite.upload(&bundle).await;
    // A directory where a file is expected stands for a disk that gives an error.
    let unreadable = world.places.update(Digest::of(b"x")).join("manifest.json");
    files::create_dir(&unreadable, 0o700).unwrap();
    let store = satellite.workloads.chunks();
    assert!(sweep(&world.places, store).is_err());
    assert!(bundle.pieces.iter().all(|piece| store.has(piece.digest)));
}

/// Bytes that count how many of them there are.
struct Counted {
    bytes: Vec<u8>,
    live: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: &[u8], live: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Self {
        let now = live.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        most.fetch_max(now, Ordering::SeqCst);
        Self {
            bytes: bytes.to_vec(),
            live: live.clone(),
            most: most.clone(),
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(self.bytes.len(), Ordering::SeqCst);
        let _ = &self.most;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_of_chunks_take_no_more_memory_than_is_set_aside() {
    let world = World::new();
    let satellite = world.boot();
    let bundle = world.bundle(1, "good one");
    satellite
        .updates
        .begin(&bundle.manifest, &bundle.signatures)
        .unwrap();
    let largest = bundle
        .pieces
        .iter()
        .max_by_key(|piece| piece.frame.len())
        .unwrap();
    let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let endless = |pieces: usize| {
        let (digest, frame) = (largest.digest, largest.frame.clone());
        let (live, most) = (live.clone(), most.clone());
        futures_util::stream::iter(0..pieces).map(move |_| {
            let frame = Bytes::from_owner(Counted::new(&frame, &live, &most));
            Ok::<_, UpdateError>(Piece { digest, frame })
        })
    };
    let sent = (0..STREAMS).map(|_| satellite.updates.put(bundle.digest, endless(400)));
    for sent in futures_util::future::join_all(sent).await {
        sent.unwrap();
    }
    let bound = IN_MEMORY + STREAMS * largest.frame.len();
    let most = most.load(Ordering::SeqCst);
    assert!(most <= bound, "{most} bytes were in memory, {bound} may be");

    // One more than may be: the others wait for a chunk that does not come.
    let (begun, mut all_begun) = tokio::sync::mpsc::channel(STREAMS);
    let waiting: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (updates, begun) = (satellite.updates.clone(), begun.clone());
            let never = futures_util::stream::once(async move {
                begun.send(()).await.unwrap();
                std::future::pending::<Result<Piece, UpdateError>>().await
            });
            tokio::spawn(async move { updates.put(bundle.digest, never).await })
        })
        .collect();
    for _ in 0..STREAMS {
        all_begun.recv().await.unwrap();
    }
    let refused = satellite
        .updates
        .put_all(bundle.digest, Vec::new())
        .await
        .unwrap_err();
    let refused = Status::from(refused);
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(pushback::asked(&refused), Some(TURN));
    for task in waiting {
        task.abort();
        let _ = task.await;
    }
    let large = Piece {
        digest: largest.digest,
        frame: vec![0; 4 << 20].into(),
    };
    let refused = satellite.updates.put_all(bundle.digest, vec![large]).await;
    assert!(matches!(refused.unwrap_err(), UpdateError::LargeChunk { .. }));
    satellite.upload(&bundle).await;
}
