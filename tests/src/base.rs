//! Bundles of the satellite itself: bridges that work and ones that do not, and systems.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{command, run, stdout_of};
use crate::network::write;
use crate::release::Release;
use crate::variant::RELEASE;

/// Packing a large payload, on a busy machine.
const PACKING: Duration = Duration::from_mins(5);

/// A bridge that says its version and then ends, as often as it is started.
pub const CRASHES: &str =
    "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'crashed on purpose' >&2\nexit 3\n";
/// A bridge that says its version and then does nothing.
pub const HANGS: &str = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nexec sleep 1000\n";

/// A bridge that is to be installed.
#[derive(Debug, Clone)]
pub struct Bridge<'a> {
    /// Its version.
    pub version: &'a str,
    /// A shell script in place of the program.
    pub script: Option<&'a str>,
    /// How long the server may take to reach it.
    pub start_seconds: u32,
    /// Its place in the sequence of releases.
    pub release: u64,
}

impl<'a> Bridge<'a> {
    /// The bridge as built, under another version; its file differs from every other version's.
    #[must_use]
    pub fn good(version: &'a str) -> Self {
        Self {
            version,
            script: None,
            start_seconds: 60,
            release: RELEASE,
        }
    }

    /// Packs it into `dir`.
    ///
    /// # Errors
    ///
    /// If packing fails.
    pub async fn pack(&self, release: &Release, dir: &Path) -> anyhow::Result<PathBuf> {
        let payload = dir.join(format!("bridge-{}", self.version));
        let program = payload.join("satellite-bridge");
        std::fs::create_dir_all(&payload)?;
        match self.script {
            Some(script) => write(&program, script)?,
            None => {
                let built = release.program("satellite-bridge").display().to_string();
                run("strip", &["-o", &program.display().to_string(), &built]).await?;
                // What follows an ELF file's last section is nobody's.
                let mut file = std::fs::File::options().append(true).open(&program)?;
                std::io::Write::write_all(&mut file, self.version.as_bytes())?;
            }
        }
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let recipe = format!(
            "workload = \"bridge\"\nkind = \"bridge\"\nversion = \"{}\"\nchannel = \"stable\"\nrelease = {}\n\
             architecture = \"x86_64\"\nleast_bridge = \"0.1.0\"\n[health]\nstart_seconds = {}\nsettle_seconds = 0\n",
            self.version, self.release, self.start_seconds
        );
        build(release, dir, &format!("bridge-{}", self.version), &recipe).await
    }
}

/// A system that is to be installed: what `image/build-image` left in `image`.
///
/// # Errors
///
/// If packing fails.
pub async fn pack_system(
    release: &Release,
    dir: &Path,
    image: &Path,
    version: &str,
    start_seconds: u32,
) -> anyhow::Result<PathBuf> {
    let name = format!("system-{version}");
    let payload = dir.join(&name);
    std::fs::create_dir_all(&payload)?;
    for (from, to) in [("root", "root.img"), ("efi", "kernel.efi")] {
        let to = payload.join(to);
        std::fs::copy(image.join(format!("satellite-{version}.{from}")), &to)?;
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    }
    let slot = std::fs::read_to_string(image.join("slot"))?;
    let recipe = format!(
        "workload = \"system\"\nversion = \"{version}\"\nchannel = \"stable\"\nrelease = {RELEASE}\n\
         architecture = \"x86_64\"\nleast_bridge = \"0.1.0\"\n[kind.system]\nslot = \"{}\"\n[health]\n\
         start_seconds = {start_seconds}\nsettle_seconds = 0\n",
        slot.trim()
    );
    build(release, dir, &name, &recipe).await
}

/// Packs the directory `name` in `dir`.
async fn build(release: &Release, dir: &Path, name: &str, recipe: &str) -> anyhow::Result<PathBuf> {
    release.trust().await?;
    let (file, bundle) = (
        dir.join(format!("{name}.toml")),
        dir.join(format!("{name}.bundle")),
    );
    write(&file, recipe)?;
    let _ = std::fs::remove_file(&bundle);
    let mut build = command(release.program("management-module"));
    build.args(["bundle", "build", "--recipe"]).arg(&file);
    build.arg("--payload").arg(dir.join(name));
    build.arg("--key").arg(release.secret()).arg("--out").arg(&bundle);
    stdout_of(build, PACKING).await?;
    std::fs::remove_dir_all(dir.join(name))?;
    Ok(bundle)
}
