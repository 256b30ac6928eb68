//! Passwords: what is too weak, and how they are kept.
//!
//! **Invariant:** no more than [`AT_ONCE`] are computed at a time, so that a flood of sign-ins costs bounded memory.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;
use zxcvbn::zxcvbn;

use crate::app::AppError;

/// The shortest and the longest password, in characters.
const SHORTEST: usize = 12;
const LONGEST: usize = 128;

/// Guesses, as a power of ten, that a password has to withstand. A word, a year and a sign behind it come to little more than
/// ten to the eighth, whatever they are.
const GUESSES: f64 = 9.0;

/// How many passwords are computed at the same time; each takes 19 MiB.
const AT_ONCE: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Words that people here begin with who are asked for a password, and that no list of English and leaked ones has; each is as
/// easy as one of the most common passwords, whatever is hung onto it.
const OURS: [&str; 40] = [
    "starface",
    "satellite",
    "management",
    "backup",
    "passwort",
    "kennwort",
    "geheim",
    "willkommen",
    "hallo",
    "sommer",
    "winter",
    "herbst",
    "fruehling",
    "frühling",
    "telefon",
    "telefonanlage",
    "sicherung",
    "administrator",
    "schweiz",
    "deutschland",
    "motdepasse",
    "bienvenue",
    "bonjour",
    "administrateur",
    "printemps",
    "automne",
    "hiver",
    "sauvegarde",
    "téléphone",
    "suisse",
    "amministratore",
    "benvenuto",
    "ciao",
    "primavera",
    "estate",
    "autunno",
    "inverno",
    "centralino",
    "svizzera",
    "italia",
];

/// Why a password is too weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Weak {
    /// It is too short or too long.
    #[error("a password has {SHORTEST} to {LONGEST} characters")]
    Length,
    /// It is one of the common ones, or made of them, of patterns, and of what is easily known.
    #[error(
        "that password is too easy to guess: it is common, or made of common words and patterns. Take a sentence, or let a \
         program make one"
    )]
    Common,
    /// It is little more than the user's name.
    #[error("a password must be more than the user's name with something added")]
    Name,
}

/// Whether a password is good enough for a user: of the right length, none of those that are tried first, nor made of them
/// (zxcvbn, with the thirty thousand most common of those that have leaked), nor of the user's name.
///
/// # Errors
/// [`Weak`]: what is wanted.
pub(super) fn check(user: &str, secret: &str) -> Result<(), Weak> {
    let length = secret.chars().count();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(Weak::Length);
    }
    let plain: String = secret
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect();
    let is_name =
        user.len() > 2 && plain.contains(user) && plain.replace(user, "").chars().count() < SHORTEST / 2;
    if is_name {
        return Err(Weak::Name);
    }
    let known: Vec<&str> = std::iter::once(user).chain(OURS).collect();
    if zxcvbn(secret, &known).guesses_log10() < GUESSES {
        return Err(Weak::Common);
    }
    Ok(())
}

/// A password as it is kept.
///
/// # Errors
/// [`AppError::Machine`].
pub(super) async fn hash(secret: String) -> Result<String, AppError> {
    let salt: [u8; 16] = rand::random();
    let _turn = TURNS.acquire().await;
    let work = move || {
        hasher()
            .hash_password_with_salt(secret.as_bytes(), &salt)
            .map(|hash| hash.to_string())
    };
    let hashed = tokio::task::spawn_blocking(work).await;
    hashed
        .map_err(|error| AppError::machine("hash a password", error))?
        .map_err(|error| AppError::machine("hash a password", error.to_string()))
}

/// Whether a password is the one that is kept; without one kept it takes as long, and is not.
///
/// # Errors
/// [`AppError::Machine`].
pub(super) async fn verify(secret: String, kept: Option<String>) -> Result<bool, AppError> {
    let _turn = TURNS.acquire().await;
    let work = move || match kept {
        Some(kept) => hasher().verify_password(secret.as_bytes(), kept.as_str()).is_ok(),
        None => {
            // The time must not tell whether there is such a user.
            let _same_time = hasher().hash_password_with_salt(secret.as_bytes(), &[0; 16]);
            false
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| AppError::machine("check a password", error))
}

/// Argon2id with 19 MiB, two passes and one lane, as OWASP advises.
fn hasher() -> Argon2<'static> {
    Argon2::from(Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_common_and_derived_passwords_are_refused() {
        for (secret, wanted) in [
            ("short", Err(Weak::Length)),
            // Among the most common of those that are long enough, then what is made of common ones.
            ("123456789012", Err(Weak::Common)),
            ("1q2w3e4r5t6y", Err(Weak::Common)),
            ("123qweasdzxc", Err(Weak::Common)),
            ("qwertyuiop123", Err(Weak::Common)),
            ("abcdefghijkl", Err(Weak::Common)),
            ("unbelievable", Err(Weak::Common)),
            ("michaeljordan", Err(Weak::Common)),
            ("iloveyou1234", Err(Weak::Common)),
            ("P@ssw0rd1234", Err(Weak::Common)),
            ("passwordpassword", Err(Weak::Common)),
            ("aaaaaaaaaaaaaaaa", Err(Weak::Common)),
            // What people here would take.
            ("Passwort2026!", Err(Weak::Common)),
            ("Willkommen123!", Err(Weak::Common)),
            ("Sommer2026!!", Err(Weak::Common)),
            ("motdepasse123", Err(Weak::Common)),
            ("benvenuto2026", Err(Weak::Common)),
            ("Starface2026!", Err(Weak::Common)),
            ("satellite-admin", Err(Weak::Common)),
            ("Müller12345678", Err(Weak::Common)),
            ("correct horse battery", Ok(())),
            ("Grüße aus Zürich!", Ok(())),
            ("kR7#qPz2vLw9", Ok(())),
        ] {
            assert_eq!(check("anna", secret), wanted, "{secret}");
        }
        assert_eq!(check("annamuster", "Annamuster-26"), Err(Weak::Name));
        assert_eq!(check("anna", &"x1y2z".repeat(30)), Err(Weak::Length));
        assert_eq!(check("anna", &"x1y2z".repeat(25)), Err(Weak::Common));
    }

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_and_found_again() {
        let kept = hash("correct horse battery".into()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(
            verify("correct horse battery".into(), Some(kept.clone()))
                .await
                .unwrap()
        );
        assert!(!verify("correct horse".into(), Some(kept)).await.unwrap());
        assert!(!verify("correct horse battery".into(), None).await.unwrap());
    }
}
