//! What was typed: pairs of names and values, of a form or of an address.

/// The most pairs that are looked at.
const MOST: usize = 1000;

/// Pairs, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes).take(MOST);
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first value of that name, without blanks around it; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first value of that name as it came: for passwords and documents.
    pub(super) fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(found, _)| found == name);
        found.map(|(_, value)| value.trim())
    }

    /// Whether a box of that name was ticked.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }
}
