//! Passphrases of configurations: sealed as they come in, opened for the call that encrypts or decrypts a copy.

use data_encoding::BASE64;
use satellite_proto::wire::backup::v1::{Encryption, Secret};

use super::{App, AppError};
use crate::plan::configuration;
use crate::vault::{Vault, VaultError};

/// For what they are sealed.
const PURPOSE: &str = "passphrase of a configuration";

fn failed(error: VaultError) -> AppError {
    AppError::machine("keep or open the passphrase", error)
}

fn vault(app: &App) -> Result<Vault, AppError> {
    Vault::open(&app.config.state_dir).map_err(failed)
}

/// Seals a passphrase, to be kept.
///
/// # Errors
/// [`AppError::Machine`].
pub(crate) fn seal(app: &App, passphrase: &str) -> Result<String, AppError> {
    let sealed = vault(app)?.seal(PURPOSE, passphrase.as_bytes()).map_err(failed)?;
    Ok(BASE64.encode(&sealed))
}

/// For whom the copies of a configuration are encrypted, as a backup-service takes it; none: for nobody.
pub(in crate::app) fn encryption(
    app: &App,
    of: &configuration::Encryption,
) -> Result<Option<Encryption>, AppError> {
    if of.is_none() {
        return Ok(None);
    }
    Ok(Some(Encryption {
        recipients: of.recipients.clone(),
        passphrase: passphrase(app, of)?,
    }))
}

/// The passphrase of a configuration, if it has one.
pub(in crate::app) fn passphrase(
    app: &App,
    of: &configuration::Encryption,
) -> Result<Option<Secret>, AppError> {
    if of.sealed_passphrase.is_empty() {
        return Ok(None);
    }
    let sealed = BASE64.decode(of.sealed_passphrase.as_bytes());
    let sealed = sealed.map_err(|error| AppError::machine("open the passphrase", error))?;
    let value = vault(app)?.unseal(PURPOSE, &sealed).map_err(failed)?;
    let value = String::from_utf8(value.to_vec());
    let value = value.map_err(|error| AppError::machine("open the passphrase", error))?;
    Ok(Some(Secret { value }))
}
