//! Rulesets that hold what the contract promises: names, ports, networks, limits. Only checked ones exist.
//!
//! **Invariant:** pure: no clock, no I/O. What is read from disk is checked as strictly as what comes over the wire.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub use super::rate::{MAX_RATE, RateLimit};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Most rules in a ruleset.
pub const MAX_RULES: usize = 10_000;

/// Most port ranges in a rule.
pub const MAX_PORTS: usize = 256;

/// Most remotes in a rule.
pub const MAX_REMOTES: usize = 1024;

/// Most characters in a comment.
pub const MAX_COMMENT: usize = 100;

/// Most bytes of a ruleset as it goes over the wire, so that it fits into an answer with room for the kernel's rules.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Why a ruleset is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesetError {
    /// More rules than are taken.
    #[error("there are {count} rules; at most {MAX_RULES} are taken")]
    TooManyRules {
        /// How many there are.
        count: usize,
    },
    /// A ruleset that could be set and never be read back.
    #[error(
        "the rules are {bytes} bytes long; at most {MAX_BYTES} are taken: use larger networks or shorter comments"
    )]
    TooLong {
        /// How long they are.
        bytes: usize,
    },
    /// A default action is not set, or is one that cannot be a default.
    #[error("the default action for {direction} packets is not set: choose accept, drop or reject")]
    NoDefault {
        /// Which way.
        direction: Direction,
    },
    /// A rule is not right.
    #[error("rule `{owner}/{name}`: {fault}")]
    Rule {
        /// Whose rule.
        owner: String,
        /// Its name, or its place if the name itself is wrong.
        name: String,
        /// What is wrong with it.
        fault: RuleFault,
    },
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// The name is not one.
    #[error("its name must be 1 to 63 of a-z, 0-9 and hyphen")]
    Name,
    /// The owner is not one.
    #[error("its owner must be `operator` or `workload/NAME`")]
    Owner,
    /// Another rule of that owner has the name.
    #[error("there is another rule with this name; names are unique among the rules of an owner")]
    Duplicate,
    /// No direction.
    #[error("its direction is not set: choose in or out")]
    Direction,
    /// A protocol that is not known.
    #[error("its protocol is not known: choose any, TCP, UDP or ICMP")]
    Protocol,
    /// No action.
    #[error("its action is not set: choose accept, drop or reject")]
    Action,
    /// Ports with a protocol that has none.
    #[error("it names ports, which only TCP and UDP have")]
    PortsWithoutProtocol,
    /// A range that is none.
    #[error("ports {first} to {last} are not a range within 1 to 65535")]
    Ports {
        /// Its start.
        first: u32,
        /// Its end.
        last: u32,
    },
    /// Too many ranges of ports.
    #[error("it has more than {MAX_PORTS} port ranges")]
    TooManyPorts,
    /// Not an address or network.
    #[error("`{0}` is not an IP address or network, such as 192.0.2.0/24 or 2001:db8::1")]
    Remote(String),
    /// Too many remotes.
    #[error("it has more than {MAX_REMOTES} remotes")]
    TooManyRemotes,
    /// A comment that is too long or not printable.
    #[error("its comment must be at most {MAX_COMMENT} printable characters")]
    Comment,
    /// A limit that is none.
    #[error(
        "its rate limit must be 1 to {MAX_RATE} packets a second, minute or hour, with a burst of 1 to {MAX_RATE}"
    )]
    RateLimit,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the satellite.
    In,
    /// From the satellite.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "incoming",
            Self::Out => "outgoing",
        })
    }
}

/// What is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Anything.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP for IPv4, ICMPv6 for IPv6.
    Icmp,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It passes.
    Accept,
    /// It vanishes.
    Drop,
    /// The sender is told.
    Reject,
}

/// A range of ports, both ends included; never empty, never with port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// The range from `first` to `last`.
    ///
    /// # Errors
    ///
    /// [`RuleFault::Ports`] unless 1 ≤ first ≤ last ≤ 65535.
    pub fn new(first: u32, last: u32) -> Result<Self, RuleFault> {
        let fault = || RuleFault::Ports { first, last };
        let (low, high) = (
            u16::try_from(first).map_err(|_| fault())?,
            u16::try_from(last).map_err(|_| fault())?,
        );
        if low == 0 || high < low {
            return Err(fault());
        }
        Ok(Self {
            first: low,
            last: high,
        })
    }

    /// Its start.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// Its end.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }
}

impl TryFrom<(u32, u32)> for Ports {
    type Error = RuleFault;

    fn try_from((first, last): (u32, u32)) -> Result<Self, RuleFault> {
        Self::new(first, last)
    }
}

impl From<Ports> for (u32, u32) {
    fn from(ports: Ports) -> Self {
        (ports.first.into(), ports.last.into())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}:{}", self.first, self.last)
        }
    }
}

/// A name of a rule or a workload: 1 to 63 of `a-z0-9-`.
fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The name of a rule: 1 to 63 of `a-z0-9-`, so that it can stand unquoted in a comment of the kernel's rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(String);

impl FromStr for RuleName {
    type Err = RuleFault;

    fn from_str(text: &str) -> Result<Self, RuleFault> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RuleFault::Name)
        }
    }
}

/// Who set a rule: `operator` or `workload/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

impl FromStr for Owner {
    type Err = RuleFault;

    fn from_str(text: &str) -> Result<Self, RuleFault> {
        let known = text == "operator" || text.strip_prefix("workload/").is_some_and(is_name);
        if known {
            Ok(Self(text.to_owned()))
        } else {
            Err(RuleFault::Owner)
        }
    }
}

/// What a person wrote about a rule: at most 100 printable characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Comment(String);

impl FromStr for Comment {
    type Err = RuleFault;

    fn from_str(text: &str) -> Result<Self, RuleFault> {
        let printable = text.chars().all(|c| !c.is_control() && !is_invisible(c));
        if printable && text.chars().count() <= MAX_COMMENT {
            Ok(Self(text.to_owned()))
        } else {
            Err(RuleFault::Comment)
        }
    }
}

/// Line and direction marks: they print nothing and can make a line read as something else.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = RuleFault;

            fn try_from(text: String) -> Result<Self, RuleFault> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text_type!(RuleName, Owner, Comment);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique among the rules of its owner.
    pub name: RuleName,
    /// Who set it.
    pub owner: Owner,
    /// Which way.
    pub direction: Direction,
    /// What is carried.
    pub protocol: Protocol,
    /// Destination ports; none means all.
    pub ports: Vec<Ports>,
    /// Remote networks; none means all.
    pub remotes: Vec<IpNet>,
    /// What happens.
    pub action: Action,
    /// For a person.
    pub comment: Comment,
    /// How many packets it takes; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

impl Rule {
    fn check(&self) -> Result<(), RuleFault> {
        let has_ports = matches!(self.protocol, Protocol::Tcp | Protocol::Udp);
        if !self.ports.is_empty() && !has_ports {
            return Err(RuleFault::PortsWithoutProtocol);
        }
        if self.ports.len() > MAX_PORTS {
            return Err(RuleFault::TooManyPorts);
        }
        if self.remotes.len() > MAX_REMOTES {
            return Err(RuleFault::TooManyRemotes);
        }
        Ok(())
    }
}

/// All rules, in the order in which packets meet them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Ruleset {
    rules: Vec<Rule>,
    default_in: Action,
    default_out: Action,
}

/// A ruleset as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    rules: Vec<Rule>,
    default_in: Action,
    default_out: Action,
}

impl TryFrom<Unchecked> for Ruleset {
    type Error = RulesetError;

    fn try_from(unchecked: Unchecked) -> Result<Self, RulesetError> {
        Self::new(unchecked.rules, unchecked.default_in, unchecked.default_out)
    }
}

impl From<Ruleset> for Unchecked {
    fn from(ruleset: Ruleset) -> Self {
        Self {
            rules: ruleset.rules,
            default_in: ruleset.default_in,
            default_out: ruleset.default_out,
        }
    }
}

impl Ruleset {
    /// The rules, in order, and what happens to packets that none of them names.
    ///
    /// # Errors
    ///
    /// [`RulesetError`] with the owner and the name of the first rule that is not right.
    pub fn new(rules: Vec<Rule>, default_in: Action, default_out: Action) -> Result<Self, RulesetError> {
        if rules.len() > MAX_RULES {
            return Err(RulesetError::TooManyRules { count: rules.len() });
        }
        let mut seen = BTreeSet::new();
        for rule in &rules {
            let unique = if seen.insert((&rule.owner, &rule.name)) {
                Ok(())
            } else {
                Err(RuleFault::Duplicate)
            };
            unique
                .and_then(|()| rule.check())
                .map_err(|fault| RulesetError::Rule {
                    owner: rule.owner.to_string(),
                    name: rule.name.to_string(),
                    fault,
                })?;
        }
        Ok(Self {
            rules,
            default_in,
            default_out,
        })
    }

    /// What a satellite is shipped with: nothing comes in but calls of the server, everything goes out.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            rules: Vec::new(),
            default_in: Action::Drop,
            default_out: Action::Accept,
        }
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What happens to incoming packets that no rule names.
    #[must_use]
    pub fn default_in(&self) -> Action {
        self.default_in
    }

    /// What happens to outgoing packets that no rule names.
    #[must_use]
    pub fn default_out(&self) -> Action {
        self.default_out
    }
}

#[cfg(test)]
pub(crate) mod testing;
