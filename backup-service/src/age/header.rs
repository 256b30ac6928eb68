//! The beginning of a file: its key, wrapped for each recipient or by a passphrase, and a tag over all of that.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{hmac, rand};
use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

use super::{AgeError, For, Identity, Keys, Recipient};

/// How each file begins.
pub(super) const MAGIC: &[u8] = b"age-encryption.org/v1\n";
const LABEL_X25519: &[u8] = b"age-encryption.org/v1/X25519";
const LABEL_SCRYPT: &[u8] = b"age-encryption.org/v1/scrypt";
/// Most bytes of a beginning.
const LONGEST: usize = 64 << 10;
/// Letters of a line of a stanza's body.
const COLUMNS: usize = 64;
/// Work of a passphrase, as a power of two: 64 MiB for a moment, which a satellite has.
const WORK: u8 = 16;
/// Most work that is done to open a file of others: `age` itself writes 18, which takes 256 MiB.
const MOST_WORK: u8 = 18;
/// Bytes of a file's key, and of one that is wrapped.
const KEY: usize = 16;
const WRAPPED: usize = KEY + 16;

/// The key of one file.
#[derive(Clone)]
pub struct FileKey(pub(super) Zeroizing<[u8; KEY]>);

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(…)")
    }
}

impl FileKey {
    pub(super) fn random() -> Result<Self, AgeError> {
        Ok(Self(Zeroizing::new(random()?)))
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], AgeError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| AgeError::Primitive)?;
    Ok(bytes)
}

/// A key from others by HKDF with SHA-256.
pub(super) fn derived(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut out = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], HKDF_SHA256)
        .and_then(|key| key.fill(&mut out[..]))
        .map_err(|_| AgeError::Primitive)?;
    Ok(out)
}

pub(super) fn aead(key: &[u8]) -> Result<LessSafeKey, AgeError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| AgeError::Primitive)?;
    Ok(LessSafeKey::new(key))
}

/// Writes the beginning of a file.
pub(super) fn write(key: &FileKey, whom: &For) -> Result<Vec<u8>, AgeError> {
    let mut out = MAGIC.to_vec();
    match whom {
        For::Recipients(all) => {
            for one in all {
                let (share, body) = wrap_for(key, one)?;
                stanza(
                    &mut out,
                    &format!("X25519 {}", BASE64_NOPAD.encode(&share)),
                    &body,
                );
            }
        }
        For::Passphrase(passphrase) => {
            let salt: [u8; 16] = random()?;
            let by = by_passphrase(passphrase.reveal(), &salt, WORK)?;
            let line = format!("scrypt {} {WORK}", BASE64_NOPAD.encode(&salt));
            stanza(&mut out, &line, &wrap(&by[..], key)?);
        }
    }
    out.extend_from_slice(b"---");
    let tag = hmac::sign(&mac_key(key)?, &out);
    out.push(b' ');
    out.extend_from_slice(BASE64_NOPAD.encode(tag.as_ref()).as_bytes());
    out.push(b'\n');
    Ok(out)
}

fn mac_key(key: &FileKey) -> Result<hmac::Key, AgeError> {
    let bytes = derived(&key.0[..], b"", b"header")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes[..]))
}

fn stanza(out: &mut Vec<u8>, line: &str, body: &[u8]) {
    out.extend_from_slice(format!("-> {line}\n").as_bytes());
    let text = BASE64_NOPAD.encode(body);
    for line in text.as_bytes().chunks(COLUMNS) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    if text.len().is_multiple_of(COLUMNS) {
        out.push(b'\n');
    }
}

/// The file's key is the only thing ever encrypted with `by`: a number that is used once need not be another.
fn wrap(by: &[u8], key: &FileKey) -> Result<Vec<u8>, AgeError> {
    let mut body = key.0.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    aead(by)?
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut body)
        .map_err(|_| AgeError::Primitive)?;
    Ok(body)
}

fn unwrap(by: &[u8], body: &[u8]) -> Result<Option<FileKey>, AgeError> {
    let mut body = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let opened = aead(by)?.open_in_place(nonce, Aad::empty(), &mut body);
    let key = opened.ok().and_then(|key| <[u8; KEY]>::try_from(&*key).ok());
    Ok(key.map(|key| FileKey(Zeroizing::new(key))))
}

fn wrap_for(key: &FileKey, whom: &Recipient) -> Result<(Vec<u8>, Vec<u8>), AgeError> {
    let failed = |_| AgeError::Primitive;
    let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(failed)?;
    let share = own.compute_public_key().map_err(failed)?.as_ref().to_vec();
    let salt = [&share[..], &whom.key[..]].concat();
    let theirs = UnparsedPublicKey::new(&X25519, &whom.key);
    let unusable = AgeError::Recipient(whom.as_str().to_owned());
    let body = agree_ephemeral(own, theirs, unusable, |shared| {
        wrap(&derived(shared, &salt, LABEL_X25519)?[..], key)
    })?;
    Ok((share, body))
}

fn by_passphrase(passphrase: &str, salt: &[u8], work: u8) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let params = scrypt::Params::new(work, 8, 1, 32).map_err(|_| AgeError::Work)?;
    let salt = [LABEL_SCRYPT, salt].concat();
    let mut out = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut out[..]).map_err(|_| AgeError::Primitive)?;
    Ok(out)
}

/// A key that was wrapped: how, and what came of it.
struct Stanza<'a> {
    words: Vec<&'a str>,
    body: Vec<u8>,
}

/// Reads the beginning of a file; answers its key and how long the beginning is.
pub(super) fn open(file: &File, keys: &Keys) -> Result<(FileKey, u64), AgeError> {
    let size = file.metadata().map_err(AgeError::Io)?.len();
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(LONGEST).min(LONGEST)];
    file.read_exact_at(&mut bytes, 0).map_err(AgeError::Io)?;
    read(&bytes, keys)
}

/// The same of bytes.
pub(super) fn read(bytes: &[u8], keys: &Keys) -> Result<(FileKey, u64), AgeError> {
    let (stanzas, tagged, tag, length) = parse(bytes)?;
    let key = unwrapped(&stanzas, keys)?;
    hmac::verify(&mac_key(&key)?, tagged, &tag).map_err(|_| AgeError::Header("its tag is wrong"))?;
    Ok((key, length as u64))
}

type Parsed<'a> = (Vec<Stanza<'a>>, &'a [u8], Vec<u8>, usize);

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, AgeError> {
    let bad = AgeError::Header;
    if !bytes.starts_with(MAGIC) {
        return Err(bad("it does not begin as one"));
    }
    let mut at = MAGIC.len();
    let mut stanzas: Vec<Stanza<'_>> = Vec::new();
    let mut body = None;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = rest.get(..end.ok_or(bad("it has no end"))?).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| bad("it is no text"))?;
        let next = at + line.len() + 1;
        if let Some(text) = &mut body {
            let text: &mut String = text;
            if line.len() > COLUMNS {
                return Err(bad("a line is too long"));
            }
            text.push_str(line);
            if line.len() < COLUMNS {
                let decoded = BASE64_NOPAD.decode(text.as_bytes());
                let decoded = decoded.map_err(|_| bad("a key is written wrongly"))?;
                if let Some(last) = stanzas.last_mut() {
                    last.body = decoded;
                }
                body = None;
            }
        } else if let Some(words) = line.strip_prefix("-> ") {
            stanzas.push(Stanza {
                words: words.split(' ').collect(),
                body: Vec::new(),
            });
            body = Some(String::new());
        } else if let Some(tag) = line.strip_prefix("--- ") {
            let tag = BASE64_NOPAD
                .decode(tag.as_bytes())
                .map_err(|_| bad("its tag is written wrongly"))?;
            let tagged = bytes.get(..at + 3).unwrap_or_default();
            return Ok((stanzas, tagged, tag, next));
        } else {
            return Err(bad("a line is not understood"));
        }
        at = next;
    }
}

fn unwrapped(stanzas: &[Stanza<'_>], keys: &Keys) -> Result<FileKey, AgeError> {
    let is_by_passphrase = stanzas.iter().any(|one| one.words.first() == Some(&"scrypt"));
    if is_by_passphrase && stanzas.len() != 1 {
        return Err(AgeError::Header("a passphrase stands beside other keys"));
    }
    for one in stanzas {
        let found = match (one.words.as_slice(), &keys.passphrase) {
            (["X25519", share], _) => by_identities(share, &one.body, &keys.identities)?,
            (["scrypt", salt, work], Some(passphrase)) => {
                let salt = BASE64_NOPAD.decode(salt.as_bytes()).unwrap_or_default();
                let plain = work.bytes().all(|digit| digit.is_ascii_digit()) && !work.starts_with('0');
                let work: u8 = work.parse().unwrap_or(u8::MAX);
                if salt.len() != 16 || !plain || one.body.len() != WRAPPED {
                    return Err(AgeError::Header("its passphrase is written wrongly"));
                }
                if work > MOST_WORK {
                    return Err(AgeError::Work);
                }
                unwrap(&by_passphrase(passphrase.reveal(), &salt, work)?[..], &one.body)?
            }
            _ => None,
        };
        if let Some(key) = found {
            return Ok(key);
        }
    }
    Err(AgeError::NoKey(if is_by_passphrase {
        "another passphrase"
    } else {
        "keys that are not given"
    }))
}

fn by_identities(share: &str, body: &[u8], identities: &[Identity]) -> Result<Option<FileKey>, AgeError> {
    let share = BASE64_NOPAD.decode(share.as_bytes()).unwrap_or_default();
    if share.len() != 32 || body.len() != WRAPPED {
        return Err(AgeError::Header("a recipient is written wrongly"));
    }
    for identity in identities {
        let own = identity.key()?;
        let public = own.compute_public_key().map_err(|_| AgeError::Identity)?;
        let salt = [&share[..], public.as_ref()].concat();
        let theirs = UnparsedPublicKey::new(&X25519, &share);
        let bad = AgeError::Header("a recipient's share is none");
        let found = agree(&own, theirs, bad, |shared| {
            unwrap(&derived(shared, &salt, LABEL_X25519)?[..], body)
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
