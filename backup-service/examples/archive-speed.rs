//! Measures the archive writer: generates data like a PBX's in a directory, writes an archive of it, reads it back, and
//! says what that took. `archive-speed DIRECTORY MIB` generates, `archive-speed DIRECTORY` measures, alone and in a
//! process of its own so that memory and CPU are those of the archive.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use aws_lc_rs::digest::{Context, SHA256};
use backup_service::archive::manifest::Manifest;
use backup_service::archive::member::{Kind, Member, Moment, Origin};
use backup_service::archive::names::MemberPath;
use backup_service::archive::read::Archive;
use backup_service::archive::threads;
use backup_service::archive::verify::verify;
use backup_service::archive::write::{ArchiveWriter, Room};
use bytes::Bytes;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("usage: archive-speed DIRECTORY [MIB]")?);
    match arguments.next() {
        Some(mib) => generate(&directory, mib.parse()?),
        None => measure(&directory),
    }
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Voicemails (a tone with noise), call records (JSON) and a dump (SQL), about as a PBX has them.
fn generate(directory: &Path, mib: u64) -> anyhow::Result<()> {
    let mut noise = Noise(42);
    for sub in ["core", "cdr", "voicemail"] {
        std::fs::create_dir_all(directory.join(sub))?;
    }
    let mut dump = File::create(directory.join("core/dump.sql"))?;
    for id in 0..60_000 {
        let (a, b) = (noise.next() % 1_000_000, noise.next());
        writeln!(
            dump,
            "INSERT INTO users VALUES ({id}, 'user{a}', '+4972{a:06}', '{b:016x}', true, NULL);"
        )?;
    }
    for id in 0..mib * 20 {
        let mut file = File::create(directory.join(format!("cdr/{id:07}.json")))?;
        let (from, to, seconds) = (noise.next() % 900, noise.next() % 100_000, noise.next() % 3600);
        write!(
            file,
            "{{\"id\":{id},\"caller\":\"+49721{to:06}\",\"callee\":\"{from}\",\"duration\":{seconds},"
        )?;
        write!(
            file,
            "\"state\":\"answered\",\"queue\":null,\"events\":[\"ring\",\"answer\",\"hangup\"]}}"
        )?;
    }
    let count = mib * 1024 * 1024 / 300_000;
    for id in 0..count {
        let mut samples = Vec::with_capacity(300_000);
        let pitch = 200.0 + (noise.next() % 300) as f64;
        for n in 0..150_000_u32 {
            let speech = (f64::from(n) * pitch / 8000.0).sin() * f64::from(n / 4000 % 3) * 2500.0;
            let sample = speech as i16 + (noise.next() % 96) as i16;
            samples.extend_from_slice(&sample.to_le_bytes());
        }
        File::create(directory.join(format!("voicemail/{id:06}.wav")))?.write_all(&samples)?;
    }
    Ok(())
}

fn measure(directory: &Path) -> anyhow::Result<()> {
    let out = directory.with_extension("sar");
    let begun = Instant::now();
    let parent = directory
        .parent()
        .context("the directory has no parent")?
        .to_owned();
    let room = Room {
        directory: parent,
        reserve: 0,
    };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&out)?;
    let mut writer = ArchiveWriter::create(file, room, &manifest()?, threads())?;
    let (mut members, mut content) = (0, 0);
    for set in ["core", "cdr", "voicemail"] {
        for entry in std::fs::read_dir(directory.join(set))? {
            content += add(&mut writer, set, &entry?)?;
            members += 1;
        }
    }
    let (written, _) = writer.finish(members, content)?;
    report("write", begun, content);
    let sha256 = data_encoding::HEXLOWER.encode(&written.sha256);
    let report_of = verify(&Archive::new(written.file)?, Some(&sha256), threads())?;
    anyhow::ensure!(report_of.is_intact(), "{:?}", report_of.problems);
    report("write and verify", begun, content);
    println!(
        "{members} members, {content} bytes of content, {} bytes of archive",
        written.size
    );
    Ok(())
}

fn add(writer: &mut ArchiveWriter, set: &str, entry: &std::fs::DirEntry) -> anyhow::Result<u64> {
    let mut file = File::open(entry.path())?;
    let size = file.metadata()?.len();
    writer.begin(member(set, entry.file_name().as_bytes(), size)?, false)?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        writer.content(&buffer[..count])?;
    }
    writer.end(hash.finish().as_ref())?;
    Ok(size)
}

fn member(set: &str, path: &[u8], size: u64) -> anyhow::Result<Member> {
    Ok(Member {
        data_set: set.parse()?,
        path: MemberPath::new(Bytes::copy_from_slice(path))?,
        kind: Kind::File(size),
        mode: 0o640,
        uid: 0,
        gid: 0,
        modified: Moment::default(),
        xattrs: Vec::new(),
        origin: Origin::Path,
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
        data_sets: vec!["core".parse()?, "cdr".parse()?, "voicemail".parse()?],
        create_time: jiff::Timestamp::now(),
        creator_version: String::new(),
        writer_version: String::new(),
        idempotency_key: "bench".to_owned(),
    })
}

fn report(what: &str, begun: Instant, content: u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("VmHWM: unknown")
        .to_owned();
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{what}: {wall:.2} s, {:.0} MiB/s, {peak}",
        content as f64 / wall / 1_048_576.0
    );
}
