//! The bridge over real TLS on loopback: pairing, rights, and calls passed on to workloads.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod authorisation;
mod join;
mod lab;
mod membership;
mod pairing;
mod proxy;
mod reset;
