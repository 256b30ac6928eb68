//! What a user would pick instead: scp, curl from nginx over HTTPS, and a bare TLS stream. Servers on loopback of the
//! namespace that the benchmark runs in.

use std::path::{Path, PathBuf};
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
use crate::network::write;
use crate::wait::until;

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
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

/// A port that nobody has at the moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn listens(port: u16) -> anyhow::Result<()> {
    until("a server to listen", Duration::from_secs(20), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await
    .map(drop)
}

/// OpenSSH's server with a key for us.
///
/// # Errors
///
/// If it does not come up.
pub async fn sshd(dir: &Path) -> anyhow::Result<Server> {
    let dir = dir.join("ssh");
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
    let port = free_port()?;
    let text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/client.pub\nStrictModes no\n\
         UsePAM no\nPermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\n",
        dir.display()
    );
    write(&dir.join("config"), text)?;
    let mut sshd = command("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"])
        .arg(dir.join("config"))
        .stderr(std::process::Stdio::null());
    let child = sshd.spawn().context("cannot start sshd")?;
    listens(port).await?;
    Ok(Server { child, port, dir })
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
    .args(["-P", &server.port.to_string()])
    .arg(file)
    .arg(format!("127.0.0.1:{}", target.display()));
    measured(server, scp).await
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
pub async fn nginx(dir: &Path, root: &Path) -> anyhow::Result<Server> {
    let dir = dir.join("nginx");
    std::fs::create_dir_all(&dir)?;
    let identity = Identity::generate("localhost")?;
    write(&dir.join("key.pem"), identity.key_pem().as_bytes())?;
    write(&dir.join("cert.pem"), identity.chain_pem())?;
    let port = free_port()?;
    let text = format!(
        "daemon off; master_process off; user root; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; sendfile on; client_body_temp_path {0}/a; proxy_temp_path {0}/b;\n\
         fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
         server {{ listen 127.0.0.1:{port} ssl http2; ssl_protocols TLSv1.3; ssl_certificate {0}/cert.pem;\n\
         ssl_certificate_key {0}/key.pem; root {1}; }} }}\n",
        dir.display(),
        root.display()
    );
    write(&dir.join("nginx.conf"), text)?;
    let mut nginx = command("/usr/sbin/nginx");
    nginx
        .arg("-e")
        .arg(dir.join("error.log"))
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    // One process only: a worker would outlive its killed master, and hold what it inherited.
    let child = nginx.spawn().context("cannot start nginx")?;
    listens(port).await?;
    Ok(Server { child, port, dir })
}

/// Fetches `name` with curl into `target`.
///
/// # Errors
///
/// If it fails.
pub async fn curl(server: &Server, name: &str, target: &Path) -> anyhow::Result<Sample> {
    let mut curl = command("curl");
    let url = format!("https://127.0.0.1:{}/{name}", server.port);
    curl.args(["-sSfk", "--http1.1", "-o"]).arg(target).arg(url);
    measured(server, curl).await
}

/// A process that takes TLS connections and throws away what comes. It ends with the server value.
///
/// # Errors
///
/// If it does not come up.
pub async fn raw_sink(dir: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let child = command(std::env::current_exe()?)
        .args(["raw-sink", &port.to_string()])
        .spawn()?;
    listens(port).await?;
    Ok(Server {
        child,
        port,
        dir: dir.to_owned(),
    })
}

/// Sends `bytes` bytes over one TLS connection, as a process of its own.
///
/// # Errors
///
/// If it fails.
pub async fn raw_send(server: &Server, bytes: u64) -> anyhow::Result<Sample> {
    let mut client = command(std::env::current_exe()?);
    client.args(["raw-send", &server.port.to_string(), &bytes.to_string()]);
    measured(server, client).await
}

/// What the process of [`raw_sink`] does.
///
/// # Errors
///
/// If the port is taken.
pub async fn serve_raw(port: u16) -> anyhow::Result<()> {
    let tls = ServerTls::new(&Identity::generate("sink")?, &Trust::Anyone)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
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
pub async fn send_raw(port: u16, bytes: u64) -> anyhow::Result<()> {
    let config = client_config(&Identity::generate("source")?, Expect::Anyone)?;
    let mut stream = dial(&format!("127.0.0.1:{port}"), config, LIMIT).await?.stream;
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
