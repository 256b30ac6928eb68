//! Names as people give them, checked once.
//!
//! **Invariant:** a name that exists is safe in a path, a URL and a log field.

use std::fmt;
use std::str::FromStr;

/// A satellite's name in the installation: 1 to 63 of `a-z0-9-`, neither first nor last a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SatelliteName(String);

/// The text is not a satellite's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a name: use 1 to 63 of a-z, 0-9 and hyphen, with a letter or digit at both ends")]
pub struct NotAName(pub String);

impl SatelliteName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest name to what a machine calls itself: lower case, the first label, other characters as hyphens.
    #[must_use]
    pub fn nearest(host_name: &str) -> Option<Self> {
        let label = host_name
            .split('.')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let clean: String = label
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() || c.is_ascii_digit() {
                    c
                } else {
                    '-'
                }
            })
            .take(56)
            .collect();
        clean.trim_matches('-').parse().ok()
    }

    /// This name with a number behind it, for the second satellite that calls itself so.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<Self> {
        format!("{}-{number}", self.0).parse().ok()
    }
}

impl FromStr for SatelliteName {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let fits = (1..=63).contains(&text.len());
        let clean = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ends = !text.starts_with('-') && !text.ends_with('-');
        if !(fits && clean && ends) {
            return Err(NotAName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SatelliteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A destination's name in the installation, of the same form as a satellite's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationName(SatelliteName);

impl DestinationName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for DestinationName {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        text.parse().map(Self)
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host name or IP address with a port, as it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// The text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not an address: give a host name or an IP address, with a port if it is not 7640 ([IPv6]:PORT)"
)]
pub struct NotAnAddress(String);

impl Address {
    /// The address as `host:port`, an IPv6 host in brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim();
        let port = satellite_proto::wire::BRIDGE_PORT;
        if let Ok(ip) = text.parse::<std::net::IpAddr>() {
            return Ok(Self(std::net::SocketAddr::new(ip, port).to_string()));
        }
        if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
            return if socket.port() == 0 {
                Err(NotAnAddress(text.to_owned()))
            } else {
                Ok(Self(socket.to_string()))
            };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, digits)) => match digits.parse::<u16>() {
                Ok(port) if port != 0 => (host, port),
                _ => return Err(NotAnAddress(text.to_owned())),
            },
            None => (text, port),
        };
        let fits = (1..=253).contains(&host.len());
        let clean = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if !(fits && clean) {
            return Err(NotAnAddress(text.to_owned()));
        }
        Ok(Self(format!("{host}:{port}")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_safe_label() {
        for good in ["a", "s1", "berlin-2"] {
            assert_eq!(good.parse::<SatelliteName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", &"x".repeat(64)] {
            assert!(bad.parse::<SatelliteName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_gives_the_nearest_name() {
        assert_eq!(
            SatelliteName::nearest("Sat_1.example.org").unwrap().as_str(),
            "sat-1"
        );
        assert_eq!(SatelliteName::nearest("..."), None);
        assert_eq!(
            SatelliteName::nearest("sat")
                .unwrap()
                .numbered(2)
                .unwrap()
                .as_str(),
            "sat-2"
        );
    }

    #[test]
    fn an_address_gets_the_port_of_the_bridge() {
        for (text, expected) in [
            ("10.0.0.7", "10.0.0.7:7640"),
            ("10.0.0.7:17640", "10.0.0.7:17640"),
            ("fd00::7", "[fd00::7]:7640"),
            ("[fd00::7]:99", "[fd00::7]:99"),
            ("sat.example.org", "sat.example.org:7640"),
            (" sat:1 ", "sat:1"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().as_str(), expected);
        }
        for bad in ["", ":7640", "sat:0", "sat:x", "a b", "http://sat", "10.0.0.7:0"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
