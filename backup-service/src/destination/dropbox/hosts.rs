//! Where the Dropbox API is.

/// Its three hosts, or one server that stands for two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Calls.
    pub api: String,
    /// Contents of files.
    pub content: String,
    /// Where people give their consent.
    pub consent: String,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            api: "https://api.dropboxapi.com".to_owned(),
            content: "https://content.dropboxapi.com".to_owned(),
            consent: "https://www.dropbox.com".to_owned(),
        }
    }
}

impl Hosts {
    /// One server that stands for those that programs ask. People are sent to Dropbox all the same: nothing that a
    /// satellite answers may lead a browser elsewhere.
    #[must_use]
    pub fn one(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self {
            api: url.clone(),
            content: url,
            ..Self::default()
        }
    }
}
