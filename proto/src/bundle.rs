//! Bundles: signed update files, and the checks that stand before anything of one is believed.
//!
//! A bundle is a plain tar of `manifest.json`, `signatures/`, `chunks/`. The manifest lists the payload's files and the
//! content-defined chunks that they consist of; the signatures are minisign's, over the manifest's bytes. The format is in
//! docs/bundle.md.
//!
//! **Invariants:** nothing of a payload is read before enough signatures hold; every size is checked against a fixed limit
//! before memory is taken for it; a byte that no signature accounts for makes the whole file be refused.

mod build;
mod chunk;
mod document;
mod manifest;
mod read;
mod signature;
mod trust;

pub use build::{Recipe, build};
pub use chunk::{
    CHUNK_AVERAGE, CHUNK_LEAST, CHUNK_MOST, Digest, Hasher, NotADigest, Unpacker, pack_chunk, unpack_chunk,
};
pub use document::{DOCUMENT_MOST, Downgrade, Keys, Root, Signed};
pub use manifest::{
    BRIDGE, BRIDGE_FILE, ChunkEntry, Direction, FileEntry, Health, HealthCommand, HttpHealth, KERNEL_FILE,
    Kind, Manifest, ManifestRule, NotAWorkloadName, PortRange, Protocol, ROOT_FILE, SYSTEM, State, Unit,
    WorkloadName,
};
pub use read::{BundleReader, Chunks};
pub use signature::{KeyPair, SecretKey, TrustAnchors, key_id, verify};
pub use trust::{Anchor, ROOTS_MOST, RootAnchor, Trust, TrustRecord};

/// The most bytes a manifest may have.
pub const MANIFEST_MOST: usize = 1024 * 1024;

/// The most signatures a bundle may carry.
pub const SIGNATURES_MOST: usize = 16;

/// The most bytes a signature may have.
pub const SIGNATURE_MOST: usize = 4096;

/// The most bytes a payload may have, uncompressed.
pub const PAYLOAD_MOST: u64 = 2 * 1024 * 1024 * 1024;

/// Why a bundle is refused, or could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("cannot {doing}")]
    Io {
        /// Which step.
        doing: &'static str,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The file's structure is not that of a bundle.
    #[error("this is not a whole bundle: {0}")]
    Structure(String),
    /// The manifest says something that it must not.
    #[error("the manifest is refused: {0}")]
    Manifest(String),
    /// Not enough valid signatures.
    #[error(
        "the bundle has {valid} of the {needed} signatures by trusted release keys that are needed; \
         it is not installed. Get a bundle from whoever releases this workload, or check the trusted keys"
    )]
    Untrusted {
        /// Valid signatures by distinct trusted keys.
        valid: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A document beside the bundle is not what it should be.
    #[error("the {what} is refused: {fault}")]
    Document {
        /// Which kind of document.
        what: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// A document is signed by too few.
    #[error(
        "the {what} has {valid} of the {needed} signatures that are needed: let more holders of keys sign it"
    )]
    Unsigned {
        /// Which kind of document.
        what: &'static str,
        /// Valid signatures by distinct keys.
        valid: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A document was valid once. With a clock that is wrong this may be untrue.
    #[error(
        "the {what} is valid until {expires} only, and it is {now}: sign a new one, or correct the clock"
    )]
    Expired {
        /// Which kind of document.
        what: &'static str,
        /// Its end.
        expires: jiff::Timestamp,
        /// The time at which it was looked at.
        now: jiff::Timestamp,
    },
    /// Root keys are known, and no set of release keys that they have signed.
    #[error("no release keys are known: {0}")]
    NoReleaseKeys(&'static str),
    /// A chunk is not what the manifest says.
    #[error("chunk {digest} is damaged: {fault}")]
    Chunk {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        fault: &'static str,
    },
    /// A key or a list of keys is unusable.
    #[error("{0}")]
    Key(String),
}

/// The digest that names a bundle and the version it brings: SHA-256 of the manifest's bytes.
#[must_use]
pub fn digest_of_manifest(manifest: &[u8]) -> Digest {
    Digest::of(manifest)
}
