//! Bundles of the backup service that differ from the released one: another version, a broken program, another key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rand::{RngCore as _, SeedableRng as _};

use crate::command::{command, stdout_of};
use crate::network::write;
use crate::release::Release;

/// Later than any build: what a bundle of today has is the time at which its program was built.
pub const RELEASE: u64 = 4_000_000_000;

/// What is different.
#[derive(Debug, Clone)]
pub struct Variant<'a> {
    /// Its version.
    pub version: &'a str,
    /// A shell script in place of the program.
    pub script: Option<&'a str>,
    /// Name of the service whose health is asked for.
    pub health: &'a str,
    /// How long it may take to be healthy.
    pub start_seconds: u32,
    /// Its place in the sequence of releases.
    pub release: u64,
    /// The key that signs it; the development key if none is given.
    pub key: Option<&'a Path>,
    /// Bytes beside the program that do not compress and that no other version has.
    pub noise: usize,
}

impl<'a> Variant<'a> {
    /// The backup service as it is, under another version.
    #[must_use]
    pub fn good(version: &'a str) -> Self {
        Self {
            version,
            script: None,
            health: "satellite.backup.v1.ArchiveService",
            start_seconds: 20,
            release: RELEASE,
            key: None,
            noise: 0,
        }
    }

    /// Packs it into `dir`.
    ///
    /// # Errors
    ///
    /// If packing fails.
    pub async fn pack(&self, release: &Release, dir: &Path) -> anyhow::Result<PathBuf> {
        release.bundle().await?;
        let (recipe, payload) = (dir.join(format!("{}.toml", self.version)), dir.join(self.version));
        let bundle = dir.join(format!("{}.bundle", self.version));
        let program = payload.join("bin/backup-service");
        write(&payload.join("version"), self.version)?;
        if self.noise > 0 {
            let seed = self
                .version
                .bytes()
                .fold(7, |sum: u64, byte| sum * 31 + u64::from(byte));
            let mut noise = vec![0; self.noise];
            rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
            write(&payload.join("noise"), noise)?;
        }
        match self.script {
            Some(script) => {
                write(&program, script)?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&program, mode)?;
            }
            None => {
                std::fs::create_dir_all(payload.join("bin"))?;
                std::fs::copy(release.payload().join("bin/backup-service"), &program)?;
            }
        }
        write(&recipe, self.recipe(release)?)?;
        let _ = std::fs::remove_file(&bundle);
        let mut build = command(release.program("management-module"));
        build.args(["bundle", "build", "--recipe"]).arg(&recipe);
        build.arg("--payload").arg(&payload);
        build.arg("--key").arg(self.key.unwrap_or(&release.secret()));
        build.arg("--out").arg(&bundle);
        stdout_of(build, Duration::from_secs(120)).await?;
        Ok(bundle)
    }

    fn recipe(&self, release: &Release) -> anyhow::Result<String> {
        let shipped = release.top().join("backup-service/bundle.toml");
        let text = std::fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
        let changed = [
            ("release =", format!("release = {}", self.release)),
            ("version =", format!("version = \"{}\"", self.version)),
            ("grpc =", format!("grpc = \"{}\"", self.health)),
            (
                "start_seconds =",
                format!("start_seconds = {}", self.start_seconds),
            ),
            ("settle_seconds =", "settle_seconds = 1".to_owned()),
        ];
        let lines = text.lines().map(|line| {
            let found = changed.iter().find(|(start, _)| line.starts_with(start));
            found.map_or_else(|| line.to_owned(), |(_, new)| new.clone())
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}
