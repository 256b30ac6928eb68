//! The web page: HTML over HTTPS, made here, of what the use cases answer.
//!
//! **Invariants:** a route without a row in `routes` does not exist, and a row says who may use it; what came from
//! outside reaches HTML only through `maud`, which escapes it; nothing is decided here that the command line decides too.

mod access;
mod ask;
mod certificate;
mod challenge;
mod cookies;
mod drafts;
mod failure;
mod form;
mod listen;
mod live;
mod locale;
mod look;
mod metrics;
mod pager;
mod pages;
mod routes;
mod sizes;
mod statics;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::backup::Backups;
use crate::app::users::{ProviderSignIn, SignIn};
use crate::app::{App, AppError};
use crate::store::Central;

pub use self::listen::offer;
pub use self::metrics::offer as offer_metrics;

/// Pages that are kept up to date at the same time, of all who look.
const LIVE: usize = 500;

/// What all requests share.
#[derive(Debug, Clone)]
struct Web(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    app: App,
    backups: Backups,
    sign_in: SignIn,
    provider: ProviderSignIn,
    live: Arc<Semaphore>,
    drafts: drafts::Drafts<pages::wizard::Draft>,
    dropboxes: drafts::Drafts<pages::destinations::Waiting>,
    sizes: sizes::Sizes,
    /// Who began which job: a customer sees no other.
    begun: Mutex<HashMap<String, String>>,
    stop: CancellationToken,
}

impl Web {
    fn new(app: App, backups: Backups, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            app,
            backups,
            sign_in: SignIn::default(),
            provider: ProviderSignIn::default(),
            live: Arc::new(Semaphore::new(LIVE)),
            drafts: drafts::Drafts::default(),
            dropboxes: drafts::Drafts::default(),
            sizes: sizes::Sizes::default(),
            begun: Mutex::default(),
            stop,
        }))
    }

    fn app(&self) -> &App {
        &self.0.app
    }

    fn backups(&self) -> &Backups {
        &self.0.backups
    }

    /// What a central holds, or held some minutes ago.
    async fn sizes(&self, central: &Central) -> Result<Arc<sizes::Looked>, AppError> {
        self.0.sizes.of(&self.0.backups, central).await
    }
}

#[cfg(test)]
mod tests;
