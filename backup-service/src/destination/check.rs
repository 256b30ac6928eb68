//! Reads a copy whole at its destination and checks it against its own seal and, if known, the digest of the file.

use aws_lc_rs::digest::{Context, SHA256};

use super::copy::read;
use super::fault::Fault;
use super::gauge::Stage;
use super::path::PlacePath;
use super::visit::Visit;
use crate::age::ENDING;
use crate::archive::seek::{FOOTER, SEAL, Table, read_seal};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; nothing if it is as it was written.
    pub problems: Vec<String>,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of it, lower hexadecimal digits.
    pub sha256: String,
}

/// Checks; goes on after cuts.
///
/// # Errors
/// [`Fault`]; what is wrong with the copy is in the answer.
pub async fn check(visit: &mut Visit, path: &PlacePath, expected: Option<&str>) -> Result<Checked, Fault> {
    let size = size(visit, path).await?;
    visit.gauge.begin(Stage::Verify, 0, size);
    let mut problems = Vec::new();
    // What is in an encrypted one only its keys can tell: here it is what was written, or it is not.
    let is_encrypted = path.name().ends_with(ENDING);
    if is_encrypted && expected.is_none() {
        return Err(Fault::Unsupported(
            "nobody knows any more which digest this encrypted copy should have: fetch it with its key, which checks it whole"
                .to_owned(),
        ));
    }
    let found = if is_encrypted {
        None
    } else {
        Some(sealed_at(visit, path, size).await?)
    };
    let sealed_at = match found.transpose() {
        Ok(at) => at,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let mut hash = Context::new(&SHA256);
    let (mut at, mut seal) = (0, Vec::new());
    let mut before_seal = None;
    while at < size {
        let piece = read(visit, path, at, size).await?;
        let end = at + piece.len() as u64;
        let mut rest = &piece[..];
        if let Some(sealed_at) = sealed_at.filter(|sealed| (at..end).contains(sealed)) {
            let (before, after) = piece.split_at((sealed_at - at) as usize);
            hash.update(before);
            before_seal = Some(hash.clone().finish());
            rest = after;
        }
        if before_seal.is_some() && seal.len() < 32 {
            seal.extend_from_slice(&rest[..rest.len().min(32 - seal.len())]);
        }
        hash.update(rest);
        at = end;
        visit.gauge.set(at);
    }
    let sha256 = data_encoding::HEXLOWER.encode(hash.finish().as_ref());
    if before_seal.is_some_and(|digest| digest.as_ref() != seal) {
        problems.push("the file has another digest than its seal says".to_owned());
    }
    if expected.is_some_and(|expected| expected != sha256) {
        problems.push("the file has another digest than it should have".to_owned());
    }
    Ok(Checked {
        problems,
        size,
        sha256,
    })
}

/// Bytes of a copy.
pub(super) async fn size(visit: &mut Visit, path: &PlacePath) -> Result<u64, Fault> {
    if visit.place.only_takes() {
        return Err(unreadable());
    }
    loop {
        match visit.place.size(path).await {
            Ok(Some(size)) => return Ok(size),
            Ok(None) => return Err(Fault::NotFound(format!("copy `{path}`"))),
            Err(fault) => visit.recover(fault).await?,
        }
    }
}

/// For destinations that only take.
#[must_use]
pub fn unreadable() -> Fault {
    Fault::Unsupported(
        "a mailbox takes copies and gives none back: save the attachment of the message instead".to_owned(),
    )
}

/// Where the digest of the seal lies, or what is wrong with the end of the file.
async fn sealed_at(visit: &mut Visit, path: &PlacePath, size: u64) -> Result<Result<u64, String>, Fault> {
    let cut = || Ok(Err("it is cut short or no archive".to_owned()));
    let Some(footer_at) = size.checked_sub(FOOTER as u64) else {
        return cut();
    };
    let footer = exact(visit, path, footer_at, FOOTER, size).await?;
    let length = footer.as_slice().try_into().ok().map(Table::length);
    let Some(Ok(length)) = length else {
        return cut();
    };
    let Some(at) = size.checked_sub((length + SEAL) as u64) else {
        return cut();
    };
    let tail = exact(visit, path, at, length + SEAL, size).await?;
    let (seal, table) = tail.split_at(SEAL);
    let seal = seal.try_into().ok().map(read_seal);
    if !matches!(seal, Some(Ok(_))) {
        return Ok(Err("its seal is damaged".to_owned()));
    }
    if Table::decode(table, size).is_err() {
        return Ok(Err("its seek table does not fit the file".to_owned()));
    }
    Ok(Ok(at + (SEAL - 32) as u64))
}

async fn exact(
    visit: &mut Visit,
    path: &PlacePath,
    from: u64,
    length: usize,
    size: u64,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = read(visit, path, from + bytes.len() as u64, size).await?;
        bytes.extend_from_slice(&piece[..piece.len().min(length - bytes.len())]);
    }
    Ok(bytes)
}
