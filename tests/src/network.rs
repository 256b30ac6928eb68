//! The network of a laboratory: a LAN with a DHCP server, and a satellite's port on it.
//!
//! Both ends lie in network namespaces of their own, so that every laboratory uses the same addresses and nothing
//! of the host is touched or reachable.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::command::{command, run};
use crate::wait::until;

/// The server's end of the LAN.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A LAN of two namespaces, `lan-ID` (server) and `sat-ID` (satellite), joined by a cable.
#[derive(Debug, Clone)]
pub struct Lan {
    id: String,
    run: PathBuf,
}

impl Lan {
    /// The LAN of laboratory `id`, whose runtime files lie in `run`; it need not be there yet.
    #[must_use]
    pub fn new(id: &str, run: &Path) -> Self {
        Self {
            id: id.to_owned(),
            run: run.to_owned(),
        }
    }

    /// Name of the server's namespace.
    #[must_use]
    pub fn server_side(&self) -> String {
        format!("lan-{}", self.id)
    }

    /// Name of the satellite's namespace.
    #[must_use]
    pub fn satellite_side(&self) -> String {
        format!("sat-{}", self.id)
    }

    /// Lays what is not there yet, and starts the DHCP server.
    ///
    /// # Errors
    ///
    /// If `ip` or `udhcpd` fails, as they do where namespaces are not allowed.
    pub async fn up(&self) -> anyhow::Result<()> {
        let (server, satellite) = (self.server_side(), self.satellite_side());
        for namespace in [&server, &satellite] {
            if !namespace_path(namespace).exists() {
                run("ip", &["netns", "add", namespace]).await?;
                run("ip", &["-n", namespace, "link", "set", "lo", "up"]).await?;
            }
        }
        self.plug().await?;
        if self.dhcp_pid().is_none() {
            self.start_dhcp().await?;
        }
        Ok(())
    }

    /// Puts the cable in if it is not: a container that dies hard can take its end with it.
    async fn plug(&self) -> anyhow::Result<()> {
        let (server, satellite) = (self.server_side(), self.satellite_side());
        if run("ip", &["-n", &server, "link", "show", "lan0"]).await.is_ok() {
            return Ok(());
        }
        let cable = [
            "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", &satellite,
        ];
        run("ip", &[&["-n", server.as_str()][..], &cable[..]].concat()).await?;
        self.address_server().await
    }

    async fn address_server(&self) -> anyhow::Result<()> {
        let server = self.server_side();
        let address = format!("{SERVER}/24");
        run("ip", &["-n", &server, "address", "add", &address, "dev", "lan0"]).await?;
        run(
            "ip",
            &[
                "-n",
                &server,
                "address",
                "add",
                "fd77::1/64",
                "dev",
                "lan0",
                "nodad",
            ],
        )
        .await?;
        run("ip", &["-n", &server, "link", "set", "lan0", "up"]).await?;
        Ok(())
    }

    /// Lays the LAN as a switch on the server's side, with a socket `port` that a machine's card can be put in.
    ///
    /// # Errors
    ///
    /// As [`Lan::up`].
    pub async fn switch(&self, port: &str) -> anyhow::Result<()> {
        let server = self.server_side();
        if !namespace_path(&server).exists() {
            run("ip", &["netns", "add", &server]).await?;
            run("ip", &["-n", &server, "link", "set", "lo", "up"]).await?;
        }
        if run("ip", &["-n", &server, "link", "show", "lan0"]).await.is_err() {
            run("ip", &["-n", &server, "link", "add", "lan0", "type", "bridge"]).await?;
            self.address_server().await?;
        }
        run(
            "ip",
            &["-n", &server, "tuntap", "add", "dev", port, "mode", "tap"],
        )
        .await?;
        run(
            "ip",
            &["-n", &server, "link", "set", port, "master", "lan0", "up"],
        )
        .await?;
        self.up().await
    }

    async fn start_dhcp(&self) -> anyhow::Result<()> {
        let leases = self.run.join("udhcpd.leases");
        let conf = self.run.join("udhcpd.conf");
        let text = format!(
            "start 10.77.0.100\nend 10.77.0.150\nmax_leases 51\ninterface lan0\npidfile {}\nlease_file {}\n\
             opt subnet 255.255.255.0\nopt router {SERVER}\nopt lease 86400\n",
            self.run.join("udhcpd.pid").display(),
            leases.display(),
        );
        write(&leases, "")?;
        write(&conf, &text)?;
        let mut server = self.at_server("busybox");
        server.args(["udhcpd", "-S", "-a", "20"]).arg(&conf);
        crate::command::stdout_of(server, Duration::from_secs(10))
            .await
            .context("cannot start udhcpd")?;
        until("the DHCP server", Duration::from_secs(10), async || {
            self.dhcp_pid()
        })
        .await?;
        Ok(())
    }

    /// Has a router advertise itself on the LAN, with a prefix and a name server, and hand out addresses by DHCPv6, until the
    /// LAN is taken away.
    ///
    /// # Errors
    ///
    /// If `dnsmasq` does not start.
    pub async fn advertise_ipv6(&self) -> anyhow::Result<()> {
        let pid = format!("--pid-file={}", self.run.join("router.pid").display());
        let leases = format!("--dhcp-leasefile={}", self.run.join("router.leases").display());
        let mut router = self.at_server("dnsmasq");
        router.args([
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--interface=lan0",
        ]);
        router.args([
            "--except-interface=lo",
            "--bind-dynamic",
            "--enable-ra",
            "--dhcp-authoritative",
        ]);
        router.args([
            "--dhcp-range=fd77::1000,fd77::1fff,slaac,64,1h",
            "--dhcp-option=option6:dns-server,[fd77::1]",
        ]);
        router.args(["--ra-param=lan0,10", &pid, &leases]);
        crate::command::stdout_of(router, Duration::from_secs(10))
            .await
            .context("cannot start dnsmasq")?;
        Ok(())
    }

    /// A program to be run on the server's side of the LAN.
    #[must_use]
    pub fn at_server(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        within(&self.server_side(), program)
    }

    /// Puts the calling thread, and what it dials from now on, on the server's side of the LAN.
    ///
    /// # Errors
    ///
    /// If there is no LAN.
    pub fn enter(&self) -> anyhow::Result<()> {
        let path = namespace_path(&self.server_side());
        let namespace = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {}", path.display()))
    }

    /// The satellite's IPv4 address, once it has one.
    pub async fn satellite_address(&self) -> Option<Ipv4Addr> {
        let namespace = self.satellite_side();
        let question = ["-n", &namespace, "-4", "-o", "address", "show", "dev", "eth0"];
        let shown = run("ip", &question).await.ok()?;
        let after = shown.split(" inet ").nth(1)?;
        after.split('/').next()?.parse().ok()
    }

    /// Takes it all away. What is not there is no error.
    pub async fn down(&self) {
        for pid in self.dhcp_pid().into_iter().chain(self.router_pid()) {
            crate::container::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        for namespace in [self.server_side(), self.satellite_side()] {
            let _ = run("ip", &["netns", "delete", &namespace]).await;
        }
    }

    fn dhcp_pid(&self) -> Option<i32> {
        self.pid_of("udhcpd.pid", "udhcpd")
    }

    fn router_pid(&self) -> Option<i32> {
        self.pid_of("router.pid", "dnsmasq")
    }

    /// The process that wrote this file, if it still is that program.
    fn pid_of(&self, file: &str, program: &str) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.run.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        line.contains(program).then_some(pid)
    }
}

/// A program to be run in a namespace; it becomes the process that is started.
#[must_use]
pub fn within(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut entered = command("nsenter");
    entered
        .arg(format!("--net={}", namespace_path(namespace).display()))
        .arg("--")
        .arg(program);
    entered
}

/// Where `ip netns` keeps a namespace.
#[must_use]
pub fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Writes a file of the laboratory.
///
/// # Errors
///
/// Names the file.
#[expect(
    clippy::disallowed_methods,
    reason = "a laboratory's files need not survive a power cut"
)]
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
