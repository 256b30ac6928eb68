//! A satellite in a container: the real root file system, booted by systemd, with its console in tmux.
//!
//! **Invariant:** what is told about a container is read from the machine at each call, never remembered, so that
//! another process can go on with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::command::{command, run, stdout_of};
use crate::wait::until;

/// Booting takes a second; a busy machine takes many.
pub const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// A satellite's container.
#[derive(Debug, Clone)]
pub struct Container {
    name: String,
    /// `PRODUCT:BASE`, as `image/build-rootfs` says.
    lower: String,
    /// What stays: `var` and the machine id.
    data: PathBuf,
    /// Network namespace.
    network: String,
    /// Where the boot program complains.
    log: PathBuf,
}

impl Container {
    /// The container `name`, running or not.
    #[must_use]
    pub fn new(name: &str, lower: &str, data: &Path, network: &str, log: &Path) -> Self {
        Self {
            name: name.to_owned(),
            lower: lower.to_owned(),
            data: data.to_owned(),
            network: network.to_owned(),
            log: log.to_owned(),
        }
    }

    /// The satellite's `/var`.
    #[must_use]
    pub fn var(&self) -> PathBuf {
        self.data.join("var")
    }

    /// Name of the tmux server that holds the console: `tmux -L NAME attach`.
    #[must_use]
    pub fn tmux(&self) -> String {
        format!("satellite-lab-{}", self.name)
    }

    /// Boots it and waits until systemd is done with it.
    ///
    /// # Errors
    ///
    /// With what the boot said, if it does not come up.
    pub async fn start(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.data)?;
        let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("container/boot");
        let mut line = format!(
            "exec {} {} {}",
            quoted(&boot),
            self.name,
            quoted(Path::new(&self.lower))
        );
        line += &format!(
            " {} {} 2>>{}",
            quoted(&self.data),
            self.network,
            quoted(&self.log)
        );
        let tmux = self.tmux();
        crate::terminal::open(&tmux, [120, 40], &line).await?;
        let _ = run("tmux", &["-L", &tmux, "set-option", "-g", "status", "off"]).await;
        self.booted().await
    }

    /// Waits until systemd says that it is up.
    ///
    /// # Errors
    ///
    /// With what the boot said, if it does not come up, and with the units that failed.
    pub async fn booted(&self) -> anyhow::Result<()> {
        let up = until("the satellite to boot", BOOT_LIMIT, async || {
            let state = self
                .exec(&["sh", "-c", "systemctl is-system-running || true"])
                .await
                .ok()?;
            ["running", "degraded"].contains(&state.trim()).then_some(state)
        });
        let state = up.await.with_context(|| self.complaint())?;
        if state.contains("degraded") {
            let failed = self
                .exec(&["systemctl", "--failed", "--no-legend", "--plain"])
                .await?;
            anyhow::bail!("units of the satellite failed: {failed}");
        }
        Ok(())
    }

    fn complaint(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("the container said: {}", said.trim())
    }

    /// Process id, on the host, of the container's init.
    #[must_use]
    pub fn leader(&self) -> Option<i32> {
        let wanted = format!("--machine={}", self.name);
        let nspawn = processes().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words
                .next()
                .is_some_and(|program| program.ends_with(b"systemd-nspawn"))
                && words.any(|word| word == wanted.as_bytes())
        })?;
        processes().find(|pid| parent(*pid) == Some(nspawn) && is_init(*pid))
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.leader().is_some()
    }

    /// Runs a program inside as root and answers what it wrote.
    ///
    /// # Errors
    ///
    /// If the container does not run, or the program fails.
    pub async fn exec(&self, words: &[&str]) -> anyhow::Result<String> {
        let leader = self
            .leader()
            .context("the satellite's container is not running")?;
        let mut inside = command("nsenter");
        inside.current_dir("/").arg("-t").arg(leader.to_string());
        inside.args([
            "-m",
            "-p",
            "-n",
            "-u",
            "-i",
            "-C",
            "-r",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
        ]);
        inside
            .args(["TERM=dumb", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "LC_ALL=C"])
            .args(words);
        stdout_of(inside, Duration::from_secs(60)).await
    }

    /// What the console shows.
    ///
    /// # Errors
    ///
    /// If there is no console: the container does not run.
    pub async fn capture(&self) -> anyhow::Result<String> {
        run(
            "tmux",
            &["-L", &self.tmux(), "capture-pane", "-p", "-t", "console"],
        )
        .await
    }

    /// Types on the console: names of keys as tmux has them (`Enter`, `Down`), or text.
    ///
    /// # Errors
    ///
    /// If there is no console.
    pub async fn send_keys(&self, keys: &[&str]) -> anyhow::Result<()> {
        let tmux = self.tmux();
        run(
            "tmux",
            &[&["-L", &tmux, "send-keys", "-t", "console"][..], keys].concat(),
        )
        .await?;
        Ok(())
    }

    /// Waits until the console shows `text`, and answers the screen.
    ///
    /// # Errors
    ///
    /// With what is shown instead.
    pub async fn shows(&self, text: &str, limit: Duration) -> anyhow::Result<String> {
        let mut screen = String::new();
        let what = format!("the console to show `{text}`");
        let found = until(&what, limit, async || {
            screen = self.capture().await.unwrap_or_default();
            screen.contains(text).then_some(())
        });
        match found.await {
            Ok(()) => Ok(screen),
            Err(err) => Err(err.context(format!("the console shows:\n{}", screen.trim_end()))),
        }
    }

    /// Process id, inside, of a service.
    ///
    /// # Errors
    ///
    /// If the container does not run.
    pub async fn main_pid(&self, unit: &str) -> anyhow::Result<Option<i32>> {
        let shown = self
            .exec(&["systemctl", "show", "--property=MainPID", "--value", unit])
            .await?;
        Ok(shown.trim().parse().ok().filter(|pid| *pid != 0))
    }

    /// Kills the bridge's daemon with SIGKILL, and waits until systemd has started it again.
    ///
    /// # Errors
    ///
    /// If it does not run, before or after.
    pub async fn kill_bridge(&self) -> anyhow::Result<()> {
        let unit = "satellite-bridge.service";
        let killed = self.main_pid(unit).await?.context("the bridge does not run")?;
        self.exec(&["kill", "-9", &killed.to_string()]).await?;
        until("the bridge to be back", BOOT_LIMIT, async || {
            let now = self.main_pid(unit).await.ok()??;
            // It fails if the state is another one.
            let active = self.exec(&["systemctl", "is-active", unit]).await;
            (now != killed && active.is_ok()).then_some(())
        })
        .await
    }

    /// Resident memory of the bridge's daemon in bytes.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub async fn bridge_memory(&self) -> anyhow::Result<u64> {
        let pid = self
            .main_pid("satellite-bridge.service")
            .await?
            .context("the bridge does not run")?;
        let status = self.exec(&["cat", &format!("/proc/{pid}/status")]).await?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Restarts the satellite as a person would, and waits until it is up again.
    ///
    /// # Errors
    ///
    /// If it does not go down or not come up.
    pub async fn reboot(&self) -> anyhow::Result<()> {
        let before = self
            .leader()
            .context("the satellite's container is not running")?;
        until("the satellite to be told to restart", BOOT_LIMIT, async || {
            let goes_down = self.leader() != Some(before);
            (goes_down || self.end_for("reboot.target").await.is_ok()).then_some(())
        })
        .await?;
        until("the satellite to go down", BOOT_LIMIT, async || {
            self.leader().filter(|leader| *leader != before)
        })
        .await?;
        self.booted().await
    }

    /// Has all end for a target, as `systemctl reboot` does: what else is started then, such as a workload, would call it off.
    async fn end_for(&self, target: &str) -> anyhow::Result<String> {
        let irreversibly = "--job-mode=replace-irreversibly";
        self.exec(&["systemctl", "start", "--no-block", irreversibly, target])
            .await
    }

    /// Ends it as a power cut does.
    ///
    /// # Errors
    ///
    /// If it is still there after its init was killed.
    pub async fn power_cut(&self) -> anyhow::Result<()> {
        if let Some(leader) = self.leader() {
            kill(leader, Signal::SIGKILL);
        }
        self.ended().await
    }

    /// Whether its console is there: from the first moment of its start to its end.
    pub async fn has_console(&self) -> bool {
        let tmux = self.tmux();
        let console = run("tmux", &["-L", &tmux, "has-session", "-t", "console"]).await;
        console.is_ok()
    }

    /// The same at any moment, also while it begins to start: all its processes at once.
    ///
    /// # Errors
    ///
    /// If something of it is still there.
    pub async fn cut(&self) -> anyhow::Result<()> {
        let line = format!("0::/{}", self.name);
        let is_of_it = |pid: &i32| {
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let mut groups = groups.lines().filter_map(|group| group.strip_prefix(&line));
            groups.any(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        until(
            "the container to be cut off",
            Duration::from_secs(30),
            async || {
                let mut left = false;
                for pid in processes().filter(is_of_it) {
                    left = true;
                    kill(pid, Signal::SIGKILL);
                }
                (!left && !self.has_console().await).then_some(())
            },
        )
        .await?;
        for groups in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let group = Path::new(groups).join(&self.name);
            if group.exists() {
                let group = group.display().to_string();
                run(
                    "find",
                    &[&group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"],
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn ended(&self) -> anyhow::Result<()> {
        until("the container to end", Duration::from_secs(30), async || {
            (!self.has_console().await && !self.is_running()).then_some(())
        })
        .await
    }

    /// Shuts it down, by force if it does not go by itself. What does not run is no error.
    pub async fn stop(&self) {
        if self.is_running() {
            let _ = self.end_for("poweroff.target").await;
            let down = until(
                "the satellite to shut down",
                Duration::from_secs(20),
                async || (!self.is_running()).then_some(()),
            );
            if down.await.is_err() {
                let _ = self.power_cut().await;
            }
        }
        let _ = self.ended().await;
        let _ = run("tmux", &["-L", &self.tmux(), "kill-server"]).await;
        let _ = std::fs::remove_file(self.tmux_socket());
    }

    /// Where tmux keeps the console's socket. It leaves the file behind when it ends.
    #[must_use]
    pub fn tmux_socket(&self) -> PathBuf {
        let top = std::env::var_os("TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        top.join(format!("tmux-{}", nix::unistd::geteuid()))
            .join(self.tmux())
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The `index`th field of `/proc/PID/stat` after the name, counted from 0 (the state).
fn stat_field(pid: i32, index: usize) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(index)?
        .parse()
        .ok()
}

fn parent(pid: i32) -> Option<i32> {
    stat_field(pid, 1)
}

fn is_init(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("NSpid:") && line.split_whitespace().last() == Some("1"))
}

/// Sends a signal; a process that is gone is no error.
pub fn kill(pid: i32, signal: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}
