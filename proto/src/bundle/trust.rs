//! From the anchor in the image to the release keys that count: root sets, each signed by the one before and by itself,
//! and the set of release keys that the last of them has signed.
//!
//! **Invariants:** pure: no clock, no disk. What a server hands over can take the sequence forward and nothing else; what
//! lies on a satellite's disk is verified from the image's anchor on each time it is used.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::BundleError;
use super::document::{Document as _, Keys, Root, Signed, check_signed};
use super::signature::{TrustAnchors, key_id};
use crate::wire::bridge::v1::TrustState;

/// The most root sets between an image's anchor and the one in force.
pub const ROOTS_MOST: usize = 64;

/// Who is trusted to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// Release keys themselves, for good: nothing that a server brings changes them.
    Release(TrustAnchors),
    /// Root keys, which say who releases.
    Root(RootAnchor),
}

/// The root keys in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootAnchor {
    sequence: u64,
    keys: TrustAnchors,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    threshold: Option<usize>,
    keys: Option<Vec<String>>,
    root: Option<RootTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootTable {
    sequence: u64,
    threshold: usize,
    keys: Vec<String>,
}

/// The signed documents that lead away from the anchor: root sets in sequence, and the last set of release keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRecord {
    /// Root sets, by sequence.
    pub roots: Vec<Signed>,
    /// The set of release keys.
    pub keys: Option<Signed>,
}

/// Who is trusted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Sequence of the root set in force; 0 if release keys are the anchor.
    pub root_sequence: u64,
    /// The root keys; none if release keys are the anchor.
    pub root: Option<TrustAnchors>,
    /// Until when the root set may sign; none: that of an image.
    pub root_expires: Option<Timestamp>,
    /// Sequence of the last set of release keys; 0 if there was none.
    pub keys_sequence: u64,
    /// Until when the release keys count; none: for good, or there are none.
    pub keys_expires: Option<Timestamp>,
    release: Option<TrustAnchors>,
}

impl Anchor {
    /// Reads the file of an image: `threshold` and `keys` of release keys, or a table `root` with `sequence`, `threshold`
    /// and `keys` of root keys.
    ///
    /// # Errors
    /// [`BundleError::Key`]: neither or both of them, or keys that [`TrustAnchors::new`] refuses.
    pub fn from_toml(text: &str) -> Result<Self, BundleError> {
        let bad = |fault: &str| BundleError::Key(format!("the list of trusted keys is refused: {fault}"));
        let file: File = toml::from_str(text).map_err(|error| bad(error.message()))?;
        match file {
            File {
                threshold: Some(threshold),
                keys: Some(keys),
                root: None,
            } => Ok(Self::Release(TrustAnchors::new(keys, threshold)?)),
            File {
                threshold: None,
                keys: None,
                root: Some(root),
            } if root.sequence > 0 => Ok(Self::Root(RootAnchor {
                sequence: root.sequence,
                keys: TrustAnchors::new(root.keys, root.threshold)?,
            })),
            _ => Err(bad(
                "it needs either `threshold` and `keys`, or `[root]` with `sequence` (from 1), `threshold` and `keys`",
            )),
        }
    }

    /// The file of an image that has `root` as its anchor.
    #[must_use]
    pub fn toml_of(root: &Root) -> String {
        let keys: Vec<_> = root.keys.iter().map(|key| format!("  \"{key}\",\n")).collect();
        format!(
            "[root]\nsequence = {}\nthreshold = {}\nkeys = [\n{}]\n",
            root.sequence,
            root.threshold,
            keys.concat()
        )
    }

    /// Who is trusted with what was recorded since.
    ///
    /// # Errors
    /// [`BundleError`] of the first document that does not follow from the one before.
    pub fn establish(&self, record: &TrustRecord) -> Result<Trust, BundleError> {
        let root = match self {
            Self::Release(keys) => return Ok(Trust::of_release_keys(keys.clone())),
            Self::Root(root) => root,
        };
        let mut trust = Trust {
            root_sequence: root.sequence,
            root: Some(root.keys.clone()),
            root_expires: None,
            keys_sequence: 0,
            keys_expires: None,
            release: None,
        };
        for signed in &record.roots {
            // What a newer image already has as its anchor is passed over.
            if Root::parse(&signed.document)?.sequence > trust.root_sequence {
                trust.follow_root(signed)?;
            }
        }
        if let Some(signed) = &record.keys {
            // It was valid when it was recorded; a root set since then may not stand behind it any more. Its place in
            // the sequence counts all the same.
            trust.keys_sequence = Keys::parse(&signed.document)?.sequence;
            if check_signed(Keys::WHAT, signed, &root_of(&trust)?).is_ok() {
                trust.take_keys(signed)?;
            }
        }
        Ok(trust)
    }

    /// The record after `offered`, at the time `now`; none if there is nothing new in it. Nothing is taken unless all of it
    /// follows.
    ///
    /// # Errors
    /// [`BundleError`]: a document is not signed by enough, out of sequence, expired, or another one has its place; the
    /// anchor is release keys, which nothing changes.
    pub fn advance(
        &self,
        record: &TrustRecord,
        offered: &TrustRecord,
        now: Timestamp,
    ) -> Result<Option<TrustRecord>, BundleError> {
        let mut trust = self.establish(record)?;
        if trust.root.is_none() {
            return Err(BundleError::Key(
                "this machine trusts release keys of its image, which nothing but another image changes"
                    .to_owned(),
            ));
        }
        let mut next = record.clone();
        for signed in &offered.roots {
            let root = Root::parse(&signed.document)?;
            if root.sequence <= trust.root_sequence {
                check_known(record, &root, signed)?;
                continue;
            }
            trust.follow_root(signed)?;
            next.roots.push(signed.clone());
        }
        if next.roots.len() > ROOTS_MOST {
            return Err(refused(
                Root::WHAT,
                "too many came after that of the image: make a newer image",
            ));
        }
        if next.roots.len() > record.roots.len()
            && let Some(last) = next.roots.last()
        {
            // The ones before may have run out meanwhile; who stands at the end must not have.
            Root::parse(&last.document)?.check_end(now)?;
        }
        if let Some(signed) = &offered.keys
            && record
                .keys
                .as_ref()
                .is_none_or(|there| there.document != signed.document)
        {
            let before = trust.keys_sequence;
            trust.take_keys(signed)?;
            if trust.keys_sequence <= before {
                return Err(refused(
                    Keys::WHAT,
                    &format!(
                        "its sequence {} is not above {before}, which was in force before",
                        trust.keys_sequence
                    ),
                ));
            }
            Keys::parse(&signed.document)?.check_end(now)?;
            next.keys = Some(signed.clone());
        }
        Ok((next != *record).then_some(next))
    }
}

fn refused(what: &'static str, fault: &str) -> BundleError {
    BundleError::Document {
        what,
        fault: fault.to_owned(),
    }
}

fn root_of(trust: &Trust) -> Result<TrustAnchors, BundleError> {
    trust
        .root
        .clone()
        .ok_or_else(|| refused(Root::WHAT, "release keys are trusted directly"))
}

/// A set that was followed before must be the same one: two with one number mean that somebody was deceived.
fn check_known(record: &TrustRecord, root: &Root, signed: &Signed) -> Result<(), BundleError> {
    let same_place =
        |there: &&Signed| Root::parse(&there.document).is_ok_and(|there| there.sequence == root.sequence);
    match record.roots.iter().find(same_place) {
        Some(there) if there.document != signed.document => Err(refused(
            Root::WHAT,
            &format!("another one with sequence {} was followed before", root.sequence),
        )),
        _ => Ok(()),
    }
}

impl Trust {
    fn of_release_keys(keys: TrustAnchors) -> Self {
        Self {
            root_sequence: 0,
            root: None,
            root_expires: None,
            keys_sequence: 0,
            keys_expires: None,
            release: Some(keys),
        }
    }

    /// Signed by enough of the old root keys and by enough of its own, and the next in sequence.
    fn follow_root(&mut self, signed: &Signed) -> Result<(), BundleError> {
        check_signed(Root::WHAT, signed, &root_of(self)?)?;
        let root = Root::parse(&signed.document)?;
        if Some(root.sequence) != self.root_sequence.checked_add(1) {
            return Err(refused(
                Root::WHAT,
                &format!(
                    "its sequence is {}, and {} is in force: the ones between are needed too",
                    root.sequence, self.root_sequence
                ),
            ));
        }
        let keys = root.signers()?;
        check_signed(Root::WHAT, signed, &keys)?;
        self.root_sequence = root.sequence;
        self.root_expires = Some(root.expires);
        self.root = Some(keys);
        Ok(())
    }

    fn take_keys(&mut self, signed: &Signed) -> Result<(), BundleError> {
        let root = root_of(self)?;
        check_signed(Keys::WHAT, signed, &root)?;
        let keys = Keys::parse(&signed.document)?;
        let release = keys.signers()?;
        if release.shares_a_key_with(&root) {
            return Err(refused(
                Keys::WHAT,
                "it has a root key: a root key signs sets of keys and nothing else",
            ));
        }
        self.keys_sequence = keys.sequence;
        self.keys_expires = Some(keys.expires);
        self.release = Some(release);
        Ok(())
    }

    /// The release keys that count at `now`.
    ///
    /// # Errors
    /// [`BundleError::NoReleaseKeys`], [`BundleError::Expired`].
    pub fn release(&self, now: Timestamp) -> Result<&TrustAnchors, BundleError> {
        let release = self.release_ever()?;
        match self.keys_expires {
            Some(expires) if now >= expires => Err(BundleError::Expired {
                what: Keys::WHAT,
                expires,
                now,
            }),
            _ => Ok(release),
        }
    }

    /// The release keys whose end does not matter: for what was taken while they counted.
    ///
    /// # Errors
    /// [`BundleError::NoReleaseKeys`].
    pub fn release_ever(&self) -> Result<&TrustAnchors, BundleError> {
        self.release.as_ref().ok_or({
            if self.keys_sequence == 0 {
                BundleError::NoReleaseKeys("the root keys have not said yet who releases")
            } else {
                BundleError::NoReleaseKeys("the root keys in force do not stand behind the last set any more")
            }
        })
    }
    /// As the wire has it, at the time `now`; without floors, which only a satellite has.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> TrustState {
        let ids = |keys: &TrustAnchors| keys.keys().filter_map(key_id).collect::<Vec<_>>();
        let threshold = |keys: &TrustAnchors| u32::try_from(keys.threshold()).unwrap_or(u32::MAX);
        let time = |time: Timestamp| prost_types::Timestamp {
            seconds: time.as_second(),
            nanos: 0,
        };
        let (root, release) = (self.root.as_ref(), self.release.as_ref());
        TrustState {
            rooted: root.is_some(),
            root_sequence: self.root_sequence,
            root_threshold: root.map(threshold).unwrap_or_default(),
            root_key_ids: root.map(ids).unwrap_or_default(),
            root_expire_time: self.root_expires.map(time),
            keys_sequence: self.keys_sequence,
            release_threshold: release.map(threshold).unwrap_or_default(),
            release_key_ids: release.map(ids).unwrap_or_default(),
            keys_expire_time: self.keys_expires.map(time),
            problem: self
                .release(now)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default(),
            floors: Vec::new(),
        }
    }
}
