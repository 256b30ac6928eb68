//! Who may work on a central at the moment.
//!
//! **Invariant:** a lease ends with its holder, however that ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::app::AppError;

/// The leases of this process; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<BTreeSet<String>>>);

/// The right to work on a central, as long as it lives.
#[derive(Debug)]
pub(super) struct Lease {
    leases: Leases,
    central: String,
}

impl Leases {
    pub(super) fn take(&self, central: &str) -> Result<Lease, AppError> {
        let taken = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(central.to_owned());
        if !taken {
            return Err(AppError::Precondition(format!(
                "a backup or restore of central {central} is under way: wait for its end and try again"
            )));
        }
        Ok(Lease {
            leases: self.clone(),
            central: central.to_owned(),
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.central);
    }
}
