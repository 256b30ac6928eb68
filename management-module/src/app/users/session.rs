//! Sessions: kept by the server, named by a token that only the browser has.

use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;

use super::User;
use crate::app::{App, AppError};
use crate::store::SessionRow;

/// How long a session may be left alone.
pub const IDLE: Duration = Duration::from_mins(30);

/// How long a session lasts at most.
pub const ABSOLUTE: Duration = Duration::from_hours(12);

/// How long the second factor may take.
const PROVE: Duration = Duration::from_mins(5);

/// How long who has signed in need not prove it again.
const FRESH: Duration = Duration::from_mins(5);

/// How exactly the use of a session is noted.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub struct Session {
    /// SHA-256 of its token.
    pub token_hash: String,
    /// Who.
    pub user: User,
    /// What each of its forms carries.
    pub form_token: String,
    /// The second factor was proved, or is not asked for.
    pub is_proved: bool,
    /// When it began.
    pub began_at: Timestamp,
}

/// A new secret of 256 bits, as text.
pub(super) fn new_token() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>())
}

/// What is kept of a token.
pub(super) fn hash_of(token: &str) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

impl Session {
    /// Begins a session and answers its token.
    pub(super) async fn begin(app: &App, user: &User, is_proved: bool) -> Result<String, AppError> {
        let token = new_token();
        let now = Timestamp::now();
        let row = SessionRow {
            token_hash: hash_of(&token),
            user_name: user.name.to_string(),
            form_token: new_token(),
            is_proved,
            created_at: now,
            seen_at: now,
        };
        app.store.add_session(&row).await?;
        Ok(token)
    }

    /// The session of a token, if it still lasts. `is_use`: this keeps it from being left alone.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_token(app: &App, token: &str, is_use: bool) -> Result<Option<Self>, AppError> {
        Self::of_hash(app, &hash_of(token), is_use).await
    }

    /// The same, for what goes on for longer and has forgotten the token.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_hash(app: &App, token_hash: &str, is_use: bool) -> Result<Option<Self>, AppError> {
        let Some(row) = app.store.session(token_hash).await? else {
            return Ok(None);
        };
        let now = Timestamp::now();
        if !lasts(&row, now) {
            app.store.end_session(token_hash).await?;
            return Ok(None);
        }
        let Some(user) = app.store.user(&row.user_name).await? else {
            return Ok(None);
        };
        if user.disabled {
            return Ok(None);
        }
        if is_use && age(row.seen_at, now) >= NOTE_EVERY {
            app.store.touch_session(token_hash, now).await?;
        }
        Ok(Some(Self {
            user: User::try_from(&user)?,
            token_hash: row.token_hash,
            form_token: row.form_token,
            is_proved: row.is_proved,
            began_at: row.created_at,
        }))
    }

    /// Whether somebody has signed in just now.
    pub(super) fn is_fresh(&self) -> bool {
        age(self.began_at, Timestamp::now()) < FRESH
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn end(&self, app: &App) -> Result<(), AppError> {
        Ok(app.store.end_session(&self.token_hash).await?)
    }
}

fn lasts(row: &SessionRow, now: Timestamp) -> bool {
    let longest = if row.is_proved { ABSOLUTE } else { PROVE };
    age(row.created_at, now) < longest && age(row.seen_at, now) < IDLE
}

/// A moment that has not come yet means that the clock was set back: nothing is older than that.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    let age = now.duration_since(since);
    if age.is_negative() {
        Duration::MAX
    } else {
        age.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_left_alone_when_it_is_old_and_when_the_clock_is_set_back() {
        let now = Timestamp::now();
        let check = |is_proved, began: Duration, used: Duration, expected| {
            let row = SessionRow {
                token_hash: String::new(),
                user_name: String::new(),
                form_token: String::new(),
                is_proved,
                created_at: now - began,
                seen_at: now - used,
            };
            assert_eq!(lasts(&row, now), expected, "{began:?} {used:?}");
        };
        let second = Duration::from_secs(1);
        check(true, second, second, true);
        check(true, IDLE, IDLE - second, true);
        check(true, IDLE, IDLE, false);
        check(true, ABSOLUTE - second, second, true);
        check(true, ABSOLUTE, second, false);
        check(false, PROVE, second, false);
        assert_eq!(age(now + second, now), Duration::MAX);
    }
}
