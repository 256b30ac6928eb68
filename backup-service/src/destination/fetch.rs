//! Brings a copy back among the archives: fetched into the spool, verified whole, then listed.
//!
//! **Invariant:** what was fetched is doubted like any file from outside; until it was verified, a crash or an error
//! leaves nothing.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::check::size;
use super::copy::read;
use super::fault::Fault;
use super::gauge::Stage;
use super::path::PlacePath;
use super::visit::Visit;
use crate::age::{self, AgeError, ENDING, Keys};
use crate::archive::read::Archive;
use crate::archive::threads;
use crate::archive::verify::verify;
use crate::archive::write::WriteError;
use crate::catalog::{Begun, Catalog, CatalogError, Record};

/// A file that goes when this goes.
struct Spooled(PathBuf);

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "Half a copy stays until the next start");
        }
    }
}

/// Fetches; goes on after cuts. An archive that is there already is the answer.
///
/// # Errors
/// [`Fault`]; nothing was kept.
pub async fn fetch(
    visit: &mut Visit,
    path: &PlacePath,
    keys: Keys,
    catalog: &Catalog,
) -> Result<Record, Fault> {
    let size = size(visit, path).await?;
    let is_encrypted = path.name().ends_with(ENDING);
    let room = catalog.room();
    // Encrypted and decrypted it lies there at once for a while.
    match room.check(if is_encrypted {
        size.saturating_mul(2)
    } else {
        size
    }) {
        Ok(()) => {}
        Err(WriteError::Space { free, needed }) => {
            return Err(Fault::OwnFull {
                needed,
                available: free,
            });
        }
        Err(_) => {
            return Err(Fault::own("ask for the free space")(std::io::Error::other(
                "see its log",
            )));
        }
    }
    let spooled = Spooled(room.directory.join(format!("{}.part", uuid::Uuid::new_v4())));
    download(visit, path, size, &spooled.0).await?;
    let (catalog, shown) = (catalog.clone(), path.to_string());
    let kept = tokio::task::spawn_blocking(move || {
        if !is_encrypted {
            return keep(&catalog, &spooled.0, shown);
        }
        let opened = Spooled(room.directory.join(format!("{}.part", uuid::Uuid::new_v4())));
        decrypt(&spooled.0, &opened.0, &keys, &shown)?;
        keep(&catalog, &opened.0, shown)
    });
    match kept.await {
        Ok(kept) => kept,
        Err(error) => Err(Fault::own("verify the archive")(std::io::Error::other(error))),
    }
}

async fn download(visit: &mut Visit, path: &PlacePath, size: u64, into: &Path) -> Result<(), Fault> {
    let own = || {
        |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::OwnFull {
                needed: size,
                available: 0,
            },
            _ => Fault::own("write the archive")(source),
        }
    };
    let mut file = File::create_new(into).await.map_err(own())?;
    visit.gauge.begin(Stage::Fetch, 0, size);
    let mut at = 0;
    while at < size {
        let piece = read(visit, path, at, size).await?;
        file.write_all(&piece).await.map_err(own())?;
        at += piece.len() as u64;
        visit.gauge.set(at);
    }
    file.flush().await.map_err(own())?;
    file.sync_all().await.map_err(own())
}

fn decrypt(from: &Path, to: &Path, keys: &Keys, shown: &str) -> Result<(), Fault> {
    let own = || Fault::own("decrypt the archive");
    let from = std::fs::File::open(from).map_err(own())?;
    let mut options = std::fs::File::options();
    let mut to = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(own())?;
    match age::open(&from, &mut to, keys) {
        Ok(()) => to.sync_all().map_err(own()),
        Err(AgeError::Io(source)) => Err(own()(source)),
        Err(error @ (AgeError::NoKey(_) | AgeError::Work)) => Err(Fault::Locked {
            what: format!("`{shown}`"),
            why: error.to_string(),
        }),
        Err(error) => Err(Fault::Damaged {
            path: format!("`{shown}`"),
            why: error.to_string(),
        }),
    }
}

/// Verifies what was fetched and lists it.
fn keep(catalog: &Catalog, spooled: &Path, shown: String) -> Result<Record, Fault> {
    let damaged = |why: String| Fault::Damaged {
        path: format!("`{shown}`"),
        why,
    };
    let archive = Archive::open(spooled).map_err(|error| damaged(crate::rpc::chain(&error)))?;
    let report = verify(&archive, None, threads()).map_err(|error| damaged(crate::rpc::chain(&error)))?;
    if let Some(problem) = report.problems.first() {
        return Err(damaged(problem.clone()));
    }
    let manifest = report
        .manifest
        .ok_or_else(|| damaged("it has no manifest".to_owned()))?;
    if let Ok(there) = catalog.get(manifest.id) {
        return Ok(there);
    }
    let writing = match catalog.begin(&manifest).map_err(own_catalog)? {
        Begun::Existing(record) => return Ok(*record),
        Begun::New(writing, _) => writing,
    };
    crate::durable::rename(spooled, writing.part()).map_err(Fault::own("give the archive its name"))?;
    let mut record = Record::new(&manifest, report.totals, archive.size, report.sha256);
    record.left_out = report.left_out;
    writing.commit(&record).map_err(own_catalog)?;
    Ok(record)
}

fn own_catalog(error: CatalogError) -> Fault {
    match error {
        CatalogError::InProgress | CatalogError::Busy(_) | CatalogError::Exists(_) => {
            Fault::InProgress("an archive of the same run".to_owned())
        }
        CatalogError::Io { what, source, .. } => Fault::Own { what, source },
        error => Fault::NotFound(error.to_string()),
    }
}
