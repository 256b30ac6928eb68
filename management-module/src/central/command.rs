//! Runs the programs that a profile names: without a shell, with a clean environment, ended by deadline or cancel.
//!
//! **Invariant:** no word of an archive or of a satellite ever becomes part of a command line.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

/// Bytes of stderr that are kept for the report.
const TAIL: usize = 8 * 1024;
/// How long stderr may stay open after the program has ended: what it left running may hold it for ever.
const LINGER: Duration = Duration::from_secs(2);

/// A program of a profile did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot start `{program}`: is it installed and in PATH?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("lost track of `{program}`")]
    Wait {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It said that it failed.
    #[error("`{program}` failed ({status}): {}", last_line(stderr))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last of what it wrote to stderr.
        stderr: Vec<String>,
    },
    /// It took too long and was killed.
    #[error("`{program}` was still running after {deadline:?} and was killed")]
    Deadline {
        /// The program.
        program: String,
        /// What it was given.
        deadline: Duration,
    },
    /// The caller did not want it any more.
    #[error("`{program}` was killed because the work was cancelled")]
    Cancelled {
        /// The program.
        program: String,
    },
}

/// A running program. Dropping it kills it with its children.
#[derive(Debug)]
pub struct Running {
    program: String,
    child: Child,
    stderr: Option<mpsc::Receiver<Vec<String>>>,
    watch: Watch,
}

#[derive(Debug)]
struct Watch {
    task: tokio::task::JoinHandle<()>,
    expired: CancellationToken,
    cancel: CancellationToken,
    deadline: Duration,
}

/// Starts `argv` in its own process group. Must be called where a tokio runtime is at hand (blocking threads are).
///
/// # Errors
///
/// [`CommandError::Start`].
pub fn start(
    argv: &[String],
    stdin: Stdio,
    stdout: Stdio,
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<Running, CommandError> {
    let program = argv.first().cloned().unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "dump and restore commands are the central's own, named by its profile"
    )]
    let mut command = Command::new(&program);
    command.args(argv.iter().skip(1)).env_clear().envs(environment());
    command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .process_group(0)
        .current_dir("/");
    let mut child = command.spawn().map_err(|source| CommandError::Start {
        program: program.clone(),
        source,
    })?;
    let stderr = child.stderr.take().map(|pipe| {
        let (sender, lines) = mpsc::sync_channel(1);
        std::thread::spawn(move || sender.send(tail(pipe)));
        lines
    });
    let watch = watch(&child, deadline, cancel);
    Ok(Running {
        program,
        child,
        stderr,
        watch,
    })
}

impl Running {
    /// The end of the pipe that the program prints to.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// [`CommandError`] unless it ended with success in time.
    pub fn finish(mut self) -> Result<(), CommandError> {
        let program = self.program.clone();
        let status = self.child.wait().map_err(|source| CommandError::Wait {
            program: program.clone(),
            source,
        })?;
        self.watch.task.abort();
        let stderr = self
            .stderr
            .take()
            .and_then(|lines| lines.recv_timeout(LINGER).ok())
            .unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        if self.watch.cancel.is_cancelled() {
            return Err(CommandError::Cancelled { program });
        }
        if self.watch.expired.is_cancelled() {
            return Err(CommandError::Deadline {
                program,
                deadline: self.watch.deadline,
            });
        }
        Err(CommandError::Failed {
            program,
            status,
            stderr,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.task.abort();
        if matches!(self.child.try_wait(), Ok(None)) {
            kill(self.child.id());
            drop(self.child.wait());
        }
    }
}

fn watch(child: &Child, deadline: Duration, cancel: &CancellationToken) -> Watch {
    let expired = CancellationToken::new();
    let pid = child.id();
    let task = tokio::runtime::Handle::current().spawn({
        let (expired, cancel) = (expired.clone(), cancel.clone());
        async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(deadline) => expired.cancel(),
            }
            kill(pid);
        }
    });
    Watch {
        task,
        expired,
        cancel: cancel.clone(),
        deadline,
    }
}

fn kill(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // It may have ended just now: then there is nothing to kill.
        let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Where programs of a profile are looked for.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn environment() -> [(&'static str, String); 3] {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    [
        ("PATH", PATH.to_owned()),
        ("HOME", home),
        ("LANG", "C.UTF-8".to_owned()),
    ]
}

fn tail(mut pipe: ChildStderr) -> Vec<String> {
    let mut kept: VecDeque<u8> = VecDeque::with_capacity(TAIL);
    let mut buffer = [0_u8; 4096];
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            break;
        }
        kept.extend(&buffer[..count]);
        let over = kept.len().saturating_sub(TAIL);
        kept.drain(..over);
    }
    let bytes: Vec<u8> = kept.into();
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn last_line(stderr: &[String]) -> &str {
    stderr
        .iter()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map_or("it printed no reason", String::as_str)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn what_a_program_leaves_running_does_not_hold_the_work_up() {
        let argv = ["sh", "-c", "sleep 20 >/dev/null & echo done >&2"].map(str::to_owned);
        let begun = Instant::now();
        let cancel = CancellationToken::new();
        let deadline = Duration::from_secs(60);
        let running = start(&argv, Stdio::null(), Stdio::null(), deadline, &cancel).unwrap();
        let group = running.child.id();
        let ended = tokio::task::spawn_blocking(|| running.finish()).await.unwrap();
        kill(group);
        ended.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
