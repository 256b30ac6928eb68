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

    /// Where a reader of a mail finds a place of the page: `told` is what the configuration says its readers type, empty:
    /// nothing. Then it is this machine's name with the port, unless the page is for the machine itself only. Empty: nowhere.
    #[must_use]
    pub fn link(&self, told: &str, server: &str, path: &str) -> String {
        if !told.is_empty() {
            return format!("{}{path}", told.trim_end_matches('/'));
        }
        let offered = self
            .0
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
        self.0.send_replace(offer);
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
