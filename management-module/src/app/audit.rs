//! Who changed what, and how it ended.

use std::fmt;

use jiff::Timestamp;
use satellite_proto::identity::Pin;

use crate::store::{AuditRow, Store, StoreError};

/// The most characters of a result that are kept.
const RESULT_MOST: usize = 2000;

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// The management module itself.
    #[must_use]
    pub fn reconciler() -> Self {
        Self("reconciler".into())
    }

    /// A machine that calls with a join token: known by its key alone.
    #[must_use]
    pub fn satellite(pin: &Pin, ip: std::net::IpAddr) -> Self {
        let pin = pin.to_string();
        Self(format!(
            "satellite {} at {}",
            pin.get(..16).unwrap_or_default(),
            ip.to_canonical()
        ))
    }

    /// As it was written down before.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A user of the web page, or who is said to be one.
    #[must_use]
    pub fn web(name: &str) -> Self {
        Self(format!("web user {}", name.escape_debug()))
    }

    /// A user of this machine.
    #[must_use]
    pub fn user(uid: u32) -> Self {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid))
            .ok()
            .flatten();
        Self(match user {
            Some(user) => format!("uid {uid} ({})", user.name),
            None => format!("uid {uid}"),
        })
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The handle of the audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
}

impl Audit {
    /// The log in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Records a change, also one that failed: `result` is the text of what went wrong. A record that cannot be
    /// written is logged, and does not undo what was done.
    pub async fn record(&self, actor: &Actor, action: &str, subject: &str, result: Result<(), String>) {
        let result = match result {
            Ok(()) => "ok".to_owned(),
            Err(problem) => problem.chars().take(RESULT_MOST).collect(),
        };
        tracing::info!(%actor, action, subject, result, "Change recorded");
        let row = AuditRow {
            sequence: 0,
            time: Timestamp::now(),
            actor: actor.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            result,
        };
        if let Err(error) = self.store.add_audit(&row).await {
            tracing::error!(action, subject, error = %crate::error_chain(&error), "Audit record not written");
        }
    }

    /// Records how `result` went and gives it back.
    ///
    /// # Errors
    /// Those of `result`.
    pub async fn recorded<T, E: std::error::Error + 'static>(
        &self,
        actor: &Actor,
        action: &str,
        subject: &str,
        result: Result<T, E>,
    ) -> Result<T, E> {
        let text = result
            .as_ref()
            .map(|_| ())
            .map_err(|error| crate::error_chain(error));
        self.record(actor, action, subject, text).await;
        result
    }

    /// Records a change that ended before it began, and gives `result` back. What began is recorded by whoever does it.
    ///
    /// # Errors
    /// Those of `result`.
    pub async fn begun<T, E: std::error::Error + 'static>(
        &self,
        actor: &Actor,
        action: &str,
        subject: &str,
        result: Result<T, E>,
    ) -> Result<T, E> {
        if let Err(error) = &result {
            let text = Err(crate::error_chain(error));
            self.record(actor, action, subject, text).await;
        }
        result
    }

    /// The newest records, newest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn newest(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.store.audit(limit).await
    }
}
