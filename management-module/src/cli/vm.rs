//! `satellite vm create`: a virtual machine that joins by itself, for QEMU, libvirt, or whatever reads an OVF environment.
//!
//! **Invariant:** the token is in files for their owner only; no command line has it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::texts::Text;
use super::token::{Wish, write_secret};
use super::{CliError, Global, client, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Vm {
    /// Makes what a new virtual machine needs to join by itself, and prints the commands that start it.
    ///
    /// In the directory there are afterwards: the token (`join-token`), a domain for libvirt (`domain.xml`), and an OVF
    /// environment (`ovf-env.xml`), all for their owner only.
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    wish: Wish,
    /// The satellite's image in qcow2; it is the backing file of the machine's disk and must stay.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Directory of the machine; made if it is not there.
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// Name of the machine at its hypervisor.
    #[arg(long, value_name = "NAME", default_value = "satellite", value_parser = machine_name)]
    vm: String,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    memory: u32,
    /// Processors.
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Bridge of this host that the machine is connected to.
    #[arg(long, value_name = "INTERFACE", default_value = "br0", value_parser = interface)]
    bridge: String,
    /// UEFI firmware.
    #[arg(long, value_name = "FILE", default_value = "/usr/share/ovmf/OVMF.fd")]
    firmware: PathBuf,
    /// Start the machine with QEMU, in the background.
    #[arg(long)]
    run: bool,
}

fn machine_name(text: &str) -> Result<String, String> {
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let fits = (1..=63).contains(&text.len()) && !text.starts_with(['-', '.']);
    if clean && fits {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 63 letters, digits, hyphens, dots and underscores".to_owned())
    }
}

fn interface(text: &str) -> Result<String, String> {
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if clean && (1..=15).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("this is not the name of an interface".to_owned())
    }
}

#[derive(Debug, Serialize)]
struct VmView {
    directory: String,
    token_id: String,
    expire_time: String,
    commands: Vec<String>,
    libvirt: String,
    ovf_environment: String,
}

impl VmView {
    fn properties(&self) -> Vec<(Text, String)> {
        let mut properties = vec![
            (texts::PATH, self.directory.clone()),
            (texts::TOKEN, self.token_id.clone()),
            (texts::EXPIRES, self.expire_time.clone()),
        ];
        properties.extend(
            self.commands
                .iter()
                .map(|command| (texts::COMMAND, command.clone())),
        );
        properties.push((texts::COMMAND, self.libvirt.clone()));
        properties.push((texts::FILE, self.ovf_environment.clone()));
        properties
    }
}

impl Vm {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let Self::Create(create) = self;
        create.run(global).await
    }
}

impl Create {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let image = std::fs::canonicalize(&self.image).map_err(|error| {
            CliError::failed(
                anyhow::Error::new(error).context(format!("cannot find `{}`", self.image.display())),
            )
        })?;
        let to = std::path::absolute(&self.to).map_err(CliError::failed)?;
        let machine = Machine {
            name: self.vm,
            image,
            firmware: self.firmware,
            memory: self.memory,
            cpus: self.cpus,
            bridge: self.bridge,
            directory: to.clone(),
        };
        machine.check()?;
        crate::files::make_directory(&to, 0o700).map_err(CliError::failed)?;
        let mut client = client::connect(global).await?;
        let created = self.wish.make(&mut client).await?;
        let token = created.token.unwrap_or_default();
        write_secret(&machine.token_file(), created.text.as_bytes())?;
        write_secret(&to.join("domain.xml"), machine.domain().as_bytes())?;
        write_secret(&to.join("ovf-env.xml"), environment(&created.text).as_bytes())?;
        let commands = [machine.disk_command(), machine.qemu_command()];
        if self.run {
            for command in &commands {
                start(command).await?;
            }
            render::note(&format!("the machine `{}` runs", machine.name));
        }
        let shown = |path: PathBuf| path.display().to_string();
        let view = VmView {
            directory: to.display().to_string(),
            token_id: token.id,
            expire_time: render::time(token.expire_time.as_ref()),
            commands: commands.iter().map(|words| shell(words)).collect(),
            libvirt: shell(&[
                "virsh".to_owned(),
                "define".to_owned(),
                shown(to.join("domain.xml")),
            ]),
            ovf_environment: shown(to.join("ovf-env.xml")),
        };
        render::one(global.output, &view, VmView::properties)
    }
}

/// A machine that is to be.
struct Machine {
    name: String,
    image: PathBuf,
    firmware: PathBuf,
    memory: u32,
    cpus: u32,
    bridge: String,
    directory: PathBuf,
}

impl Machine {
    /// QEMU separates options by commas, and XML is written below without escapes.
    fn check(&self) -> Result<(), CliError> {
        for path in [&self.image, &self.firmware, &self.directory] {
            let text = path.to_string_lossy();
            if text.contains(|c: char| c.is_control() || "<>&'\",\u{fffd}".contains(c)) {
                return Err(CliError::Usage(format!(
                    "`{text}` has characters that a virtual machine's file cannot have"
                )));
            }
        }
        Ok(())
    }

    fn token_file(&self) -> PathBuf {
        self.directory.join("join-token")
    }

    fn disk(&self) -> PathBuf {
        self.directory.join("disk.qcow2")
    }

    fn disk_command(&self) -> Vec<String> {
        let (image, disk) = (
            self.image.display().to_string(),
            self.disk().display().to_string(),
        );
        [
            "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &image, &disk,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn qemu_command(&self) -> Vec<String> {
        let in_directory = |name: &str| self.directory.join(name).display().to_string();
        let memory = self.memory.to_string();
        let (cpus, firmware) = (self.cpus.to_string(), self.firmware.display().to_string());
        let credential = format!("name={CREDENTIAL},file={}", in_directory("join-token"));
        let drive = format!("file={},if=virtio,format=qcow2", self.disk().display());
        let network = format!("bridge,id=lan,br={}", self.bridge);
        let serial = format!("file:{}", in_directory("console.log"));
        let pid = in_directory("qemu.pid");
        [
            "qemu-system-x86_64",
            "-name",
            &self.name,
            "-machine",
            "q35,accel=kvm:tcg",
            "-cpu",
            "max",
            "-m",
            &memory,
            "-smp",
            &cpus,
            "-bios",
            &firmware,
            "-drive",
            &drive,
            "-netdev",
            &network,
            "-device",
            "virtio-net-pci,netdev=lan",
            "-device",
            "vmgenid,guid=auto",
            "-device",
            "virtio-rng-pci",
            // Restarts it when nothing in it moves any more.
            "-device",
            "i6300esb",
            "-fw_cfg",
            &credential,
            "-serial",
            &serial,
            "-display",
            "none",
            "-daemonize",
            "-pidfile",
            &pid,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The same for libvirt.
    fn domain(&self) -> String {
        format!(
            "<domain type='kvm'>\n  <name>{}</name>\n  <memory unit='MiB'>{}</memory>\n  <vcpu>{}</vcpu>\n  <genid/>\n  \
             <sysinfo type='fwcfg'>\n    <entry name='{CREDENTIAL}' file='{}'/>\n  </sysinfo>\n  \
             <os firmware='efi'>\n    <type arch='x86_64' machine='q35'>hvm</type>\n  </os>\n  <features><acpi/></features>\n  \
             <cpu mode='host-passthrough'/>\n  <devices>\n    <disk type='file' device='disk'>\n      \
             <driver name='qemu' type='qcow2'/>\n      <source file='{}'/>\n      <target dev='vda' bus='virtio'/>\n    </disk>\n    \
             <interface type='bridge'>\n      <source bridge='{}'/>\n      <model type='virtio'/>\n    </interface>\n    \
             <serial type='pty'/>\n    <console type='pty'/>\n    <graphics type='vnc' listen='127.0.0.1'/>\n    <video/>\n    \
             <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n    \
             <watchdog model='i6300esb' action='reset'/>\n  </devices>\n</domain>\n",
            self.name,
            self.memory,
            self.cpus,
            self.token_file().display(),
            self.disk().display(),
            self.bridge,
        )
    }
}

/// Where a credential of the hypervisor is read from.
const CREDENTIAL: &str = "opt/io.systemd.credentials/satellite.join-token";

/// The OVF environment with the token in it; a token has no characters that XML knows.
fn environment(token: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\" oe:id=\"\">\n  <PropertySection>\n    \
         <Property oe:key=\"satellite.join-token\" oe:value=\"{token}\"/>\n  </PropertySection>\n</Environment>\n"
    )
}

/// A command as it is typed.
fn shell(words: &[String]) -> String {
    let plain = |word: &&String| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./=,:+@%".contains(&byte))
    };
    let quoted = words.iter().map(|word| {
        if plain(&word) && !word.is_empty() {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

async fn start(words: &[String]) -> Result<(), CliError> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| CliError::said("nothing to start"))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the hypervisor that the caller asked for, with words and no shell"
    )]
    let mut command = tokio::process::Command::new(program);
    let ended = command
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .status()
        .await;
    let ended = ended.map_err(|error| {
        CliError::failed(
            anyhow::Error::new(error).context(format!("cannot start `{program}`: is it installed?")),
        )
    })?;
    if ended.success() {
        Ok(())
    } else {
        Err(CliError::said(format!("`{program}` ended with {ended}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "s1".into(),
            image: "/images/satellite one.qcow2".into(),
            firmware: "/usr/share/ovmf/OVMF.fd".into(),
            memory: 1024,
            cpus: 2,
            bridge: "br0".into(),
            directory: "/vms/s1".into(),
        }
    }

    #[test]
    fn the_token_is_in_no_command_line() {
        let machine = machine();
        let all = [machine.disk_command(), machine.qemu_command()]
            .map(|words| shell(&words))
            .join("\n");
        assert!(
            all.contains(
                "-fw_cfg name=opt/io.systemd.credentials/satellite.join-token,file=/vms/s1/join-token"
            ),
            "{all}"
        );
        assert!(all.contains("'/images/satellite one.qcow2'"), "{all}");
        assert!(!all.contains("SJ1"));
        assert!(machine.domain().contains("file='/vms/s1/join-token'"));
        assert!(environment("SJ1-ABC").contains("oe:value=\"SJ1-ABC\""));
    }

    #[test]
    fn names_that_would_be_more_than_names_are_refused() {
        for bad in ["", "-x", "a,b", "a b", "a'b", "../x"] {
            assert!(machine_name(bad).is_err(), "{bad}");
        }
        assert!(interface("br0,fd=3").is_err());
        for bad in ["/a,b", "/a'b", "/a<b"] {
            let odd = Machine {
                directory: bad.into(),
                ..machine()
            };
            assert!(odd.check().is_err(), "{bad}");
        }
        assert!(machine().check().is_ok());
        assert_eq!(machine().token_file(), PathBuf::from("/vms/s1/join-token"));
    }
}
