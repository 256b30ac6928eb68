//! A sample central: the kinds of files that a PBX keeps, made from a seed.
//!
//! **Invariant:** the same seed and size give the same bytes, names, modes and times, on any machine.

mod calls;
mod core;
mod sound;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::network::write;

/// Sunday 2026-01-04 00:00 UTC: the first moment of the central's history.
const EPOCH_SECONDS: u64 = 1_767_484_800;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name of the central.
    pub name: String,
    /// Directory of its data.
    pub root: PathBuf,
    /// What the content is drawn from.
    pub seed: u64,
    /// Bytes in all, roughly.
    pub bytes: u64,
}

/// Shares of the size, in hundredths.
const CORE: u64 = 8;
const CDR: u64 = 10;
const VOICEMAIL: u64 = 62;
const ANNOUNCEMENTS: u64 = 20;

impl Sample {
    /// One of usual content below `root`.
    #[must_use]
    pub fn at(root: PathBuf, bytes: u64) -> Self {
        Self {
            name: "sample".into(),
            root,
            seed: 1,
            bytes,
        }
    }

    /// Makes it, or finds that it is there; reports bytes done and bytes in all.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or `sqlite3` fails.
    pub async fn make(&self, progress: impl Fn(u64, u64)) -> anyhow::Result<()> {
        let stamp = self.root.join(".sample");
        let wanted = format!("seed {} bytes {} recipe 1\n", self.seed, self.bytes);
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        if self.root.exists() {
            std::fs::remove_dir_all(&self.root).with_context(|| self.root.display().to_string())?;
        }
        let mut maker = Maker {
            root: self.root.clone(),
            rng: StdRng::seed_from_u64(self.seed),
            done: 0,
            total: self.bytes,
            progress: &progress,
        };
        let share = |hundredths: u64| self.bytes / 100 * hundredths;
        core::make(&mut maker, share(CORE)).await?;
        calls::details(&mut maker, share(CDR))?;
        calls::voicemail(&mut maker, share(VOICEMAIL))?;
        calls::announcements(&mut maker, share(ANNOUNCEMENTS))?;
        age_directories(&self.root)?;
        write(&stamp, wanted)
    }

    /// The data sets' directories, in the order of the profile.
    #[must_use]
    pub fn directories(&self) -> Vec<(&'static str, PathBuf)> {
        ["core", "cdr-voicemail", "announcements"]
            .map(|name| (name, self.root.join(name)))
            .to_vec()
    }

    /// The database of the core data.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("core/pbx.sqlite")
    }

    /// The central's profile (TOML).
    #[must_use]
    pub fn profile(&self) -> String {
        let root = self.root.display();
        format!(
            "name = \"{name}\"\naddress = \"pbx.example.org\"\ntenant = \"default\"\n\n\
             [[data-set]]\nname = \"core\"\n\
             description = \"Users, groups, telephones, chat history and settings\"\n\
             paths = [\"{root}/core\"]\nexcludes = [\"{root}/core/pbx.sqlite\", \"{root}/core/cache/**\"]\n\n\
             [[data-set.command]]\nname = \"pbx.sql\"\nrun = [\"sqlite3\", \"-readonly\", \"{root}/core/pbx.sqlite\", \".dump\"]\n\
             restore = [\"sqlite3\", \"-bail\", \"{root}/core/pbx.sqlite\"]\ndeadline = \"5min\"\n\n\
             [[data-set]]\nname = \"cdr-voicemail\"\ndescription = \"Call data records and voicemails\"\n\
             can-be-large = true\npaths = [\"{root}/cdr-voicemail\"]\n\n\
             [[data-set]]\nname = \"announcements\"\ndescription = \"Voicemail announcements\"\n\
             paths = [\"{root}/announcements\"]\n",
            name = self.name,
        )
    }
}

/// What the parts of the recipe share.
struct Maker<'a> {
    root: PathBuf,
    rng: StdRng,
    done: u64,
    total: u64,
    progress: &'a dyn Fn(u64, u64),
}

impl Maker<'_> {
    /// Writes a file below the root, as it was left at second `second` of the history.
    fn file(&mut self, path: &str, content: &[u8], second: u64) -> anyhow::Result<()> {
        let full = self.root.join(path);
        write(&full, content)?;
        let file = std::fs::File::options().write(true).open(&full)?;
        file.set_modified(moment(second))
            .with_context(|| full.display().to_string())?;
        self.done += content.len() as u64;
        (self.progress)(self.done, self.total);
        Ok(())
    }

    fn pick<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words[self.rng.random_range(0..words.len())]
    }
}

fn moment(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS + second)
}

/// Gives every directory the same time: what they got while they were filled depends on the machine.
fn age_directories(root: &Path) -> anyhow::Result<()> {
    for entry in walkdir::WalkDir::new(root).contents_first(true) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            std::fs::File::open(entry.path())?.set_modified(moment(0))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn made(root: &Path, seed: u64) -> Sample {
        let sample = Sample {
            name: "one".into(),
            root: root.to_owned(),
            seed,
            bytes: 3_000_000,
        };
        sample.make(|_, _| ()).await.unwrap();
        sample
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_central() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        made(&one, 7).await;
        made(&other, 7).await;
        let found = crate::compare::compare(&one, &other, &[]).unwrap();
        let times_only = found
            .differences
            .iter()
            .all(|text| text.starts_with(".sample: time"));
        assert!(times_only, "{:?}", found.differences);
        assert!(
            (2_500_000..4_500_000).contains(&found.bytes),
            "{} bytes",
            found.bytes
        );
    }

    #[tokio::test]
    async fn voicemail_compresses_like_speech() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), 3).await;
        let (mut plain, mut packed) = (0, 0);
        for entry in walkdir::WalkDir::new(dir.path()) {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|name| name == "wav") {
                let bytes = std::fs::read(entry.path()).unwrap();
                plain += bytes.len();
                packed += zstd::bulk::compress(&bytes, 3).unwrap().len();
            }
        }
        let hundredths = plain * 100 / packed;
        assert!((185..205).contains(&hundredths), "compresses {hundredths} : 100");
    }
}
