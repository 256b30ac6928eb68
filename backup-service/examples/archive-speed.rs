//! Measures the archive writer: writes an archive of the files of a directory beside it, reads it back, verifies it as an
//! older one would be, and says what each took. `archive-speed DIRECTORY`; `sample-central` makes directories like a PBX's.
//! It runs in a process of its own so that memory and CPU are those of the archive.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::fs::File;
use std::hash::Hasher as _;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use aws_lc_rs::digest::{Context, SHA256};
use backup_service::archive::manifest::Manifest;
use backup_service::archive::member::{Kind, Member, Moment, Origin};
use backup_service::archive::names::MemberPath;
use backup_service::archive::read::Archive;
use backup_service::archive::threads;
use backup_service::archive::verify::{verify, verify_written};
use backup_service::archive::write::{ArchiveWriter, Room};
use bytes::Bytes;
use twox_hash::XxHash3_64;

/// Linux counts CPU time in hundredths of a second, on every architecture that we build for.
const TICKS: f64 = 100.0;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args()
        .nth(1)
        .context("usage: archive-speed DIRECTORY")?;
    measure(Path::new(&directory))
}

fn measure(directory: &Path) -> anyhow::Result<()> {
    let parent = directory.parent().context("the directory has no parent")?;
    let out = directory.with_extension("sar");
    let room = Room {
        directory: parent.to_owned(),
        reserve: 0,
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&out)?;
    let begun = Instant::now();
    let mut writer = ArchiveWriter::create(file, room, &manifest()?, threads())?;
    let mut added = Added::default();
    add_all(&mut writer, directory, directory, &mut added)?;
    let (written, _) = writer.finish(added.members, added.content)?;
    let size = written.size;
    let cpu = report("write", begun, (0.0, added.content));
    let begun = Instant::now();
    let found = verify_written(written, threads())?;
    anyhow::ensure!(found.is_intact(), "{:?}", found.problems);
    let cpu = report("read back", begun, (cpu, added.content));
    let begun = Instant::now();
    let found = verify(&Archive::open(&out)?, None, threads())?;
    anyhow::ensure!(found.is_intact(), "{:?}", found.problems);
    report("verify", begun, (cpu, added.content));
    println!("{added:?}, {size} bytes of archive");
    Ok(())
}

#[derive(Debug, Default)]
struct Added {
    members: u64,
    content: u64,
}

fn add_all(
    writer: &mut ArchiveWriter,
    top: &Path,
    directory: &Path,
    added: &mut Added,
) -> anyhow::Result<()> {
    let mut found: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    found.sort_by_key(std::fs::DirEntry::file_name);
    for entry in found {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            add_all(writer, top, &path, added)?;
        } else {
            added.content += add(writer, path.strip_prefix(top)?, &path)?;
            added.members += 1;
        }
    }
    Ok(())
}

fn add(writer: &mut ArchiveWriter, name: &Path, path: &Path) -> anyhow::Result<u64> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    writer.begin(member(name.as_os_str().as_bytes(), size)?, false)?;
    let (mut hash, mut checksum) = (Context::new(&SHA256), XxHash3_64::new());
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        checksum.write(&buffer[..count]);
        writer.content(&buffer[..count])?;
    }
    writer.end(hash.finish().as_ref(), Some(checksum.finish()))?;
    Ok(size)
}

fn member(path: &[u8], size: u64) -> anyhow::Result<Member> {
    Ok(Member {
        data_set: "all".parse()?,
        path: MemberPath::new(Bytes::copy_from_slice(path))?,
        kind: Kind::File(size),
        mode: 0o640,
        uid: 0,
        gid: 0,
        modified: Moment::default(),
        xattrs: Vec::new(),
        origin: Origin::Path,
        sparse: false,
        user: String::new(),
        group: String::new(),
    })
}

fn manifest() -> anyhow::Result<Manifest> {
    Ok(Manifest {
        format: 1,
        id: uuid::Uuid::now_v7(),
        central: "pbx".parse()?,
        central_address: String::new(),
        tenant: "default".to_owned(),
        configuration: None,
        data_sets: vec!["all".parse()?],
        create_time: jiff::Timestamp::now(),
        creator_version: String::new(),
        writer_version: String::new(),
        idempotency_key: "bench".to_owned(),
    })
}

/// Says what was used since `begun`, and answers the CPU seconds so far.
fn report(what: &str, begun: Instant, (before, content): (f64, u64)) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .split_whitespace()
        .skip(13)
        .take(2)
        .flat_map(str::parse)
        .collect();
    let cpu = fields.iter().sum::<f64>() / TICKS;
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{what}: {wall:.2} s, {:.0} MiB/s, {:.2} s of CPU ({:?} of the process), {}",
        content as f64 / wall / 1_048_576.0,
        cpu - before,
        fields,
        peak.unwrap_or_default(),
    );
    cpu
}
