//! What has not changed is not sent again: bytes are counted on the way between the server and the backup-service.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::command::{command, stdout_of};
use e2e::network::write;
use e2e::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::world::{SETTLED, World, newest, said};

/// Passes on what is said to a socket, and counts it.
fn relay(at: &Path, to: &Path) -> Arc<AtomicU64> {
    let (listener, to, sent) = (
        UnixListener::bind(at).unwrap(),
        to.to_owned(),
        Arc::new(AtomicU64::new(0)),
    );
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (to, counter) = (to.clone(), Arc::clone(&counter));
            tokio::spawn(async move { pass(from, &to, &counter).await });
        }
    });
    sent
}

async fn pass(from: UnixStream, to: &Path, counter: &AtomicU64) {
    let Ok(to) = UnixStream::connect(to).await else {
        return;
    };
    let ((mut asking, mut answered), (mut answering, mut asked)) = (from.into_split(), to.into_split());
    tokio::spawn(async move { drop(tokio::io::copy(&mut answering, &mut answered).await) });
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = asking.read(&mut piece).await {
        counter.fetch_add(count as u64, Ordering::Relaxed);
        if asked.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

/// Bytes that look like nothing, the same each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// What was changed a moment ago is read again the next time: its clock may not tell a second change.
pub(crate) async fn at_rest(path: &Path) {
    let changed = std::fs::metadata(path).unwrap().ctime();
    let old = until("the files to be at rest", SETTLED, async || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (i64::try_from(now.as_secs()).unwrap() > changed + 4).then_some(())
    });
    old.await.unwrap();
}

#[tokio::test]
async fn a_second_run_after_a_change_of_one_per_cent_sends_little_and_its_archive_is_whole() {
    let mut world = World::new().await;
    let (socket, counted) = (world.at("run/backup.sock"), world.at("run/counted.sock"));
    let sent = relay(&counted, &socket);
    let [from, to] = [&socket, &counted].map(|path| path.display().to_string());
    world.reconfigure(|text| text.replace(&from, &to)).await;
    let (database, calls) = (
        world.at("central/core/large.db"),
        world.at("central/cdr-voicemail"),
    );
    let mut content = noise(7, 9_000_000);
    write(&database, &content).unwrap();
    at_rest(&database).await;
    let run = async |world: &World, name: &str| {
        let before = sent.load(Ordering::Relaxed);
        said(world, &["backup", "run", name]).await;
        sent.load(Ordering::Relaxed) - before
    };
    said(
        &world,
        &["backup", "config", "create", "Twice", "--central", "sample"],
    )
    .await;
    let first = run(&world, "Twice").await;
    assert!(first > 10_000_000, "{first}");

    // One per cent, in the middle of the largest file and in one more; bytes that are put in move all that follow.
    content.splice(4_500_000..4_500_000, noise(8, 60_000));
    write(&database, &content).unwrap();
    write(&calls.join("new.json"), noise(9, 10_000)).unwrap();
    let second = run(&world, "Twice").await;
    println!("sent: {first} bytes, then {second}");
    assert!(second * 5 < first, "{second} of {first}");
    is_whole(&world, &content).await;

    // The archive before is gone: everything is sent, and nobody need do anything.
    let name = newest(&world).await["archive_name"].as_str().unwrap().to_owned();
    said(&world, &["backup", "delete", &name, "--yes"]).await;
    assert!(run(&world, "Twice").await > 10_000_000);
    is_whole(&world, &content).await;
}

/// The newest archive holds everything by itself: so say `tar`, and a restore of it.
async fn is_whole(world: &World, database: &[u8]) {
    let name = newest(world).await["archive_name"].as_str().unwrap().to_owned();
    let to = world.at("whole.sar");
    said(
        world,
        &["backup", "download", &name, "--to", &to.display().to_string()],
    )
    .await;
    let root = world.at("central");
    let below = |path: &str| format!("data/core{}/{path}", root.display());
    let mut unpack = command("tar");
    unpack
        .args(["--zstd", "-xOf"])
        .arg(&to)
        .arg(below("core/large.db"));
    unpack.stdout(std::process::Stdio::piped());
    let unpacked = unpack.output().await.unwrap();
    assert!(
        unpacked.stdout == database,
        "{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    let mut list = command("tar");
    list.args(["--zstd", "-tf"]).arg(&to);
    assert!(stdout_of(list, SETTLED).await.unwrap().contains("new.json"));
    std::fs::remove_file(&to).unwrap();
    said(world, &["backup", "restore", &name, "--test"]).await;
}
