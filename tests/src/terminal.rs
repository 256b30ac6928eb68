//! The menu in a terminal of this machine: the same program, with a state directory that a test can break.
//!
//! **Invariant:** it touches nothing but its own directory; nothing of this machine is changed by what the tests choose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::command::run;
use crate::network::write;
use crate::release::Release;
use crate::wait::until;

/// Characters that tmux takes in one command.
const LONGEST_PASTE: usize = 2_000;
/// What a screen may take to change.
const SCREEN: Duration = Duration::from_secs(30);

/// A terminal of 80 × 24 in which the menu runs.
#[derive(Debug)]
pub struct Terminal {
    server: String,
    dir: PathBuf,
    is_mounted: bool,
}

impl Terminal {
    /// Starts the menu below `dir`; `name` is nobody else's. With `megabytes` the state is on a disk of that size.
    ///
    /// # Errors
    ///
    /// If tmux or the disk cannot be had.
    pub async fn start(name: &str, dir: &Path, megabytes: Option<u32>) -> anyhow::Result<Self> {
        let terminal = Self {
            server: format!("satellite-menu-{name}-{}", std::process::id()),
            dir: dir.to_owned(),
            is_mounted: megabytes.is_some(),
        };
        std::fs::create_dir_all(terminal.state())?;
        std::fs::create_dir_all(dir.join("run"))?;
        if let Some(megabytes) = megabytes {
            let size = format!("size={megabytes}m");
            let state = terminal.state().display().to_string();
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &state]).await?;
        }
        let config = format!(
            "listen = \"127.0.0.1:1\"\nstate-dir = \"{}\"\nrun-dir = \"{}\"\nunit-dir = \"{}\"\n",
            terminal.state().display(),
            dir.join("run").display(),
            dir.join("units").display()
        );
        write(&dir.join("bridge.toml"), config)?;
        terminal.run_menu().await?;
        Ok(terminal)
    }

    /// Starts another program than the menu: `line` is for the shell.
    ///
    /// # Errors
    ///
    /// If tmux cannot be had.
    pub async fn with(name: &str, dir: &Path, line: &str) -> anyhow::Result<Self> {
        let terminal = Self {
            server: format!("satellite-{name}-{}", std::process::id()),
            dir: dir.to_owned(),
            is_mounted: false,
        };
        open(&terminal.server, [120, 60], line).await?;
        Ok(terminal)
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    async fn run_menu(&self) -> anyhow::Result<()> {
        let program = Release::find()?.program("satellite-bridge");
        let config = self.dir.join("bridge.toml");
        let line = format!(
            "exec '{}' --config '{}' menu",
            program.display(),
            config.display()
        );
        open(&self.server, [80, 24], &line).await?;
        self.tmux(&["set-option", "-g", "status", "off"]).await?;
        self.shows("Satellite").await.map(drop)
    }

    /// Makes the disk of the state read-only.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub async fn make_read_only(&self) -> anyhow::Result<()> {
        let state = self.state().display().to_string();
        run("mount", &["-o", "remount,ro", &state]).await.map(drop)
    }

    /// What is on the screen.
    ///
    /// # Errors
    ///
    /// If the menu has ended: tmux ends with it.
    pub async fn capture(&self) -> anyhow::Result<String> {
        self.tmux(&["capture-pane", "-p", "-t", "console"]).await
    }

    /// Presses keys, by tmux's names, one after the other.
    ///
    /// # Errors
    ///
    /// If the menu has ended.
    pub async fn press(&self, keys: &[&str]) -> anyhow::Result<()> {
        self.tmux(&[&["send-keys", "-t", "console"][..], keys].concat())
            .await
            .map(drop)
    }

    /// Types text as it is, control characters included.
    ///
    /// # Errors
    ///
    /// If the menu has ended.
    pub async fn paste(&self, text: &str) -> anyhow::Result<()> {
        // tmux takes no longer ones at once.
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(LONGEST_PASTE) {
            self.press(&["-l", "--", &String::from_iter(piece)]).await?;
        }
        Ok(())
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    ///
    /// If the menu has ended.
    pub async fn resize(&self, width: u16, height: u16) -> anyhow::Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        let words = ["resize-window", "-t", "console", "-x", &width, "-y", &height];
        self.tmux(&words).await.map(drop)
    }

    /// Waits until the screen shows `text`, and answers the screen.
    ///
    /// # Errors
    ///
    /// With what is shown instead.
    pub async fn shows(&self, text: &str) -> anyhow::Result<String> {
        let mut screen = String::new();
        let what = format!("the menu to show `{text}`");
        let found = until(&what, SCREEN, async || {
            screen = self.capture().await.unwrap_or_default();
            screen.contains(text).then_some(())
        });
        let found = found.await;
        found.with_context(|| format!("it shows:\n{}", screen.trim_end()))?;
        Ok(screen)
    }

    /// Process id of the menu.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn pid(&self) -> anyhow::Result<String> {
        let words = ["display-message", "-p", "-t", "console", "#{pane_pid}"];
        Ok(self.tmux(&words).await?.trim().to_owned())
    }

    /// Ends the menu and takes its disk away.
    pub async fn stop(&self) {
        let _ = self.tmux(&["kill-server"]).await;
        if self.is_mounted {
            let state = self.state().display().to_string();
            let _ = run("umount", &["-l", &state]).await;
        }
    }

    async fn tmux(&self, words: &[&str]) -> anyhow::Result<String> {
        run("tmux", &[&["-L", self.server.as_str()], words].concat()).await
    }
}

/// Opens a terminal of `columns` and `rows` on a tmux server of its own, in which `line` runs.
///
/// # Errors
///
/// If tmux cannot be had.
pub(crate) async fn open(server: &str, [columns, rows]: [u16; 2], line: &str) -> anyhow::Result<()> {
    let (columns, rows) = (columns.to_string(), rows.to_string());
    let mut words = vec![
        "-L",
        server,
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-s",
        "console",
    ];
    words.extend(["-x", &columns, "-y", &rows, line]);
    run("tmux", &words).await.map(drop)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                if let Ok(runtime) = runtime {
                    runtime.block_on(self.stop());
                }
            });
        });
    }
}
