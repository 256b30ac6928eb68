//! Members go into headers and come back the same; anything else is refused without a panic.

use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = MemberPath> {
    let part = prop::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 1..200);
    prop::collection::vec(part, 1..8)
        .prop_map(|parts| MemberPath::new(Bytes::from(parts.join(&b'/'))))
        .prop_filter_map("not a path", Result::ok)
}

fn kind() -> impl Strategy<Value = Kind> {
    let target = prop::collection::vec(1u8.., 1..300).prop_map(|t| Kind::Symlink(Bytes::from(t)));
    prop_oneof![
        any::<u64>().prop_map(Kind::File),
        Just(Kind::Directory),
        target,
        path().prop_map(Kind::HardLink)
    ]
}

pub(crate) fn member() -> impl Strategy<Value = Member> {
    let xattr = (
        prop::collection::vec(1u8.., 1..40),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    let xattrs = prop::collection::vec(xattr.prop_map(|(n, v)| (Bytes::from(n), Bytes::from(v))), 0..4);
    let owners = ("[a-zäöü]{0,60}", "[a-z]{0,60}", any::<u32>(), any::<u32>());
    let moment = (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, nanos)| Moment {
        seconds: s.max(i64::MIN + 2),
        nanos,
    });
    (
        "[A-Za-z0-9_]{1,63}",
        path(),
        kind(),
        0..0o10000u32,
        owners,
        moment,
        (xattrs, any::<bool>()),
    )
        .prop_map(
            |(set, path, kind, mode, (user, group, uid, gid), modified, (xattrs, sparse))| Member {
                data_set: set.parse().unwrap(),
                path,
                sparse: sparse && matches!(kind, Kind::File(_)),
                kind,
                mode,
                uid,
                gid,
                modified,
                xattrs,
                origin: Origin::Path,
                user,
                group,
            },
        )
}

fn decode(bytes: &[u8]) -> Result<Member, BadHeader> {
    let block = |at: usize| -> [u8; BLOCK] { bytes[at..at + BLOCK].try_into().unwrap() };
    let first = block(0);
    let header = Header::parse(&first)?;
    if !header.is_pax() {
        return header.member(b"");
    }
    let size = header.size()? as usize;
    let next = block(BLOCK + size + padding(size as u64));
    Header::parse(&next)?.member(&bytes[BLOCK..BLOCK + size])
}

proptest! {
    #[test]
    fn a_member_survives_its_headers(member in member()) {
        prop_assert_eq!(decode(&encode(&member)).unwrap(), member);
    }

    #[test]
    fn no_records_make_the_reader_panic(records: Vec<u8>) {
        let block: [u8; BLOCK] = own_file("manifest.json", 1, 0).try_into().unwrap();
        let _ = Header::parse(&block).unwrap().member(&records);
    }

    #[test]
    fn a_changed_header_is_refused(member in member(), at in 0..BLOCK, bit in 0..8u32) {
        let mut bytes = encode(&member);
        let start = bytes.len() - BLOCK;
        bytes[start + at] ^= 1 << bit;
        let block: [u8; BLOCK] = bytes[start..].try_into().unwrap();
        // The checksum is a sum: only the two bytes that end it may differ without a change of meaning.
        prop_assert!(Header::parse(&block).is_err() || at == 154 || at == 155);
    }
}

#[test]
fn times_before_1970_keep_their_fraction() {
    for (seconds, nanos, text) in [
        (-1, 500_000_000, "-0.5"),
        (-2, 1, "-1.999999999"),
        (0, 10, "0.00000001"),
        (-5, 0, "-5"),
    ] {
        let moment = Moment { seconds, nanos };
        assert_eq!(decimal(moment), text);
        assert_eq!(parse_decimal(text), Some(moment));
    }
}

#[test]
fn a_number_ends_where_its_digits_end() {
    for (field, number) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"000644 \0", Some(0o644)),
        (b"1 000644", None),
        (b"644\0x\0\0\0", None),
        (b"+644\0\0\0\0", None),
        (b"\0\0\0\0", None),
    ] {
        assert_eq!(octal(field), number, "{field:?}");
    }
}
