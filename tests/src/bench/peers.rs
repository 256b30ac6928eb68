//! What a user would pick instead: scp, curl from nginx over HTTPS, and a bare TLS stream. Their servers run
//! behind a cable like the satellite's, so that their bytes take the way that ours take.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use satellite_proto::identity::Identity;
use satellite_proto::tls::{Connections, Expect, ServerTls, Trust, client_config, dial, incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio_stream::StreamExt as _;

use super::{LIMIT, Sample, process::tree_cpu};
use crate::command::{command, finish, run};
use crate::network::{within, write};
use crate::wait::until;

/// Where the servers run: a namespace of their own, with a cable to the server's like the satellite's.
#[derive(Debug)]
pub struct Site<'a> {
    dir: &'a Path,
    namespace: String,
}

/// The servers' address on their cable.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Server {
    fn cpu(&self) -> f64 {
        self.child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map_or(0.0, tree_cpu)
    }
}

fn own_cpu_with_children() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return 0.0;
    };
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64()
}

impl<'a> Site<'a> {
    /// Lays the cable between the namespace `server` and a new one; scratch space is `dir`.
    ///
    /// # Errors
    ///
    /// If `ip` fails.
    pub async fn lay(server: &str, dir: &'a Path) -> anyhow::Result<Self> {
        let namespace = format!("{server}-peers");
        let site = Self { dir, namespace };
        site.remove().await;
        let peers = site.namespace.as_str();
        run("ip", &["netns", "add", peers]).await?;
        let cable = [
            "link", "add", "peers0", "type", "veth", "peer", "name", "eth0", "netns", peers,
        ];
        run("ip", &[&["-n", server][..], &cable[..]].concat()).await?;
        for (end, name, address) in [
            (server, "peers0", "10.78.0.1/24"),
            (peers, "eth0", "10.78.0.2/24"),
        ] {
            run("ip", &["-n", end, "address", "add", address, "dev", name]).await?;
            run("ip", &["-n", end, "link", "set", name, "up"]).await?;
        }
        Ok(site)
    }

    /// Takes the namespace and its cable away. What is not there is no error.
    pub async fn remove(&self) {
        let _ = run("ip", &["netns", "delete", &self.namespace]).await;
    }

    /// Scratch space.
    #[must_use]
    pub fn dir(&self) -> &'a Path {
        self.dir
    }

    fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        within(&self.namespace, program)
    }
}

/// An address whose port nobody has: the namespace is new, and ports are never given twice.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    SocketAddr::new(HOST, NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn listens(address: SocketAddr) -> anyhow::Result<()> {
    until("a server to listen", Duration::from_secs(20), async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await
    .map(drop)
}

/// OpenSSH's server with a key for us.
///
/// # Errors
///
/// If it does not come up.
pub async fn sshd(site: &Site<'_>) -> anyhow::Result<Server> {
    let dir = site.dir.join("ssh");
    if dir.exists() {
        // Of an earlier part: ssh-keygen asks before it overwrites keys.
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    std::fs::create_dir_all("/run/sshd")?;
    for key in ["host", "client"] {
        let path = dir.join(key).display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path]).await?;
    }
    let address = free();
    let text = format!(
        "ListenAddress {address}\nHostKey {0}/host\nAuthorizedKeysFile {0}/client.pub\nStrictModes no\n\
         UsePAM no\nPermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\n",
        dir.display()
    );
    write(&dir.join("config"), text)?;
    let mut sshd = site.program("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"])
        .arg(dir.join("config"))
        .stderr(std::process::Stdio::null());
    let child = sshd.spawn().context("cannot start sshd")?;
    listens(address).await?;
    Ok(Server { child, address, dir })
}

/// Copies `file` to `target` with scp.
///
/// # Errors
///
/// If it fails.
pub async fn scp(server: &Server, file: &Path, target: &Path) -> anyhow::Result<Sample> {
    let mut scp = command("scp");
    scp.args([
        "-q",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
    ])
    .arg("-i")
    .arg(server.dir.join("client"))
    .args(["-P", &server.address.port().to_string()])
    .arg(file)
    .arg(format!("{}:{}", server.address.ip(), target.display()));
    measured(server, scp).await
}

/// Brings the copy `target` of an earlier `file` up to date with rsync.
///
/// # Errors
///
/// If it fails.
pub async fn rsync(server: &Server, file: &Path, target: &Path) -> anyhow::Result<Sample> {
    let shell = format!(
        "ssh -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i {} -p {}",
        server.dir.join("client").display(),
        server.address.port()
    );
    let mut rsync = command("rsync");
    rsync.args(["-z", "--no-whole-file", "-e", &shell]).arg(file);
    rsync.arg(format!("{}:{}", server.address.ip(), target.display()));
    measured(server, rsync).await
}

async fn measured(server: &Server, client: tokio::process::Command) -> anyhow::Result<Sample> {
    let cpu = || server.cpu() + own_cpu_with_children();
    let (sample, ended) = Sample::of(cpu, finish(client, LIMIT)).await?;
    anyhow::ensure!(ended.code == Some(0), "a peer failed: {}", ended.stderr);
    Ok(sample)
}

/// nginx that serves `root` over HTTPS.
///
/// # Errors
///
/// If it does not come up.
pub async fn nginx(site: &Site<'_>, root: &Path) -> anyhow::Result<Server> {
    let dir = site.dir.join("nginx");
    std::fs::create_dir_all(&dir)?;
    let identity = Identity::generate("localhost")?;
    write(&dir.join("key.pem"), identity.key_pem().as_bytes())?;
    write(&dir.join("cert.pem"), identity.chain_pem())?;
    let address = free();
    let text = format!(
        "daemon off; master_process off; user root; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; sendfile on; client_body_temp_path {0}/a; proxy_temp_path {0}/b;\n\
         fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
         server {{ listen {address} ssl http2; ssl_protocols TLSv1.3; ssl_certificate {0}/cert.pem;\n\
         ssl_certificate_key {0}/key.pem; root {1}; }} }}\n",
        dir.display(),
        root.display()
    );
    write(&dir.join("nginx.conf"), text)?;
    let mut nginx = site.program("/usr/sbin/nginx");
    nginx
        .arg("-e")
        .arg(dir.join("error.log"))
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    // One process only: a worker would outlive its killed master, and hold what it inherited.
    let child = nginx.spawn().context("cannot start nginx")?;
    listens(address).await?;
    Ok(Server { child, address, dir })
}

/// Fetches `name` with curl into `target`.
///
/// # Errors
///
/// If it fails.
pub async fn curl(server: &Server, name: &str, target: &Path) -> anyhow::Result<Sample> {
    let mut curl = command("curl");
    let url = format!("https://{}/{name}", server.address);
    curl.args(["-sSfk", "--http1.1", "-o"]).arg(target).arg(url);
    measured(server, curl).await
}

/// A process that takes TLS connections and throws away what comes. It ends with the server value.
///
/// # Errors
///
/// If it does not come up.
pub async fn raw_sink(site: &Site<'_>) -> anyhow::Result<Server> {
    let address = free();
    let mut sink = site.program(std::env::current_exe()?);
    let child = sink.args(["raw-sink", &address.to_string()]).spawn()?;
    listens(address).await?;
    Ok(Server {
        child,
        address,
        dir: site.dir.to_owned(),
    })
}

/// Sends `bytes` bytes over one TLS connection, as a process of its own.
///
/// # Errors
///
/// If it fails.
pub async fn raw_send(server: &Server, bytes: u64) -> anyhow::Result<Sample> {
    let mut client = command(std::env::current_exe()?);
    client.args(["raw-send", &server.address.to_string(), &bytes.to_string()]);
    measured(server, client).await
}

/// What the process of [`raw_sink`] does.
///
/// # Errors
///
/// If the port is taken.
pub async fn serve_raw(address: SocketAddr) -> anyhow::Result<()> {
    let tls = ServerTls::new(&Identity::generate("sink")?, &Trust::Anyone)?;
    let listener = TcpListener::bind(address).await?;
    let mut connections = Box::pin(incoming(listener, tls, Connections::default()));
    while let Some(connection) = connections.next().await {
        let mut connection = connection?;
        tokio::spawn(async move {
            let mut buffer = vec![0; 256 * 1024];
            while connection.read(&mut buffer).await? > 0 {}
            connection.write_all(b"!").await?;
            connection.shutdown().await
        });
    }
    Ok(())
}

/// What the process of [`raw_send`] does.
///
/// # Errors
///
/// If the connection breaks.
pub async fn send_raw(address: SocketAddr, bytes: u64) -> anyhow::Result<()> {
    let config = client_config(&Identity::generate("source")?, Expect::Anyone)?;
    let mut stream = dial(&address.to_string(), config, LIMIT).await?.stream;
    let piece = vec![7; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let length = piece.len().min(usize::try_from(left)?);
        stream.write_all(&piece[..length]).await?;
        left -= u64::try_from(length)?;
    }
    stream.shutdown().await?;
    anyhow::ensure!(stream.read_u8().await? == b'!', "the sink did not take it all");
    Ok(())
}
