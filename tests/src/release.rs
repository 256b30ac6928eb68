//! What a release brings: the three programs as built, a development key, the signed bundle, the satellite's root.
//!
//! Shared by all laboratories of a checkout; a lock keeps two that start at once from making it twice.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use satellite_proto::bundle::SecretKey;

use crate::command::{command, run, stdout_of};
use crate::network::write;

/// Building the root from nothing downloads packages.
const ROOT_LIMIT: Duration = Duration::from_mins(20);

/// The files of a bundle before they are packed.
const PAYLOAD: &str = "payload";

/// Where programs, keys, bundles and roots of this checkout are.
#[derive(Debug, Clone)]
pub struct Release {
    /// The checkout.
    top: PathBuf,
    /// Where cargo put the programs.
    programs: PathBuf,
    /// Keys and bundles.
    dir: PathBuf,
    /// Another checkout with its bridge, of which satellites consist.
    satellite: Option<(PathBuf, PathBuf)>,
    /// The management module that is started, if it is not the one that was built.
    server: Option<PathBuf>,
    /// The backup service that satellites are commissioned with, if it is not the one that was built.
    earlier: Option<PathBuf>,
}

impl Release {
    /// Finds the programs beside the one that is running.
    ///
    /// # Errors
    ///
    /// If they have not been built.
    pub fn find() -> anyhow::Result<Self> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no checkout")?
            .to_owned();
        let own = std::env::current_exe()?;
        let programs = own
            .ancestors()
            .find(|dir| dir.join("satellite-bridge").is_file() && dir.join("management-module").is_file())
            .context("the programs are not built: run `make build`")?
            .to_owned();
        // A profile has programs of its own, so it has bundles of its own.
        let profile = programs.file_name().unwrap_or_default();
        let dir = top.join("target/lab/release").join(profile);
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            top,
            programs,
            dir,
            satellite: None,
            server: None,
            earlier: None,
        })
    }

    /// The checkout.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The same with satellites as the checkout `top` makes them, with `bridge` in them.
    #[must_use]
    pub fn with_satellites_of(self, top: PathBuf, bridge: PathBuf) -> Self {
        Self {
            satellite: Some((top, bridge)),
            ..self
        }
    }

    /// The same with another management module.
    #[must_use]
    pub fn with_server(self, program: PathBuf) -> Self {
        Self {
            server: Some(program),
            ..self
        }
    }

    /// The same, whose satellites are commissioned with an earlier backup service.
    #[must_use]
    pub fn with_earlier(self, program: PathBuf) -> Self {
        Self {
            earlier: Some(program),
            ..self
        }
    }

    /// The management module that is started.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.server
            .clone()
            .unwrap_or_else(|| self.program("management-module"))
    }

    /// A program as built.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The trust anchors: the public half of the development key. Makes the key if there is none.
    ///
    /// # Errors
    ///
    /// If `bundle keygen` fails.
    pub async fn trust(&self) -> anyhow::Result<PathBuf> {
        let _locked = self.lock()?;
        let (secret, public, trust) = (self.secret(), self.public(), self.dir.join("trust.toml"));
        if !(secret.exists() && trust.exists()) {
            for stale in [&secret, &public, &trust] {
                let _ = std::fs::remove_file(stale);
            }
            let mut keygen = command(self.program("management-module"));
            keygen.args(["bundle", "keygen", "--no-password"]).arg(&secret);
            keygen.arg("--public").arg(&public).arg("--trust").arg(&trust);
            stdout_of(keygen, Duration::from_secs(60)).await?;
        }
        Ok(trust)
    }

    /// The backup service as a bundle signed with the development key; packed again when the program is newer.
    ///
    /// # Errors
    ///
    /// If stripping or packing fails.
    pub async fn bundle(&self) -> anyhow::Result<PathBuf> {
        self.trust().await?;
        let _locked = self.lock()?;
        let (program, dir) = match &self.earlier {
            Some(program) => (program.clone(), self.dir.join("earlier")),
            None => (self.program("backup-service"), self.dir.clone()),
        };
        let changed = |path: &Path| {
            path.metadata()
                .and_then(|meta| meta.modified())
                .with_context(|| path.display().to_string())
        };
        let built = changed(&program)?.max(changed(&self.shipped_recipe())?);
        let bundle = dir.join("backup-service.bundle");
        if bundle
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|packed| packed > built)
        {
            return Ok(bundle);
        }
        let payload = dir.join(PAYLOAD);
        let _ = std::fs::remove_dir_all(&payload);
        std::fs::create_dir_all(payload.join("bin"))?;
        let stripped = payload.join("bin/backup-service");
        let (from, to) = (program.display().to_string(), stripped.display().to_string());
        run("strip", &["--strip-debug", "-o", &to, &from]).await?;
        let recipe = self.recipe(built.duration_since(UNIX_EPOCH)?.as_secs())?;
        let part = dir.join("backup-service.bundle.part");
        let _ = std::fs::remove_file(&part);
        let mut build = command(self.program("management-module"));
        build
            .args(["bundle", "build", "--recipe"])
            .arg(&recipe)
            .arg("--payload")
            .arg(&payload);
        build.arg("--key").arg(self.secret()).arg("--out").arg(&part);
        stdout_of(build, Duration::from_secs(120)).await?;
        std::fs::rename(&part, &bundle)?;
        Ok(bundle)
    }

    fn shipped_recipe(&self) -> PathBuf {
        self.top.join("backup-service/bundle.toml")
    }

    /// The shipped recipe with a release number that grows with each build: satellites refuse to go back.
    fn recipe(&self, release: u64) -> anyhow::Result<PathBuf> {
        let shipped = self.shipped_recipe();
        let text = std::fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
        let lines = text.lines().map(|line| {
            if line.starts_with("release") {
                format!("release = {release}")
            } else {
                line.to_owned()
            }
        });
        let path = self.dir.join("bundle.toml");
        write(&path, lines.collect::<Vec<_>>().join("\n"))?;
        Ok(path)
    }

    /// The satellite's root as `PRODUCT:BASE`; what of it is missing is built.
    ///
    /// # Errors
    ///
    /// If `image/build-rootfs` fails.
    pub async fn root(&self) -> anyhow::Result<String> {
        let trust = self.trust().await?;
        let here = || (self.top.clone(), self.bridge_of_images());
        let (top, bridge) = self.satellite.clone().unwrap_or_else(here);
        let mut build = command(top.join("image/build-rootfs"));
        build.arg("--bridge").arg(bridge).arg("--trust").arg(trust);
        build.arg("--out").arg(self.top.join("target/image"));
        let said = stdout_of(build, ROOT_LIMIT).await?;
        Ok(said
            .lines()
            .last()
            .context("build-rootfs said nothing")?
            .to_owned())
    }

    /// The bridge that images get: the one that was built, or the one that `SATELLITE_IMAGE_BRIDGE` names, such as a release's.
    #[must_use]
    pub fn bridge_of_images(&self) -> PathBuf {
        let named = std::env::var_os("SATELLITE_IMAGE_BRIDGE").map(|path| self.top.join(path));
        named.unwrap_or_else(|| self.program("satellite-bridge"))
    }

    /// The machine image, in `formats` as `image/build-image` names them, signed with the development key; answers the
    /// directory that holds it. `lock` says what a changed set of packages means: `check`, `report` or `renew`.
    ///
    /// # Errors
    ///
    /// If `image/build-image` fails, or the set of packages is not the one that was accepted.
    pub async fn image(&self, formats: &str, lock: &str) -> anyhow::Result<PathBuf> {
        let trust = self.trust().await?;
        let mut build = command(self.top.join("image/build-image"));
        build.arg("--bridge").arg(self.bridge_of_images());
        build
            .arg("--trust")
            .arg(trust)
            .args(["--formats", formats, "--lock", lock]);
        let said = stdout_of(build, ROOT_LIMIT).await?;
        let dir = PathBuf::from(said.lines().last().context("build-image said nothing")?);
        let key = SecretKey::from_file_text(&std::fs::read_to_string(self.secret())?, None)?;
        let sums = dir.join("SHA256SUMS");
        let signature = key.sign(&std::fs::read(&sums)?, "SHA256SUMS of a machine image")?;
        write(&dir.join("SHA256SUMS.minisig"), signature)?;
        Ok(dir)
    }

    /// The files of the bundle, once it was packed.
    #[must_use]
    pub fn payload(&self) -> PathBuf {
        self.dir.join(PAYLOAD)
    }

    /// The development key's public half.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.dir.join("release.pub")
    }

    /// The development key's secret half.
    #[must_use]
    pub fn secret(&self) -> PathBuf {
        self.dir.join("release.key")
    }

    fn lock(&self) -> anyhow::Result<std::fs::File> {
        let lock = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(".lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}
