//! Messages into checked values and back. Pure.

use std::num::NonZeroU64;
use std::path::PathBuf;

use satellite_proto::wire::backup::v1 as pb;

use crate::config::Config;
use crate::destination::check::Checked;
use crate::destination::copy::{Copied, Job};
use crate::destination::fault::Fault;
use crate::destination::gauge::{Reading, Stage};
use crate::destination::path::PlacePath;
use crate::destination::place::Entry;
use crate::destination::probe::{Findings, Step};
use crate::destination::target::{Kind, Target};

/// Where copies go, checked.
pub(super) fn target(described: Option<pb::Destination>, config: &Config) -> Result<Target, Fault> {
    use pb::destination::Kind as Wire;
    let wrong = |what: &str| Fault::Description(what.to_owned());
    let described = described.ok_or_else(|| wrong("it is missing"))?;
    let base = match described.base_directory.as_str() {
        "" => config.directory.clone(),
        given => given
            .parse()
            .map_err(|bad| Fault::Description(format!("`base_directory` cannot name a directory: {bad}")))?,
    };
    let kind = match described
        .kind
        .ok_or_else(|| wrong("it is of no kind that this version knows"))?
    {
        Wire::Directory(directory) => Kind::Directory(own_directory(&directory.path, config)?),
        Wire::Smb(_) => return Err(not_yet("Windows shares")),
        Wire::Sftp(_) => return Err(not_yet("SFTP")),
        Wire::Dropbox(_) => return Err(not_yet("Dropbox")),
        Wire::Usb(_) => return Err(not_yet("USB disks")),
        Wire::Mail(_) => return Err(not_yet("mail")),
        Wire::S3(_) => return Err(not_yet("S3")),
        Wire::Webdav(_) => return Err(not_yet("WebDAV")),
    };
    Ok(Target {
        kind,
        base,
        limit: NonZeroU64::new(described.bytes_per_second),
    })
}

/// For a kind that this version cannot serve.
pub(super) fn not_yet(what: &str) -> Fault {
    Fault::Unsupported(format!(
        "this version of the backup-service does not know {what}: update it"
    ))
}

fn own_directory(path: &str, config: &Config) -> Result<PathBuf, Fault> {
    if path.is_empty() {
        return Ok(config.state.join("copies"));
    }
    let given = PathBuf::from(path);
    let plain = given.is_absolute() && !path.contains('\0') && !path.split('/').any(|part| part == "..");
    if !plain || given.starts_with(&config.state) {
        return Err(Fault::Description(
            "`path` must be absolute, without `..`, and not among the backup-service's own files".to_owned(),
        ));
    }
    Ok(given)
}

/// What a test found.
pub(super) fn findings(findings: &Findings) -> pb::TestDestinationResponse {
    let good = findings.good.iter().map(|(step, message)| pb::TestStep {
        name: step_name(*step).into(),
        ok: true,
        message: message.clone(),
        fault: None,
    });
    let bad = findings.bad.as_ref().map(|(step, fault)| pb::TestStep {
        name: step_name(*step).into(),
        ok: false,
        message: crate::rpc::chain(fault),
        fault: Some(fault.on_the_wire()),
    });
    let (host_key, host_key_fingerprint) = match &findings.bad {
        Some((
            _,
            Fault::HostKeyUnknown { key, fingerprint, .. } | Fault::HostKeyChanged { key, fingerprint, .. },
        )) => (key.clone(), fingerprint.clone()),
        _ => Default::default(),
    };
    pb::TestDestinationResponse {
        steps: good.chain(bad).collect(),
        free_bytes: findings.free,
        host_key,
        host_key_fingerprint,
        most_bytes: findings.most,
    }
}

/// A description that is wrong, as the result of a test.
pub(super) fn not_described(fault: &Fault) -> pb::TestDestinationResponse {
    pb::TestDestinationResponse {
        steps: vec![pb::TestStep {
            name: pb::TestStepName::Description.into(),
            ok: false,
            message: fault.to_string(),
            fault: Some(fault.on_the_wire()),
        }],
        ..pb::TestDestinationResponse::default()
    }
}

fn step_name(step: Step) -> pb::TestStepName {
    match step {
        Step::Connect => pb::TestStepName::Connect,
        Step::HostKey => pb::TestStepName::HostKey,
        Step::SignIn => pb::TestStepName::SignIn,
        Step::Directory => pb::TestStepName::Directory,
        Step::Write => pb::TestStepName::Write,
        Step::ReadBack => pb::TestStepName::ReadBack,
        Step::Remove => pb::TestStepName::Remove,
    }
}

/// How far something is.
pub(super) fn progress(reading: Reading) -> pb::CopyProgress {
    let step = match reading.stage {
        Stage::Prepare => pb::CopyStep::Prepare,
        Stage::Send => pb::CopyStep::Send,
        Stage::Verify => pb::CopyStep::Verify,
        Stage::Fetch => pb::CopyStep::Fetch,
    };
    pb::CopyProgress {
        done: reading.done,
        total: reading.total,
        step: step.into(),
        retries: reading.retries,
    }
}

/// The end of a copy.
pub(super) fn copied(job: &Job<'_>, copied: Copied) -> pb::CopyArchiveResponse {
    let done = pb::CopyDone {
        path: job.path.to_string(),
        size_bytes: job.size,
        sha256: job.sha256.to_owned(),
        existed: copied.existed,
        not_read_back: !copied.read_back,
    };
    pb::CopyArchiveResponse {
        kind: Some(pb::copy_archive_response::Kind::Done(done)),
    }
}

/// The end of a check.
pub(super) fn checked(checked: Checked) -> pb::VerifyDone {
    pb::VerifyDone {
        intact: checked.problems.is_empty(),
        problems: checked.problems,
        size_bytes: checked.size,
        sha256: checked.sha256,
    }
}

/// A copy in a list.
pub(super) fn listed(path: &PlacePath, entry: &Entry) -> pb::Copy {
    pb::Copy {
        path: path.to_string(),
        file_name: entry.name.clone(),
        size_bytes: entry.size,
        modify_time: entry.modified.map(crate::rpc::wire::timestamp),
    }
}
