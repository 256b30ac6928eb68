//! The centrals whose data is backed up.

use jiff::Timestamp;
use prost::Message as _;
use satellite_proto::wire::backup::v1::SshCentral;

use super::{Store, StoreError, failed, to_millis, to_time};

/// A central.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Central {
    /// Its name.
    pub name: String,
    /// Its address, as lists show it.
    pub address: String,
    /// Its tenant.
    pub tenant: String,
    /// The profile, TOML.
    pub profile: String,
    /// Satellite on which its archives are written.
    pub satellite: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// It is the master of the installation; the others are secondary.
    pub is_master: bool,
    /// How it is reached over SSH; none: it is the server's own machine.
    pub ssh: Option<SshLogin>,
}

/// How a central is reached over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshLogin {
    /// Everything but the secrets.
    pub settings: SshCentral,
    /// Everything, sealed by the vault.
    pub sealed: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    address: String,
    tenant: String,
    profile: String,
    satellite: String,
    added_at: i64,
    is_master: bool,
    ssh: Option<Vec<u8>>,
    ssh_sealed: Option<Vec<u8>>,
}

impl TryFrom<Row> for Central {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let login = |settings: Vec<u8>| {
            Ok::<_, StoreError>(SshLogin {
                settings: SshCentral::decode(settings.as_slice()).map_err(|_| StoreError::Corrupt {
                    what: "way to a central",
                })?,
                sealed: row.ssh_sealed.clone().unwrap_or_default(),
            })
        };
        Ok(Self {
            ssh: row.ssh.map(login).transpose()?,
            name: row.name,
            address: row.address,
            tenant: row.tenant,
            profile: row.profile,
            satellite: row.satellite,
            added_at: to_time(row.added_at, "time of a central")?,
            is_master: row.is_master,
        })
    }
}

impl Store {
    /// Adds a central; with `replace` it takes the place of the one of its name, which keeps its time. The first one is the
    /// master; whether another is, is not asked here.
    ///
    /// # Errors
    /// [`StoreError::Exists`] without `replace` if the name is taken.
    pub async fn add_central(&self, central: &Central, replace: bool) -> Result<(), StoreError> {
        let insert = "INSERT INTO centrals (name, address, tenant, profile, satellite, added_at, ssh, ssh_sealed, is_master) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NOT EXISTS (SELECT 1 FROM centrals))";
        let upsert = "INSERT INTO centrals (name, address, tenant, profile, satellite, added_at, ssh, ssh_sealed, is_master) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NOT EXISTS (SELECT 1 FROM centrals)) ON CONFLICT (name) DO UPDATE SET \
                      address = excluded.address, tenant = excluded.tenant, profile = excluded.profile, \
                      satellite = excluded.satellite, ssh = excluded.ssh, ssh_sealed = excluded.ssh_sealed";
        sqlx::query(if replace { upsert } else { insert })
            .bind(&central.name)
            .bind(&central.address)
            .bind(&central.tenant)
            .bind(&central.profile)
            .bind(&central.satellite)
            .bind(to_millis(central.added_at))
            .bind(central.ssh.as_ref().map(|login| login.settings.encode_to_vec()))
            .bind(central.ssh.as_ref().map(|login| login.sealed.as_slice()))
            .execute(&self.pool)
            .await
            .map_err(failed("add a central"))?;
        Ok(())
    }

    /// All centrals by name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn centrals(&self) -> Result<Vec<Central>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM centrals ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list centrals"))?
            .into_iter()
            .map(Central::try_from)
            .collect()
    }

    /// Makes a central the master instead of the one that is; false if there is no such central, and then all stays.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn set_master(&self, name: &str) -> Result<bool, StoreError> {
        let what = "make a central the master";
        let mut transaction = self.pool.begin().await.map_err(failed(what))?;
        sqlx::query("UPDATE centrals SET is_master = FALSE WHERE is_master")
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        let done = sqlx::query("UPDATE centrals SET is_master = TRUE WHERE name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        transaction.commit().await.map_err(failed(what))?;
        Ok(true)
    }

    /// Removes a central; false if there was none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn remove_central(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM centrals WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(failed("remove a central"))?;
        Ok(done.rows_affected() > 0)
    }

    /// One central, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Busy`] may be retried.
    pub async fn central(&self, name: &str) -> Result<Option<Central>, StoreError> {
        sqlx::query_as::<_, Row>("SELECT * FROM centrals WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a central"))?
            .map(Central::try_from)
            .transpose()
    }
}
