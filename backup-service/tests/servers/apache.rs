//! Apache with mod_dav, as Debian has it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use super::{HASH, Server, certificate, free_port, open_dir, text};

/// A user whose password is known.
pub(crate) const USER: &str = "jörg";

/// Apache with a certificate of its own; `small` is a file system of 4 MiB, and other directories have other faults.
pub(crate) fn apache() -> Server {
    let (dir, port) = (open_dir(), free_port());
    let at = dir.path();
    certificate(at);
    text(at.join("users"), &format!("{USER}:{HASH}\n"));
    let modules = [
        "mpm_event",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "auth_basic",
        "auth_digest",
        "alias",
        "ssl",
        "dav",
        "dav_fs",
    ];
    let modules =
        modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    text(
        at.join("apache.conf"),
        &format!(
            "{modules}
            ServerRoot {at}
            ServerName 127.0.0.1
            Listen 127.0.0.1:{port}
            PidFile {at}/pid
            Mutex pthread
            ErrorLog /dev/stderr
            User nobody
            Group nogroup
            StartServers 1
            LogFormat \"%m %U %>s\" short
            CustomLog {at}/access short
            SSLEngine on
            SSLCertificateFile {at}/cert.pem
            SSLCertificateKeyFile {at}/key.pem
            DocumentRoot {at}/store
            DavLockDB {at}/locks/db
            Redirect 301 /moved https://127.0.0.1:{port}/dav
            <Location />
                AuthType Basic
                AuthName copies
                AuthUserFile {at}/users
                Require valid-user
            </Location>
            <LocationMatch \"^/(?!plain)\">
                Dav On
            </LocationMatch>
            <Location /limited>
                LimitRequestBody 1000000
            </Location>
            <LocationMatch \"^/closed/\">
                <LimitExcept PROPFIND>
                    Require all denied
                </LimitExcept>
            </LocationMatch>
            <Location /digest>
                AuthType Digest
                AuthDigestProvider file
            </Location>
            ",
            modules = modules.concat(),
            at = at.display()
        ),
    );
    // All its processes end with the one that the test kills.
    let script = format!(
        "mkdir -p locks 'store/Sicherung 1/größer' store/plain store/limited store/closed store/digest store/small; \
         mount -t tmpfs -o size=4m,mode=777 tmpfs store/small; chown -R nobody store locks; exec unshare --pid --fork --kill-child /usr/sbin/apache2 -f {}/apache.conf -DFOREGROUND",
        at.display()
    );
    Server::start(dir, port, &script)
}
