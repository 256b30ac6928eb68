//! What key holders sign beside manifests: sets of keys, and the permit to go back to a named release.
//!
//! Each is canonical JSON as a manifest is, of at most 16 KiB, with its kind as its first field: a signature over one kind
//! never holds for another. The formats are in docs/trust.md.
//!
//! **Invariant:** only `parse` makes one from bytes, and it has checked every field.

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, WorkloadName};
use super::signature::{SecretKey, TrustAnchors};
use super::{BundleError, Digest, SIGNATURES_MOST};

/// The most bytes a document may have.
pub const DOCUMENT_MOST: usize = 16 * 1024;

/// The format that this crate reads and writes.
const FORMAT: u32 = 1;

/// The longest reason, in bytes.
const REASON_MOST: usize = 200;

/// A document and the signatures over its bytes, none of which is believed yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SignedText", into = "SignedText")]
pub struct Signed {
    /// The document, byte for byte as it was signed.
    pub document: Bytes,
    /// Signatures, each the text of a minisign signature file.
    pub signatures: Vec<Bytes>,
}

/// The same in a record: documents and signatures are texts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedText {
    document: String,
    signatures: Vec<String>,
}

impl From<SignedText> for Signed {
    fn from(text: SignedText) -> Self {
        Self {
            document: text.document.into(),
            signatures: text.signatures.into_iter().map(Bytes::from).collect(),
        }
    }
}

impl From<Signed> for SignedText {
    fn from(signed: Signed) -> Self {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            document: text(&signed.document),
            signatures: signed.signatures.iter().map(text).collect(),
        }
    }
}

/// What the documents have in common.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Its kind for a person.
    const WHAT: &'static str;
    /// Its kind in the document.
    const KIND: &'static str;

    fn kind(&self) -> (&str, u32);

    fn check(&self) -> Result<(), String>;

    fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let refused = |fault: String| BundleError::Document {
            what: Self::WHAT,
            fault,
        };
        if bytes.len() > DOCUMENT_MOST {
            return Err(refused(format!("it has more than {DOCUMENT_MOST} bytes")));
        }
        let parsed: Self =
            serde_json::from_slice(bytes).map_err(|error| refused(format!("it is malformed: {error}")))?;
        if parsed.write()? != bytes {
            return Err(refused("it is not in canonical form".to_owned()));
        }
        let (kind, format) = parsed.kind();
        if kind != Self::KIND || format != FORMAT {
            return Err(refused(format!(
                "it is a `{kind}` of format {format}, not a `{}` of format {FORMAT}",
                Self::KIND
            )));
        }
        parsed.check().map_err(refused)?;
        Ok(parsed)
    }

    fn write(&self) -> Result<Vec<u8>, BundleError> {
        serde_json::to_vec(self).map_err(|error| BundleError::Document {
            what: Self::WHAT,
            fault: format!("it cannot be written: {error}"),
        })
    }
}

/// Enough of `signers` have signed: nothing of the document was interpreted for that.
pub(super) fn check_signed(
    what: &'static str,
    signed: &Signed,
    signers: &TrustAnchors,
) -> Result<(), BundleError> {
    if signed.document.len() > DOCUMENT_MOST || signed.signatures.len() > SIGNATURES_MOST {
        return Err(BundleError::Document {
            what,
            fault: format!("it has more than {DOCUMENT_MOST} bytes or {SIGNATURES_MOST} signatures"),
        });
    }
    let valid = signers.valid(&signed.document, &signed.signatures).len();
    if valid < signers.threshold() {
        return Err(BundleError::Unsigned {
            what,
            valid,
            needed: signers.threshold(),
        });
    }
    Ok(())
}

fn check_end(what: &'static str, expires: Timestamp, now: Timestamp) -> Result<(), BundleError> {
    if now >= expires {
        return Err(BundleError::Expired { what, expires, now });
    }
    Ok(())
}

/// A set of keys with its place in the sequence: the root keys, or the release keys.
macro_rules! key_set {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            kind: String,
            format: u32,
            /// Its place in the sequence of such sets; from 1, rising.
            pub sequence: u64,
            /// Until when it counts.
            pub expires: Timestamp,
            /// How many of the keys must have signed.
            pub threshold: usize,
            /// The keys in minisign's base64, sorted.
            pub keys: Vec<String>,
        }

        impl Document for $name {
            const WHAT: &'static str = $what;
            const KIND: &'static str = $kind;

            fn kind(&self) -> (&str, u32) {
                (&self.kind, self.format)
            }

            fn check(&self) -> Result<(), String> {
                if self.sequence == 0 {
                    return Err("`sequence` is 0".to_owned());
                }
                if self.keys.len() > SIGNATURES_MOST || !self.keys.is_sorted() {
                    return Err(format!("`keys` has more than {SIGNATURES_MOST} keys, or is not sorted"));
                }
                TrustAnchors::new(self.keys.clone(), self.threshold)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
        }

        impl $name {
            /// A set of `keys`, of which `threshold` must sign.
            ///
            /// # Errors
            /// [`BundleError::Document`]: a key is malformed or there twice, or the threshold cannot be reached.
            pub fn new(
                sequence: u64,
                expires: Timestamp,
                threshold: usize,
                mut keys: Vec<String>,
            ) -> Result<Self, BundleError> {
                keys.sort();
                let set = Self {
                    kind: $kind.to_owned(),
                    format: FORMAT,
                    sequence,
                    expires,
                    threshold,
                    keys,
                };
                set.check().map_err(|fault| BundleError::Document { what: $what, fault })?;
                Ok(set)
            }

            /// Reads one. Whether it is signed is another question.
            ///
            /// # Errors
            /// [`BundleError::Document`] with what is wrong.
            pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
                <Self as Document>::parse(bytes)
            }

            /// The canonical bytes.
            ///
            /// # Errors
            /// [`BundleError::Document`].
            pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
                self.write()
            }

            /// The keys as signers.
            ///
            /// # Errors
            /// [`BundleError::Key`], never for one that was parsed.
            pub fn signers(&self) -> Result<TrustAnchors, BundleError> {
                TrustAnchors::new(self.keys.clone(), self.threshold)
            }

            /// Whether it counts at `now`.
            ///
            /// # Errors
            /// [`BundleError::Expired`].
            pub fn check_end(&self, now: Timestamp) -> Result<(), BundleError> {
                check_end($what, self.expires, now)
            }
        }
    };
}

key_set!(
    /// The root keys: those who decide who may release.
    Root,
    "root",
    "set of root keys"
);
key_set!(
    /// The release keys: those who sign what runs on satellites.
    Keys,
    "keys",
    "set of release keys"
);

/// The permit to install a named release once although a newer one was installed before. Signed by release keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downgrade {
    kind: String,
    format: u32,
    /// The workload.
    pub workload: WorkloadName,
    /// The channel in which it goes back.
    pub channel: String,
    /// The release to which it goes back.
    pub release: u64,
    /// The manifest of that release.
    pub manifest: Digest,
    /// Rises with each permit: a satellite uses none twice, and none that is older than one it has used.
    pub sequence: u64,
    /// Until when it can be used.
    pub expires: Timestamp,
    /// Why, for a person.
    pub reason: String,
}

impl Document for Downgrade {
    const WHAT: &'static str = "permit to go back";
    const KIND: &'static str = "downgrade";

    fn kind(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn check(&self) -> Result<(), String> {
        if self.release == 0 || self.sequence == 0 {
            return Err("`release` or `sequence` is 0".to_owned());
        }
        if self.reason.len() > REASON_MOST || self.reason.chars().any(char::is_control) {
            return Err(format!(
                "`reason` has more than {REASON_MOST} bytes, or is not printable"
            ));
        }
        Ok(())
    }
}

impl Downgrade {
    /// The permit to go back to the bundle with `manifest`.
    ///
    /// # Errors
    /// [`BundleError::Document`].
    pub fn new(
        (manifest, digest): (&Manifest, Digest),
        sequence: u64,
        expires: Timestamp,
        reason: &str,
    ) -> Result<Self, BundleError> {
        let permit = Self {
            kind: Self::KIND.to_owned(),
            format: FORMAT,
            workload: manifest.workload.clone(),
            channel: manifest.channel.clone(),
            release: manifest.release,
            manifest: digest,
            sequence,
            expires,
            reason: reason.to_owned(),
        };
        permit.check().map_err(|fault| BundleError::Document {
            what: Self::WHAT,
            fault,
        })?;
        Ok(permit)
    }

    /// Reads one. Whether it is signed is another question.
    ///
    /// # Errors
    /// [`BundleError::Document`] with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        <Self as Document>::parse(bytes)
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// [`BundleError::Document`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        self.write()
    }

    /// Believes a permit: first the signatures of enough release keys, then what it says, then its end.
    ///
    /// # Errors
    /// [`BundleError::Unsigned`], [`BundleError::Document`], [`BundleError::Expired`].
    pub fn verify(signed: &Signed, release: &TrustAnchors, now: Timestamp) -> Result<Self, BundleError> {
        check_signed(Self::WHAT, signed, release)?;
        let permit = Self::parse(&signed.document)?;
        check_end(Self::WHAT, permit.expires, now)?;
        Ok(permit)
    }

    /// Whether it is for the bundle with `manifest`.
    #[must_use]
    pub fn is_for(&self, manifest: &Manifest, digest: Digest) -> bool {
        self.manifest == digest
            && self.workload == manifest.workload
            && self.channel == manifest.channel
            && self.release == manifest.release
    }
}

impl Signed {
    /// Adds the signature of one more key, in place of an earlier one by the same key.
    ///
    /// # Errors
    /// [`BundleError::Key`].
    pub fn sign(&mut self, key: &SecretKey, comment: &str) -> Result<Bytes, BundleError> {
        let signature = key.sign(&self.document, comment)?;
        let own = TrustAnchors::new(vec![key.public_key()], 1)?;
        let document = self.document.clone();
        self.signatures
            .retain(|there| own.valid(&document, std::slice::from_ref(there)).is_empty());
        self.signatures.push(signature.clone());
        Ok(signature)
    }
}
