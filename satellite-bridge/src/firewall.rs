//! The packet filter: from a ruleset to chains of our own.
