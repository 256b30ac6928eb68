//! How many packets a rule takes.
//!
//! **Invariant:** only [`RateLimit::new`] makes one, so that the kernel takes each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ruleset::RuleFault;

/// The most packets in a span, and at once: more the kernel does not count.
pub const MAX_RATE: u32 = 10_000;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// So many packets in each span, and so many at once before that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Written", into = "Written")]
pub struct RateLimit {
    packets: u32,
    span: Span,
    burst: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    packets: u32,
    span: Span,
    burst: u32,
}

impl RateLimit {
    /// A limit that the kernel takes.
    ///
    /// # Errors
    ///
    /// [`RuleFault::RateLimit`].
    pub fn new(packets: u32, span: Span, burst: u32) -> Result<Self, RuleFault> {
        let fits = (1..=MAX_RATE).contains(&packets) && (1..=MAX_RATE).contains(&burst);
        fits.then_some(Self { packets, span, burst })
            .ok_or(RuleFault::RateLimit)
    }

    /// Packets in each span.
    #[must_use]
    pub fn packets(self) -> u32 {
        self.packets
    }

    /// The span.
    #[must_use]
    pub fn span(self) -> Span {
        self.span
    }

    /// Packets at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }
}

impl TryFrom<Written> for RateLimit {
    type Error = RuleFault;

    fn try_from(written: Written) -> Result<Self, RuleFault> {
        Self::new(written.packets, written.span, written.burst)
    }
}

impl From<RateLimit> for Written {
    fn from(limit: RateLimit) -> Self {
        Self {
            packets: limit.packets,
            span: limit.span,
            burst: limit.burst,
        }
    }
}

/// As `iptables` takes it.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = match self.span {
            Span::Second => "second",
            Span::Minute => "minute",
            Span::Hour => "hour",
        };
        write!(
            f,
            "-m limit --limit {}/{span} --limit-burst {}",
            self.packets, self.burst
        )
    }
}
