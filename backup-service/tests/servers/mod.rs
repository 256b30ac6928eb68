//! Real servers for the tests, each with its own directory, port and mount namespace, and a line that can be cut.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "the tests start real servers")]
#![expect(clippy::print_stderr, reason = "a test that fails shows what its server said")]

pub(crate) mod apache;
pub(crate) mod smbd;
pub(crate) mod sshd;
pub(crate) mod swift;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// The password of the user at servers, with what is hard to pass on.
pub(crate) const PASSWORD: &str = "pä ss%,1";

/// Of [`PASSWORD`].
pub(crate) const HASH: &str =
    "$6$Kx3qPzT1$/m7S8e3clKQueZhhn7eUgE.aFluL7p.b0AGFlaiXDFfMLf24d.VMPuZ1hQcA6IzDniixG2WMJJprXv9wlP1VB0";

/// Whether what is needed can be had: namespaces, mounts, other users.
pub(crate) fn can() -> bool {
    let can = nix::unistd::Uid::effective().is_root();
    if !can {
        eprintln!("only root can start the server for this");
    }
    can
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Makes `key.pem` and `cert.pem` for 127.0.0.1, signed by itself.
pub(crate) fn certificate(at: &Path) {
    let subject = [
        "-subj",
        "/CN=server.test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ];
    let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-days", "2"])
        .args(kind)
        .args(subject)
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(at.join("key.pem"))
        .arg("-out")
        .arg(at.join("cert.pem"));
    run(&mut openssl);
}

/// A program that is killed with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// Runs `script` in a mount namespace of its own; it ends with `exec SERVER`.
    pub(crate) fn start(dir: tempfile::TempDir, port: u16, script: &str) -> Self {
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-ec", script])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { child, dir, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(60),
                "the server did not come up: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// A directory that other users get into.
pub(crate) fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    dir
}

pub(crate) fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A line to a server that can be cut: what is open ends at once; while it is down nobody gets through. It can be slow.
pub(crate) struct Line {
    pub(crate) port: u16,
    cuts: watch::Sender<u64>,
    down: Arc<AtomicBool>,
    /// Bytes in a second to the server; 0: as many as there are.
    pace: Arc<AtomicU32>,
}

impl Line {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, watched) = watch::channel(0);
        let (down, pace) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (is_down, paced) = (Arc::clone(&down), Arc::clone(&pace));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if is_down.load(Ordering::Relaxed) {
                    continue;
                }
                let (mut watched, pace) = (watched.clone(), Arc::clone(&paced));
                watched.mark_unchanged();
                tokio::spawn(async move {
                    let far = tokio::net::TcpStream::connect(("127.0.0.1", server))
                        .await
                        .unwrap();
                    tokio::select! {
                        () = carry(near, far, &pace) => {}
                        _ = watched.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            cuts,
            down,
            pace,
        }
    }

    /// Lets no more than so many bytes a second through to the server; 0: as many as there are.
    pub(crate) fn slow(&self, bytes_per_second: u32) {
        self.pace.store(bytes_per_second, Ordering::Relaxed);
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::Relaxed);
        self.cut();
    }

    pub(crate) fn come_up(&self) {
        self.down.store(false, Ordering::Relaxed);
    }
}

/// Carries what either side says to the other, until both have ended.
async fn carry(mut near: tokio::net::TcpStream, mut far: tokio::net::TcpStream, pace: &AtomicU32) {
    let ((mut near_says, mut near_hears), (mut far_says, mut far_hears)) = (near.split(), far.split());
    let there = async {
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = near_says.read(&mut piece).await {
            if far_hears.write_all(&piece[..read]).await.is_err() {
                break;
            }
            let second = pace.load(Ordering::Relaxed);
            if second > 0 {
                // This is what a slow line is: bytes that take their time.
                tokio::time::sleep(Duration::from_secs(1) * u32::try_from(read).unwrap() / second).await;
            }
        }
        let _ended = far_hears.shutdown().await;
    };
    let back = async {
        let _ended = tokio::io::copy(&mut far_says, &mut near_hears).await;
        let _ended = near_hears.shutdown().await;
    };
    tokio::join!(there, back);
}

pub(crate) fn text(path: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&path, text).unwrap();
    path
}
