//! Samba's server, as Debian has it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the tests start real servers")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{PASSWORD, Server, free_port, open_dir, text};

/// A user who signs in with a password.
pub(crate) const USER: &str = "Jörg, 100% Müller";

/// Samba with a user of its own, and with `global` settings that replace ours; `backup` is a directory, `small` a file system of 4 MiB, `sealed` wants encryption.
pub(crate) fn smbd(global: &str) -> Server {
    let (dir, port) = (open_dir(), free_port());
    let at = dir.path();
    for directory in [
        "private",
        "lock",
        "state",
        "cache",
        "pid",
        "backup/pbx/one",
        "small",
    ] {
        std::fs::create_dir_all(at.join(directory)).unwrap();
    }
    text(at.join("users"), &format!("!root = \"{USER}\"\n"));
    let place = at.display();
    let share = |name: &str, directory: &str, more: &str| {
        format!("[{name}]\npath = {place}/{directory}\nread only = no\n{more}\n")
    };
    let config = format!(
        "[global]\nworkgroup = PBX\nserver role = standalone server\nsmb ports = {port}\ninterfaces = 127.0.0.1/8\n\
         bind interfaces only = yes\nprivate dir = {place}/private\nlock directory = {place}/lock\n\
         state directory = {place}/state\ncache directory = {place}/cache\npid directory = {place}/pid\n\
         ncalrpc dir = {place}/lock/ncalrpc\nusername map = {place}/users\nlog file = {place}/smbd.log\n\
         passdb backend = tdbsam\ndisable spoolss = yes\nload printers = no\nntlm auth = ntlmv2-only\n\
         server min protocol = SMB2_10\nserver signing = mandatory\nmap to guest = never\n{global}\n{}{}{}{}",
        share("backup", "backup", ""),
        share("small", "small", ""),
        share("sealed", "backup", "smb encrypt = required"),
        share("closed", "backup", "valid users = nobody"),
    );
    let config = text(at.join("smb.conf"), &config);
    let mut adding = Command::new("smbpasswd")
        .arg("-c")
        .arg(&config)
        .args(["-L", "-s", "-a", "root"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let twice = format!("{PASSWORD}\n{PASSWORD}\n");
    adding.stdin.take().unwrap().write_all(twice.as_bytes()).unwrap();
    assert!(adding.wait().unwrap().success());
    let script = format!(
        "mount -t tmpfs -o size=4m tmpfs small; exec /usr/sbin/smbd -s {} -F --no-process-group --debug-stdout",
        config.display()
    );
    Server::start(dir, port, &script)
}
