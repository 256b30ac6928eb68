//! Messages into checked values and back. Pure.
//!
//! **Invariant:** nothing that came over the wire leaves this file without having been doubted.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use satellite_proto::wire::backup::v1 as pb;
use tonic::Status;
use uuid::Uuid;

use crate::archive::index::{LEFT_OUT_BYTES, LeftOut, MOST_LEFT_OUT, Type};
use crate::archive::manifest::{FORMAT, Manifest};
use crate::archive::member::{Kind, Member, Moment, Origin};
use crate::archive::names::{Label, MemberPath, escape};
use crate::archive::select::Selection;
use crate::catalog::Record;

/// Most data sets of an archive.
const MOST_SETS: usize = 64;

/// Most filters of one call.
const MOST_FILTERS: usize = 10_000;

/// An archive as callers see it.
pub(super) fn archive(record: &Record, directory: &Label) -> pb::Archive {
    let data_sets = record.data_sets.iter();
    let data_sets = data_sets.map(|t| pb::ArchiveDataSet {
        name: t.name.to_string(),
        members: t.members,
        size_bytes: t.size,
    });
    pb::Archive {
        id: record.id.to_string(),
        file_name: record.file_name.clone(),
        size_bytes: record.size_bytes,
        create_time: Some(timestamp(record.create_time)),
        central: record.central.to_string(),
        central_address: record.central_address.clone(),
        tenant: record.tenant.clone(),
        configuration: record
            .configuration
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        data_sets: data_sets.collect(),
        sha256: record.sha256.clone(),
        path: format!("{directory}/{}", record.directory),
        verify_time: record.verify_time.map(timestamp),
        left_out: record.left_out,
    }
}

/// What the archive will say that is not in it.
pub(super) fn left_out(trailer: &pb::ArchiveTrailer) -> Result<LeftOut, Status> {
    let left_out = LeftOut {
        count: trailer.left_out,
        first: trailer.left_out_first.clone(),
    };
    if left_out.is_sound() {
        Ok(left_out)
    } else {
        Err(Status::invalid_argument(format!(
            "`left_out_first` may name {MOST_LEFT_OUT} things in {LEFT_OUT_BYTES} bytes each, without control characters"
        )))
    }
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    // jiff's fraction has the sign of the seconds, protobuf's is never negative.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        prost_types::Timestamp {
            seconds: seconds - 1,
            nanos: nanos + 1_000_000_000,
        }
    } else {
        prost_types::Timestamp { seconds, nanos }
    }
}

/// What an archive will say about itself.
pub(super) fn manifest(header: pb::ArchiveHeader) -> Result<Manifest, Status> {
    let label = |text: &str, field: &str| {
        text.parse::<Label>()
            .map_err(|bad| Status::invalid_argument(format!("`{field}` cannot name a file: {bad}")))
    };
    let short = |text: String, field: &str| {
        let fits = text.len() <= 255 && !text.chars().any(char::is_control);
        if fits {
            Ok(text)
        } else {
            Err(Status::invalid_argument(format!(
                "`{field}` has more than 255 bytes or control characters"
            )))
        }
    };
    key(&header.idempotency_key)?;
    if header.data_sets.is_empty() || header.data_sets.len() > MOST_SETS {
        return Err(Status::invalid_argument(format!(
            "`data_sets` must name 1 to {MOST_SETS}"
        )));
    }
    let mut data_sets = Vec::new();
    for name in &header.data_sets {
        let bad = |why: &str| {
            Status::invalid_argument(format!("`data_sets`: `{}`: {why}", escape(name.as_bytes())))
        };
        let set = name
            .parse()
            .map_err(|e: crate::archive::names::BadName| bad(&e.to_string()))?;
        if data_sets.contains(&set) {
            return Err(bad("it is named twice"));
        }
        data_sets.push(set);
    }
    let create_time = match header.create_time {
        None => Timestamp::now(),
        Some(at) => Timestamp::new(at.seconds, at.nanos)
            .map_err(|_| Status::invalid_argument("`create_time` is not a moment"))?,
    };
    let tenant = if header.tenant.is_empty() {
        "default".to_owned()
    } else {
        header.tenant
    };
    let configuration = match header.configuration.as_str() {
        "" => None,
        name => Some(label(name, "configuration")?),
    };
    Ok(Manifest {
        format: FORMAT,
        id: Uuid::now_v7(),
        central: label(&header.central, "central")?,
        central_address: short(header.central_address, "central_address")?,
        tenant: short(tenant, "tenant")?,
        configuration,
        data_sets,
        create_time,
        creator_version: short(header.creator_version, "creator_version")?,
        writer_version: env!("CARGO_PKG_VERSION").to_owned(),
        idempotency_key: header.idempotency_key,
    })
}

/// Checks an idempotency key.
pub(super) fn key(key: &str) -> Result<(), Status> {
    let good = (1..=128).contains(&key.len()) && !key.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        Err(Status::invalid_argument(
            "`idempotency_key` must have 1 to 128 characters",
        ))
    }
}

/// A member, and whether its size is to be found out.
pub(super) fn member(begin: pb::Member) -> Result<(Member, bool), Status> {
    let (set, of) = (begin.data_set.clone(), begin.path.clone());
    let refuse = |why: String| Status::invalid_argument(format!("`{set}/{}`: {why}", escape(&of)));
    let path =
        |bytes: Bytes| MemberPath::new(bytes).map_err(|bad| refuse(format!("its path or target: {bad}")));
    let kind = match begin.r#type() {
        pb::MemberType::File => Kind::File(begin.size_bytes),
        pb::MemberType::Directory => Kind::Directory,
        pb::MemberType::Symlink => Kind::Symlink(begin.link_target.clone()),
        pb::MemberType::HardLink => Kind::HardLink(path(begin.link_target.clone())?),
        pb::MemberType::Unspecified => return Err(refuse("it has no type".to_owned())),
    };
    let is_file = matches!(kind, Kind::File(_));
    if !is_file && (begin.size_bytes > 0 || begin.size_unknown) {
        return Err(refuse("only a file has a size".to_owned()));
    }
    let origin = match begin.origin() {
        pb::MemberOrigin::Command => Origin::Command,
        _ => Origin::Path,
    };
    let at = begin.modify_time.unwrap_or_default();
    let nanos =
        u32::try_from(at.nanos).map_err(|_| refuse("its time has negative nanoseconds".to_owned()))?;
    // A link's times beyond what pax readers take is no reason to lose a backup, but there are limits.
    if at.seconds.unsigned_abs() > 1 << 60 {
        return Err(refuse("its time is beyond all calendars".to_owned()));
    }
    let member = Member {
        data_set: begin
            .data_set
            .parse()
            .map_err(|bad| refuse(format!("its data set: {bad}")))?,
        path: path(begin.path.clone())?,
        kind,
        mode: begin.mode,
        uid: begin.uid,
        gid: begin.gid,
        modified: Moment {
            seconds: at.seconds,
            nanos,
        },
        xattrs: begin.xattrs.into_iter().map(|x| (x.name, x.value)).collect(),
        origin,
        sparse: begin.sparse,
        user: begin.user_name,
        group: begin.group_name,
    };
    Ok((member, begin.size_unknown))
}

/// A member as callers see it.
pub(super) fn begin(member: Member) -> pb::Member {
    let size_bytes = member.size();
    let (kind, link_target) = match member.kind {
        Kind::File(_) => (pb::MemberType::File, Bytes::new()),
        Kind::Directory => (pb::MemberType::Directory, Bytes::new()),
        Kind::Symlink(target) => (pb::MemberType::Symlink, target),
        Kind::HardLink(target) => (pb::MemberType::HardLink, target.as_bytes().clone()),
    };
    let origin = match member.origin {
        Origin::Path => pb::MemberOrigin::Path,
        Origin::Command => pb::MemberOrigin::Command,
    };
    let xattrs = member
        .xattrs
        .into_iter()
        .map(|(name, value)| pb::ExtendedAttribute { name, value });
    pb::Member {
        data_set: member.data_set.into(),
        path: member.path.as_bytes().clone(),
        r#type: kind.into(),
        mode: member.mode,
        uid: member.uid,
        gid: member.gid,
        modify_time: Some(prost_types::Timestamp {
            seconds: member.modified.seconds,
            nanos: i32::try_from(member.modified.nanos).unwrap_or(0),
        }),
        size_bytes,
        link_target,
        xattrs: xattrs.collect(),
        origin: origin.into(),
        user_name: member.user,
        group_name: member.group,
        size_unknown: false,
        sparse: member.sparse,
    }
}

pub(super) fn member_type(kind: Type) -> pb::MemberType {
    match kind {
        Type::File => pb::MemberType::File,
        Type::Directory => pb::MemberType::Directory,
        Type::Symlink => pb::MemberType::Symlink,
        Type::Hardlink => pb::MemberType::HardLink,
    }
}

/// What to read.
pub(super) fn selection(asked: pb::ReadArchiveRequest) -> Result<Selection, Status> {
    if asked.data_sets.len() > MOST_SETS || asked.paths.len() > MOST_FILTERS {
        return Err(Status::invalid_argument(format!(
            "at most {MOST_SETS} data sets and {MOST_FILTERS} paths"
        )));
    }
    let trimmed = |path: &Bytes| path.strip_suffix(b"/").unwrap_or(path).to_vec();
    let paths = asked.paths.iter().map(trimmed).collect();
    Ok(Selection {
        data_sets: asked.data_sets.into_iter().collect(),
        paths,
    })
}

/// Whether the disk or the quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
