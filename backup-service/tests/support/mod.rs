//! Makes archives and reads them, for the tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::path::{Path, PathBuf};

use backup_service::archive::manifest::Manifest;
use backup_service::archive::member::{Kind, Member, Moment, Origin};
use backup_service::archive::names::MemberPath;
use backup_service::archive::read::Archive;
use backup_service::archive::select::{Check, Piece, SelectError, Selection, select};
use backup_service::archive::write::{ArchiveWriter, Room, WriteError};
use bytes::Bytes;
use twox_hash::XxHash3_64;

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}

/// Bytes that shrink about as much as a PBX's, the same for the same seed.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state as u8) & 0x3F
    };
    (0..size).map(|_| byte()).collect()
}

pub(crate) fn member(set: &str, path: &[u8], kind: Kind) -> Member {
    Member {
        data_set: set.parse().unwrap(),
        path: MemberPath::new(Bytes::copy_from_slice(path)).unwrap(),
        kind,
        mode: 0o640,
        uid: 1000,
        gid: 1000,
        modified: Moment {
            seconds: 1_700_000_000,
            nanos: 0,
        },
        xattrs: Vec::new(),
        origin: Origin::Path,
        sparse: false,
        user: "pbx".to_owned(),
        group: "pbx".to_owned(),
    }
}

pub(crate) fn file(set: &str, path: &[u8], content: &[u8]) -> (Member, Vec<u8>) {
    (
        member(set, path, Kind::File(content.len() as u64)),
        content.to_vec(),
    )
}

pub(crate) fn manifest(sets: &[&str]) -> Manifest {
    Manifest {
        format: 1,
        id: uuid::Uuid::now_v7(),
        central: "pbx".parse().unwrap(),
        central_address: "192.0.2.1".to_owned(),
        tenant: "default".to_owned(),
        configuration: Some("Nightly".parse().unwrap()),
        data_sets: sets.iter().map(|s| s.parse().unwrap()).collect(),
        create_time: "2026-11-22T02:00:00Z".parse().unwrap(),
        creator_version: "1".to_owned(),
        writer_version: "1".to_owned(),
        idempotency_key: "k".to_owned(),
    }
}

pub(crate) fn room(directory: &Path) -> Room {
    Room {
        directory: directory.to_owned(),
        reserve: 0,
    }
}

/// Writes an archive of these members and answers its path.
pub(crate) fn write(
    directory: &Path,
    sets: &[&str],
    members: &[(Member, Vec<u8>)],
) -> Result<PathBuf, WriteError> {
    let path = directory.join("a.sar");
    let out = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    let mut writer = ArchiveWriter::create(out, room(directory), &manifest(sets), 2)?;
    let mut bytes = 0;
    for (member, content) in members {
        let is_file = matches!(member.kind, Kind::File(_));
        writer.begin(member.clone(), false)?;
        if is_file {
            for piece in content.chunks(100_000) {
                writer.content(piece)?;
            }
            writer.end(&sha256(content), Some(XxHash3_64::oneshot(content)))?;
            bytes += content.len() as u64;
        }
    }
    writer.finish(members.len() as u64, bytes)?;
    Ok(path)
}

/// Reads the chosen members.
pub(crate) fn read(path: &Path, selection: &Selection) -> Result<Vec<(Member, Vec<u8>)>, SelectError> {
    let archive = Archive::open(path)?;
    let mut members: Vec<(Member, Vec<u8>)> = Vec::new();
    select(&archive, selection, Check::Here, |piece| {
        match piece {
            Piece::Begin(member) => members.push((member, Vec::new())),
            Piece::Content(bytes) => members.last_mut().unwrap().1.extend_from_slice(bytes),
            Piece::End(digest) => assert_eq!(digest, sha256(&members.last().unwrap().1)),
        }
        true
    })?;
    Ok(members)
}
