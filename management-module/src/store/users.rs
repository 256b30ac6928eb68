//! Users of the web page, their sessions and the devices they have signed in from.

use jiff::Timestamp;

use super::{Store, StoreError, failed, to_millis, to_time, to_u64};

/// Where a user signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSource {
    /// Here: the password is kept here.
    Here,
    /// Here, with the password of the directory.
    Directory,
    /// At a provider of OpenID Connect.
    Provider {
        /// The provider and the person there, for good.
        subject: String,
    },
}

/// A user as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: String,
    /// The tenants of a customer, as a JSON list.
    pub tenants: String,
    /// Argon2id, in the PHC string format.
    pub password: String,
    /// The secret of the second factor, if there is one.
    pub second_factor: Option<Vec<u8>>,
    /// The language that the user chose; empty: none.
    pub language: String,
    /// The user may not sign in.
    pub disabled: bool,
    /// Where the user signs in.
    pub source: UserSource,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When the user last signed in.
    pub signed_in_at: Option<Timestamp>,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRow")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A session as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of its token.
    pub token_hash: String,
    /// Whose.
    pub user_name: String,
    /// What each form of the session carries.
    pub form_token: String,
    /// The second factor was proved, or is not asked for.
    pub is_proved: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub seen_at: Timestamp,
}

impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRow")
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct User {
    name: String,
    role: String,
    tenants: String,
    password: String,
    second_factor: Option<Vec<u8>>,
    language: String,
    disabled: bool,
    from_directory: bool,
    provider_subject: String,
    created_at: i64,
    signed_in_at: Option<i64>,
}

impl TryFrom<User> for UserRow {
    type Error = StoreError;
    fn try_from(row: User) -> Result<Self, StoreError> {
        Ok(Self {
            created_at: to_time(row.created_at, "time of a user")?,
            signed_in_at: row
                .signed_in_at
                .map(|millis| to_time(millis, "time of a sign-in"))
                .transpose()?,
            name: row.name,
            role: row.role,
            tenants: row.tenants,
            password: row.password,
            second_factor: row.second_factor,
            language: row.language,
            disabled: row.disabled,
            source: match (row.from_directory, row.provider_subject) {
                (true, _) => UserSource::Directory,
                (false, subject) if !subject.is_empty() => UserSource::Provider { subject },
                (false, _) => UserSource::Here,
            },
        })
    }
}

#[derive(sqlx::FromRow)]
struct Session {
    token_hash: String,
    user_name: String,
    form_token: String,
    is_proved: bool,
    created_at: i64,
    seen_at: i64,
}

impl TryFrom<Session> for SessionRow {
    type Error = StoreError;
    fn try_from(row: Session) -> Result<Self, StoreError> {
        Ok(Self {
            created_at: to_time(row.created_at, "time of a session")?,
            seen_at: to_time(row.seen_at, "time of a session")?,
            token_hash: row.token_hash,
            user_name: row.user_name,
            form_token: row.form_token,
            is_proved: row.is_proved,
        })
    }
}

impl Store {
    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken.
    pub async fn add_user(&self, row: &UserRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO web_users (name, role, tenants, password, language, disabled, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&row.name)
        .bind(&row.role)
        .bind(&row.tenants)
        .bind(&row.password)
        .bind(&row.language)
        .bind(row.disabled)
        .bind(to_millis(row.created_at))
        .execute(&self.pool)
        .await
        .map_err(failed("add a user"))?;
        Ok(())
    }

    /// Takes in a user who signs in elsewhere, with the role and the tenants of today. Nothing is done to a user of that name
    /// who was added here or signs in elsewhere as somebody else.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn take_in_user(&self, row: &UserRow) -> Result<(), StoreError> {
        let (from_directory, subject) = match &row.source {
            UserSource::Here => return Ok(()),
            UserSource::Directory => (true, ""),
            UserSource::Provider { subject } => (false, subject.as_str()),
        };
        sqlx::query(
            "INSERT INTO web_users (name, role, tenants, password, language, disabled, created_at, from_directory, \
             provider_subject) VALUES ($1, $2, $3, '', '', FALSE, $4, $5, $6) \
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, tenants = excluded.tenants \
             WHERE web_users.from_directory = excluded.from_directory \
             AND web_users.provider_subject = excluded.provider_subject",
        )
        .bind(&row.name)
        .bind(&row.role)
        .bind(&row.tenants)
        .bind(to_millis(row.created_at))
        .bind(from_directory)
        .bind(subject)
        .execute(&self.pool)
        .await
        .map_err(failed("take in a user who signs in elsewhere"))?;
        Ok(())
    }

    /// All users by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        sqlx::query_as::<_, User>("SELECT * FROM web_users ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list users"))?
            .into_iter()
            .map(UserRow::try_from)
            .collect()
    }

    /// One user, if there is one of that name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn user(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        sqlx::query_as::<_, User>("SELECT * FROM web_users WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a user"))?
            .map(UserRow::try_from)
            .transpose()
    }

    /// Makes a user as `row` says, but for what signing in notes. False if there is none of that name, or if no
    /// administrator who may sign in would be left.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn change_user(&self, row: &UserRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE web_users SET role = $2, tenants = $3, password = $4, second_factor = $5, disabled = $6 \
             WHERE name = $1 AND (($2 = 'administrator' AND NOT $6) OR EXISTS (SELECT 1 FROM web_users \
             WHERE name <> $1 AND role = 'administrator' AND NOT disabled) OR NOT (role = 'administrator' AND NOT disabled))",
        )
        .bind(&row.name)
        .bind(&row.role)
        .bind(&row.tenants)
        .bind(&row.password)
        .bind(&row.second_factor)
        .bind(row.disabled)
        .execute(&self.pool)
        .await
        .map_err(failed("change a user"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a user with all sessions. False if there is none, or it is the last administrator who may sign in.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM web_users WHERE name = $1 AND (NOT (role = 'administrator' AND NOT disabled) OR EXISTS \
             (SELECT 1 FROM web_users WHERE name <> $1 AND role = 'administrator' AND NOT disabled))",
        )
        .bind(name)
        .execute(&self.pool)
        .await
        .map_err(failed("remove a user"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Uses up a step of the second factor. False if it, or a later one, was used before.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn use_factor_step(&self, name: &str, step: u64) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE web_users SET factor_step = $2 WHERE name = $1 AND factor_step < $2")
            .bind(name)
            .bind(super::to_i64(step))
            .execute(&self.pool)
            .await
            .map_err(failed("note a second factor"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps the language that a user chose.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_language(&self, name: &str, language: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE web_users SET language = $2 WHERE name = $1")
            .bind(name)
            .bind(language)
            .execute(&self.pool)
            .await
            .map_err(failed("note a language"))?;
        Ok(())
    }

    /// Adds a session that begins, and notes the sign-in if it is whole.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_session(&self, row: &SessionRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO web_sessions (token_hash, user_name, form_token, is_proved, created_at, seen_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&row.token_hash)
        .bind(&row.user_name)
        .bind(&row.form_token)
        .bind(row.is_proved)
        .bind(to_millis(row.created_at))
        .bind(to_millis(row.seen_at))
        .execute(&self.pool)
        .await
        .map_err(failed("begin a session"))?;
        if row.is_proved {
            sqlx::query("UPDATE web_users SET signed_in_at = $2 WHERE name = $1")
                .bind(&row.user_name)
                .bind(to_millis(row.created_at))
                .execute(&self.pool)
                .await
                .map_err(failed("note a sign-in"))?;
        }
        Ok(())
    }

    /// The session of that token, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn session(&self, token_hash: &str) -> Result<Option<SessionRow>, StoreError> {
        sqlx::query_as::<_, Session>("SELECT * FROM web_sessions WHERE token_hash = $1")
            .bind(token_hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("find a session"))?
            .map(SessionRow::try_from)
            .transpose()
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn touch_session(&self, token_hash: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE web_sessions SET seen_at = $2 WHERE token_hash = $1")
            .bind(token_hash)
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note the use of a session"))?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_session(&self, token_hash: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM web_sessions WHERE token_hash = $1")
            .bind(token_hash)
            .execute(&self.pool)
            .await
            .map_err(failed("end a session"))?;
        Ok(())
    }

    /// Ends all sessions of a user but `kept`, and forgets the user's devices.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn end_sessions_of(&self, user: &str, kept: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM web_sessions WHERE user_name = $1 AND token_hash <> $2")
            .bind(user)
            .bind(kept)
            .execute(&self.pool)
            .await
            .map_err(failed("end the sessions of a user"))?;
        sqlx::query("DELETE FROM web_devices WHERE user_name = $1")
            .bind(user)
            .execute(&self.pool)
            .await
            .map_err(failed("forget the devices of a user"))?;
        Ok(())
    }

    /// Removes sessions that began before `began` or were not used since `used`, and devices from before `known`.
    /// Answers how many sessions.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn purge_sessions(
        &self,
        began: Timestamp,
        used: Timestamp,
        known: Timestamp,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM web_sessions WHERE created_at < $1 OR seen_at < $2")
            .bind(to_millis(began))
            .bind(to_millis(used))
            .execute(&self.pool)
            .await
            .map_err(failed("remove old sessions"))?;
        sqlx::query("DELETE FROM web_devices WHERE created_at < $1")
            .bind(to_millis(known))
            .execute(&self.pool)
            .await
            .map_err(failed("remove old devices"))?;
        Ok(done.rows_affected())
    }

    /// Remembers a device from which a user has signed in.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_device(&self, token_hash: &str, user: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO web_devices (token_hash, user_name, created_at) VALUES ($1, $2, $3)")
            .bind(token_hash)
            .bind(user)
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("remember a device"))?;
        Ok(())
    }

    /// Whether a user has signed in from that device.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn knows_device(&self, token_hash: &str, user: &str) -> Result<bool, StoreError> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM web_devices WHERE token_hash = $1 AND user_name = $2")
                .bind(token_hash)
                .bind(user)
                .fetch_one(&self.pool)
                .await
                .map_err(failed("find a device"))?;
        Ok(to_u64(count, "number of devices")? > 0)
    }
}
