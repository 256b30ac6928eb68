//! A file of 20 GiB that is mostly holes, and a hundred thousand small ones, there and back.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::network::write;

use crate::world::{World, json, said};

/// What each step may take, with programs that are not optimized.
const LONG: Duration = Duration::from_mins(60);
/// Most bytes that a program may have in memory: far less than what goes through it.
const MEMORY: u64 = 256 << 20;
/// Small files of a directory.
const TOGETHER: usize = 1000;

/// A number that the environment may set to something smaller.
fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// Where in a file of so many bytes there is something.
fn islands(size: u64) -> impl Iterator<Item = u64> {
    (0..64).map(move |number| size / 64 * number + 12_345 * (number % 7))
}

fn small(directory: &Path, number: usize) -> std::path::PathBuf {
    directory.join(format!("{:03}/{number}.json", number / TOGETHER))
}

#[tokio::test]
#[ignore = "takes many minutes: make test-large"]
async fn a_file_of_20_gibibytes_with_holes_and_a_hundred_thousand_small_files_come_back() {
    let size = number("SATELLITE_LARGE_GIB", 20) << 30;
    let files = usize::try_from(number("SATELLITE_SMALL_FILES", 100_000)).unwrap();
    let world = World::new().await;
    let data = world.at("large");
    write(&data.join("disk.img"), "").unwrap();
    let image = File::options().write(true).open(data.join("disk.img")).unwrap();
    image.set_len(size).unwrap();
    for at in islands(size) {
        image.write_all_at(&at.to_le_bytes(), at).unwrap();
    }
    image.sync_all().unwrap();
    for number in 0..files {
        write(&small(&data, number), format!("{{\"call\": {number}}}")).unwrap();
    }
    let profile = format!(
        "name = \"large\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\npaths = [{:?}]\n",
        data.display().to_string()
    );
    write(&world.at("large.toml"), profile).unwrap();
    let profile = world.at("large.toml").display().to_string();
    said(&world, &["central", "add", &profile, "--satellite", "server"]).await;

    let took = async |words: &[&str]| {
        let begun = Instant::now();
        let ended = world.cli_within(words, LONG).await;
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        println!("{}: {:?}", words[1], begun.elapsed());
    };
    took(&["backup", "run", "large"]).await;
    let archives = json(&world, &["backup", "list", "--central", "large"]).await;
    let archive = archives[0]["file_name"].as_str().unwrap();
    println!("archive: {} bytes", archives[0]["size_bytes"]);
    took(&["backup", "verify", archive]).await;
    let to = world.at("back");
    took(&["backup", "restore", archive, "--to", &to.display().to_string()]).await;

    let back = to.join("core").join(data.strip_prefix("/").unwrap());
    let (was, is) = (
        image.metadata().unwrap(),
        back.join("disk.img").metadata().unwrap(),
    );
    assert_eq!(is.len(), size);
    assert!(
        is.blocks() <= was.blocks() + 64,
        "{} of {}",
        is.blocks(),
        was.blocks()
    );
    let restored = File::open(back.join("disk.img")).unwrap();
    for at in islands(size) {
        let mut there = [0; 16];
        restored.read_exact_at(&mut there, at).unwrap();
        assert_eq!(there[..8], at.to_le_bytes());
        assert_eq!(there[8..], [0; 8]);
    }
    for number in 0..files {
        let text = std::fs::read_to_string(small(&back, number)).unwrap();
        assert_eq!(text, format!("{{\"call\": {number}}}"));
    }
    for (program, most) in world.most_memory() {
        println!("{program}: {most} bytes of memory at most");
        assert!(most < MEMORY, "{program}: {most}");
    }
}
