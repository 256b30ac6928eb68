//! Where the web page is offered: its listener publishes, who is curious asks.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

/// How the page is offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Where; none: nowhere at the moment.
    pub address: Option<SocketAddr>,
    /// Why it is not offered; empty if it is.
    pub problem: String,
    /// SHA-256 of the certificate as browsers show it.
    pub fingerprint: String,
    /// Until when the certificate is good.
    pub expires_at: Option<Timestamp>,
}

/// The handle; clones share it.
#[derive(Debug, Clone)]
pub struct Page(Arc<watch::Sender<Offer>>);

impl Default for Page {
    fn default() -> Self {
        let not_yet = Offer {
            problem: "it is not offered yet".into(),
            ..Offer::default()
        };
        Self(Arc::new(watch::Sender::new(not_yet)))
    }
}

impl Page {
    /// How the page is offered now.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.0.borrow().clone()
    }

    /// It is offered like this from now on.
    pub fn publish(&self, offer: Offer) {
        self.0.send_replace(offer);
    }
}
