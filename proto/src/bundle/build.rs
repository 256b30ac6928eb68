//! Making a bundle from a directory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fastcdc::v2020::StreamCDC;
use serde::Deserialize;

use super::chunk::{CHUNK_AVERAGE, CHUNK_LEAST, CHUNK_MOST, Digest, Hasher, pack_chunk};
use super::manifest::{
    ChunkEntry, FORMAT, FileEntry, Health, Kind, Manifest, ManifestRule, State, Unit, WorkloadName,
};
use super::read::{CHUNKS_DIR, MANIFEST_NAME, SIGNATURES_DIR, header, padding};
use super::signature::SecretKey;
use super::{BundleError, PAYLOAD_MOST, SIGNATURES_MOST};

/// What whoever releases a workload says of it: the manifest without what is measured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the manifest's of the same name")]
pub struct Recipe {
    pub workload: WorkloadName,
    #[serde(default)]
    pub kind: Option<Kind>,
    pub version: semver::Version,
    pub channel: String,
    pub release: u64,
    pub architecture: String,
    pub least_bridge: semver::Version,
    #[serde(default)]
    pub unit: Unit,
    pub health: Health,
    #[serde(default)]
    pub api: Vec<String>,
    #[serde(default)]
    pub firewall: Vec<ManifestRule>,
    #[serde(default)]
    pub state: State,
    #[serde(default)]
    pub logs: Vec<String>,
}

impl Recipe {
    /// Reads a recipe in TOML.
    ///
    /// # Errors
    /// [`BundleError::Manifest`] with place and fault.
    pub fn from_toml(text: &str) -> Result<Self, BundleError> {
        toml::from_str(text).map_err(|error| BundleError::Manifest(error.to_string()))
    }
}

/// Packs the files below `payload` into a bundle, signs it and writes it to `out`. The same input gives the same bytes, but
/// for signatures. Holds the compressed payload in memory.
///
/// # Errors
/// [`BundleError::Io`]; [`BundleError::Manifest`] if the result would be refused when read; [`BundleError::Key`].
pub fn build(
    recipe: &Recipe,
    payload: &Path,
    signers: &[SecretKey],
    mut out: impl Write,
) -> Result<Digest, BundleError> {
    if signers.is_empty() || signers.len() > SIGNATURES_MOST {
        return Err(BundleError::Key(format!(
            "1 to {SIGNATURES_MOST} release keys must sign"
        )));
    }
    let mut packer = Packer::default();
    for (name, path) in list(payload)? {
        packer.add(name, &path)?;
    }
    let manifest = packer.manifest(recipe);
    let bytes = manifest.to_bytes()?;
    Manifest::parse(&bytes)?;
    let comment = format!("workload:{}\tversion:{}", recipe.workload, recipe.version);
    entry(&mut out, MANIFEST_NAME, &bytes)?;
    for (number, signer) in signers.iter().enumerate() {
        let signature = signer.sign(&bytes, &comment)?;
        entry(
            &mut out,
            &format!("{SIGNATURES_DIR}{number:02}.minisig"),
            &signature,
        )?;
    }
    for (chunk, frame) in manifest.chunks.iter().zip(&packer.frames) {
        entry(&mut out, &format!("{CHUNKS_DIR}{}", chunk.digest), frame)?;
    }
    let failed = |source| BundleError::Io {
        doing: "write the bundle",
        source,
    };
    out.write_all(&[0; 1024]).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(Digest::of(&bytes))
}

fn entry(out: &mut impl Write, name: &str, body: &[u8]) -> Result<(), BundleError> {
    let failed = |source| BundleError::Io {
        doing: "write the bundle",
        source,
    };
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    out.write_all(header(name, size)?.as_bytes()).map_err(failed)?;
    out.write_all(body).map_err(failed)?;
    out.write_all(&[0; 512][..padding(size)]).map_err(failed)
}

/// The files below `root` by their path in the bundle. Links and anything that is not a plain file are refused.
fn list(root: &Path) -> Result<BTreeMap<String, PathBuf>, BundleError> {
    let failed = |source| BundleError::Io {
        doing: "read the payload's directory",
        source,
    };
    let mut files = BTreeMap::new();
    let mut todo = vec![(String::new(), root.to_owned())];
    while let Some((prefix, directory)) = todo.pop() {
        for found in std::fs::read_dir(&directory).map_err(failed)? {
            let found = found.map_err(failed)?;
            let kind = found.file_type().map_err(failed)?;
            let name = found.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| BundleError::Manifest(format!("{name:?} is not a plain name")))?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                todo.push((format!("{path}/"), found.path()));
            } else if kind.is_file() {
                files.insert(path, found.path());
            } else {
                return Err(BundleError::Manifest(format!(
                    "`{path}` is neither a file nor a directory"
                )));
            }
        }
    }
    Ok(files)
}

#[derive(Default)]
struct Packer {
    files: Vec<FileEntry>,
    chunks: Vec<ChunkEntry>,
    known: HashMap<Digest, u32>,
    frames: Vec<Bytes>,
    packed: Hasher,
    total: u64,
}

impl Packer {
    fn add(&mut self, name: String, path: &Path) -> Result<(), BundleError> {
        let failed = |source| BundleError::Io {
            doing: "read a file of the payload",
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let executable = file.metadata().map_err(failed)?.permissions().mode() & 0o111 != 0;
        let mut entry = FileEntry {
            path: name,
            mode: if executable { 0o755 } else { 0o644 },
            size: 0,
            digest: Digest::of(&[]),
            chunks: Vec::new(),
        };
        let mut hasher = Hasher::default();
        for chunk in StreamCDC::new(file, CHUNK_LEAST, CHUNK_AVERAGE, CHUNK_MOST) {
            let chunk = chunk.map_err(|error| failed(io::Error::other(error)))?;
            hasher.update(&chunk.data);
            entry.size += u64::try_from(chunk.data.len()).unwrap_or(u64::MAX);
            entry.chunks.push(self.chunk(&chunk.data)?);
        }
        entry.digest = hasher.finish();
        self.total = self.total.saturating_add(entry.size);
        if self.total > PAYLOAD_MOST {
            return Err(BundleError::Manifest(format!(
                "the payload has more than {PAYLOAD_MOST} bytes"
            )));
        }
        self.files.push(entry);
        Ok(())
    }

    fn chunk(&mut self, data: &[u8]) -> Result<u32, BundleError> {
        let digest = Digest::of(data);
        if let Some(index) = self.known.get(&digest) {
            return Ok(*index);
        }
        let many = || BundleError::Manifest("too many chunks".to_owned());
        let index = u32::try_from(self.chunks.len()).map_err(|_| many())?;
        let size = u32::try_from(data.len()).map_err(|_| many())?;
        let frame = pack_chunk(data)?;
        self.packed.update(&frame);
        self.frames.push(frame);
        self.chunks.push(ChunkEntry { digest, size });
        self.known.insert(digest, index);
        Ok(index)
    }

    fn manifest(&mut self, recipe: &Recipe) -> Manifest {
        let recipe = recipe.clone();
        Manifest {
            format: FORMAT,
            workload: recipe.workload,
            kind: recipe.kind,
            version: recipe.version,
            channel: recipe.channel,
            release: recipe.release,
            architecture: recipe.architecture,
            least_bridge: recipe.least_bridge,
            unit: recipe.unit,
            health: recipe.health,
            api: recipe.api,
            firewall: recipe.firewall,
            state: recipe.state,
            logs: recipe.logs,
            packed: std::mem::take(&mut self.packed).finish(),
            files: std::mem::take(&mut self.files),
            chunks: std::mem::take(&mut self.chunks),
        }
    }
}
