//! What a user would pick instead of our backup: tar with zstd, restic and borg, each as its manual says. They do the same job:
//! a database that is in use is not copied as it lies there, but dumped first, and the dump is backed up in its place; what is
//! restored is on the disk in the end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::process::tree_cpu;
use super::super::{LIMIT, Sample};
use super::{PHASES, Taken, VERIFY};
use crate::command::{command, finish};

/// What the scripts of a backup begin with: the dump, beside the store.
const DUMP: &str =
    "mkdir -p \"$2/dump\"; sqlite3 -readonly \"$1/core/pbx.sqlite\" .dump > \"$2/dump/pbx.sql\"; ";

/// One of them: a name, and scripts for a shell with the data's, the store's and the target's directory in `$1`, `$2` and `$3`.
pub(super) struct Other {
    pub(super) name: &'static str,
    /// Makes an empty store; not measured.
    prepare: &'static str,
    /// One for each of [`PHASES`].
    phases: [&'static str; PHASES.len()],
}

/// All of them.
pub(super) const OTHERS: [Other; 3] = [
    Other {
        name: "tar | zstd",
        prepare: "mkdir \"$2/s\"",
        phases: [
            "tar -cf - --exclude=./core/pbx.sqlite -C \"$1\" . -C \"$2/dump\" pbx.sql | zstd -q -T0 -3 -o \"$2/s/first.tar.zst\"",
            "tar -cf - --exclude=./core/pbx.sqlite -C \"$1\" . -C \"$2/dump\" pbx.sql | zstd -q -T0 -3 -o \"$2/s/second.tar.zst\"",
            "zstd -q -t \"$2/s/second.tar.zst\"",
            "zstd -q -dc \"$2/s/second.tar.zst\" | tar -C \"$3\" -xf -; sync -f \"$3\"",
        ],
    },
    Other {
        name: "restic",
        prepare: "restic -q init -r \"$2/s\"",
        phases: [
            "cd \"$1\"; restic -q -r \"$2/s\" backup -e pbx.sqlite . \"$2/dump\"",
            "cd \"$1\"; restic -q -r \"$2/s\" backup -e pbx.sqlite . \"$2/dump\"",
            "restic -q -r \"$2/s\" check --read-data",
            "restic -q -r \"$2/s\" restore latest --target \"$3\"; sync -f \"$3\"",
        ],
    },
    Other {
        name: "borg",
        prepare: "borg init -e repokey-blake2 \"$2/s\"",
        phases: [
            "cd \"$1\"; borg create -C zstd,3 -e '*/pbx.sqlite' \"$2/s::first\" . \"$2/dump\"",
            "cd \"$1\"; borg create -C zstd,3 -e '*/pbx.sqlite' \"$2/s::second\" . \"$2/dump\"",
            "borg check --verify-data \"$2/s\"",
            "cd \"$3\"; borg extract \"$2/s::second\"; sync -f \"$3\"",
        ],
    },
];

/// Where the data, the stores and what is restored lie.
pub(super) struct Places {
    pub(super) source: PathBuf,
    pub(super) stores: PathBuf,
    pub(super) restored: PathBuf,
}

impl Other {
    /// Makes an empty store.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(super) async fn prepare(&self, at: &Places) -> anyhow::Result<()> {
        let store = self.store(at);
        let _ = std::fs::remove_dir_all(&store);
        std::fs::create_dir_all(&store)?;
        self.script(self.prepare, at).await.map(drop)
    }

    /// Does one phase, by its place in [`PHASES`].
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub(super) async fn phase(&self, number: usize, at: &Places) -> anyhow::Result<Taken> {
        if number < VERIFY {
            self.script(&format!("{DUMP}{}", self.phases[number]), at).await
        } else {
            self.script(self.phases[number], at).await
        }
    }

    async fn script(&self, script: &str, at: &Places) -> anyhow::Result<Taken> {
        let store = self.store(at);
        let most = store.join("peak");
        let mut shell = command("/usr/bin/time");
        shell.args(["-q", "-f", "%M", "-o"]).arg(&most);
        shell.args(["sh", "-euc", script, "sh"]);
        shell.arg(&at.source).arg(&store).arg(&at.restored);
        shell
            .env("RESTIC_PASSWORD", "benchmark")
            .env("BORG_PASSPHRASE", "benchmark");
        shell
            .env("RESTIC_CACHE_DIR", store.join("cache"))
            .env("BORG_BASE_DIR", store.join("base"));
        let own = i32::try_from(std::process::id())?;
        let (sample, ended) = Sample::of(|| tree_cpu(own), finish(shell, LIMIT)).await?;
        anyhow::ensure!(ended.code == Some(0), "`{script}` failed: {}", ended.stderr);
        // Of the largest of its processes.
        let text = std::fs::read_to_string(&most)?;
        let kib: f64 = text.trim().parse().with_context(|| format!("peak: {text}"))?;
        Ok(Taken {
            sample,
            peak: kib / 1024.0,
        })
    }

    /// Bytes that it stores; not what it keeps beside that to be quick.
    ///
    /// # Errors
    ///
    /// If something there cannot be read.
    pub(super) fn stored(&self, at: &Places) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in walkdir::WalkDir::new(self.store(at).join("s")) {
            let found = entry?.metadata()?;
            bytes += if found.is_file() { found.len() } else { 0 };
        }
        Ok(bytes)
    }

    /// Where its store lies.
    pub(super) fn store(&self, at: &Places) -> PathBuf {
        at.stores.join(self.name.replace(' ', ""))
    }
}

/// Reads everything below once, so that each of the compared starts with it in the page cache, and with nothing of others
/// to be written: a virtual machine that gives memory back (DAMON) drops what lay idle while the slower ones ran.
///
/// # Errors
///
/// If it cannot be read.
pub(super) async fn warm(path: &Path) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(nix::unistd::sync).await?;
    let mut shell = command("sh");
    shell
        .args(["-euc", "tar -C \"$1\" -cf - . | wc -c", "sh"])
        .arg(path);
    finish(shell, LIMIT).await.map(drop)
}
