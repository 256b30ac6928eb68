//! Sets of keys follow from the anchor of an image, and from nothing else.
#![expect(clippy::unwrap_used, reason = "a test")]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use satellite_proto::bundle::{
    Anchor, BundleError, DOCUMENT_MOST, Downgrade, KeyPair, Keys, Root, SecretKey, Signed, TrustAnchors,
    TrustRecord,
};

fn key() -> SecretKey {
    SecretKey::from_file_text(&KeyPair::generate(None).unwrap().secret_file, None).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn later(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

fn all(keys: &[&SecretKey]) -> Vec<String> {
    keys.iter().map(|key| key.public_key()).collect()
}

fn signed(document: Vec<u8>, by: &[&SecretKey]) -> Signed {
    let mut signed = Signed {
        document: document.into(),
        signatures: Vec::new(),
    };
    for key in by {
        signed.sign(key, "sequence:1").unwrap();
    }
    signed
}

fn root(sequence: u64, threshold: usize, of: &[&SecretKey], by: &[&SecretKey]) -> Signed {
    let root = Root::new(sequence, later(3650), threshold, all(of)).unwrap();
    signed(root.to_bytes().unwrap(), by)
}

fn keys(sequence: u64, of: &[&SecretKey], by: &[&SecretKey]) -> Signed {
    let keys = Keys::new(sequence, later(365), 1, all(of)).unwrap();
    signed(keys.to_bytes().unwrap(), by)
}

fn anchor(sequence: u64, threshold: usize, of: &[&SecretKey]) -> Anchor {
    let root = Root::new(sequence, later(3650), threshold, all(of)).unwrap();
    Anchor::from_toml(&Anchor::toml_of(&root)).unwrap()
}

fn offer(roots: &[Signed], keys: Option<Signed>) -> TrustRecord {
    TrustRecord {
        roots: roots.to_vec(),
        keys,
    }
}

fn release_of(anchor: &Anchor, record: &TrustRecord) -> Vec<String> {
    let trust = anchor.establish(record).unwrap();
    let release = trust.release(now()).unwrap();
    release.keys().map(str::to_owned).collect()
}

#[track_caller]
fn refused(anchor: &Anchor, record: &TrustRecord, offered: &TrustRecord) -> BundleError {
    anchor.advance(record, offered, now()).unwrap_err()
}

#[test]
fn a_root_set_is_replaced_by_the_old_threshold_and_the_new_one() {
    let (a, b, c, d, release) = (key(), key(), key(), key(), key());
    let anchor = anchor(1, 2, &[&a, &b, &c]);
    let none = TrustRecord::default();
    for by in [vec![&a, &d], vec![&a, &b], vec![&c, &d], vec![]] {
        let next = root(2, 2, &[&c, &d], &by);
        assert!(
            matches!(
                refused(&anchor, &none, &offer(&[next], None)),
                BundleError::Unsigned { .. }
            ),
            "{} signers",
            by.len()
        );
    }
    let next = root(2, 2, &[&c, &d], &[&a, &c, &d]);
    let set = keys(1, &[&release], &[&c, &d]);
    let record = anchor
        .advance(&none, &offer(&[next], Some(set)), now())
        .unwrap()
        .unwrap();
    assert_eq!(anchor.establish(&record).unwrap().root_sequence, 2);
    assert_eq!(release_of(&anchor, &record), all(&[&release]));
    // The old keys mean nothing any more.
    let old = keys(2, &[&a], &[&a, &b]);
    assert!(matches!(
        refused(&anchor, &record, &offer(&[], Some(old))),
        BundleError::Unsigned { .. }
    ));
}

#[test]
fn a_key_counts_once_whatever_it_is_called() {
    let (a, b) = (key(), key());
    let mut bytes = data_encoding::BASE64.decode(a.public_key().as_bytes()).unwrap();
    bytes[3] ^= 1;
    let renamed = data_encoding::BASE64.encode(&bytes);
    assert!(TrustAnchors::new(vec![a.public_key(), renamed], 2).is_err());
    let anchor = anchor(1, 2, &[&a, &b]);
    let mut twice = root(2, 1, &[&b], &[&a]);
    twice.signatures.push(a.sign(&twice.document, "again").unwrap());
    assert!(matches!(
        refused(&anchor, &TrustRecord::default(), &offer(&[twice], None)),
        BundleError::Unsigned {
            valid: 1,
            needed: 2,
            ..
        }
    ));
}

#[test]
fn root_sets_come_in_sequence_and_all_or_none_is_taken() {
    let (a, b, c, release) = (key(), key(), key(), key());
    let anchor = anchor(1, 1, &[&a]);
    let none = TrustRecord::default();
    let (two, three) = (root(2, 1, &[&b], &[&a, &b]), root(3, 1, &[&c], &[&b, &c]));
    assert!(
        refused(&anchor, &none, &offer(std::slice::from_ref(&three), None))
            .to_string()
            .contains("signatures")
    );
    let skipped = root(3, 1, &[&b], &[&a, &b]);
    assert!(
        refused(&anchor, &none, &offer(&[skipped], None))
            .to_string()
            .contains("the ones between")
    );
    let by_a_stranger = offer(&[two.clone(), three.clone()], Some(keys(1, &[&release], &[&b])));
    refused(&anchor, &none, &by_a_stranger);
    let record = anchor
        .advance(&none, &offer(&[two.clone(), three.clone()], None), now())
        .unwrap()
        .unwrap();
    assert_eq!(
        anchor
            .advance(&record, &offer(&[two.clone(), three], None), now())
            .unwrap(),
        None
    );
    // Another one in a place that is taken means that somebody was deceived.
    let fork = root(2, 1, &[&c], &[&a, &c]);
    refused(&anchor, &record, &offer(&[fork], None));
    // A newer image begins further on.
    let newer = Anchor::from_toml(&Anchor::toml_of(&Root::parse(&two.document).unwrap())).unwrap();
    assert_eq!(newer.establish(&record).unwrap().root_sequence, 3);
}

#[test]
fn sets_of_release_keys_only_rise_and_end() {
    let (a, b, one, two) = (key(), key(), key(), key());
    let anchor = anchor(1, 1, &[&a]);
    let record = anchor
        .advance(
            &TrustRecord::default(),
            &offer(&[], Some(keys(5, &[&one], &[&a]))),
            now(),
        )
        .unwrap()
        .unwrap();
    for sequence in [4, 5] {
        let lower = keys(sequence, &[&two], &[&a]);
        refused(&anchor, &record, &offer(&[], Some(lower)));
    }
    let root_as_release = keys(6, &[&a], &[&a]);
    refused(&anchor, &record, &offer(&[], Some(root_as_release)));
    let trust = anchor.establish(&record).unwrap();
    assert!(matches!(
        trust.release(later(366)),
        Err(BundleError::Expired { .. })
    ));
    assert!(trust.release_ever().is_ok());
    let late = anchor.advance(&record, &offer(&[], Some(keys(6, &[&two], &[&a]))), later(366));
    assert!(matches!(late, Err(BundleError::Expired { .. })));
    // A root set that does not stand behind them ends them; their place in the sequence stays taken.
    let next = root(2, 1, &[&b], &[&a, &b]);
    let record = anchor
        .advance(&record, &offer(&[next], None), now())
        .unwrap()
        .unwrap();
    let trust = anchor.establish(&record).unwrap();
    assert!(matches!(trust.release(now()), Err(BundleError::NoReleaseKeys(_))));
    refused(&anchor, &record, &offer(&[], Some(keys(5, &[&two], &[&b]))));
    let record = anchor
        .advance(&record, &offer(&[], Some(keys(6, &[&two], &[&b]))), now())
        .unwrap()
        .unwrap();
    assert_eq!(release_of(&anchor, &record), all(&[&two]));
}

#[test]
fn release_keys_in_an_image_are_changed_by_nobody() {
    let (a, one) = (key(), key());
    let text = format!("threshold = 1\nkeys = [\"{}\"]\n", one.public_key());
    let anchor = Anchor::from_toml(&text).unwrap();
    assert_eq!(release_of(&anchor, &TrustRecord::default()), all(&[&one]));
    refused(
        &anchor,
        &TrustRecord::default(),
        &offer(&[], Some(keys(1, &[&a], &[&one]))),
    );
    for text in [
        "",
        "threshold = 1",
        "[root]\nsequence = 0\nthreshold = 1\nkeys = []",
        &format!(
            "{text}[root]\nsequence = 1\nthreshold = 1\nkeys = [\"{}\"]",
            a.public_key()
        ),
    ] {
        assert!(Anchor::from_toml(text).is_err(), "{text}");
    }
}

#[test]
fn a_signature_over_one_kind_of_document_holds_for_no_other() {
    let a = key();
    let as_keys = Keys::new(2, later(1), 1, all(&[&a])).unwrap().to_bytes().unwrap();
    assert!(Root::parse(&as_keys).is_err());
    assert!(Downgrade::parse(&as_keys).is_err());
    assert!(satellite_proto::bundle::Manifest::parse(&as_keys).is_err());
    let large = vec![b' '; DOCUMENT_MOST + 1];
    assert!(Keys::parse(&large).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever bytes come, parsing ends, and what was parsed is written as it was read.
    #[test]
    fn documents_are_read_as_they_are_written_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(root) = Root::parse(&bytes) {
            prop_assert_eq!(root.to_bytes().unwrap(), bytes.clone());
        }
        if let Ok(permit) = Downgrade::parse(&bytes) {
            prop_assert_eq!(permit.to_bytes().unwrap(), bytes);
        }
    }
}

#[test]
fn a_flipped_bit_of_a_key_set_is_refused() {
    let (a, b, release) = (key(), key(), key());
    let anchor = anchor(1, 2, &[&a, &b]);
    let good = keys(1, &[&release], &[&a, &b]);
    for at in 0..good.document.len() {
        for bit in [0, 3, 7] {
            let mut document = good.document.to_vec();
            document[at] ^= 1 << bit;
            let flipped = Signed {
                document: document.into(),
                ..good.clone()
            };
            refused(&anchor, &TrustRecord::default(), &offer(&[], Some(flipped)));
        }
    }
}
