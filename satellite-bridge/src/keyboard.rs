//! The keyboard of the video console: which layout it has, and how the kernel gets to know it.
//!
//! The menu stores a layout; `satellite-keyboard.service` runs `satellite-bridge keyboard` at each start and after each
//! change, because the menu itself may not touch other terminals.
//!
//! **Invariant:** a layout is one of a list, never text from somewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use satellite_host::{
    exec::{Exec, ExecError},
    files::{self, FileError},
};

use crate::config::Config;

/// Where the layouts of the image lie.
const KEYMAPS: &str = "/usr/share/satellite/keymaps";
/// The terminals of the kernel share one layout; this one is always there if any is.
const TERMINAL: &str = "/dev/tty1";
/// How long loading may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// QWERTY as in the United States.
    UnitedStates,
    /// QWERTY as in the United Kingdom.
    UnitedKingdom,
    /// QWERTZ as in Germany and Austria.
    German,
    /// QWERTZ as in Switzerland.
    Swiss,
    /// AZERTY as in France.
    French,
    /// QWERTY as in Italy.
    Italian,
}

impl Layout {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::UnitedStates,
        Self::UnitedKingdom,
        Self::German,
        Self::Swiss,
        Self::French,
        Self::Italian,
    ];

    /// What it is called, the same in all languages.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "US (QWERTY)",
            "UK (QWERTY)",
            "DE, AT (QWERTZ)",
            "CH (QWERTZ)",
            "FR (AZERTY)",
            "IT (QWERTY)",
        ][self as usize]
    }

    /// Its name in files.
    #[must_use]
    pub fn code(self) -> &'static str {
        ["us", "uk", "de", "ch", "fr", "it"][self as usize]
    }
}

/// Why the layout is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyboardError {
    /// The image has no such file.
    #[error("the keyboard layout `{}` is missing", .0.display())]
    Missing(PathBuf),
    /// It could not be loaded.
    #[error("the keyboard layout could not be loaded")]
    Load(#[source] ExecError),
}

/// The layout that was chosen; that of the kernel if none was.
#[must_use]
pub fn stored(state_dir: &Path) -> Layout {
    let text = files::read(&file(state_dir), 64)
        .ok()
        .flatten()
        .unwrap_or_default();
    let code = String::from_utf8_lossy(&text);
    let found = Layout::ALL
        .into_iter()
        .find(|layout| layout.code() == code.trim());
    found.unwrap_or(Layout::UnitedStates)
}

/// Stores the layout for this and every later start.
///
/// # Errors
///
/// If it cannot be written: the one before is still stored.
pub fn store(state_dir: &Path, layout: Layout) -> Result<(), FileError> {
    files::write_atomic(&file(state_dir), layout.code().as_bytes(), 0o644)
}

/// Brings the stored layout into force. A machine without a video console has nothing to do.
///
/// # Errors
///
/// [`KeyboardError`]: the layout before stays in force.
pub async fn load(config: &Config) -> Result<(), KeyboardError> {
    if !Path::new(TERMINAL).exists() {
        return Ok(());
    }
    let layout = stored(&config.state_dir);
    let keymap = Path::new(KEYMAPS).join(format!("{}.map", layout.code()));
    if !keymap.is_file() {
        return Err(KeyboardError::Missing(keymap));
    }
    let loaded = Exec::new("loadkeys")
        .args(["--quiet", "--unicode", "--console", TERMINAL])
        .arg(&keymap)
        .deadline(DEADLINE)
        .run()
        .await;
    loaded.map_err(KeyboardError::Load)?;
    tracing::info!(layout = layout.code(), "Keyboard layout loaded");
    Ok(())
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("keyboard")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_every_layout_and_none_has_a_key_that_leaves_the_menu() {
        let keymaps = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../image/skeleton")
            .join(&KEYMAPS[1..]);
        for layout in Layout::ALL {
            let keymap = std::fs::read_to_string(keymaps.join(format!("{}.map", layout.code()))).unwrap();
            assert!(keymap.contains("keycode 28 = Return"), "{layout:?}");
            for action in [
                "Boot",
                "SAK",
                "Spawn",
                "KeyboardSignal",
                "Console",
                "Show_",
                "Scroll_",
            ] {
                let keys = keymap.lines().filter(|line| !line.starts_with('#'));
                let leaves = keys.into_iter().any(|line| line.contains(action));
                assert!(!leaves, "{layout:?} has a key for {action}");
            }
        }
    }

    #[test]
    fn a_layout_is_stored_and_read_back_and_anything_else_is_the_kernels() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stored(dir.path()), Layout::UnitedStates);
        for layout in Layout::ALL {
            store(dir.path(), layout).unwrap();
            assert_eq!(stored(dir.path()), layout);
        }
        files::write_atomic(&dir.path().join("keyboard"), b"../../etc\0", 0o644).unwrap();
        assert_eq!(stored(dir.path()), Layout::UnitedStates);
    }
}
