//! How a central is reached, and what a check of it has found.
//!
//! **Invariant:** a password is asked or read from a file or stdin; no argument takes one.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use satellite_proto::wire::backup::v1 as backup;
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::super::destination::secret_of;
use super::super::{CliError, Global, client, prompt, read_text, render, texts};

/// Kinds of centrals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The machine of the server itself.
    Local,
    /// A machine that the satellite reads over SSH.
    Ssh,
}

/// How a central is reached.
#[derive(Debug, Args)]
pub(super) struct Way {
    /// How it is reached; without it as before, a new one as `local`.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// With `ssh`: name or address; without it that of the profile.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// With `ssh`: TCP port; without it 22.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u32,
    /// With `ssh`: user; root as a rule, who alone may read everything.
    #[arg(long)]
    user: Option<String>,
    /// With `ssh`: file with the password, `-` for stdin; without it and without a key it is asked.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// With `ssh`: file with a private key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// With `ssh`: file with what opens the private key, `-` for stdin.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// With `ssh`: the central's key, `ssh-ed25519 AAAA…`; without it `central check` shows it.
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    host_key: String,
}

impl Way {
    /// What is to be kept of it: over SSH, or the machine of the server, or neither if nothing was said.
    pub(super) fn described(
        self,
        address: &str,
        replace: bool,
    ) -> Result<(Option<backup::SshCentral>, bool), CliError> {
        let is_given = self.host.is_some()
            || self.port > 0
            || self.user.is_some()
            || self.password_file.is_some()
            || self.key_file.is_some()
            || !self.host_key.is_empty();
        if self.kind != Some(Kind::Ssh) {
            if is_given {
                return Err(CliError::Usage(
                    "--host, --port, --user, --password-file, --key-file and --host-key belong to --kind ssh"
                        .to_owned(),
                ));
            }
            return Ok((None, self.kind == Some(Kind::Local)));
        }
        let Some(user) = self.user else {
            return Err(CliError::Usage("--kind ssh needs --user".to_owned()));
        };
        let private_key = self.key_file.as_deref().map(read_text).transpose()?;
        let private_key = private_key.map(|value| backup::Secret { value });
        let password = match secret_of(self.password_file.as_deref())? {
            None if private_key.is_none() && !replace => Some(backup::Secret {
                value: prompt::password(texts::PASSWORD.say(), false)?,
            }),
            given => given,
        };
        let ssh = backup::SshCentral {
            server: self.host.unwrap_or_else(|| address.to_owned()),
            port: self.port,
            user,
            password,
            private_key,
            passphrase: secret_of(self.passphrase_file.as_deref())?,
            host_key: self.host_key,
        };
        Ok((Some(ssh), false))
    }
}

/// What is shown of a check.
#[derive(Debug, Serialize)]
struct Found {
    central: String,
    ok: bool,
    problem: String,
    host_key_fingerprint: String,
    host_key_confirmed: bool,
    lacks: Vec<Lack>,
}

#[derive(Debug, Serialize)]
struct Lack {
    data_set: String,
    path: Option<String>,
    program: Option<String>,
}

impl Lack {
    fn say(&self) -> String {
        let (text, name) = match (&self.path, &self.program) {
            (Some(path), _) => (texts::PATH_MISSING_THERE, path.as_str()),
            (None, program) => (
                texts::PROGRAM_MISSING_THERE,
                program.as_deref().unwrap_or_default(),
            ),
        };
        format!("{}: {}", self.data_set, text.say().replace("{}", name))
    }
}

/// Checks a central that is known, and asks whether its key is to be trusted if nobody has confirmed one.
pub(super) async fn check(global: &Global, name: &str, accept: Option<&str>) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let mut found = once(&mut client, name, accept).await?;
    let is_new = !found.host_key_fingerprint.is_empty() && !found.host_key_confirmed && accept.is_none();
    let known = confirmed_key(&mut client, name).await?;
    if is_new && known.is_none_or(|key| key.is_empty()) {
        let shown = texts::HOST_KEY_UNKNOWN
            .say()
            .replace("{}", &found.host_key_fingerprint);
        render::note(&shown);
        if prompt::is_possible() && prompt::confirm(texts::HOST_KEY_TRUST.say(), false)? {
            let fingerprint = found.host_key_fingerprint.clone();
            found = once(&mut client, name, Some(&fingerprint)).await?;
        }
    }
    let lack = |lack: &backup::CentralLack| {
        let (path, program) = match &lack.what {
            Some(backup::central_lack::What::Path(path)) => {
                (Some(String::from_utf8_lossy(path).into_owned()), None)
            }
            Some(backup::central_lack::What::Program(program)) => (None, Some(program.clone())),
            None => (None, None),
        };
        Lack {
            data_set: lack.data_set.clone(),
            path,
            program,
        }
    };
    let view = Found {
        central: name.to_owned(),
        ok: found.problem.is_empty() && found.lacks.is_empty(),
        lacks: found.lacks.iter().map(lack).collect(),
        problem: found.problem,
        host_key_fingerprint: found.host_key_fingerprint,
        host_key_confirmed: found.host_key_confirmed,
    };
    for lack in &view.lacks {
        render::warning(&lack.say());
    }
    if global.output == super::Output::Json {
        render::one(global.output, &view, |_| Vec::new())?;
    }
    match (view.problem.as_str(), view.lacks.len()) {
        ("", 0) if global.output == super::Output::Json => Ok(()),
        ("", 0) => render::done(global.output, &texts::CENTRAL_GOOD.say().replace("{}", name)),
        ("", _) => Err(CliError::Partly(texts::CENTRAL_LACKS.say().to_owned())),
        (problem, _) => Err(CliError::said(problem)),
    }
}

async fn once(
    client: &mut client::Client,
    name: &str,
    accept: Option<&str>,
) -> Result<pb::CheckCentralResponse, CliError> {
    let request = pb::CheckCentralRequest {
        name: name.to_owned(),
        accept_host_key: accept.unwrap_or_default().to_owned(),
    };
    Ok(client.backup.check_central(request).await?.into_inner())
}

/// The key that was confirmed of a central, if it is reached over SSH.
async fn confirmed_key(client: &mut client::Client, name: &str) -> Result<Option<String>, CliError> {
    let centrals = client.backup.list_centrals(pb::ListCentralsRequest {}).await?;
    let mut centrals = centrals.into_inner().centrals.into_iter();
    let central = centrals.find(|central| central.name == name);
    Ok(central.and_then(|central| central.ssh).map(|ssh| ssh.host_key))
}
