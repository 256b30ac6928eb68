//! Where the web page is offered and who certifies it: its listener publishes, who is curious asks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

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

/// How it goes with the authority that certifies the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Tries in a row that failed.
    pub tries: u32,
    /// Why the last one did; empty if none did.
    pub problem: String,
    /// When the next certificate is asked for; none: no authority is configured.
    pub next_at: Option<Timestamp>,
}

/// The handle; clones share it.
#[derive(Debug, Clone)]
pub struct Page(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    offer: watch::Sender<Offer>,
    renewal: watch::Sender<Renewal>,
    /// What is shown to an authority that asks for a name.
    answers: Mutex<HashMap<String, [u8; 32]>>,
    renewed: Notify,
}

/// Nothing is shown to authorities any more once it is dropped.
#[derive(Debug)]
pub struct Answers(Page);

impl Drop for Answers {
    fn drop(&mut self) {
        let answers = &self.0.0.answers;
        answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Default for Page {
    fn default() -> Self {
        let not_yet = Offer {
            problem: "it is not offered yet".into(),
            ..Offer::default()
        };
        Self(Arc::new(Shared {
            offer: watch::Sender::new(not_yet),
            renewal: watch::Sender::default(),
            answers: Mutex::default(),
            renewed: Notify::new(),
        }))
    }
}

impl Page {
    /// How the page is offered now.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.0.offer.borrow().clone()
    }

    /// Where a reader of a mail finds a place of the page: `told` is what the configuration says its readers type, empty:
    /// nothing. Then it is this machine's name with the port, unless the page is for the machine itself only. Empty: nowhere.
    #[must_use]
    pub fn link(&self, told: &str, server: &str, path: &str) -> String {
        if !told.is_empty() {
            return format!("{}{path}", told.trim_end_matches('/'));
        }
        let offered = self
            .0
            .offer
            .borrow()
            .address
            .filter(|address| !address.ip().is_loopback());
        let is_host = |name: &str| {
            let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            !name.is_empty() && name.chars().all(is_fine)
        };
        match offered {
            Some(address) if is_host(server) => format!("https://{server}:{}{path}", address.port()),
            _ => String::new(),
        }
    }

    /// It is offered like this from now on.
    pub fn publish(&self, offer: Offer) {
        self.0.offer.send_replace(offer);
    }

    /// Waits until the page is offered.
    pub async fn is_offered(&self) {
        let mut offer = self.0.offer.subscribe();
        // The sender lives as long as this handle.
        let _ = offer.wait_for(|offer| offer.address.is_some()).await;
    }

    /// How it goes with the authority.
    #[must_use]
    pub fn renewal(&self) -> Renewal {
        self.0.renewal.borrow().clone()
    }

    /// It goes like this with the authority from now on.
    pub fn certified(&self, renewal: Renewal) {
        self.0.renewal.send_replace(renewal);
    }

    /// There is a new certificate.
    pub fn renew(&self) {
        self.0.renewed.notify_one();
    }

    /// Waits until there is a new certificate.
    pub async fn renewed(&self) {
        self.0.renewed.notified().await;
    }

    /// What is shown to authorities until the answer is dropped.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers(self.clone())
    }

    /// An authority that asks for `name` is shown `digest`.
    pub fn answer(&self, name: &str, digest: [u8; 32]) {
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(name.to_owned(), digest);
    }

    /// What an authority is shown that asks for `name`.
    #[must_use]
    pub fn answer_to(&self, name: &str) -> Option<[u8; 32]> {
        let answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(name).copied()
    }
}

/// A text as a part of a path or a query.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_leads_to_where_its_reader_can_go() {
        let page = Page::default();
        let at = |address: &str| {
            page.publish(Offer {
                address: Some(address.parse().unwrap()),
                ..Offer::default()
            });
            page.link("", "pbx.example.com", "/backups/of/Core")
        };
        assert_eq!(at("[::]:7600"), "https://pbx.example.com:7600/backups/of/Core");
        assert_eq!(at("127.0.0.1:7600"), "");
        assert_eq!(at("192.0.2.1:443"), "https://pbx.example.com:443/backups/of/Core");
        assert_eq!(page.link("", "PBX of the Müller AG", "/"), "");
        let told = page.link("https://backup.example.com/", "pbx", "/warnings");
        assert_eq!(told, "https://backup.example.com/warnings");
        page.publish(Offer::default());
        assert_eq!(page.link("", "pbx", "/"), "");
    }
}
