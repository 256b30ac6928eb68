//! Two network namespaces with a cable between them: the satellite's and its server's.
//!
//! A thread that enters a namespace stays in it, and so do the threads and processes that it starts. So every piece
//! of work has a thread of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// How long a probe waits before it says that a packet vanished.
const PATIENCE: Duration = Duration::from_millis(600);

pub const SATELLITE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub const SATELLITE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Vanished,
    Refused,
}

/// One end of the cable.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Does `work` in the namespace.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let inside = move || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        match thread::spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs a future in the namespace, with everything that it starts.
    pub fn block_on<F>(&self, future: impl FnOnce() -> F + Send + 'static) -> F::Output
    where
        F: Future,
        F::Output: Send + 'static,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(future())
        })
    }

    /// A command that is run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// What a command that must succeed in the namespace writes.
    pub fn output(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let output = self.command(words.next().unwrap()).args(words).output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Takes calls on `port`, IPv4 and IPv6, as long as the listener lives.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.run(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap())
    }

    /// Tries to reach a TCP port from here.
    pub fn tcp(&self, address: IpAddr, port: u16) -> Fate {
        self.run(
            move || match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
                Ok(_) => Fate::Passed,
                Err(err) if err.kind() == ErrorKind::ConnectionRefused => Fate::Refused,
                Err(_) => Fate::Vanished,
            },
        )
    }

    /// Sends a datagram from here to `there`, and looks if it arrives.
    pub fn udp(&self, there: &Self, address: IpAddr, port: u16) -> Fate {
        let socket = there.run(move || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        self.run(move || {
            let from: IpAddr = match address {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // A filter on the way out makes the call itself fail.
            let _ = UdpSocket::bind((from, 0))
                .unwrap()
                .send_to(b"probe", (address, port));
        });
        if socket.recv(&mut [0; 16]).is_ok() {
            Fate::Passed
        } else {
            Fate::Vanished
        }
    }
}

/// Both ends. They are removed when it is dropped.
#[derive(Debug)]
pub struct Net {
    pub satellite: Namespace,
    pub server: Namespace,
}

impl Net {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let namespace = |role: &str| Namespace {
            name: format!("fw-{role}-{unique}"),
        };
        let net = Self {
            satellite: namespace("sat"),
            server: namespace("srv"),
        };
        ip(&format!("netns add {}", net.satellite.name));
        ip(&format!("netns add {}", net.server.name));
        ip(&format!(
            "-n {} link add eth0 type veth peer name eth0 netns {}",
            net.satellite.name, net.server.name
        ));
        for (end, four, six) in [
            (&net.satellite, SATELLITE_V4, SATELLITE_V6),
            (&net.server, SERVER_V4, SERVER_V6),
        ] {
            let name = &end.name;
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set eth0 up"));
            ip(&format!("-n {name} addr add {four}/24 dev eth0"));
            ip(&format!("-n {name} addr add {six}/64 dev eth0 nodad"));
        }
        net
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for end in [&self.satellite, &self.server] {
            let _ = Command::new("ip").args(["netns", "delete", &end.name]).status();
        }
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
