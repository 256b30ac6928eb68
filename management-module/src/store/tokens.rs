//! Join tokens, without their secrets.

use jiff::Timestamp;
use satellite_proto::bundle::WorkloadName;
use satellite_proto::identity::Pin;
use satellite_proto::join::{TokenId, Verifier};

use super::{Store, StoreError, failed, to_millis, to_time};
use crate::names::{Address, SatelliteName};

/// Tokens that are listed.
const MOST: i64 = 1000;

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its name.
    pub id: TokenId,
    /// What checks it.
    pub verifier: Verifier,
    /// The server's address in it.
    pub address: String,
    /// The name that the satellite will get; none: the one that it has.
    pub wished_name: Option<SatelliteName>,
    /// What will be commissioned; none: the usual.
    pub workloads: Vec<WorkloadName>,
    /// Nothing will be commissioned.
    pub bare: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that has used it.
    pub used_by: Option<Pin>,
    /// The satellite that has joined by it.
    pub satellite: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    verifier: Vec<u8>,
    address: String,
    wished_name: String,
    workloads: String,
    bare: bool,
    created_at: i64,
    created_by: String,
    expires_at: i64,
    revoked_at: Option<i64>,
    used_by: Option<String>,
    satellite: Option<String>,
}

impl TryFrom<Row> for TokenRow {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what| move || StoreError::Corrupt { what };
        let workloads = row.workloads.split(',').filter(|name| !name.is_empty());
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt("id of a token")())?,
            verifier: Verifier::from_bytes(&row.verifier).ok_or_else(corrupt("verifier of a token"))?,
            address: row.address,
            wished_name: Some(row.wished_name.as_str())
                .filter(|name| !name.is_empty())
                .map(str::parse)
                .transpose()
                .map_err(|_| corrupt("name in a token")())?,
            workloads: workloads
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| corrupt("workload in a token")())?,
            bare: row.bare,
            created_at: to_time(row.created_at, "time of a token")?,
            created_by: row.created_by,
            expires_at: to_time(row.expires_at, "end of a token")?,
            revoked_at: row
                .revoked_at
                .map(|millis| to_time(millis, "revocation of a token"))
                .transpose()?,
            used_by: row
                .used_by
                .map(|pin| pin.parse())
                .transpose()
                .map_err(|_| corrupt("key that used a token")())?,
            satellite: row.satellite,
        })
    }
}

impl Store {
    /// Adds a token that was just made.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        let workloads: Vec<_> = row.workloads.iter().map(ToString::to_string).collect();
        sqlx::query(
            "INSERT INTO join_tokens (id, verifier, address, wished_name, workloads, bare, created_at, created_by, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.id.to_string())
        .bind(row.verifier.to_bytes())
        .bind(&row.address)
        .bind(row.wished_name.as_ref().map_or("", SatelliteName::as_str))
        .bind(workloads.join(","))
        .bind(row.bare)
        .bind(to_millis(row.created_at))
        .bind(&row.created_by)
        .bind(to_millis(row.expires_at))
        .execute(&self.pool)
        .await
        .map_err(failed("add a join token"))?;
        Ok(())
    }

    /// The newest tokens, newest first; at most 1000.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM join_tokens ORDER BY created_at DESC, id LIMIT $1")
            .bind(MOST)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list join tokens"))?
            .into_iter()
            .map(TokenRow::try_from)
            .collect()
    }

    /// One token, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn token(&self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM join_tokens WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a join token"))?
            .map(TokenRow::try_from)
            .transpose()
    }

    /// The latest end of all tokens; none if there are none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn tokens_end(&self) -> Result<Option<Timestamp>, StoreError> {
        let latest: Option<i64> = sqlx::query_scalar("SELECT MAX(expires_at) FROM join_tokens")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("look for join tokens"))?;
        latest.map(|millis| to_time(millis, "end of a token")).transpose()
    }

    /// Revokes a token that was not used. True if it was open or revoked before.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn revoke_token(&self, id: &TokenId, at: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE join_tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1 AND used_at IS NULL",
        )
        .bind(id.to_string())
        .bind(to_millis(at))
        .execute(&self.pool)
        .await
        .map_err(failed("revoke a join token"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Claims a token for the one with this key. True for one caller only: the token was open.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn claim_token(&self, id: &TokenId, pin: &Pin, at: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE join_tokens SET used_at = $2, used_by = $3 \
             WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2",
        )
        .bind(id.to_string())
        .bind(to_millis(at))
        .bind(pin.to_string())
        .execute(&self.pool)
        .await
        .map_err(failed("claim a join token"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes which satellite has joined by a token.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn note_joined(&self, id: &TokenId, name: &SatelliteName) -> Result<(), StoreError> {
        sqlx::query("UPDATE join_tokens SET satellite = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(name.as_str())
            .execute(&self.pool)
            .await
            .map_err(failed("note who has joined"))?;
        Ok(())
    }

    /// A satellite is at another address from now on, and was paired anew.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn move_satellite(
        &self,
        name: &SatelliteName,
        address: &Address,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE satellites SET address = $2, paired_at = $3 WHERE name = $1")
            .bind(name.as_str())
            .bind(address.as_str())
            .bind(to_millis(at))
            .execute(&self.pool)
            .await
            .map_err(failed("note a satellite's address"))?;
        Ok(())
    }
}
