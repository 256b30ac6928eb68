//! Centrals that a satellite reaches over SSH: how is kept here, sealed, and goes to the satellite with each call.
//!
//! **Invariant:** a secret comes in and goes to the satellite over its pinned connection, and nowhere else. What was entered
//! for one server and user is never sent to another.

use prost::Message as _;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::central_service_client::CentralServiceClient;
use tonic::transport::Channel;

use super::{Backups, satellite_name};
use crate::app::remote::call;
use crate::app::{Actor, AppError, local};
use crate::central::profile::DataSet;
use crate::central::read::Measured;
use crate::central::{Missing, missing};
use crate::names::SatelliteName;
use crate::store::{Central, SshLogin};
use crate::vault::Vault;

/// How long the paths and sizes of a central may be looked at, as a multiple of the deadline of a call.
const LOOKS: u32 = 60;

/// How a central is reached.
#[derive(Debug, Clone, Default)]
pub enum Reach {
    /// As before; a new one is the server's own machine.
    #[default]
    AsBefore,
    /// It is the server's own machine.
    Local,
    /// Over SSH. Secrets that are not set stay as they are, if server, port and user do.
    Ssh(Box<pb::SshCentral>),
}

/// What a check of a central has found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What it lacks of what its profile names.
    pub lacks: Vec<pb::CentralLack>,
    /// Why it cannot be looked at; empty: it was.
    pub problem: String,
    /// The fingerprint of the key that it showed; empty: none.
    pub host_key_fingerprint: String,
    /// That key was confirmed.
    pub is_confirmed: bool,
}

impl Backups {
    /// What a central lacks of what its profile names. With `accept_host_key` (a fingerprint) its key is kept if it is that one.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] the key is another one; what the satellite says. What is wrong with the
    /// central is in the answer.
    pub async fn check_central(
        &self,
        actor: &Actor,
        name: &str,
        accept_host_key: &str,
    ) -> Result<Checked, AppError> {
        let checked = self.checked(name, accept_host_key).await;
        let action = "BackupService/CheckCentral";
        self.app.audit.recorded(actor, action, name, checked).await
    }

    async fn checked(&self, name: &str, accept_host_key: &str) -> Result<Checked, AppError> {
        let (central, profile) = self.central(name).await?;
        let Some(_) = &central.ssh else {
            let lacks = missing(&profile).into_iter().map(lack);
            return Ok(Checked {
                lacks: lacks.collect(),
                ..Checked::default()
            });
        };
        let sets: Vec<_> = profile.data_sets.iter().map(told_set).collect();
        let found = self.look(&central, sets.clone()).await?;
        if accept_host_key.is_empty() {
            return Ok(of(&central, found));
        }
        if found.host_key_fingerprint != accept_host_key {
            return Err(AppError::Invalid(format!(
                "central {name} shows the key {:?}, not {accept_host_key:?}: nothing was accepted",
                found.host_key_fingerprint
            )));
        }
        let mut whole = self.login(&central)?;
        whole.host_key = found.host_key;
        let central = Central {
            ssh: Some(self.sealed(name, whole)?),
            ..central
        };
        self.app.store.add_central(&central, true).await?;
        let found = self.look(&central, sets).await?;
        Ok(of(&central, found))
    }

    async fn look(
        &self,
        central: &Central,
        data_sets: Vec<pb::CentralDataSet>,
    ) -> Result<pb::TestCentralResponse, AppError> {
        let satellite = satellite_name(&central.satellite)?;
        let request = pb::TestCentralRequest {
            central: Some(self.login(central)?),
            data_sets,
        };
        let deadline = self.app.config.call_deadline * LOOKS;
        let mut client = self.remote_centrals(&satellite)?;
        call(&satellite, deadline, client.test_central(request)).await
    }

    /// What the data sets of a central hold that a satellite reaches.
    pub(super) async fn measured_there(
        &self,
        central: &Central,
        satellite: &SatelliteName,
        sets: Vec<DataSet>,
    ) -> Result<Vec<(DataSet, Measured)>, AppError> {
        let limit = sets.iter().find_map(|set| set.changed_before);
        let request = pb::MeasureCentralRequest {
            central: Some(self.login(central)?),
            data_sets: sets.iter().map(told_set).collect(),
            changed_before: limit.map(crate::rpc::wire_time),
        };
        let deadline = self.app.config.call_deadline * LOOKS;
        let mut client = self.remote_centrals(satellite)?;
        let answer = call(satellite, deadline, client.measure_central(request)).await?;
        let size = |size: pb::CentralSize| Measured {
            files: size.files,
            bytes: size.bytes,
        };
        Ok(sets.into_iter().zip(answer.sizes.into_iter().map(size)).collect())
    }

    /// How a central is kept, by what is asked for and what is known.
    pub(super) async fn reached(&self, name: &str, reach: Reach) -> Result<Option<SshLogin>, AppError> {
        let known = self.app.store.central(name).await?;
        let wanted = match reach {
            Reach::AsBefore => return Ok(known.and_then(|known| known.ssh)),
            Reach::Local => return Ok(None),
            Reach::Ssh(wanted) => *wanted,
        };
        let known = match &known {
            Some(known) if known.ssh.is_some() => Some(self.login(known)?),
            _ => None,
        };
        let whole = completed(wanted, known)?;
        self.sealed(name, whole).map(Some)
    }

    fn sealed(&self, name: &str, whole: pb::SshCentral) -> Result<SshLogin, AppError> {
        let sealed = self.vault()?.seal(&purpose(name), &whole.encode_to_vec());
        Ok(SshLogin {
            sealed: sealed.map_err(|error| AppError::machine("keep how a central is reached", error))?,
            settings: pb::SshCentral {
                password: None,
                private_key: None,
                passphrase: None,
                ..whole
            },
        })
    }

    /// How a central is reached, with its secrets, for a call to its satellite.
    pub(super) fn login(&self, central: &Central) -> Result<pb::SshCentral, AppError> {
        let doing = || format!("open how central {} is reached", central.name);
        let sealed = central.ssh.as_ref().map(|login| login.sealed.as_slice());
        let opened = self
            .vault()?
            .unseal(&purpose(&central.name), sealed.unwrap_or_default());
        let bytes = opened.map_err(|error| AppError::machine(doing(), error))?;
        pb::SshCentral::decode(bytes.as_slice()).map_err(|error| AppError::machine(doing(), error))
    }

    fn vault(&self) -> Result<Vault, AppError> {
        Vault::open(&self.app.config.state_dir).map_err(|error| AppError::machine("open the vault", error))
    }

    pub(super) fn remote_centrals(
        &self,
        satellite: &SatelliteName,
    ) -> Result<CentralServiceClient<Channel>, AppError> {
        let channel = local::channel(&self.app, satellite)?;
        Ok(CentralServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }
}

fn purpose(name: &str) -> String {
    format!("central {name}")
}

/// What was asked for, with what is known of the same server and user.
fn completed(mut wanted: pb::SshCentral, known: Option<pb::SshCentral>) -> Result<pb::SshCentral, AppError> {
    let port = |login: &pb::SshCentral| if login.port == 0 { 22 } else { login.port };
    if let Some(known) = known
        && (&known.server, port(&known)) == (&wanted.server, port(&wanted))
    {
        if wanted.host_key.is_empty() {
            wanted.host_key = known.host_key;
        }
        let has_none = wanted.password.is_none() && wanted.private_key.is_none();
        if has_none && known.user == wanted.user {
            wanted.password = known.password;
            wanted.private_key = known.private_key;
            wanted.passphrase = known.passphrase;
        }
    }
    let lacks: Vec<_> = [("server", &wanted.server), ("user", &wanted.user)]
        .into_iter()
        .filter(|(_, value)| value.trim().is_empty())
        .map(|(name, _)| name)
        .collect();
    if !lacks.is_empty() {
        return Err(AppError::Invalid(format!(
            "to be reached over SSH the central lacks {}",
            lacks.join(", ")
        )));
    }
    if wanted.password.is_none() && wanted.private_key.is_none() {
        return Err(AppError::Invalid(
            "to be reached over SSH the central lacks a password or a private key".to_owned(),
        ));
    }
    Ok(wanted)
}

fn of(central: &Central, found: pb::TestCentralResponse) -> Checked {
    let confirmed = central.ssh.as_ref().map(|login| login.settings.host_key.as_str());
    // What stands behind the key itself is a comment.
    let key = |text: &str| text.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    Checked {
        is_confirmed: !found.host_key.is_empty()
            && confirmed.is_some_and(|confirmed| key(confirmed) == key(&found.host_key)),
        lacks: found.lacks,
        problem: found.problem,
        host_key_fingerprint: found.host_key_fingerprint,
    }
}

fn lack((data_set, what): (String, Missing)) -> pb::CentralLack {
    use std::os::unix::ffi::OsStringExt as _;
    let what = match what {
        Missing::Path(path) => pb::central_lack::What::Path(path.into_os_string().into_vec().into()),
        Missing::Program(program) => pb::central_lack::What::Program(program),
    };
    pb::CentralLack {
        data_set,
        what: Some(what),
    }
}

/// A data set as the satellite is told of it.
pub(super) fn told_set(set: &DataSet) -> pb::CentralDataSet {
    use std::os::unix::ffi::OsStrExt as _;
    let path = |path: &std::path::PathBuf| bytes::Bytes::copy_from_slice(path.as_os_str().as_bytes());
    let commands = set.commands.iter().map(|command| pb::CentralCommand {
        name: command.name.clone(),
        run: command.run.clone(),
        restore: command.restore.clone(),
        deadline: Some(prost_types::Duration {
            // Less than a second is one.
            seconds: i64::try_from(command.deadline.as_secs().max(1)).unwrap_or(i64::MAX),
            nanos: 0,
        }),
    });
    pb::CentralDataSet {
        name: set.name.clone(),
        paths: set.paths.iter().map(path).collect(),
        excludes: set.patterns.clone(),
        commands: commands.collect(),
        quiesce: set.quiesce.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(server: &str, user: &str) -> pb::SshCentral {
        pb::SshCentral {
            server: server.to_owned(),
            user: user.to_owned(),
            ..pb::SshCentral::default()
        }
    }

    #[test]
    fn a_password_and_a_confirmed_key_stay_with_their_server_and_user_only() {
        let secret = |text: &str| {
            Some(pb::Secret {
                value: text.to_owned(),
            })
        };
        let known = || {
            Some(pb::SshCentral {
                password: secret("p"),
                host_key: "ssh-ed25519 A".to_owned(),
                ..login("pbx", "backup")
            })
        };
        let same = completed(login("pbx", "backup"), known()).unwrap();
        assert_eq!(
            (same.password, same.host_key.as_str()),
            (secret("p"), "ssh-ed25519 A")
        );
        let port = pb::SshCentral {
            port: 22,
            ..login("pbx", "backup")
        };
        assert!(completed(port, known()).is_ok());
        for (server, user, port) in [("other", "backup", 0), ("pbx", "root", 0), ("pbx", "backup", 23)] {
            let changed = pb::SshCentral {
                port,
                ..login(server, user)
            };
            assert!(matches!(completed(changed, known()), Err(AppError::Invalid(_))));
        }
        let new_password = pb::SshCentral {
            password: secret("q"),
            ..login("other", "backup")
        };
        let moved = completed(new_password, known()).unwrap();
        assert_eq!((moved.password, moved.host_key.as_str()), (secret("q"), ""));
        assert!(completed(login("", ""), None).is_err());
    }
}
