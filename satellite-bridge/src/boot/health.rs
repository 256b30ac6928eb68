//! Whether this start is a good one: the bridge answers. If it is not, and another slot can be started, that is done.
//!
//! The loader counts the starts of a slot that was never good. Once a slot is good nothing here runs any more, so that a
//! bridge with a problem of another kind never restarts a machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_host::exec::{Exec, ExecError};

use crate::base;
use crate::config::Config;
use crate::menu::client::Console;
use crate::workload::Places;

/// The slots' kernel images, on the loader's partition.
const ENTRIES: &str = "/efi/EFI/Linux";
/// Where the loader says which of them it counts.
const COUNTED: &str = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// How long the bridge may take to be there.
const PATIENCE: Duration = Duration::from_mins(5);
/// It must answer twice, so far apart: one that dies at once is not up.
const APART: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Why this start is not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Nothing else can be started, so this machine stays as it is.
    #[error("the bridge does not answer, and there is no other slot to start")]
    Alone,
    /// The other slot is started.
    #[error("the bridge does not answer: starting the other slot")]
    FallingBack,
    /// It is not known what could be started.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The machine does not restart.
    #[error("cannot restart the machine")]
    Restart(#[source] ExecError),
}

/// Waits until the bridge has answered twice. If it does not, restarts the machine if another slot can be started.
///
/// # Errors
///
/// [`HealthError::FallingBack`] when the machine is about to restart, [`HealthError::Alone`] when it is not.
pub async fn wait_or_fall_back(config: &Config) -> Result<(), HealthError> {
    let places = Places::of(config);
    if tokio::time::timeout(PATIENCE, answers_twice(config))
        .await
        .is_ok()
        && is_proved(&places).await
    {
        tracing::info!("Bridge answers: this start is good");
        return Ok(());
    }
    let counted = read(Path::new(COUNTED))?;
    let entries = std::fs::read_dir(ENTRIES).map_err(|source| HealthError::Read {
        path: ENTRIES.into(),
        source,
    })?;
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if !has_another(&variable_text(&counted), &names) {
        return Err(HealthError::Alone);
    }
    let restart = Exec::new("systemctl").args(super::RESTART);
    restart.run().await.map_err(HealthError::Restart)?;
    Err(HealthError::FallingBack)
}

/// Whether a slot that was just installed was reached by the server. The bridge itself restarts the machine if it was not:
/// who waits here only sees to it that somebody does.
async fn is_proved(places: &Places) -> bool {
    let limit = Duration::from_secs(base::seconds_of_trial(places)).saturating_add(PATIENCE);
    let proved = async {
        while base::is_on_trial(places) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, proved).await.is_ok()
}

async fn answers_twice(config: &Config) {
    loop {
        if answers(config).await {
            tokio::time::sleep(APART).await;
            if answers(config).await {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn answers(config: &Config) -> bool {
    let Ok(mut console) = Console::connect(&config.console_socket()).await else {
        return false;
    };
    console.status().await.is_ok()
}

fn read(path: &Path) -> Result<Vec<u8>, HealthError> {
    std::fs::read(path).map_err(|source| HealthError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The text of a firmware variable: four bytes of attributes, then UTF-16 to the first zero.
fn variable_text(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .get(4..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

/// Whether one of the kernel images `names` belongs to another slot than `counted`, the path of ours, and the loader would
/// take it: one that it has given up too leads nowhere.
fn has_another(counted: &str, names: &[String]) -> bool {
    let file = counted.rsplit(['\\', '/']).next().unwrap_or_default();
    let (ours, _) = parts(file);
    names
        .iter()
        .filter(|name| name.ends_with(".efi"))
        .map(|name| parts(name))
        .any(|(stem, is_given_up)| stem != ours && !is_given_up)
}

/// `satellite_1.0` of `satellite_1.0+2-1.efi`, and whether no start is left to it.
fn parts(name: &str) -> (&str, bool) {
    let stem = name.strip_suffix(".efi").unwrap_or(name);
    stem.rsplit_once('+').map_or((stem, false), |(stem, count)| {
        let left = count.split('-').next().unwrap_or_default();
        (stem, left.parse() == Ok(0_u32))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counted: &str, names: &[&str], expected: bool) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(has_another(counted, &names), expected, "{counted} {names:?}");
    }

    #[test]
    fn a_fresh_image_has_nothing_to_fall_back_to() {
        check(
            "\\EFI\\Linux\\satellite_1.0+2-1.efi",
            &["satellite_1.0+2-1.efi"],
            false,
        );
        check(
            "\\EFI\\Linux\\satellite_1.0+2-1.efi",
            &["satellite_1.0+0-3.efi", "note.txt"],
            false,
        );
    }

    #[test]
    fn the_slot_before_the_update_is_another() {
        check(
            "\\EFI\\Linux\\satellite_2.0+0-3.efi",
            &["satellite_1.0.efi", "satellite_2.0+0-3.efi"],
            true,
        );
    }

    #[test]
    fn a_slot_that_was_given_up_is_nothing_to_fall_back_to() {
        check(
            "\\EFI\\Linux\\satellite_2.0+1-2.efi",
            &["satellite_1.0+0-3.efi", "satellite_2.0+1-2.efi"],
            false,
        );
        check(
            "\\EFI\\Linux\\satellite_2.0+1-2.efi",
            &["satellite_1.0+2-1.efi", "satellite_2.0+1-2.efi"],
            true,
        );
    }

    #[test]
    fn a_firmware_variable_is_read_to_its_end() {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend("\\EFI\0rest".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(variable_text(&bytes), "\\EFI");
        assert_eq!(variable_text(&[]), "");
    }
}
