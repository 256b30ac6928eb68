//! Reads single files of an ISO 9660 disk (a CD that a hypervisor attaches) without mounting it.
//!
//! **Invariant:** every offset and length that the disk claims is bounded before it is used; nothing is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in a sector.
const SECTOR: u64 = 2048;
/// Where volume descriptors begin, and how many are looked at.
const FIRST: u64 = 16;
const DESCRIPTORS: u64 = 16;
/// Largest root directory that is read, in bytes.
const DIRECTORY: u32 = 256 * 1024;

/// A disk in this format.
#[derive(Debug)]
pub struct Iso {
    file: File,
    /// Its label.
    pub label: String,
    root: Extent,
    is_joliet: bool,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    sector: u32,
    bytes: u32,
}

impl Iso {
    /// Opens the disk or image at `path`; none if it is in another format.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let mut found = None;
        for number in FIRST..FIRST + DESCRIPTORS {
            let mut sector = [0; SECTOR as usize];
            match file.read_exact_at(&mut sector, number * SECTOR) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            if &sector[1..6] != b"CD001" {
                break;
            }
            let is_joliet = sector[0] == 2 && sector[88..90] == *b"%/" && b"@CE".contains(&sector[90]);
            match sector[0] {
                1 => {
                    let label = String::from_utf8_lossy(&sector[40..72]);
                    let label = label.trim_matches([' ', '\0']).to_owned();
                    found = Some((label, extent(&sector[156..190]), false));
                }
                // Longer names than those of the first one.
                2 if is_joliet => {
                    if let Some((_, root, joliet)) = &mut found {
                        *root = extent(&sector[156..190]);
                        *joliet = true;
                    }
                }
                255 => break,
                _ => {}
            }
        }
        Ok(found.and_then(|(label, root, is_joliet)| {
            Some(Self {
                file,
                label,
                root: root?,
                is_joliet,
            })
        }))
    }

    /// The file `name` of the root directory, however the disk writes its letters; none if there is none, or if it has more
    /// than `limit` bytes.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&self, name: &str, limit: u32) -> io::Result<Option<Vec<u8>>> {
        let directory = self.content(self.root, DIRECTORY)?.unwrap_or_default();
        let wanted = plain(name);
        for record in records(&directory) {
            if plain(&self.name_of(record)) == wanted && record[25] & 2 == 0 {
                return match extent(record) {
                    Some(extent) => self.content(extent, limit),
                    None => Ok(None),
                };
            }
        }
        Ok(None)
    }

    fn content(&self, extent: Extent, limit: u32) -> io::Result<Option<Vec<u8>>> {
        if extent.bytes > limit {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(extent.bytes).map_err(io::Error::other)?];
        self.file
            .read_exact_at(&mut bytes, u64::from(extent.sector) * SECTOR)?;
        Ok(Some(bytes))
    }

    fn name_of(&self, record: &[u8]) -> String {
        let length = usize::from(record[32]);
        let name = record.get(33..33 + length).unwrap_or_default();
        if self.is_joliet {
            let units = name
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            return char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect();
        }
        // Rock Ridge keeps the true name behind the short one.
        let mut rest = record
            .get(33 + length + usize::from(length.is_multiple_of(2))..)
            .unwrap_or_default();
        while let [a, b, size, _, ..] = *rest {
            let size = usize::from(size);
            if size < 4 || size > rest.len() {
                break;
            }
            if [a, b] == *b"NM" && size > 5 {
                return String::from_utf8_lossy(&rest[5..size]).into_owned();
            }
            rest = &rest[size..];
        }
        String::from_utf8_lossy(name).into_owned()
    }
}

/// The records of a directory, each at least as long as its fixed part.
fn records(directory: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        loop {
            let length = usize::from(*directory.get(offset)?);
            if length == 0 {
                // The next sector.
                offset = (offset / SECTOR as usize + 1) * SECTOR as usize;
                continue;
            }
            let record = directory.get(offset..offset + length)?;
            offset += length;
            if length > 33 {
                return Some(record);
            }
        }
    })
}

fn extent(record: &[u8]) -> Option<Extent> {
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        Some(u32::from_le_bytes(record.get(range)?.try_into().ok()?))
    };
    Some(Extent {
        sector: number(2..6)?,
        bytes: number(10..14)?,
    })
}

/// A name without its version and its spelling: `OVF_ENV.XML;1` is `ovf-env.xml`.
fn plain(name: &str) -> String {
    let name = name.split(';').next().unwrap_or_default().trim_end_matches('.');
    name.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with one file, written as its name says.
    fn disk(label: &str, name: &[u8], extra: &[u8], content: &[u8]) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; 20 * 2048];
        let record = |name: &[u8], extra: &[u8], sector: u32, size: usize| {
            let mut record = vec![0; 33];
            record[2..6].copy_from_slice(&sector.to_le_bytes());
            record[10..14].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
            record[32] = u8::try_from(name.len()).unwrap();
            record.extend_from_slice(name);
            if name.len().is_multiple_of(2) {
                record.push(0);
            }
            record.extend_from_slice(extra);
            record[0] = u8::try_from(record.len()).unwrap();
            record
        };
        let descriptor = &mut bytes[16 * 2048..17 * 2048];
        descriptor[0] = 1;
        descriptor[1..6].copy_from_slice(b"CD001");
        descriptor[40..40 + label.len()].copy_from_slice(label.as_bytes());
        descriptor[156..190].copy_from_slice(&record(b"\0", b"", 18, 2048));
        bytes[17 * 2048] = 255;
        bytes[17 * 2048 + 1..17 * 2048 + 6].copy_from_slice(b"CD001");
        let root = [
            record(b"\0", b"", 18, 2048),
            record(b"\x01", b"", 18, 2048),
            record(name, extra, 19, content.len()),
        ]
        .concat();
        bytes[18 * 2048..18 * 2048 + root.len()].copy_from_slice(&root);
        bytes[19 * 2048..19 * 2048 + content.len()].copy_from_slice(content);
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&bytes, 0).unwrap();
        file
    }

    #[test]
    fn a_file_is_found_however_its_name_is_written() {
        for (name, extra) in [
            (&b"OVF_ENV.XML;1"[..], &b""[..]),
            (b"ovf-env.xml", b""),
            (b"OVFENV.;1", b"RR\x05\x01\x89NM\x10\x01\0ovf-env.xml"),
        ] {
            let file = disk("OVF ENV", name, extra, b"<Environment/>");
            let iso = Iso::open(file.path()).unwrap().unwrap();
            assert_eq!(iso.label, "OVF ENV");
            assert_eq!(iso.read("ovf-env.xml", 100).unwrap().unwrap(), b"<Environment/>");
            assert_eq!(iso.read("ovf-env.xml", 5).unwrap(), None);
            assert_eq!(iso.read("other", 100).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_such_disk_is_none_and_what_lies_is_an_error() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(Iso::open(empty.path()).unwrap().is_none());
        let file = disk("x", b"A.;1", b"", b"x");
        // The root claims to lie behind the end.
        file.as_file()
            .write_all_at(&u32::MAX.to_le_bytes(), 16 * 2048 + 158)
            .unwrap();
        let iso = Iso::open(file.path()).unwrap().unwrap();
        assert!(iso.read("a", 100).is_err());
    }
}
