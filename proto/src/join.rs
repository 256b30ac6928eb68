//! Join tokens: what a server gives to a satellite that nobody will stand beside, and the proofs that go with it.
//!
//! A token names the server's address and the pin of its installation, so that the satellite knows the server before it
//! sends anything, and carries a secret of 128 bits for one use. The server keeps a [`Verifier`] only: whoever reads it
//! cannot use the token (as in SCRAM, RFC 5802). The bytes are in docs/pairing.md, vectors in testdata/join.json.
//!
//! **Invariant:** no clock, no I/O; a secret leaves this module only in the text of its token.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{digest, hmac};
use data_encoding::{DecodeError, Encoding, HEXLOWER, Specification};
use zeroize::{Zeroize, Zeroizing};

use crate::identity::Pin;
use crate::pairing::{NoRandomness, Transcript};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// What every token begins with; also what tools that look for secrets can look for.
const PREFIX: &str = "SJ1";

/// The longest text that is looked at, in characters.
pub const LONGEST: usize = 1024;

const LABEL: &[u8] = b"satellite-join-v1";
const ID_LABEL: &[u8] = b"satellite-join-id-v1";
const SATELLITE_KEY_LABEL: &[u8] = b"satellite-join-satellite-key-v1";
const SERVER_KEY_LABEL: &[u8] = b"satellite-join-server-key-v1";
const CHECKSUM_LABEL: &[u8] = b"satellite-join-checksum-v1";
const CHECKSUM: usize = 4;

/// The single-use secret of a token.
#[derive(Clone, PartialEq, Eq)]
struct Secret([u8; 16]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Names a token without giving its secret away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Text or bytes that name no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a join token is 16 bytes, as text 32 hexadecimal digits")]
pub struct NotATokenId;

impl FromStr for TokenId {
    type Err = NotATokenId;

    fn from_str(text: &str) -> Result<Self, NotATokenId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotATokenId)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<&[u8]> for TokenId {
    type Error = NotATokenId;

    fn try_from(bytes: &[u8]) -> Result<Self, NotATokenId> {
        bytes.try_into().map(Self).map_err(|_| NotATokenId)
    }
}

/// A join token. Whoever has its text may join one satellite.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    address: String,
    installation: Pin,
    secret: Secret,
    expires: u32,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("address", &self.address)
            .field("installation", &self.installation)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Text that is no token. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAToken {
    /// It does not begin as a token does.
    #[error("a join token begins with {PREFIX}")]
    Prefix,
    /// Something that no token contains.
    #[error("the character at place {0} cannot be part of a join token")]
    Character(usize),
    /// Too short, too long, or of another version.
    #[error("this is not the whole of a join token, or it is one of another version")]
    Length,
    /// A slip of the pen.
    #[error("a character of the join token is wrong or missing")]
    Checksum,
    /// What it names cannot be dialled.
    #[error("the server's address in the join token cannot be used")]
    Address,
}

impl Token {
    /// A new token for the server at `address` (`host:port`), good until `expires` in seconds since 1970.
    ///
    /// # Errors
    /// [`NewTokenError`].
    pub fn generate(address: &str, installation: Pin, expires: u32) -> Result<Self, NewTokenError> {
        if !is_address(address) {
            return Err(NewTokenError::Address);
        }
        let mut secret = Secret([0; 16]);
        SystemRandom::new()
            .fill(&mut secret.0)
            .map_err(|_| NewTokenError::Randomness(NoRandomness))?;
        Ok(Self {
            address: address.to_owned(),
            installation,
            secret,
            expires,
        })
    }

    /// Where the server is, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key by which the server is known.
    #[must_use]
    pub fn installation(&self) -> Pin {
        self.installation
    }

    /// Until when it is good, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> u32 {
        self.expires
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TokenId {
        let hash = hash(&[ID_LABEL, &self.secret.0]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        TokenId(id)
    }

    /// What the server keeps.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier {
            stored_key: hash(&[&self.satellite_key()[..]]),
            server_key: *mac(&self.secret.0, SERVER_KEY_LABEL),
        }
    }

    /// The satellite's proof. It goes first, to a server whose key was verified.
    #[must_use]
    pub fn satellite_proof(&self, transcript: &Transcript) -> [u8; 32] {
        let stored_key = hash(&[&self.satellite_key()[..]]);
        let mut proof = *mac(&stored_key, &transcript.message(LABEL, b"satellite"));
        for (byte, key) in proof.iter_mut().zip(self.satellite_key().iter()) {
            *byte ^= key;
        }
        proof
    }

    /// Whether `proof` is the server's. Constant-time.
    #[must_use]
    pub fn verify_server(&self, transcript: &Transcript, proof: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &mac(&self.secret.0, SERVER_KEY_LABEL)[..]);
        hmac::verify(&key, &transcript.message(LABEL, b"manager"), proof).is_ok()
    }

    fn satellite_key(&self) -> Zeroizing<[u8; 32]> {
        mac(&self.secret.0, SATELLITE_KEY_LABEL)
    }

    fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(160));
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        bytes.extend_from_slice(&self.secret.0);
        bytes.extend_from_slice(self.installation.as_bytes());
        bytes.extend_from_slice(self.address.as_bytes());
        let checksum = hash(&[CHECKSUM_LABEL, &bytes[..]]);
        bytes.extend_from_slice(&checksum[..CHECKSUM]);
        bytes
    }
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum NewTokenError {
    /// The address is none.
    #[error("the server's address must be a host name or IP address with a port, of at most 128 characters")]
    Address,
    /// No random numbers.
    #[error("no secret can be made")]
    Randomness(#[source] NoRandomness),
}

/// Shows the token, with its secret: `SJ1-` and groups of eight digits of Crockford's base 32.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = crockford().ok_or(fmt::Error)?;
        let digits = Zeroizing::new(encoding.encode(&self.payload()));
        f.write_str(PREFIX)?;
        for group in digits.as_bytes().chunks(8) {
            write!(f, "-{}", std::str::from_utf8(group).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    /// Reads what a person typed or a file holds: case, blanks, line ends and hyphens do not matter, O is 0, I and L are 1.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        if text.len() > LONGEST {
            return Err(NotAToken::Length);
        }
        let plain = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-' && *c != '\u{feff}')
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            });
        let plain = Zeroizing::new(plain.collect::<String>());
        let digits = plain.strip_prefix(PREFIX).ok_or(NotAToken::Prefix)?;
        if let Some(place) = digits.chars().position(|c| !c.is_ascii()) {
            return Err(NotAToken::Character(PREFIX.len() + place + 1));
        }
        let encoding = crockford().ok_or(NotAToken::Length)?;
        let bytes =
            encoding
                .decode(digits.as_bytes())
                .map_err(|DecodeError { position, kind }| match kind {
                    data_encoding::DecodeKind::Symbol => NotAToken::Character(PREFIX.len() + position + 1),
                    _ => NotAToken::Length,
                })?;
        let bytes = Zeroizing::new(bytes);
        // Expiry, secret, pin, the shortest address, checksum.
        const FIXED: usize = 4 + 16 + 32;
        if bytes.len() < FIXED + 3 + CHECKSUM {
            return Err(NotAToken::Length);
        }
        let (payload, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if hash(&[CHECKSUM_LABEL, payload])[..CHECKSUM] != *checksum {
            return Err(NotAToken::Checksum);
        }
        let (fixed, address) = payload.split_at(FIXED);
        let mut expires = [0; 4];
        expires.copy_from_slice(&fixed[..4]);
        let mut secret = Secret([0; 16]);
        secret.0.copy_from_slice(&fixed[4..20]);
        let installation = Pin::from_bytes(&fixed[20..]).ok_or(NotAToken::Length)?;
        let address = std::str::from_utf8(address).map_err(|_| NotAToken::Address)?;
        if !is_address(address) {
            return Err(NotAToken::Address);
        }
        Ok(Self {
            address: address.to_owned(),
            installation,
            secret,
            expires: u32::from_be_bytes(expires),
        })
    }
}

/// What the server keeps of a token: enough to verify it, not enough to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(hidden)")
    }
}

impl Verifier {
    /// The 64 bytes to be stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.stored_key, self.server_key].concat()
    }

    /// Reads what [`Self::to_bytes`] gave; none if it is something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stored_key, server_key) = bytes.split_at_checked(32)?;
        Some(Self {
            stored_key: stored_key.try_into().ok()?,
            server_key: server_key.try_into().ok()?,
        })
    }

    /// Whether `proof` is that of a satellite which has the token. Constant-time.
    #[must_use]
    pub fn verify_satellite(&self, transcript: &Transcript, proof: &[u8]) -> bool {
        let Ok(proof) = <[u8; 32]>::try_from(proof) else {
            return false;
        };
        let mut key = mac(&self.stored_key, &transcript.message(LABEL, b"satellite"));
        for (byte, proven) in key.iter_mut().zip(proof) {
            *byte ^= proven;
        }
        verify_slices_are_equal(&hash(&[&key[..]]), &self.stored_key).is_ok()
    }

    /// The server's proof, sent only after the satellite's was right.
    #[must_use]
    pub fn server_proof(&self, transcript: &Transcript) -> [u8; 32] {
        *mac(&self.server_key, &transcript.message(LABEL, b"manager"))
    }
}

/// `host:port` in plain characters; what it names is found out by dialling.
fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_%".contains(&byte);
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    text.len() <= 128 && text.bytes().all(plain) && port.is_some_and(|port| port > 0)
}

/// Douglas Crockford's base 32, upper case, most significant bit first, without padding.
fn crockford() -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.encoding().ok()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcript() -> Transcript {
        Transcript {
            version: PROTOCOL_VERSION,
            exporter: [7; 32],
            manager: Pin::of_spki(b"manager"),
            satellite: Pin::of_spki(b"satellite"),
            installation: Pin::of_spki(b"installation"),
        }
    }

    fn fresh() -> Token {
        Token::generate("pbx.example:7601", Pin::of_spki(b"installation"), 1_800_000_000).unwrap()
    }

    #[test]
    fn tokens_and_proofs_are_the_ones_of_the_published_vectors() {
        let text = include_str!("../testdata/join.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let field = |name: &str| vector[name].as_str().unwrap();
            let token: Token = field("token").parse().unwrap();
            assert_eq!(token.to_string(), field("token"));
            assert_eq!(token.address(), field("address"));
            assert_eq!(token.installation().to_string(), field("installation"));
            assert_eq!(u64::from(token.expires()), vector["expires"].as_u64().unwrap());
            assert_eq!(HEXLOWER.encode(&token.secret.0), field("secret"));
            assert_eq!(token.id().to_string(), field("id"));
            assert_eq!(HEXLOWER.encode(&token.verifier().to_bytes()), field("verifier"));
            let transcript = Transcript {
                version: 1,
                exporter: HEXLOWER
                    .decode(field("exporter").as_bytes())
                    .unwrap()
                    .try_into()
                    .unwrap(),
                manager: field("manager").parse().unwrap(),
                satellite: field("satellite").parse().unwrap(),
                installation: token.installation(),
            };
            let proof = token.satellite_proof(&transcript);
            assert_eq!(HEXLOWER.encode(&proof), field("satellite_proof"));
            assert!(token.verifier().verify_satellite(&transcript, &proof));
            let proof = token.verifier().server_proof(&transcript);
            assert_eq!(HEXLOWER.encode(&proof), field("server_proof"));
            assert!(token.verify_server(&transcript, &proof));
        }
    }

    #[test]
    fn a_proof_of_a_token_holds_for_no_other_transcript_token_or_side() {
        let (honest, token) = (transcript(), fresh());
        let verifier = Verifier::from_bytes(&token.verifier().to_bytes()).unwrap();
        let (mine, theirs) = (token.satellite_proof(&honest), verifier.server_proof(&honest));
        assert!(verifier.verify_satellite(&honest, &mine) && token.verify_server(&honest, &theirs));
        assert!(!verifier.verify_satellite(&honest, &theirs) && !token.verify_server(&honest, &mine));
        assert!(!verifier.verify_satellite(&honest, b""));
        let stranger = fresh();
        assert!(!stranger.verifier().verify_satellite(&honest, &mine));
        assert!(!stranger.verify_server(&honest, &theirs));
        let pin = Pin::of_spki(b"x");
        let others = [
            Transcript {
                version: 2,
                ..honest.clone()
            },
            Transcript {
                exporter: [8; 32],
                ..honest.clone()
            },
            Transcript {
                manager: pin,
                ..honest.clone()
            },
            Transcript {
                satellite: pin,
                ..honest.clone()
            },
            Transcript {
                installation: pin,
                ..honest.clone()
            },
        ];
        for other in others {
            assert!(!verifier.verify_satellite(&other, &mine), "{other:?}");
            assert!(!token.verify_server(&other, &theirs), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_named_by_its_fault() {
        let text = fresh().to_string();
        assert_eq!("".parse::<Token>(), Err(NotAToken::Prefix));
        assert_eq!("ABCD-EFGH".parse::<Token>(), Err(NotAToken::Prefix));
        assert_eq!("SJ1-ABCU".parse::<Token>(), Err(NotAToken::Character(7)));
        assert_eq!("SJ1-ABC\u{fc}".parse::<Token>(), Err(NotAToken::Character(7)));
        assert_eq!("SJ1-ABCD".parse::<Token>(), Err(NotAToken::Length));
        assert_eq!("S".repeat(LONGEST + 1).parse::<Token>(), Err(NotAToken::Length));
        let cut = text[..text.len() - 8].parse::<Token>().unwrap_err();
        assert!(matches!(cut, NotAToken::Checksum | NotAToken::Length), "{cut}");
        assert!(Token::generate("pbx", Pin::of_spki(b"i"), 1).is_err());
        assert!(Token::generate("pbx:0", Pin::of_spki(b"i"), 1).is_err());
        assert!(Token::generate("p bx:1", Pin::of_spki(b"i"), 1).is_err());
        assert!(Token::generate("[fd77::1]:7601", Pin::of_spki(b"i"), 1).is_ok());
    }

    #[test]
    fn debug_output_hides_the_secret_of_a_token() {
        let token = fresh();
        let shown = format!("{token:?} {:?}", token.verifier());
        assert!(
            !shown.contains("secret") && shown.contains("Verifier(hidden)"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn a_token_is_read_back_however_it_is_written(expires: u32, host in "[a-z][a-z0-9.-]{0,60}", lower: bool, lines: bool) {
            let token = Token::generate(&format!("{host}:7601"), Pin::of_spki(host.as_bytes()), expires).unwrap();
            let mut text = token.to_string();
            if lower { text = text.to_lowercase().replace('0', "o").replace('1', "l"); }
            if lines { text = text.replace('-', "\r\n"); }
            prop_assert_eq!(text.parse::<Token>().unwrap(), token);
        }

        #[test]
        fn a_changed_digit_is_noticed(place in 4_usize..120, digit in "[0-9A-HJKMNP-TV-Z]") {
            let text = fresh().to_string();
            let mut changed = text.clone();
            changed.replace_range(place..=place, &digit);
            prop_assume!(&text[place..=place] != "-" && changed != text);
            prop_assert!(changed.parse::<Token>().is_err());
        }
    }
}
