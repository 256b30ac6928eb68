//! Signed documents: the sets of keys that were published, and permits to go back.

use jiff::Timestamp;
use satellite_proto::bundle::{Digest, Signed, TrustRecord};

use super::{Store, StoreError, failed, to_millis};

/// There is one record.
const ID: i64 = 1;

impl Store {
    /// The sets of keys that were published.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they cannot be read.
    pub async fn trust_record(&self) -> Result<TrustRecord, StoreError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT record FROM trust WHERE id = $1")
            .bind(ID)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read the published sets of keys"))?;
        let Some((text,)) = row else {
            return Ok(TrustRecord::default());
        };
        serde_json::from_str(&text).map_err(|_| StoreError::Corrupt { what: "set of keys" })
    }

    /// Keeps the sets of keys that were published.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn set_trust_record(&self, record: &TrustRecord) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).map_err(|_| StoreError::Corrupt { what: "set of keys" })?;
        sqlx::query(
            "INSERT INTO trust (id, record) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
        )
        .bind(ID)
        .bind(text)
        .execute(&self.pool)
        .await
        .map_err(failed("keep the published sets of keys"))?;
        Ok(())
    }

    /// The permit to go back to a bundle, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it cannot be read.
    pub async fn permit(&self, manifest: &Digest) -> Result<Option<Signed>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT signed FROM permits WHERE manifest_digest = $1")
            .bind(manifest.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a permit"))?;
        row.map(|(text,)| serde_json::from_str(&text).map_err(|_| StoreError::Corrupt { what: "permit" }))
            .transpose()
    }

    /// Keeps the permit to go back to a bundle, in place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn add_permit(&self, manifest: &Digest, permit: &Signed) -> Result<(), StoreError> {
        let text = serde_json::to_string(permit).map_err(|_| StoreError::Corrupt { what: "permit" })?;
        sqlx::query(
            "INSERT INTO permits (manifest_digest, signed, added_at) VALUES ($1, $2, $3) \
             ON CONFLICT (manifest_digest) DO UPDATE SET signed = excluded.signed, added_at = excluded.added_at",
        )
        .bind(manifest.to_string())
        .bind(text)
        .bind(to_millis(Timestamp::now()))
        .execute(&self.pool)
        .await
        .map_err(failed("keep a permit"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fresh;

    #[tokio::test]
    async fn documents_are_kept_as_they_were_signed() {
        let (_dir, store) = fresh().await;
        assert_eq!(store.trust_record().await.unwrap(), TrustRecord::default());
        let signed = Signed {
            document: "{\"a\":1}".into(),
            signatures: vec!["untrusted comment: x\nRW\n".into()],
        };
        let record = TrustRecord {
            roots: vec![signed.clone()],
            keys: Some(signed.clone()),
        };
        store.set_trust_record(&TrustRecord::default()).await.unwrap();
        store.set_trust_record(&record).await.unwrap();
        assert_eq!(store.trust_record().await.unwrap(), record);
        let digest = Digest::of(b"m");
        assert_eq!(store.permit(&digest).await.unwrap(), None);
        for _ in 0..2 {
            store.add_permit(&digest, &signed).await.unwrap();
        }
        assert_eq!(store.permit(&digest).await.unwrap(), Some(signed));
    }
}
