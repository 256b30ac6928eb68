//! OpenStack Swift with its S3 API, as Debian has it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use super::{Server, certificate, free_port, open_dir, text};

/// Of the user `pbx:anna`.
pub(crate) const SECRET_KEY: &str = "geheim/+=1";

/// Swift with the buckets `backup` and `small`, which takes 4 MiB.
pub(crate) fn swift(ahead: i64, tls: bool) -> Server {
    let (dir, port) = (open_dir(), free_port());
    if tls {
        certificate(dir.path());
    }
    text(dir.path().join("s3.py"), include_str!("s3.py"));
    let way = if tls { "tls" } else { "plain" };
    Server::start(
        dir,
        port,
        &format!("exec /usr/bin/python3 s3.py {port} {ahead} {way}"),
    )
}
