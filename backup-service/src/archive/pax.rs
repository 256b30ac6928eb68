//! Tar headers: POSIX ustar with pax records for what does not fit. Pure.
//!
//! **Invariants:** reading what was written gives the same member; no bytes make reading panic.

use bytes::Bytes;

use super::member::{Kind, Member, Moment, Origin};
use super::names::{DataSet, MemberPath};
use super::{BLOCK, DATA, padding};

const OCTAL_7: u64 = 0o777_7777;
/// The comment of a file with holes: POSIX has every reader pass over comments, where unknown keys make some warn.
const SPARSE: &[u8] = b"sparse";
const OCTAL_11: u64 = 0o777_7777_7777;

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHeader {
    /// The checksum of the header is wrong.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A field is not a number, or a record not well-formed.
    #[error("`{0}` cannot be read")]
    Field(&'static str),
    /// The type is none of the four, or it is not below `data/`.
    #[error("it is not a member of this format")]
    Foreign,
}

/// A plain file of the archive itself: the manifest and the checksums.
#[must_use]
pub fn own_file(name: &str, size: u64, modified: i64) -> Vec<u8> {
    let fields = Fields {
        size,
        mode: 0o644,
        modified: u64::try_from(modified).unwrap_or(0),
        ..Fields::new(name.as_bytes(), b'0')
    };
    let mut pax = Records::default();
    if size > OCTAL_11 {
        pax.add(b"size", size.to_string().as_bytes());
    }
    let mut out = pax.into_header();
    fields.write(&mut out);
    out
}

/// The headers of a member: pax records if needed, then the ustar header.
#[must_use]
pub fn encode(member: &Member) -> Vec<u8> {
    let mut name = member.tar_name();
    let mut link = Vec::new();
    let kind = match &member.kind {
        Kind::File(_) => b'0',
        Kind::HardLink(target) => {
            link = super::member::tar_name(&member.data_set, target);
            b'1'
        }
        Kind::Symlink(target) => {
            link = target.to_vec();
            b'2'
        }
        Kind::Directory => {
            name.push(b'/');
            b'5'
        }
    };
    let mut pax = Records::default();
    let mut fields = Fields {
        mode: member.mode,
        link: &link,
        ..Fields::new(&name, kind)
    };
    pax.add_if(name.len() > 100, b"path", &name);
    pax.add_if(link.len() > 100, b"linkpath", &link);
    fields.size = pax.number(b"size", member.size(), OCTAL_11);
    fields.uid = pax.number(b"uid", u64::from(member.uid), OCTAL_7);
    fields.gid = pax.number(b"gid", u64::from(member.gid), OCTAL_7);
    let whole = u64::try_from(member.modified.seconds)
        .ok()
        .filter(|s| *s <= OCTAL_11);
    fields.modified = whole.unwrap_or(0);
    pax.add_if(
        whole.is_none() || member.modified.nanos > 0,
        b"mtime",
        decimal(member.modified).as_bytes(),
    );
    fields.user = member.user.as_bytes();
    fields.group = member.group.as_bytes();
    pax.add_if(member.user.len() > 31, b"uname", fields.user);
    pax.add_if(member.group.len() > 31, b"gname", fields.group);
    pax.add_if(member.sparse, b"comment", SPARSE);
    for (name, value) in &member.xattrs {
        pax.add(&[b"SCHILY.xattr.", encode_key(name).as_slice()].concat(), value);
    }
    let mut out = pax.into_header();
    fields.write(&mut out);
    out
}

/// Seconds with a fraction, as pax has them.
fn decimal(moment: Moment) -> String {
    let (sign, seconds, nanos) = match (moment.seconds, moment.nanos) {
        (s, 0) => return s.to_string(),
        (s, n) if s < 0 => ("-", (s + 1).unsigned_abs(), 1_000_000_000 - n),
        (s, n) => ("", s.unsigned_abs(), n),
    };
    format!("{sign}{seconds}.{nanos:09}")
        .trim_end_matches('0')
        .to_owned()
}

fn parse_decimal(text: &str) -> Option<Moment> {
    let (sign, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let clean = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !clean(whole) || !clean(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let seconds: i64 = if sign {
        format!("-{whole}").parse().ok()?
    } else {
        whole.parse().ok()?
    };
    match (sign, nanos) {
        (true, 1..) => Some(Moment {
            seconds: seconds.checked_sub(1)?,
            nanos: 1_000_000_000 - nanos,
        }),
        _ => Some(Moment { seconds, nanos }),
    }
}

/// `=` ends a key, so it is written as GNU tar writes it.
fn encode_key(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            other => key.push(*other),
        }
    }
    key
}

fn decode_key(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [b'2', b'5', tail @ ..]) => {
                name.push(b'%');
                tail
            }
            (b'%', [b'3', b'D', tail @ ..]) => {
                name.push(b'=');
                tail
            }
            (byte, tail) => {
                name.push(byte);
                tail
            }
        };
    }
    name
}

#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        for part in [b" ", key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    fn add_if(&mut self, needed: bool, key: &[u8], value: &[u8]) {
        if needed {
            self.add(key, value);
        }
    }

    /// What goes into the header's field; a number that is too big for it goes into a record.
    fn number(&mut self, key: &[u8], value: u64, most: u64) -> u64 {
        self.add_if(value > most, key, value.to_string().as_bytes());
        if value > most { 0 } else { value }
    }

    fn into_header(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        if self.0.is_empty() {
            return out;
        }
        let size = self.0.len() as u64;
        Fields {
            size,
            mode: 0o644,
            ..Fields::new(b"PaxHeaders/member", b'x')
        }
        .write(&mut out);
        out.extend_from_slice(&self.0);
        out.resize(out.len() + padding(size), 0);
        out
    }
}

struct Fields<'a> {
    name: &'a [u8],
    kind: u8,
    link: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    modified: u64,
    user: &'a [u8],
    group: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(name: &'a [u8], kind: u8) -> Self {
        Self {
            name,
            kind,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            modified: 0,
            user: b"",
            group: b"",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0u8; BLOCK];
        let mut put = |at: usize, most: usize, bytes: &[u8]| {
            let length = bytes.len().min(most);
            block[at..at + length].copy_from_slice(&bytes[..length]);
        };
        put(0, 100, self.name);
        put(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        put(108, 8, format!("{:07o}\0", self.uid).as_bytes());
        put(116, 8, format!("{:07o}\0", self.gid).as_bytes());
        put(124, 12, format!("{:011o}\0", self.size).as_bytes());
        put(136, 12, format!("{:011o}\0", self.modified).as_bytes());
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, self.link);
        put(257, 8, b"ustar\x0000");
        put(265, 31, self.user);
        put(297, 31, self.group);
        put(329, 8, b"0000000\0");
        put(337, 8, b"0000000\0");
        let sum = sum(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().map(|b| u32::from(*b)).sum()
}

/// A ustar header as it was read, with its checksum found right.
#[derive(Debug)]
pub struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// Checks the checksum and the magic.
    ///
    /// # Errors
    /// [`BadHeader::Checksum`], or [`BadHeader::Foreign`] for another kind of tar.
    pub fn parse(block: &'a [u8; BLOCK]) -> Result<Self, BadHeader> {
        // The checksum counts its own field as blanks.
        let sum = sum(block) - sum(&block[148..156]) + 8 * u32::from(b' ');
        if octal(&block[148..156]) != Some(u64::from(sum)) {
            return Err(BadHeader::Checksum);
        }
        if &block[257..265] != b"ustar\x0000" {
            return Err(BadHeader::Foreign);
        }
        Ok(Self(block))
    }

    /// Whether pax records follow.
    #[must_use]
    pub fn is_pax(&self) -> bool {
        self.0[156] == b'x'
    }

    /// Bytes that follow, if no record says otherwise.
    ///
    /// # Errors
    /// [`BadHeader::Field`].
    pub fn size(&self) -> Result<u64, BadHeader> {
        octal(&self.0[124..136]).ok_or(BadHeader::Field("size"))
    }

    /// The name in the header, without records and without the slash of a directory.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        text(&self.0[..100])
    }

    /// The size of the archive's own file `name`.
    ///
    /// # Errors
    /// [`BadHeader::Foreign`] if it is another member.
    pub fn own_size(&self, name: &str, records: &[u8]) -> Result<u64, BadHeader> {
        if self.name() != name.as_bytes() || self.0[156] != b'0' {
            return Err(BadHeader::Foreign);
        }
        match parse_records(records)?.as_slice() {
            [] => self.size(),
            [(b"size", value)] => number(value).ok_or(BadHeader::Field("size")),
            _ => Err(BadHeader::Foreign),
        }
    }

    /// The member that header and records describe.
    ///
    /// # Errors
    /// [`BadHeader`]; nothing in a header is trusted.
    pub fn member(&self, records: &[u8]) -> Result<Member, BadHeader> {
        let block = self.0;
        let field = |range: std::ops::Range<usize>, name| octal(&block[range]).ok_or(BadHeader::Field(name));
        let mut name = self.name();
        let mut link = text(&block[157..257]);
        let mut size = self.size()?;
        let mut uid = field(108..116, "uid")?;
        let mut gid = field(116..124, "gid")?;
        let seconds = i64::try_from(field(136..148, "mtime")?).map_err(|_| BadHeader::Field("mtime"))?;
        let mut modified = Moment { seconds, nanos: 0 };
        let mut user = text(&block[265..297]);
        let mut group = text(&block[297..329]);
        let (mut xattrs, mut sparse) = (Vec::new(), false);
        for (key, value) in parse_records(records)? {
            match key {
                b"path" => name = value,
                b"linkpath" => link = value,
                b"size" => size = number(value).ok_or(BadHeader::Field("size"))?,
                b"uid" => uid = number(value).ok_or(BadHeader::Field("uid"))?,
                b"gid" => gid = number(value).ok_or(BadHeader::Field("gid"))?,
                b"mtime" => modified = moment(value).ok_or(BadHeader::Field("mtime"))?,
                b"uname" => user = value,
                b"gname" => group = value,
                b"comment" if value == SPARSE => sparse = true,
                _ => {
                    let key = key
                        .strip_prefix(b"SCHILY.xattr.")
                        .ok_or(BadHeader::Field("pax key"))?;
                    xattrs.push((Bytes::from(decode_key(key)), Bytes::copy_from_slice(value)));
                }
            }
        }
        let (data_set, path) = split_name(name, block[156] == b'5')?;
        let kind = kind(block[156], size, link, &data_set)?;
        let small = |n: u64, name| u32::try_from(n).map_err(|_| BadHeader::Field(name));
        let string = |b: &[u8], name| String::from_utf8(b.to_vec()).map_err(|_| BadHeader::Field(name));
        let member = Member {
            data_set,
            path,
            kind,
            mode: small(field(100..108, "mode")?, "mode")?,
            uid: small(uid, "uid")?,
            gid: small(gid, "gid")?,
            modified,
            xattrs,
            origin: Origin::Path,
            sparse,
            user: string(user, "uname")?,
            group: string(group, "gname")?,
        };
        member.check().map_err(|_| BadHeader::Field("member"))?;
        Ok(member)
    }
}

fn kind(flag: u8, size: u64, link: &[u8], data_set: &DataSet) -> Result<Kind, BadHeader> {
    let kind = match flag {
        b'0' => return Ok(Kind::File(size)),
        b'1' => {
            let (set, target) = split_name(link, false)?;
            if &set != data_set {
                return Err(BadHeader::Field("linkpath"));
            }
            Kind::HardLink(target)
        }
        b'2' => Kind::Symlink(Bytes::copy_from_slice(link)),
        b'5' => Kind::Directory,
        _ => return Err(BadHeader::Foreign),
    };
    if size == 0 {
        Ok(kind)
    } else {
        Err(BadHeader::Field("size"))
    }
}

/// Splits `data/<data set>/<path>`.
fn split_name(name: &[u8], directory: bool) -> Result<(DataSet, MemberPath), BadHeader> {
    let name = if directory {
        name.strip_suffix(b"/").ok_or(BadHeader::Field("path"))?
    } else {
        name
    };
    let rest = name.strip_prefix(DATA).ok_or(BadHeader::Foreign)?;
    let slash = rest.iter().position(|b| *b == b'/').ok_or(BadHeader::Foreign)?;
    let set = std::str::from_utf8(&rest[..slash]).map_err(|_| BadHeader::Field("data set"))?;
    let set = set.parse().map_err(|_| BadHeader::Field("data set"))?;
    let path =
        MemberPath::new(Bytes::copy_from_slice(&rest[slash + 1..])).map_err(|_| BadHeader::Field("path"))?;
    Ok((set, path))
}

/// A record: key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

fn parse_records(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, BadHeader> {
    const BAD: BadHeader = BadHeader::Field("pax records");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().take(8).position(|b| *b == b' ').ok_or(BAD)?;
        let length = number(&bytes[..blank])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or(BAD)?;
        let record = bytes.get(blank + 1..length).ok_or(BAD)?;
        let record = record.strip_suffix(b"\n").ok_or(BAD)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or(BAD)?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

fn octal(field: &[u8]) -> Option<u64> {
    let is_blank = |b: &u8| matches!(b, 0 | b' ');
    let end = field.iter().position(is_blank).unwrap_or(field.len());
    let digits = std::str::from_utf8(&field[..end]).ok()?;
    // Digits after a blank are read by some programs and not by others.
    if digits.starts_with('+') || !field[end..].iter().all(is_blank) {
        None
    } else {
        u64::from_str_radix(digits, 8).ok()
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    }
}

fn moment(value: &[u8]) -> Option<Moment> {
    parse_decimal(std::str::from_utf8(value).ok()?)
}

#[cfg(test)]
mod tests;
