//! Space on file systems and in memory.

use std::fs;
use std::io;
use std::path::Path;

/// Bytes of something that fills up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What can still be used (on a disk: by an ordinary user).
    pub free: u64,
}

/// The space of the file system that holds `path`.
///
/// # Errors
///
/// If `path` does not exist or its file system does not answer.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(io::Error::from)?;
    let unit = stat.fragment_size();
    Ok(Space {
        total: stat.blocks().saturating_mul(unit),
        free: stat.blocks_available().saturating_mul(unit),
    })
}

/// The memory of the machine; what is free includes what the kernel could give back at once.
///
/// # Errors
///
/// If the kernel does not tell it.
pub fn memory() -> io::Result<Space> {
    let text = fs::read_to_string("/proc/meminfo")?;
    parse_meminfo(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo lacks a line"))
}

fn parse_meminfo(text: &str) -> Option<Space> {
    let kib = |key: &str| -> Option<u64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Space {
        total: kib("MemTotal")?.checked_mul(1024)?,
        free: kib("MemAvailable")?.checked_mul(1024)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_free_than_it_has_in_all() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:        2097152 kB\nMemFree:  1 kB\nMemAvailable:    1048576 kB\n";
        assert_eq!(
            parse_meminfo(text),
            Some(Space {
                total: 2 << 30,
                free: 1 << 30
            })
        );
        assert_eq!(parse_meminfo("MemTotal: 1 kB\n"), None);
        assert!(memory().unwrap().total > 0);
    }
}
