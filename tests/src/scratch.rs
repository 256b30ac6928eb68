//! A laboratory for one test: named after the process, gone with it, also if the test fails.

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::{Lab, RUN};
use crate::release::Release;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Owns a laboratory and removes it when dropped.
#[derive(Debug)]
pub struct Scratch(Lab);

impl Scratch {
    /// A laboratory under a name that nobody else has. Takes away what crashed tests left.
    ///
    /// # Errors
    ///
    /// As [`Lab::open`]; and if this is not root.
    pub async fn new() -> anyhow::Result<Self> {
        Self::of(Release::find()?).await
    }

    /// The same of another release.
    ///
    /// # Errors
    ///
    /// As [`Scratch::new`].
    pub async fn of(release: Release) -> anyhow::Result<Self> {
        anyhow::ensure!(
            nix::unistd::geteuid().is_root(),
            "containers need root: run `make test`"
        );
        reap().await;
        let id = format!(
            "t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let data = release.top().join("target/lab/scratch").join(&id);
        Ok(Self(Lab::open_with(release, &id, &data)?))
    }
}

impl Deref for Scratch {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "evidence of a failed test")]
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let lab = &self.0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                    return;
                };
                runtime.block_on(async {
                    if failed {
                        eprintln!("{}", lab.evidence().await);
                    }
                    lab.remove().await;
                });
            });
        });
        let left = lab.leftovers();
        assert!(
            failed || left.is_empty(),
            "the laboratory left something: {left:#?}"
        );
    }
}

/// Removes laboratories whose test process is gone.
async fn reap() {
    for entry in std::fs::read_dir(RUN).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix('t')
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        if Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        let data = std::fs::read_to_string(entry.path().join("data")).unwrap_or_default();
        let is_ours = Path::new(data.trim()).ends_with(Path::new("scratch").join(&name));
        if is_ours && let Ok(lab) = Lab::open(&name, Path::new(data.trim())) {
            lab.remove().await;
        }
    }
}
