//! A satellite in a machine: the built image, started by real firmware in QEMU, with its serial line in tmux.
//!
//! The console is a tmux session named as a container's: what drives a container's console drives this one, by key strokes
//! on a serial line.

mod hang;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::command::{command, run, stdout_of};
use crate::container::{Container, kill};
use crate::lab::Lab;
use crate::network::{Lan, SERVER};
use crate::wait::until;

/// A start takes half a minute under emulation, and many times that beside a compiler.
pub const BOOT_LIMIT: Duration = Duration::from_mins(10);
/// What QEMU may take to obey.
const OBEY: Duration = Duration::from_secs(60);
/// What building the tree of tools may take.
const TOOLS: Duration = Duration::from_mins(20);
/// Processors of a machine.
pub const PROCESSORS: u8 = 2;
/// Bytes of its memory.
const MEMORY: u64 = 768 << 20;
/// The end of each answer of QEMU's monitor.
const PROMPT: &str = "(qemu) ";

/// The firmware that a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// Starts whatever it finds.
    Plain,
    /// Starts what is signed, once it has keys; its variables are kept from the system.
    SecureBoot,
}

/// A machine.
#[derive(Debug)]
pub struct Vm {
    name: String,
    /// Its disk, firmware variables, sockets.
    dir: PathBuf,
    /// The tree that QEMU comes from.
    tools: PathBuf,
    top: PathBuf,
    lan: Lan,
    /// Distinguishes the machines of a laboratory.
    number: u8,
    /// Whose network card it has.
    card: u8,
    firmware: Firmware,
    /// How often its hypervisor has said that it was set back.
    generation: AtomicU8,
}

impl Vm {
    /// A machine in laboratory `lab` with a disk of its own, which begins as the image in the qcow2 file `image`.
    ///
    /// # Errors
    ///
    /// If QEMU cannot be had, or the disk or its place on the LAN cannot be made.
    pub async fn new(lab: &Lab, number: u8, image: &Path) -> anyhow::Result<Self> {
        let vm = Self::without_disk(lab, number).await?;
        let (image, disk) = (image.display().to_string(), vm.file("disk.qcow2"));
        let create = [
            "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &image, &disk,
        ];
        vm.tool(&create).await?;
        Ok(vm)
    }

    /// A copy of this machine, which is off, as a hypervisor makes one: the same disk and firmware's variables, a network
    /// card with the same address, another identity at the hypervisor.
    ///
    /// # Errors
    ///
    /// As [`Vm::new`].
    pub async fn copied(&self, lab: &Lab, number: u8) -> anyhow::Result<Self> {
        let mut copy = Self::without_disk(lab, number).await?;
        copy.card = self.card;
        for file in ["disk.qcow2", "vars.qcow2"] {
            std::fs::copy(self.file(file), copy.file(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        Ok(copy)
    }

    /// Gives it another firmware than the plain one, before its first start.
    #[must_use]
    pub fn with(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    async fn without_disk(lab: &Lab, number: u8) -> anyhow::Result<Self> {
        let top = lab.release.top().to_owned();
        let mut build = command(top.join("image/build-tools"));
        build.arg("--out").arg(top.join("target/image"));
        let said = stdout_of(build, TOOLS).await?;
        let tools = PathBuf::from(said.lines().last().context("build-tools said nothing")?);
        let dir = lab.data().join(format!("vm{number}"));
        std::fs::create_dir_all(&dir)?;
        let vm = Self {
            name: format!("{}-vm{number}", lab.id()),
            dir,
            tools,
            top,
            lan: lab.lan.clone(),
            number,
            card: number,
            firmware: Firmware::Plain,
            generation: AtomicU8::new(1),
        };
        // Snapshots of a machine include its firmware's variables, so these lie in a qcow2 file too.
        let shipped = vm.tools.join("usr/share/OVMF/OVMF_VARS_4M.fd");
        let (from, to) = (shipped.display().to_string(), vm.file("vars.qcow2"));
        vm.tool(&["qemu-img", "convert", "-O", "qcow2", &from, &to])
            .await?;
        vm.lan.switch(&vm.port()).await?;
        Ok(vm)
    }

    /// Runs a program of the tree of tools.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn tool(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut inside = command(self.top.join("image/in-tools"));
        inside.arg(&self.tools).args(words);
        stdout_of(inside, TOOLS).await
    }

    /// Runs a line of a shell in the tree of tools and on the LAN, as on the host of a hypervisor.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn at_host(&self, line: &str) -> anyhow::Result<String> {
        let mut inside = crate::network::within(&self.lan.server_side(), self.top.join("image/in-tools"));
        inside.arg(&self.tools).args(["sh", "-c", line]);
        stdout_of(inside, TOOLS).await
    }

    /// The machine's socket on the LAN, as QEMU's `-netdev` has it.
    #[must_use]
    pub fn socket(&self) -> String {
        format!("tap,id=lan,ifname={},script=no,downscript=no", self.port())
    }

    /// A file of the machine.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn port(&self) -> String {
        format!("tap{}", self.number)
    }

    /// The serial line.
    #[must_use]
    pub fn console(&self) -> Container {
        Container::new(&self.name, "", &self.dir, "", &self.dir.join("log"))
    }

    /// Switches it on. `options` are further ones for QEMU.
    ///
    /// # Errors
    ///
    /// If QEMU does not start.
    pub async fn start(&self, options: &[&str]) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(self.file("pid"));
        let mut words = vec![
            "exec".to_owned(),
            "nsenter".to_owned(),
            format!(
                "--net={}",
                crate::network::namespace_path(&self.lan.server_side()).display()
            ),
            self.top.join("image/in-tools").display().to_string(),
            self.tools.display().to_string(),
        ];
        words.extend(self.qemu());
        words.extend(options.iter().map(|word| (*word).to_owned()));
        let line: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let line = line.join(" ").replacen("'exec'", "exec", 1) + &format!(" 2>>'{}'", self.file("log"));
        let tmux = self.console().tmux();
        crate::terminal::open(&tmux, [80, 24], &line).await?;
        let _ = run("tmux", &["-L", &tmux, "set-option", "-g", "status", "off"]).await;
        let up = until("QEMU to start", OBEY, async || {
            self.monitor("info status").await.ok()
        });
        up.await.with_context(|| self.complaint())?;
        Ok(())
    }

    fn qemu(&self) -> Vec<String> {
        let disk = format!(
            "file={},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap",
            self.file("disk.qcow2")
        );
        let vars = format!("if=pflash,format=qcow2,file={}", self.file("vars.qcow2"));
        let monitor = format!("unix:{},server=on,wait=off", self.file("monitor"));
        let net = self.socket();
        let accelerator = if Path::new("/dev/kvm").exists() && std::env::var_os("SATELLITE_KVM").is_some() {
            "kvm"
        } else {
            "tcg,thread=multi"
        };
        let nic = format!(
            "virtio-net-pci,netdev=lan,mac=52:54:00:77:00:{:02x},romfile=",
            self.card
        );
        let words = [
            "qemu-system-x86_64",
            "-accel",
            accelerator,
            "-cpu",
            "max",
            "-smp",
            &PROCESSORS.to_string(),
            "-m",
            &format!("{}M", MEMORY >> 20),
            "-nodefaults",
            "-display",
            "none",
            "-vga",
            "std",
            "-drive",
            &vars,
            "-drive",
            &disk,
            "-device",
            "virtio-blk-pci,drive=disk,bootindex=1",
            // Keys such as Ctrl-C are the machine's.
            "-chardev",
            "stdio,id=serial,signal=off",
            "-serial",
            "chardev:serial",
            "-monitor",
            &monitor,
            "-netdev",
            &net,
            "-device",
            &nic,
            "-device",
            "virtio-rng-pci",
            "-device",
            "virtio-balloon-pci,id=balloon",
            "-device",
            "qemu-xhci,id=usb",
            // As `satellite vm create` gives it.
            "-device",
            "i6300esb",
            "-pidfile",
            &self.file("pid"),
        ];
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        // Firmware's code comes before its variables.
        words.splice(1..1, self.board());
        words
    }

    /// The board with its firmware, and what hypervisors give each machine of its own.
    fn board(&self) -> Vec<String> {
        let (machine, code, is_kept) = match self.firmware {
            Firmware::Plain => ("q35", "OVMF_CODE_4M.fd", "off"),
            Firmware::SecureBoot => ("q35,smm=on", "OVMF_CODE_4M.secboot.fd", "on"),
        };
        let code = format!("if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/{code}");
        let kept = format!("driver=cfi.pflash01,property=secure,value={is_kept}");
        let uuid = format!("5a7e1117-0000-4000-8000-0000000000{:02x}", self.number);
        let generation = format!(
            "vmgenid,guid=5a7e1117-0001-4000-8000-00000000{:02x}{:02x}",
            self.number,
            self.generation.load(Ordering::Relaxed)
        );
        let words = [
            "-machine",
            machine,
            "-global",
            &kept,
            // It cannot sleep: nothing of the firmware may be left unguarded.
            "-global",
            "ICH9-LPC.disable_s3=1",
            "-drive",
            &code,
            "-uuid",
            &uuid,
            "-device",
            &generation,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Has its generation device say another thing from the next start on, as hypervisors do when they set a machine back.
    pub fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn complaint(&self) -> String {
        let said = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        format!("QEMU said: {}", said.trim())
    }

    /// Tells QEMU's monitor something and answers what it says.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn monitor(&self, line: &str) -> anyhow::Result<String> {
        let spoken = async {
            let mut socket = UnixStream::connect(self.file("monitor")).await?;
            read_prompt(&mut socket).await?;
            socket.write_all(format!("{line}\n").as_bytes()).await?;
            read_prompt(&mut socket).await
        };
        let said = tokio::time::timeout(OBEY, spoken)
            .await
            .with_context(|| format!("QEMU does not answer `{line}`"))??;
        // The line is echoed, letter by letter, with cursor movements between them.
        let answer = said.split_once("\r\n").map_or("", |(_, answer)| answer);
        Ok(answer.trim_end_matches(PROMPT).trim().to_owned())
    }

    /// Tells QEMU's monitor to do something that says nothing if it succeeds.
    ///
    /// # Errors
    ///
    /// With what it says.
    pub async fn order(&self, line: &str) -> anyhow::Result<()> {
        let said = self.monitor(line).await?;
        anyhow::ensure!(said.is_empty(), "QEMU says to `{line}`: {said}");
        Ok(())
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.file("pid"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        line.contains(&self.dir.display().to_string()).then_some(pid)
    }

    /// Waits until the menu is on the serial line, and answers the screen.
    ///
    /// # Errors
    ///
    /// With what is shown instead.
    pub async fn menu(&self) -> anyhow::Result<String> {
        let shown = self.console().shows("Enter: menu", BOOT_LIMIT).await;
        let Err(error) = shown else { return shown };
        let condition = self.condition().await;
        Err(error.context(format!("{}\n{condition}", self.complaint())))
    }

    /// The address on its status page, once it has one.
    ///
    /// # Errors
    ///
    /// With what is shown instead.
    pub async fn address(&self) -> anyhow::Result<Ipv4Addr> {
        crate::console::home(&self.console()).await?;
        let mut screen = String::new();
        let found = until("an address on the status page", OBEY, async || {
            screen = self.console().capture().await.ok()?;
            address_on(&screen)
        });
        found
            .await
            .with_context(|| format!("the console shows:\n{}", screen.trim_end()))
    }

    /// Memory in use, in bytes: what the machine's kernel counts as not available.
    ///
    /// # Errors
    ///
    /// If the machine does not tell.
    pub async fn memory(&self) -> anyhow::Result<u64> {
        let balloon = "/machine/peripheral/balloon";
        self.order(&format!("qom-set {balloon} guest-stats-polling-interval 1"))
            .await?;
        until("the machine to tell its memory", OBEY, async || {
            let said = self
                .monitor(&format!("qom-get {balloon} guest-stats"))
                .await
                .ok()?;
            let told: serde_json::Value = serde_json::from_str(&said).ok()?;
            let stat = |name: &str| told["stats"][name].as_u64().filter(|bytes| *bytes < 1 << 50);
            stat("stat-total-memory")?.checked_sub(stat("stat-available-memory")?)
        })
        .await
    }

    /// Presses the power button and waits until it is off.
    ///
    /// # Errors
    ///
    /// If it does not go.
    pub async fn power_button(&self) -> anyhow::Result<()> {
        self.order("system_powerdown").await?;
        self.is_off().await
    }

    /// Waits until it has shut down.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn is_off(&self) -> anyhow::Result<()> {
        until("the machine to shut down", BOOT_LIMIT, async || {
            self.pid().is_none().then_some(())
        })
        .await?;
        self.ended().await
    }

    /// Pulls the plug.
    ///
    /// # Errors
    ///
    /// If QEMU does not die.
    pub async fn power_cut(&self) -> anyhow::Result<()> {
        if let Some(pid) = self.pid() {
            kill(pid, Signal::SIGKILL);
        }
        self.ended().await
    }

    async fn ended(&self) -> anyhow::Result<()> {
        let tmux = self.console().tmux();
        until("the console to end", OBEY, async || {
            let console = run("tmux", &["-L", &tmux, "has-session", "-t", "console"]).await;
            (console.is_err() && self.pid().is_none()).then_some(())
        })
        .await
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            kill(pid, Signal::SIGKILL);
        }
        let _ = std::fs::remove_file(self.console().tmux_socket());
    }
}

async fn read_prompt(socket: &mut UnixStream) -> anyhow::Result<String> {
    let mut said = Vec::new();
    let mut bytes = [0; 4096];
    while !said.ends_with(PROMPT.as_bytes()) {
        let count = socket.read(&mut bytes).await?;
        anyhow::ensure!(count > 0, "QEMU's monitor was closed");
        said.extend_from_slice(&bytes[..count]);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// An address of the laboratory's LAN that is not the server's.
fn address_on(screen: &str) -> Option<Ipv4Addr> {
    let words = screen.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let mut addresses = words.filter_map(|word| word.parse::<Ipv4Addr>().ok());
    addresses.find(|address| address.octets()[..3] == SERVER.octets()[..3] && *address != SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_on_a_screen_is_the_satellites() {
        let screen = "  Server 10.77.0.1\n  Address   10.77.0.104/24, fe80::1\n";
        assert_eq!(address_on(screen), Some(Ipv4Addr::new(10, 77, 0, 104)));
        assert_eq!(address_on("Address  none yet, version 0.1.0"), None);
    }
}
