//! How people and programs outside are reached: mail by SMTP, a webhook by HTTP; and where it is read who they are: LDAP, OpenID Connect;
//! and who certifies the web page: ACME.
//!
//! **Invariant:** nothing is decided here, neither who is told nor what; every wait on a server has a deadline, and a
//! password is neither logged nor part of an error.

pub mod acme;
pub mod http;
pub mod ldap;
pub mod openid;
pub mod smtp;
pub mod trust;
pub mod webhook;

pub use smtp::{Connection, Mailer, SmtpError, Verdict};
