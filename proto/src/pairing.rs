//! The code that a satellite's console shows, and the proofs that both sides know it.
//!
//! Each side sends an HMAC-SHA-256 under the code over who it is and over this one TLS session: the session's exporter
//! value and the pins of both leaves and of the installation. With 80 bits an attacker cannot try codes offline, and one who relays
//! between two sessions has two exporter values, so neither needs a PAKE. The bytes are in docs/pairing.md, vectors in
//! testdata/pairing.json.
//!
//! **Invariant:** no clock, no I/O; a code is compared only through [`aws_lc_rs::hmac::verify`], in constant time.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

use crate::identity::Pin;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Digits of Douglas Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const LABEL: &[u8] = b"satellite-pairing-v1";

/// The one-time code: 80 bits, written as 16 digits in four groups.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 10]);

impl Drop for Code {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(hidden)")
    }
}

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub struct NoRandomness;

impl Code {
    /// A new code.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 10];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// Shows the code: `ABCD-EFGH-JKMN-PQRS`. For the console only.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self
            .0
            .iter()
            .fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        for place in 0..16_u32 {
            if place > 0 && place % 4 == 0 {
                f.write_str("-")?;
            }
            let digit = (bits >> (75 - 5 * place)) & 31;
            let digit = DIGITS[usize::try_from(digit).map_err(|_| fmt::Error)?];
            write!(f, "{}", char::from(digit))?;
        }
        Ok(())
    }
}

/// Text that is not a code. It does not repeat the text: that may be a code with a slip in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotACode {
    /// Too many or too few digits.
    #[error("a code has 16 letters and digits, this has {0}")]
    Length(usize),
    /// Something that no code contains.
    #[error("the character at place {0} cannot be part of a code")]
    Character(usize),
}

impl FromStr for Code {
    type Err = NotACode;

    /// Reads what a person typed: case, blanks and hyphens do not matter, O is 0, I and L are 1.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let mut bits = 0_u128;
        let mut length = 0;
        for character in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            length += 1;
            let plain = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let digit = DIGITS.iter().position(|digit| char::from(*digit) == plain);
            let digit = digit.and_then(|digit| u128::try_from(digit).ok());
            let digit = digit.ok_or(NotACode::Character(length))?;
            if length <= 16 {
                bits = (bits << 5) | digit;
            }
        }
        if length != 16 {
            return Err(NotACode::Length(length));
        }
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&bits.to_be_bytes()[6..]);
        Ok(Self(bytes))
    }
}

/// What both sides have before them, and what their proofs are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Version of the protocol.
    pub version: u32,
    /// The value that only the ends of this TLS session share.
    pub exporter: [u8; 32],
    /// Pin of the leaf with which the manager came.
    pub manager: Pin,
    /// Pin of the satellite.
    pub satellite: Pin,
    /// Pin of the installation key.
    pub installation: Pin,
}

impl Transcript {
    /// The manager's proof. It goes first.
    #[must_use]
    pub fn manager_proof(&self, code: &Code) -> [u8; 32] {
        self.prove(code, b"manager")
    }

    /// The satellite's proof, sent only after the manager's was right.
    #[must_use]
    pub fn satellite_proof(&self, code: &Code) -> [u8; 32] {
        self.prove(code, b"satellite")
    }

    /// Whether `proof` is the manager's. Constant-time.
    #[must_use]
    pub fn verify_manager(&self, code: &Code, proof: &[u8]) -> bool {
        hmac::verify(&code.key(), &self.message(LABEL, b"manager"), proof).is_ok()
    }

    /// Whether `proof` is the satellite's. Constant-time.
    #[must_use]
    pub fn verify_satellite(&self, code: &Code, proof: &[u8]) -> bool {
        hmac::verify(&code.key(), &self.message(LABEL, b"satellite"), proof).is_ok()
    }

    fn prove(&self, code: &Code, role: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&code.key(), &self.message(LABEL, role));
        let mut proof = [0; 32];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// Every part with its length before it (4 bytes, big-endian), so that no two transcripts share their bytes.
    pub(crate) fn message(&self, label: &[u8], role: &[u8]) -> Vec<u8> {
        let version = self.version.to_be_bytes();
        let parts: [&[u8]; 7] = [
            label,
            role,
            &version,
            &self.exporter,
            self.manager.as_bytes(),
            self.satellite.as_bytes(),
            self.installation.as_bytes(),
        ];
        let mut message = Vec::with_capacity(256);
        for part in parts {
            message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            message.extend_from_slice(part);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
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

    #[test]
    fn proofs_are_the_ones_of_the_published_vectors() {
        let text = include_str!("../testdata/pairing.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let field = |name: &str| vector[name].as_str().unwrap();
            let code: Code = field("code").parse().unwrap();
            let transcript = Transcript {
                version: u32::try_from(vector["version"].as_u64().unwrap()).unwrap(),
                exporter: HEXLOWER
                    .decode(field("exporter").as_bytes())
                    .unwrap()
                    .try_into()
                    .unwrap(),
                manager: field("manager").parse().unwrap(),
                satellite: field("satellite").parse().unwrap(),
                installation: field("installation").parse().unwrap(),
            };
            assert_eq!(
                HEXLOWER.encode(&transcript.message(LABEL, b"manager")),
                field("manager_message")
            );
            assert_eq!(
                HEXLOWER.encode(&transcript.manager_proof(&code)),
                field("manager_proof")
            );
            assert_eq!(
                HEXLOWER.encode(&transcript.satellite_proof(&code)),
                field("satellite_proof")
            );
        }
    }

    #[test]
    fn each_proof_holds_for_its_side_only() {
        let (transcript, code) = (transcript(), Code::generate().unwrap());
        let (manager, satellite) = (transcript.manager_proof(&code), transcript.satellite_proof(&code));
        assert!(transcript.verify_manager(&code, &manager));
        assert!(transcript.verify_satellite(&code, &satellite));
        assert!(!transcript.verify_manager(&code, &satellite));
        assert!(!transcript.verify_satellite(&code, &manager));
    }

    #[test]
    fn a_proof_holds_for_no_other_transcript() {
        let (honest, code) = (transcript(), Code::generate().unwrap());
        let proof = honest.manager_proof(&code);
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
                manager: Pin::of_spki(b"x"),
                ..honest.clone()
            },
            Transcript {
                satellite: Pin::of_spki(b"x"),
                ..honest.clone()
            },
            Transcript {
                installation: Pin::of_spki(b"x"),
                ..honest.clone()
            },
        ];
        for other in others {
            assert!(!other.verify_manager(&code, &proof), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_code_is_named_by_its_fault() {
        assert_eq!("".parse::<Code>(), Err(NotACode::Length(0)));
        assert_eq!("ABCD-EFGH-JKMN-PQR".parse::<Code>(), Err(NotACode::Length(15)));
        assert_eq!("ABCD-EFGH-JKMN-PQRST".parse::<Code>(), Err(NotACode::Length(17)));
        assert_eq!("ABCD-EFGU-JKMN-PQRS".parse::<Code>(), Err(NotACode::Character(8)));
    }

    #[test]
    fn debug_output_hides_the_code() {
        let code: Code = "ABCD-EFGH-JKMN-PQRS".parse().unwrap();
        assert_eq!(format!("{code:?}"), "Code(hidden)");
    }

    proptest! {
        #[test]
        fn a_code_is_read_back_however_it_is_typed(bytes: [u8; 10], lower: bool, hyphens: bool) {
            let code = Code(bytes);
            let mut text = code.to_string();
            if lower { text = text.to_lowercase().replace('0', "o").replace('1', "l"); }
            if !hyphens { text = text.replace('-', " "); }
            prop_assert_eq!(text.parse::<Code>().unwrap(), code);
        }
    }
}
