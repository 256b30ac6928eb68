//! Codes of six digits that change every thirty seconds (RFC 6238 with SHA-1, as every authenticator app does them).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;

/// Seconds that a code is good.
const STEP: u64 = 30;

/// Digits of a code.
const DIGITS: usize = 6;

/// What an authenticator app and the server share.
#[derive(Clone)]
pub struct Secret([u8; 20]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// One that was kept; none if it is no secret of ours.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// To keep it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// To type it into an app.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// What an app reads from a QR code.
    #[must_use]
    pub fn to_uri(&self, issuer: &str, user: &str) -> String {
        let escaped = |text: &str| -> String {
            let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            text.bytes()
                .map(|byte| {
                    if keep(&byte) {
                        char::from(byte).to_string()
                    } else {
                        format!("%{byte:02X}")
                    }
                })
                .collect()
        };
        let (issuer, user) = (escaped(issuer), escaped(user));
        format!(
            "otpauth://totp/{issuer}:{user}?secret={}&issuer={issuer}",
            self.to_text()
        )
    }

    /// The step whose code this is: the present one, the one before or the one after; none if it is wrong.
    #[must_use]
    pub fn step_of(&self, code: &str, now: Timestamp) -> Option<u64> {
        let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let now = u64::try_from(now.as_second()).ok()? / STEP;
        // All are computed, whichever fits.
        let mut found = None;
        for step in [now.saturating_sub(1), now, now + 1] {
            if verify_slices_are_equal(self.code(step).as_bytes(), typed.as_bytes()).is_ok() {
                found = Some(step);
            }
        }
        found
    }

    /// The code of a step.
    #[must_use]
    pub fn code(&self, step: u64) -> String {
        hotp(&self.0, step, DIGITS)
    }
}

fn hotp(secret: &[u8], counter: u64, digits: usize) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
    let four = bytes.get(at..at + 4).unwrap_or_default();
    let number = four
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        & 0x7fff_ffff;
    let text = format!("{number:010}");
    text.get(text.len() - digits..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B.
    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (seconds, code) in [
            (59_u64, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(hotp(b"12345678901234567890", seconds / STEP, 8), code);
        }
    }

    #[test]
    fn a_code_of_the_neighbouring_step_is_taken_and_no_other() {
        let secret = Secret(*b"12345678901234567890");
        let now = Timestamp::from_second(1_234_567_890).unwrap();
        let step = 1_234_567_890 / STEP;
        for (of, expected) in [
            (step - 2, None),
            (step - 1, Some(step - 1)),
            (step, Some(step)),
            (step + 1, Some(step + 1)),
            (step + 2, None),
        ] {
            assert_eq!(secret.step_of(&secret.code(of), now), expected);
        }
        let code = secret.code(step);
        assert_eq!(
            secret.step_of(&format!("{} {}", &code[..3], &code[3..]), now),
            Some(step)
        );
        assert_eq!(secret.step_of("", now), None);
    }

    #[test]
    fn names_with_special_letters_stay_in_their_place_of_the_address() {
        let uri = Secret([0; 20]).to_uri("PBX & Co?", "anna");
        assert!(
            uri.starts_with("otpauth://totp/PBX%20%26%20Co%3F:anna?secret=AAAA"),
            "{uri}"
        );
    }
}
