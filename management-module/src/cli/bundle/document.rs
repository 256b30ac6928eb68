//! Signed documents as files: the document itself, and beside it a file for each signature, which minisign's own tool
//! makes and checks.
//!
//! **Invariant:** a document is never changed once it was written: another one has another name.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use satellite_proto::bundle::{
    self, Anchor, DOCUMENT_MOST, Downgrade, Keys, Root, SIGNATURE_MOST, Signed, TrustAnchors, TrustRecord,
};
use satellite_proto::wire::bridge::v1::SignedDocument;

use super::{create, signer};
use crate::cli::{CliError, read_text};

/// The ending of signature files.
const ENDING: &str = ".minisig";

/// Reads a document and the signatures beside it: `FILE.minisig`, `FILE.*.minisig`.
pub(in crate::cli) fn load(path: &Path) -> Result<Signed, CliError> {
    let document = read(path, DOCUMENT_MOST)?;
    let mut signatures = Vec::new();
    for file in signature_files(path)? {
        signatures.push(read(&file, SIGNATURE_MOST)?);
    }
    Ok(Signed { document, signatures })
}

/// Signs a document with the keys of the files `keys`; each signature becomes a file beside it. Answers their names.
pub(super) fn sign(
    path: &Path,
    keys: &[PathBuf],
    password: Option<&str>,
    comment: &str,
) -> Result<Vec<PathBuf>, CliError> {
    let mut signed = load(path)?;
    let mut written = Vec::new();
    for key in keys {
        let key = signer(key, password)?;
        let id = bundle::key_id(&key.public_key()).unwrap_or_default();
        let file = super::with_suffix(path, &format!(".{id}{ENDING}"));
        let signature = signed.sign(&key, comment).map_err(CliError::failed)?;
        let _earlier = std::fs::remove_file(&file);
        create(&file, 0o644, &signature)?;
        written.push(file);
    }
    Ok(written)
}

/// The release keys that a list of trusted keys and the signed sets `documents` amount to.
pub(super) fn release_keys(trust: &Path, documents: &[PathBuf]) -> Result<TrustAnchors, CliError> {
    let anchor = Anchor::from_toml(&read_text(trust)?).map_err(CliError::failed)?;
    let now = Timestamp::now();
    let offered = record_of(documents)?;
    let record = if offered == TrustRecord::default() {
        offered
    } else {
        let next = anchor.advance(&TrustRecord::default(), &offered, now);
        next.map_err(CliError::failed)?.unwrap_or_default()
    };
    let trust = anchor.establish(&record).map_err(CliError::failed)?;
    trust.release(now).cloned().map_err(|error| {
        CliError::said(format!(
            "{error}; name the signed set of release keys with --keys"
        ))
    })
}

/// Sorts signed sets of keys by their kind: root sets by sequence, and one set of release keys.
pub(super) fn record_of(documents: &[PathBuf]) -> Result<TrustRecord, CliError> {
    let mut roots = Vec::new();
    let mut record = TrustRecord::default();
    for path in documents {
        let signed = load(path)?;
        if let Ok(root) = Root::parse(&signed.document) {
            roots.push((root.sequence, signed));
            continue;
        }
        match Keys::parse(&signed.document) {
            Ok(_) if record.keys.is_some() => {
                return Err(CliError::Usage(
                    "more than one set of release keys: name the newest only".to_owned(),
                ));
            }
            Ok(_) => record.keys = Some(signed),
            Err(error) => {
                return Err(CliError::Usage(format!(
                    "`{}` is no set of keys: {error}",
                    path.display()
                )));
            }
        }
    }
    roots.sort_by_key(|(sequence, _)| *sequence);
    record.roots = roots.into_iter().map(|(_, signed)| signed).collect();
    Ok(record)
}

/// What kind of document a file holds, for the signature's comment.
pub(super) fn comment_of(path: &Path) -> Result<String, CliError> {
    let bytes = read(path, DOCUMENT_MOST)?;
    if let Ok(root) = Root::parse(&bytes) {
        return Ok(format!("root keys\tsequence:{}", root.sequence));
    }
    if let Ok(keys) = Keys::parse(&bytes) {
        return Ok(format!("release keys\tsequence:{}", keys.sequence));
    }
    match Downgrade::parse(&bytes) {
        Ok(permit) => Ok(format!(
            "permit\tworkload:{}\trelease:{}",
            permit.workload, permit.release
        )),
        Err(_) => Err(CliError::Usage(format!(
            "`{}` is neither a set of keys nor a permit, or it was changed: nothing is signed",
            path.display()
        ))),
    }
}

/// As the wire has it.
pub(in crate::cli) fn wire_of(signed: Signed) -> SignedDocument {
    SignedDocument {
        document: signed.document,
        signatures: signed.signatures,
    }
}

fn signature_files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()));
    let mut files = Vec::new();
    for entry in entries.map_err(CliError::Failed)? {
        let file = entry.map_err(CliError::failed)?.file_name();
        let is_beside = file.to_string_lossy().strip_prefix(&name).is_some_and(|rest| {
            let id = rest.strip_suffix(ENDING).unwrap_or("/");
            id.is_empty() || (id.starts_with('.') && !id[1..].contains('.'))
        });
        if is_beside {
            files.push(dir.join(file));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path, most: usize) -> Result<Bytes, CliError> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let bytes = bytes.map_err(CliError::Failed)?;
    if bytes.len() > most {
        return Err(CliError::Usage(format!(
            "`{}` has more than {most} bytes: it is not what it should be",
            path.display()
        )));
    }
    Ok(bytes.into())
}
