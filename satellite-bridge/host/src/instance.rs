//! Which machine this is, as its hypervisor tells it: what a copy of the disk does not take along.
//!
//! **Invariant:** what cannot be read or says nothing is none; nothing is made up.

use std::path::Path;

use crate::files;

/// Longest file that is read, in bytes: a page of the firmware's.
const LIMIT: u64 = 8192;

/// Where the GUID lies in the page of QEMU's generation device.
const GUID: std::ops::Range<usize> = 40..56;

/// The id that the hypervisor gave to this machine (SMBIOS product UUID). It differs for a copy, and stays the same over
/// restarts, snapshots and live migration.
#[must_use]
pub fn product_id(file: &Path) -> Option<String> {
    let bytes = files::read(file, LIMIT).ok()??;
    let text = String::from_utf8(bytes).ok()?.trim().to_ascii_lowercase();
    let digits = || text.bytes().filter(u8::is_ascii_alphanumeric);
    // Firmware that was never told says all zeros or all ones.
    let says_something = digits().any(|digit| digit != b'0') && digits().any(|digit| digit != b'f');
    (says_something && text.len() <= 128).then_some(text)
}

/// The generation of this machine (vmgenid), which the hypervisor changes with each copy and each return to a snapshot.
/// Linux shows it only where the firmware's file is QEMU's.
#[must_use]
pub fn generation_id(file: &Path) -> Option<String> {
    let bytes = files::read(file, LIMIT).ok()??;
    let guid = bytes.get(GUID)?;
    let says_something = guid.iter().any(|byte| *byte != 0);
    says_something.then(|| guid.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        files::write_atomic(file.path(), bytes, 0o600).unwrap();
        file
    }

    #[test]
    fn an_id_that_says_nothing_is_none() {
        for nothing in [
            "",
            "\n",
            "00000000-0000-0000-0000-000000000000\n",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        ] {
            assert_eq!(product_id(with(nothing.as_bytes()).path()), None, "{nothing}");
        }
        assert_eq!(product_id(Path::new("/nonexistent")), None);
        let id = product_id(with(b"4C4C4544-0042-3510\n").path());
        assert_eq!(id.as_deref(), Some("4c4c4544-0042-3510"));
    }

    #[test]
    fn the_generation_lies_within_its_page() {
        let mut page = vec![0; 4096];
        assert_eq!(generation_id(with(&page).path()), None);
        page[40] = 0xab;
        let id = generation_id(with(&page).path()).unwrap();
        assert_eq!(id, format!("ab{}", "00".repeat(15)));
        assert_eq!(generation_id(with(b"short").path()), None);
    }
}
