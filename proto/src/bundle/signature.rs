//! Signatures over a manifest, in minisign's format (Ed25519 over BLAKE2b-512), and the keys that are trusted.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use data_encoding::{BASE64, HEXUPPER};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{BundleError, MANIFEST_MOST, Manifest, SIGNATURE_MOST, SIGNATURES_MOST};

/// The release keys that a satellite trusts, and how many of them must have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchors {
    keys: BTreeSet<String>,
    threshold: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    threshold: usize,
    keys: Vec<String>,
}

impl TrustAnchors {
    /// Reads the file of trusted keys: `threshold`, and `keys` in minisign's base64.
    ///
    /// # Errors
    /// [`BundleError::Key`]: not that format, a key is malformed or listed twice, or the threshold is 0 or above the number of keys.
    pub fn from_toml(text: &str) -> Result<Self, BundleError> {
        let bad =
            |fault: String| BundleError::Key(format!("the list of trusted release keys is refused: {fault}"));
        let file: File = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
        Self::new(file.keys, file.threshold)
    }

    /// Trusts `keys` if `threshold` of them have signed.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn new(keys: Vec<String>, threshold: usize) -> Result<Self, BundleError> {
        let bad =
            |fault: String| BundleError::Key(format!("the list of trusted release keys is refused: {fault}"));
        let mut distinct = BTreeSet::new();
        let mut points = BTreeSet::new();
        for key in keys {
            let point = point_of(&key).ok_or_else(|| bad(format!("`{key}` is not a minisign public key")))?;
            // The id is only a name: one key under two names is one signer.
            if !points.insert(point) {
                return Err(bad(format!("`{key}` is listed twice")));
            }
            distinct.insert(key);
        }
        if threshold == 0 || threshold > distinct.len() {
            return Err(bad(format!("threshold {threshold} with {} keys", distinct.len())));
        }
        Ok(Self {
            keys: distinct,
            threshold,
        })
    }

    /// The keys, in minisign's base64.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// How many of them must have signed.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether both have a key in common, under whatever id.
    #[must_use]
    pub fn shares_a_key_with(&self, other: &Self) -> bool {
        let points: BTreeSet<_> = self.keys().filter_map(point_of).collect();
        other
            .keys()
            .filter_map(point_of)
            .any(|point| points.contains(&point))
    }

    /// How many signatures by distinct trusted keys hold, and whose.
    #[must_use]
    pub fn valid(&self, manifest: &[u8], signatures: &[Bytes]) -> BTreeSet<&str> {
        let mut valid = BTreeSet::new();
        for signature in signatures.iter().take(SIGNATURES_MOST) {
            let Some(signature) = decode(signature) else {
                continue;
            };
            for key in &self.keys {
                let Ok(public) = minisign_verify::PublicKey::from_base64(key) else {
                    continue;
                };
                if public.verify(manifest, &signature, false).is_ok() {
                    valid.insert(key.as_str());
                }
            }
        }
        valid
    }
}

fn decode(signature: &[u8]) -> Option<minisign_verify::Signature> {
    if signature.len() > SIGNATURE_MOST {
        return None;
    }
    minisign_verify::Signature::decode(std::str::from_utf8(signature).ok()?).ok()
}

/// The id of a minisign public key as minisign prints it: 16 hexadecimal digits. None if it is not one.
#[must_use]
pub fn key_id(public_key: &str) -> Option<String> {
    minisign_verify::PublicKey::from_base64(public_key).ok()?;
    let bytes = BASE64.decode(public_key.as_bytes()).ok()?;
    let mut id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    id.reverse();
    Some(HEXUPPER.encode(&id))
}

/// The key itself, without the id that it goes by. None if it is no minisign public key.
fn point_of(public_key: &str) -> Option<[u8; 32]> {
    minisign_verify::PublicKey::from_base64(public_key).ok()?;
    let bytes = BASE64.decode(public_key.as_bytes()).ok()?;
    bytes.get(10..42)?.try_into().ok()
}

/// Believes a manifest: first the signatures, then what it says.
///
/// # Errors
/// [`BundleError::Untrusted`] before a byte of it was interpreted; [`BundleError::Manifest`].
pub fn verify(
    manifest: &[u8],
    signatures: &[Bytes],
    anchors: &TrustAnchors,
) -> Result<Manifest, BundleError> {
    if manifest.len() > MANIFEST_MOST {
        return Err(BundleError::Manifest(format!(
            "it has more than {MANIFEST_MOST} bytes"
        )));
    }
    if signatures.len() > SIGNATURES_MOST {
        return Err(BundleError::Structure(format!(
            "more than {SIGNATURES_MOST} signatures"
        )));
    }
    let valid = anchors.valid(manifest, signatures).len();
    if valid < anchors.threshold {
        return Err(BundleError::Untrusted {
            valid,
            needed: anchors.threshold,
        });
    }
    Manifest::parse(manifest)
}

/// A new pair of keys, as the two texts that minisign's own tool reads.
pub struct KeyPair {
    /// The file of the secret key.
    pub secret_file: Zeroizing<String>,
    /// The public key in base64, one line.
    pub public_key: String,
    /// The file of the public key: a comment and that line.
    pub public_file: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Makes a pair. Without a password the secret key lies in the open: for development, or on a medium that is locked away.
    ///
    /// # Errors
    /// [`BundleError::Key`].
    pub fn generate(password: Option<String>) -> Result<Self, BundleError> {
        let bad = |error: minisign::PError| BundleError::Key(format!("cannot make a release key: {error}"));
        let pair = if password.is_some() {
            minisign::KeyPair::generate_encrypted_keypair(password)
        } else {
            minisign::KeyPair::generate_unencrypted_keypair()
        };
        let pair = pair.map_err(bad)?;
        Ok(Self {
            secret_file: Zeroizing::new(pair.sk.to_box(None).map_err(bad)?.into_string()),
            public_key: pair.pk.to_base64(),
            public_file: pair.pk.to_box().map_err(bad)?.into_string(),
        })
    }
}

/// A secret key that lies in the open as minisign's own tool writes it: without the checksum that tells a wrong password.
fn without_checksum(text: &str) -> Option<minisign::SecretKey> {
    let bytes = BASE64.decode(text.lines().nth(1)?.trim().as_bytes()).ok()?;
    let secret = minisign::SecretKey::from_bytes(&bytes).ok()?;
    let checksum = bytes.last_chunk::<32>()?;
    let is_bare = !secret.is_encrypted() && checksum.iter().all(|byte| *byte == 0);
    // What is damaged does not sign for its own public half.
    let public = minisign::PublicKey::from_secret_key(&secret).ok()?;
    let signed = minisign::sign(Some(&public), &secret, &b"test"[..], None, None);
    let signature = minisign_verify::Signature::decode(&signed.ok()?.into_string()).ok()?;
    let public = minisign_verify::PublicKey::from_base64(&public.to_base64()).ok()?;
    let is_sound = public.verify(b"test", &signature, false).is_ok();
    (is_bare && is_sound).then_some(secret)
}

/// A release key that signs.
pub struct SecretKey {
    secret: minisign::SecretKey,
    public: minisign::PublicKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("public", &self.public.to_base64())
            .finish_non_exhaustive()
    }
}

impl SecretKey {
    /// Reads a secret key file of minisign.
    ///
    /// # Errors
    /// [`BundleError::Key`]: not such a file, or the password is wrong or missing.
    pub fn from_file_text(text: &str, password: Option<String>) -> Result<Self, BundleError> {
        let bad =
            |error: minisign::PError| BundleError::Key(format!("the release key cannot be used: {error}"));
        let boxed = minisign::SecretKeyBox::from_string(text).map_err(bad)?;
        let secret = match (password, without_checksum(text)) {
            (None, Some(secret)) => secret,
            (None, None) => boxed.into_unencrypted_secret_key().map_err(bad)?,
            (password, _) => boxed.into_secret_key(password).map_err(bad)?,
        };
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(bad)?;
        Ok(Self { secret, public })
    }

    /// The public half in base64.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.public.to_base64()
    }

    /// Signs a manifest. The comment is covered by the signature.
    ///
    /// # Errors
    /// [`BundleError::Key`].
    pub fn sign(&self, manifest: &[u8], comment: &str) -> Result<Bytes, BundleError> {
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            manifest,
            Some(comment),
            Some("signature of a satellite's release"),
        );
        let signed = signed.map_err(|error| BundleError::Key(format!("cannot sign: {error}")))?;
        Ok(Bytes::from(signed.into_string()))
    }
}
