//! The programs of the release before, built from its sources: peers of another age, as they are and not as they are imagined.
//!
//! The commit stands in `proto/testdata/baseline.commit`, beside the protocol that it speaks (`baseline.txt`).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::command::{command, run, stdout_of};
use crate::release::Release;

/// Building everything from nothing, on a busy machine.
const BUILD: Duration = Duration::from_hours(1);

/// A checkout of the release before, and what was built from it.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its sources.
    pub top: PathBuf,
    programs: PathBuf,
}

impl Earlier {
    /// Finds it below `target/earlier`, or makes it.
    ///
    /// # Errors
    ///
    /// If git does not know the commit (a shallow clone does not), or it cannot be built.
    pub async fn built(release: &Release) -> anyhow::Result<Self> {
        let file = release.top().join("proto/testdata/baseline.commit");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let commit = text.trim();
        let dir = release.top().join("target/earlier").join(commit);
        let (top, programs) = (dir.join("source"), dir.join("programs"));
        let found = Self { top, programs };
        let known = ["satellite-bridge", "management-module"].map(|name| found.program(name));
        if !found.top.join("Cargo.toml").is_file() {
            std::fs::create_dir_all(&found.top)?;
            let archive = dir.join("source.tar").display().to_string();
            let (here, there) = (
                release.top().display().to_string(),
                found.top.display().to_string(),
            );
            run("git", &["-C", &here, "archive", "--output", &archive, commit]).await?;
            run("tar", &["-C", &there, "-xf", &archive]).await?;
            std::fs::remove_file(archive)?;
        }
        if !known.iter().all(|program| program.is_file()) {
            let mut build = command("cargo");
            build
                .current_dir(&found.top)
                .args(["build", "--workspace", "--bins", "--locked"]);
            build.arg("--target-dir").arg(dir.join("build"));
            stdout_of(build, BUILD).await?;
            std::fs::create_dir_all(&found.programs)?;
            for program in &known {
                let name = program.file_name().unwrap_or_default();
                std::fs::copy(dir.join("build/debug").join(name), program)?;
            }
            std::fs::remove_dir_all(dir.join("build"))?;
        }
        Ok(found)
    }

    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}
