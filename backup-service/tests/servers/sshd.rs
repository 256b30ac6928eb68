//! OpenSSH, as Debian has it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the tests start real servers")]

use std::process::Command;

use super::{HASH, Server, free_port, open_dir, run, text};

/// A user who signs in with password or key.
pub(crate) const USER: &str = "jörg";
pub(crate) const UID: u32 = 23456;

/// OpenSSH with a user of its own, whose password and key are known; `small` is a file system of 4 MiB.
pub(crate) fn sshd() -> Server {
    sshd_after("")
}

/// Stands for the service manager: a file for each unit that runs, and a line for each order.
const SYSTEMCTL: &str = r#"#!/bin/sh
for last; do :; done
case $1 in
  is-active) test -e AT/units/"$last" ;;
  stop) echo "stop $last" >>AT/orders; test ! -e AT/units/"$last".stays || { echo "$last does not want to" >&2; exit 1; }; rm AT/units/"$last" ;;
  start) echo "start $last" >>AT/orders; touch AT/units/"$last" ;;
esac
"#;

/// The same with a service manager: a unit runs if there is a file of its name in `units`.
pub(crate) fn sshd_with_units() -> Server {
    sshd_after(&format!(
        "\nmkdir -p units; cat >systemctl <<'END'\n{SYSTEMCTL}END\nsed -i \"s,AT,$PWD,g\" systemctl; chmod 755 systemctl; \
         mount -t tmpfs tmpfs /usr/local/sbin; cp systemctl /usr/local/sbin;"
    ))
}

/// The same, after more was done in its mount namespace.
pub(crate) fn sshd_after(prepare: &str) -> Server {
    let (dir, port) = (open_dir(), free_port());
    let at = dir.path();
    for key in ["host", "user", "other"] {
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(at.join(key)));
    }
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-a", "1", "-N", "geheim ß", "-f"])
        .arg(at.join("locked")));
    let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    let keys = format!("{}{}", read("user.pub"), read("locked.pub"));
    text(at.join("authorized_keys"), &keys);
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let sshd = if passwd.contains("\nsshd:") {
        ""
    } else {
        "sshd:x:23455:65534::/run/sshd:/usr/sbin/nologin\n"
    };
    let home = at.join("home");
    let user = format!("{USER}:x:{UID}:{UID}::{}:/bin/sh\n", home.display());
    text(at.join("passwd"), &format!("{passwd}{sshd}{user}"));
    // Root has a key and no password.
    let shadow = format!("root:*:20000:0:99999:7:::\n{USER}:{HASH}:20000:0:99999:7:::\n");
    text(at.join("shadow"), &shadow);
    text(
        at.join("sshd_config"),
        &format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication yes\nSubsystem sftp internal-sftp\nPidFile none\n\
             MaxStartups 100\nPerSourcePenalties no\n",
            at = at.display()
        ),
    );
    let version = Command::new("/usr/sbin/sshd").arg("-V").output().unwrap();
    if !String::from_utf8_lossy(&version.stderr).contains("OpenSSH_10") {
        // Older ones do not know the penalties and stop at the word.
        let config = std::fs::read_to_string(at.join("sshd_config")).unwrap();
        text(
            at.join("sshd_config"),
            &config.replace("PerSourcePenalties no\n", ""),
        );
    }
    let script = format!(
        "mount --bind passwd /etc/passwd; mount --bind shadow /etc/shadow; mount -t tmpfs tmpfs /run; mkdir -p /run/sshd; \
         mkdir -p home/sub small; mount -t tmpfs -o size=4m,mode=755,uid={UID} tmpfs small; chown -R {UID} home; {prepare} \
         exec /usr/sbin/sshd -D -e -f {}/sshd_config",
        at.display()
    );
    Server::start(dir, port, &script)
}
