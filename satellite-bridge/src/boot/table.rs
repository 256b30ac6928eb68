//! The partition table of the machine's disk, and what must be done to it so that there is room for data.
//!
//! Pure: reads the text of `sfdisk --json`, answers steps.
//!
//! **Invariant:** the slots and the loader's partition are never moved, resized or renamed here.

use serde::Deserialize;

/// Name of the data partition.
pub const DATA: &str = "satellite-data";
/// Its name until it has been formatted: what bears it holds nothing, however it looks.
pub const BLANK: &str = "satellite-blank";
/// Name of the loader's partition.
pub const LOADER: &str = "satellite-esp";

/// What names of slots begin with.
const SLOT: &str = "root-";
/// Bytes of what `sfdisk` counts in here.
const SECTOR: u64 = 512;
/// Partitions begin and end at multiples of this many sectors.
const ALIGNMENT: u64 = 2048;
/// Sectors at the disk's end that belong to the table.
const BACKUP: u64 = 34;
/// Less than this is no place for data.
const LEAST: u64 = 512 * 1024 * 1024 / SECTOR;
/// A disk that grew by less is left as it is.
const WORTH_GROWING: u64 = 64 * 1024 * 1024 / SECTOR;

/// Why no place for data was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// `sfdisk` said something unexpected.
    #[error("the partition table cannot be understood")]
    Text(#[source] serde_json::Error),
    /// A disk with other sectors.
    #[error("the disk has sectors of {0} bytes, only 512 are supported")]
    Sectors(u64),
    /// There is no room left.
    #[error("the disk is too small: {free} MiB are left for data, 512 MiB are needed")]
    TooSmall {
        /// What is left.
        free: u64,
    },
    /// Two of them.
    #[error("the disk has more than one data partition")]
    Ambiguous,
    /// A partition whose name does not end in a number.
    #[error("`{0}` is no partition")]
    Node(String),
}

/// A partition table.
#[derive(Debug, Clone, Deserialize)]
pub struct Table {
    /// Bytes of a sector.
    #[serde(default = "default_sector")]
    sectorsize: u64,
    /// Last sector that a partition may have.
    lastlba: u64,
    /// In the order of the table.
    #[serde(default)]
    partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, Deserialize)]
struct Partition {
    node: String,
    start: u64,
    size: u64,
    #[serde(default)]
    name: String,
}

/// A slot: room for a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Number in the table.
    pub number: u32,
    /// Its name: what it holds.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
}

#[derive(Deserialize)]
struct Answer {
    partitiontable: Table,
}

fn default_sector() -> u64 {
    SECTOR
}

/// Where the data partition is, and what must be done before it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The disk has grown: the table's second copy must be moved to the new end first.
    pub move_backup: bool,
    /// The data partition.
    pub data: Data,
}

/// The data partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Number in the table.
    pub number: u32,
    /// Device.
    pub node: String,
    /// What is to be done.
    pub action: Action,
    /// It was never formatted to the end.
    pub blank: bool,
}

/// What is done to the data partition's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// A new row, in sectors.
    Make {
        /// First.
        start: u64,
        /// How many.
        size: u64,
    },
    /// More sectors.
    Grow {
        /// First, as it is.
        start: u64,
        /// How many there shall be.
        size: u64,
    },
}

impl Table {
    /// Reads what `sfdisk --json` wrote.
    ///
    /// # Errors
    ///
    /// If it is no such text, or its sectors are not of 512 bytes.
    pub fn parse(text: &[u8]) -> Result<Self, TableError> {
        let answer: Answer = serde_json::from_slice(text).map_err(TableError::Text)?;
        match answer.partitiontable.sectorsize {
            SECTOR => Ok(answer.partitiontable),
            other => Err(TableError::Sectors(other)),
        }
    }

    /// What must be done on a disk of `sectors` sectors named `disk`.
    ///
    /// # Errors
    ///
    /// If there is no room, or more than one data partition.
    pub fn plan(&self, disk: &str, sectors: u64) -> Result<Plan, TableError> {
        let last = sectors.saturating_sub(BACKUP);
        let move_backup = self.lastlba < last;
        let end = last / ALIGNMENT * ALIGNMENT;
        let mut found = self
            .partitions
            .iter()
            .filter(|part| [DATA, BLANK].contains(&part.name.as_str()));
        let data = match (found.next(), found.next()) {
            (None, _) => self.make(disk, end)?,
            (Some(part), None) => part.keep_or_grow(end)?,
            (Some(_), Some(_)) => return Err(TableError::Ambiguous),
        };
        Ok(Plan { move_backup, data })
    }

    /// The loader's partition.
    #[must_use]
    pub fn loader(&self) -> Option<&str> {
        let found = self.partitions.iter().find(|part| part.name == LOADER)?;
        Some(&found.node)
    }

    /// The slots, in the order of the table.
    ///
    /// # Errors
    ///
    /// If a partition has no number.
    pub fn slots(&self) -> Result<Vec<Slot>, TableError> {
        let slots = self.partitions.iter().filter(|part| part.name.starts_with(SLOT));
        let each = slots.map(|part| {
            Ok(Slot {
                number: part.number()?,
                name: part.name.clone(),
                offset: part.start.saturating_mul(SECTOR),
                size: part.size.saturating_mul(SECTOR),
            })
        });
        each.collect()
    }

    fn make(&self, disk: &str, end: u64) -> Result<Data, TableError> {
        let used = self
            .partitions
            .iter()
            .map(|part| part.start.saturating_add(part.size));
        let start = used.max().unwrap_or(0).div_ceil(ALIGNMENT) * ALIGNMENT;
        let size = end.saturating_sub(start);
        if size < LEAST {
            let free = size * SECTOR / (1024 * 1024);
            return Err(TableError::TooSmall { free });
        }
        let mut number = 0;
        for part in &self.partitions {
            number = number.max(part.number()?);
        }
        number += 1;
        Ok(Data {
            number,
            node: node(disk, number),
            action: Action::Make { start, size },
            blank: true,
        })
    }
}

impl Partition {
    fn keep_or_grow(&self, end: u64) -> Result<Data, TableError> {
        let size = end.saturating_sub(self.start);
        let action = if size >= self.size.saturating_add(WORTH_GROWING) {
            Action::Grow {
                start: self.start,
                size,
            }
        } else {
            Action::Keep
        };
        Ok(Data {
            number: self.number()?,
            node: self.node.clone(),
            action,
            blank: self.name == BLANK,
        })
    }

    fn number(&self) -> Result<u32, TableError> {
        let name = self.node.trim_end_matches(|c: char| c.is_ascii_digit());
        self.node[name.len()..]
            .parse()
            .map_err(|_| TableError::Node(self.node.clone()))
    }
}

/// `/dev/vda4`, but `/dev/nvme0n1p4`.
fn node(disk: &str, number: u32) -> String {
    let between = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{disk}{between}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8 GiB.
    const SECTORS: u64 = 16_777_216;

    fn table(lastlba: u64, rows: &str) -> Table {
        let text = format!(
            r#"{{"partitiontable": {{"label":"gpt", "id":"X", "device":"/dev/vda", "unit":"sectors", "firstlba":2048,
            "lastlba":{lastlba}, "sectorsize":512, "partitions": [
            {{"node":"/dev/vda1", "start":2048, "size":262144, "type":"C12A", "uuid":"A", "name":"satellite-esp"}},
            {{"node":"/dev/vda2", "start":264192, "size":524288, "type":"0FC6", "uuid":"B", "name":"root-0123"}},
            {{"node":"/dev/vda3", "start":788480, "size":524288, "type":"0FC6", "uuid":"C", "name":"root-empty"}}
            {rows} ]}}}}"#
        );
        Table::parse(text.as_bytes()).unwrap()
    }

    fn data(name: &str, size: u64) -> String {
        format!(
            r#", {{"node":"/dev/vda4", "start":1312768, "size":{size}, "type":"0FC6", "uuid":"D", "name":"{name}"}}"#
        )
    }

    /// `expected`: whether the table's copy is moved, whether the data partition is blank, what is done to it.
    fn check(sectors: u64, rows: &str, expected: (bool, bool, Action)) {
        let (move_backup, blank, action) = expected;
        let plan = table(SECTORS - 34, rows).plan("/dev/vda", sectors).unwrap();
        let data = Data {
            number: 4,
            node: "/dev/vda4".to_owned(),
            action,
            blank,
        };
        assert_eq!(plan, Plan { move_backup, data });
    }

    #[test]
    fn a_fresh_image_gets_a_data_partition_on_all_that_is_left() {
        let action = Action::Make {
            start: 1_312_768,
            size: 15_462_400,
        };
        check(SECTORS, "", (false, true, action));
    }

    #[test]
    fn on_a_larger_disk_the_tables_copy_is_moved_first() {
        let action = Action::Make {
            start: 1_312_768,
            size: 32_239_616,
        };
        check(2 * SECTORS, "", (true, true, action));
    }

    #[test]
    fn a_data_partition_is_kept_as_it_is() {
        check(SECTORS, &data(DATA, 15_462_400), (false, false, Action::Keep));
    }

    #[test]
    fn one_whose_formatting_was_cut_off_is_blank() {
        check(SECTORS, &data(BLANK, 15_462_400), (false, true, Action::Keep));
    }

    #[test]
    fn it_grows_with_its_disk() {
        let action = Action::Grow {
            start: 1_312_768,
            size: 32_239_616,
        };
        check(2 * SECTORS, &data(DATA, 15_462_400), (true, false, action));
    }

    #[test]
    fn a_few_sectors_more_are_not_worth_a_change() {
        check(SECTORS + 8, &data(DATA, 15_462_400), (true, false, Action::Keep));
    }

    #[test]
    fn a_disk_without_room_is_refused_with_what_is_left() {
        let refused = table(1_400_000, "").plan("/dev/vda", 1_400_034).unwrap_err();
        assert!(refused.to_string().contains("too small"), "{refused}");
    }

    #[test]
    fn slots_are_found_by_their_names() {
        let slots = table(SECTORS - 34, &data(DATA, 2048)).slots().unwrap();
        let seen: Vec<_> = slots
            .iter()
            .map(|slot| (slot.number, slot.name.as_str(), slot.offset))
            .collect();
        assert_eq!(
            seen,
            [(2, "root-0123", 264_192 * 512), (3, "root-empty", 788_480 * 512)]
        );
        assert!(slots.iter().all(|slot| slot.size == 256 << 20));
    }

    #[test]
    fn two_data_partitions_are_refused() {
        let rows = data(DATA, 2048) + &data(DATA, 2048);
        assert!(matches!(
            table(SECTORS - 34, &rows).plan("/dev/vda", SECTORS),
            Err(TableError::Ambiguous)
        ));
    }

    #[test]
    fn partitions_of_a_disk_whose_name_ends_in_a_digit_have_a_p() {
        assert_eq!(node("/dev/nvme0n1", 4), "/dev/nvme0n1p4");
        assert_eq!(node("/dev/sda", 4), "/dev/sda4");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"partitiontable":{"sectorsize":4096,"lastlba":7}}"#,
        ] {
            assert!(Table::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
