//! Messages into checked values and back. Pure.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use russh::keys::ssh_key::PublicKey;
use satellite_proto::wire::backup::v1 as pb;
use tonic::Status;
use uuid::Uuid;

use super::described;
use crate::archive::select::Selection;
use crate::central::Lack;
use crate::central::plan::{DataSet, Written};
use crate::destination::fault::Fault;
use crate::rpc::destination::login as checked_login;
use crate::rpc::{id, wire};
use crate::ssh::Login;

/// Most data sets of a central.
const MOST_SETS: usize = 64;
/// Bytes of notices that are answered.
const MOST_NOTICED: usize = 256 << 10;

/// What is to be read.
pub(super) struct Pull {
    pub(super) login: Login,
    pub(super) sets: Vec<DataSet>,
    pub(super) header: pb::ArchiveHeader,
}

/// What is to be brought back.
pub(super) struct Push {
    pub(super) login: Login,
    pub(super) archive: Uuid,
    pub(super) selection: Selection,
    pub(super) sets: Vec<DataSet>,
    pub(super) overwrite: bool,
}

/// What is to be removed.
pub(super) struct Removal {
    pub(super) login: Login,
    pub(super) archive: Uuid,
    pub(super) sets: Vec<DataSet>,
    /// Only what was changed before.
    pub(super) limit: Option<Timestamp>,
}

pub(super) fn login(given: Option<pb::SshCentral>) -> Result<Login, Status> {
    let given = given.ok_or_else(|| Status::invalid_argument("`central` is missing"))?;
    checked_login("the central", given).map_err(|fault| described(&fault))
}

pub(super) fn data_sets(given: Vec<pb::CentralDataSet>) -> Result<Vec<DataSet>, Status> {
    if given.len() > MOST_SETS {
        return Err(Status::invalid_argument(format!("at most {MOST_SETS} data sets")));
    }
    let one = |set: pb::CentralDataSet| {
        let commands = set.commands.into_iter().map(|command| {
            let given = command.deadline.unwrap_or_default();
            let seconds = u64::try_from(given.seconds).unwrap_or_default();
            (
                command.name,
                command.run,
                command.restore,
                Duration::from_secs(seconds),
            )
        });
        DataSet::check(Written {
            name: set.name,
            paths: set.paths,
            excludes: set.excludes,
            commands: commands.collect(),
            quiesce: set.quiesce,
        })
    };
    let all: Result<_, Fault> = given.into_iter().map(one).collect();
    all.map_err(|fault| described(&fault))
}

/// The moment before which files must have been changed, if there is one.
pub(super) fn limit(given: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let moment = given.map(|limit| Timestamp::new(limit.seconds, limit.nanos));
    moment
        .transpose()
        .map_err(|_| Status::invalid_argument("`changed_before` is not a moment"))
}

/// Only the files that were changed before `limit`, if there is one: no command runs then, and no service is stopped.
pub(super) fn old(mut sets: Vec<DataSet>, limit: Option<Timestamp>) -> Vec<DataSet> {
    for set in sets.iter_mut().filter(|_| limit.is_some()) {
        set.commands.clear();
        set.quiesce.clear();
        set.changed_before = limit;
    }
    sets
}

pub(super) fn removal(asked: pb::RemoveArchivedRequest) -> Result<Removal, Status> {
    Ok(Removal {
        login: login(asked.central)?,
        archive: id(&asked.id)?,
        sets: data_sets(asked.data_sets)?,
        limit: limit(asked.changed_before)?,
    })
}

pub(super) fn pull(asked: pb::PullArchiveRequest) -> Result<Pull, Status> {
    let sets = old(data_sets(asked.data_sets)?, limit(asked.changed_before)?);
    let header = asked
        .header
        .ok_or_else(|| Status::invalid_argument("`header` is missing"))?;
    let header = pb::ArchiveHeader {
        data_sets: sets.iter().map(|set| set.name.to_string()).collect(),
        base_archive_id: String::new(),
        ..header
    };
    Ok(Pull {
        login: login(asked.central)?,
        sets,
        header,
    })
}

pub(super) fn push(asked: pb::PushArchiveRequest) -> Result<Push, Status> {
    let mut given = asked.data_sets;
    for more in asked.quiesce_for_restore {
        if let Some(set) = given.iter_mut().find(|set| set.name == more.data_set) {
            set.quiesce.extend(more.units);
        }
    }
    let selection = asked
        .selection
        .ok_or_else(|| Status::invalid_argument("`selection` is missing"))?;
    Ok(Push {
        login: login(asked.central)?,
        archive: id(&selection.id)?,
        selection: wire::selection(selection)?,
        sets: data_sets(given)?,
        overwrite: asked.overwrite,
    })
}

fn key_of(confirmed: Option<&PublicKey>) -> (String, String) {
    let key = confirmed
        .and_then(|key| key.to_openssh().ok())
        .unwrap_or_default();
    let fingerprint = confirmed.map(|key| key.fingerprint(russh::keys::HashAlg::Sha256).to_string());
    (key, fingerprint.unwrap_or_default())
}

/// What the central lacks.
pub(super) fn lacks(found: Vec<(String, Lack)>, confirmed: Option<&PublicKey>) -> pb::TestCentralResponse {
    let (host_key, host_key_fingerprint) = key_of(confirmed);
    let one = |(data_set, lack)| pb::CentralLack {
        data_set,
        what: Some(match lack {
            Lack::Path(path) => pb::central_lack::What::Path(Bytes::from(path)),
            Lack::Program(program) => pb::central_lack::What::Program(program),
        }),
    };
    pb::TestCentralResponse {
        host_key,
        host_key_fingerprint,
        problem: String::new(),
        lacks: found.into_iter().map(one).collect(),
    }
}

/// Why it was not signed in to, with the key that was shown.
pub(super) fn not_reached(fault: &Fault, confirmed: Option<&PublicKey>) -> pb::TestCentralResponse {
    let (host_key, host_key_fingerprint) = match fault {
        Fault::HostKeyUnknown { key, fingerprint, .. } | Fault::HostKeyChanged { key, fingerprint, .. } => {
            (key.clone(), fingerprint.clone())
        }
        // It was compared before.
        Fault::SignIn { .. } => key_of(confirmed),
        _ => (String::new(), String::new()),
    };
    pb::TestCentralResponse {
        host_key,
        host_key_fingerprint,
        problem: described(fault).message().to_owned(),
        lacks: Vec::new(),
    }
}

/// As many notices as fit into an answer.
pub(super) fn fitting(notices: Vec<String>) -> Vec<String> {
    let mut size = 0;
    let fits = |notice: &String| {
        size += notice.len();
        size <= MOST_NOTICED
    };
    notices.into_iter().take_while(fits).collect()
}
