//! The machine's own id, which the service manager and the journal use: made at the first start, kept with the data.
//!
//! **Invariant:** an image holds none, so that no two machines made from it have the same.

use std::path::{Path, PathBuf};

use satellite_host::files::{FileError, read, write_atomic};
use uuid::Uuid;

use super::data::Places;

/// Its file in the data partition.
pub const FILE: &str = "machine-id";
/// 32 digits and the end of the line.
const LIMIT: u64 = 64;

/// Why the machine has no id.
#[derive(Debug, thiserror::Error)]
#[error("the machine's id cannot be kept in `{}`", path.display())]
pub struct IdentityError {
    path: PathBuf,
    #[source]
    source: FileError,
}

/// The id in `path`. One that is missing or no id is made.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn ensure(path: &Path) -> Result<String, IdentityError> {
    let failed = |source| IdentityError {
        path: path.to_owned(),
        source,
    };
    let kept = read(path, LIMIT).map_err(failed)?.unwrap_or_default();
    let kept = String::from_utf8_lossy(&kept).trim().to_owned();
    if is_id(&kept) {
        return Ok(kept);
    }
    let made = Uuid::new_v4().simple().to_string();
    write_atomic(path, format!("{made}\n").as_bytes(), 0o444).map_err(failed)?;
    Ok(made)
}

/// Gives the machine the id that is kept with its data.
///
/// # Errors
///
/// As [`ensure`].
pub fn install(places: &Places) -> Result<(), IdentityError> {
    let id = ensure(&places.data.join(FILE))?;
    let path = places.etc.join(FILE);
    write_atomic(&path, format!("{id}\n").as_bytes(), 0o444).map_err(|source| IdentityError { path, source })
}

fn is_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_differs_from_machine_to_machine() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let made = ensure(&one).unwrap();
        assert!(is_id(&made), "{made}");
        assert_eq!(ensure(&one).unwrap(), made);
        assert_ne!(ensure(&other).unwrap(), made);
    }

    #[test]
    fn what_is_no_id_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for bad in ["", "uninitialized\n", "0123456789ABCDEF0123456789ABCDEF\n"] {
            write_atomic(&path, bad.as_bytes(), 0o444).unwrap();
            assert!(is_id(&ensure(&path).unwrap()), "{bad}");
        }
    }

    #[test]
    fn the_machine_gets_the_id_that_its_data_holds() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            data: dir.path().join("var"),
            etc: dir.path().join("etc"),
            ..Places::default()
        };
        for made in [&places.data, &places.etc] {
            std::fs::create_dir(made).unwrap();
        }
        install(&places).unwrap();
        let read = |dir: &Path| std::fs::read_to_string(dir.join(FILE)).unwrap();
        assert_eq!(read(&places.etc), read(&places.data));
    }
}
