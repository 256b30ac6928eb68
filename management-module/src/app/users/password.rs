//! Passwords: what is too weak, and how they are kept.
//!
//! **Invariant:** no more than [`AT_ONCE`] are computed at a time, so that a flood of sign-ins costs bounded memory.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;

use crate::app::AppError;

/// The shortest and the longest password, in characters.
const SHORTEST: usize = 12;
const LONGEST: usize = 128;

/// How many passwords are computed at the same time; each takes 19 MiB.
const AT_ONCE: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// What people type who are asked for twelve characters; compared without case and what is not a letter or digit.
const COMMON: [&str; 16] = [
    "password",
    "passwort",
    "motdepasse",
    "administrator",
    "administrateur",
    "amministratore",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "1234567890",
    "letmein",
    "welcome",
    "willkommen",
    "changeme",
    "starface",
    "satellite",
];

/// Whether a password is good enough for a user.
///
/// # Errors
/// [`AppError::Invalid`], with what is wanted.
pub(super) fn check(user: &str, secret: &str) -> Result<(), AppError> {
    let length = secret.chars().count();
    let invalid = |text: String| Err(AppError::Invalid(text));
    if !(SHORTEST..=LONGEST).contains(&length) {
        return invalid(format!("a password has {SHORTEST} to {LONGEST} characters"));
    }
    let plain: String = secret
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect();
    let beyond = |word: &str| plain.replace(word, "").chars().count() < SHORTEST / 2;
    let mut kinds: Vec<char> = secret.chars().collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < 5 || COMMON.iter().any(|word| plain.contains(word) && beyond(word)) {
        return invalid(
            "that password is too easy to guess: take a sentence, or let a program make one".to_owned(),
        );
    }
    if user.len() > 2 && plain.contains(user) && beyond(user) {
        return invalid("a password must be more than the user's name with something added".to_owned());
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
        for (secret, fine) in [
            ("short", false),
            ("Password1234", false),
            ("aaaaaaaaaaaaaaaa", false),
            ("correct horse battery", true),
            ("Grüße aus Zürich!", true),
        ] {
            assert_eq!(check("anna", secret).is_ok(), fine, "{secret}");
        }
        assert!(check("annamuster", "Annamuster-26").is_err());
        assert!(check("anna", &"x1y2z".repeat(30)).is_err());
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
