//! Runs the programs of a profile on the central, and keeps services stopped for as long as we are there.
//!
//! **Invariants:** each word of a command is quoted, so that the shell of the account sees one word; a program ends with its
//! deadline, also if the line is cut; services that were stopped are started by the central itself when we are gone.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::time::Instant;

use super::CentralError;
use crate::destination::fault::Fault;
use crate::ssh::Ssh;

/// Bytes of stderr that are kept for the report.
const TAIL: usize = 8 << 10;

/// How much longer than its deadline a program may take until the central's own clock has ended it.
const GRACE: Duration = Duration::from_secs(10);

/// How long a shell may take to say a word.
const HELLO: Duration = Duration::from_secs(30);

/// Bytes of what a program answers that are kept, where it is asked for a word or a list.
const ANSWER: usize = 1 << 20;

/// What a shell prints when it is asked whether it is one.
const SHELL: &str = "a shell";

/// How long the service manager may take for one unit.
const UNIT: Duration = Duration::from_secs(120);

/// How often a central hears that we are there.
const BEAT: Duration = Duration::from_secs(30);

/// Where programs are looked for, as for a central on our own machine.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program without input, and ends it when the line ends. Signals over SSH are not for root, who is who signs in as a rule.
const WATCHED: &str = r#"exec 3<&0
timeout -s KILL "$0" "$@" </dev/null &
program=$!
{ cat <&3; kill -s KILL -- "-$program" "$program"; } >/dev/null 2>&1 &
watch=$!
wait "$program"
status=$?
kill "$watch" 2>/dev/null
exit "$status""#;

/// Stops the units that are named and run, says so, and starts them again when the line ends or is silent for two minutes.
const KEEP_STOPPED: &str = r#"trap '' HUP INT TERM PIPE
stopped=; failed=0
back() { for unit in $stopped; do systemctl start "$unit" || { failed=1; printf '%s\n' "$unit is not started" >&2; }; done; }
for unit; do
  systemctl is-active --quiet "$unit" || continue
  stopped="$stopped $unit"
  systemctl stop "$unit" || { back; exit 1; }
done
printf 'stopped\n'
while [ "$(timeout 120 head -c 1)" = . ]; do :; done
back
exit $failed"#;

/// Why a program has not done its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It said so.
    #[error("`{program}` failed ({how}): {}", last_line(stderr))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
        /// The last of what it wrote to stderr.
        stderr: Vec<String>,
    },
    /// It took too long.
    #[error("`{program}` was still running after {deadline:?} and was killed")]
    Deadline {
        /// The program.
        program: String,
        /// What it was given.
        deadline: Duration,
    },
    /// The account is one for files only.
    #[error(
        "`{program}` cannot be run: the user may use SFTP only; give the user a shell on the central, or leave out what needs one"
    )]
    NoShell {
        /// The program.
        program: String,
    },
    /// The line.
    #[error("`{program}` cannot be run")]
    Line {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: Fault,
    },
}

fn last_line(stderr: &[String]) -> &str {
    let mut lines = stderr.iter().rev();
    lines
        .find(|line| !line.trim().is_empty())
        .map_or("it printed no reason", String::as_str)
}

/// A word as every shell takes it: one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A command line with the environment that programs of a profile have.
fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(quoted).collect();
    format!(
        "exec env -i PATH={PATH} HOME=\"$HOME\" LANG=C.UTF-8 {}",
        words.join(" ")
    )
}

fn seconds(deadline: Duration) -> String {
    deadline.as_secs().max(1).to_string()
}

/// A program that runs on the central. Dropped, it is ended.
pub(super) struct Running {
    program: String,
    channel: Option<Channel<Msg>>,
    stderr: VecDeque<u8>,
    status: Option<Result<u32, String>>,
    begun: Instant,
    deadline: Duration,
}

impl Running {
    /// Starts it without input.
    pub(super) async fn start(ssh: &Ssh, argv: &[String], deadline: Duration) -> Result<Self, ExecError> {
        let limit = seconds(deadline);
        let words = ["sh", "-c", WATCHED, &limit].into_iter();
        let line = line(words.chain(argv.iter().map(String::as_str)));
        Self::with_line(ssh, argv, line, deadline).await
    }

    /// Starts it to be given what it reads. A line that is cut looks to it as the end of that.
    pub(super) async fn fed(ssh: &Ssh, argv: &[String], deadline: Duration) -> Result<Self, ExecError> {
        let limit = seconds(deadline);
        let words = ["timeout", "-s", "KILL", &limit].into_iter();
        let line = line(words.chain(argv.iter().map(String::as_str)));
        Self::with_line(ssh, argv, line, deadline).await
    }

    async fn with_line(
        ssh: &Ssh,
        argv: &[String],
        line: String,
        deadline: Duration,
    ) -> Result<Self, ExecError> {
        let program = argv.first().cloned().unwrap_or_default();
        let has_shell = ssh.has_shell.get_or_try_init(|| has_shell(ssh));
        if !*has_shell.await? {
            return Err(ExecError::NoShell { program });
        }
        Self::open(ssh, program, line, deadline).await
    }

    async fn open(ssh: &Ssh, program: String, line: String, deadline: Duration) -> Result<Self, ExecError> {
        let failed = |source| ExecError::Line {
            program: program.clone(),
            source,
        };
        let channel = ssh.session().await.map_err(failed)?;
        let asked = channel.exec(true, line).await;
        asked.map_err(|error| failed(ssh.cut(error.to_string())))?;
        Ok(Self {
            program,
            channel: Some(channel),
            stderr: VecDeque::new(),
            status: None,
            begun: Instant::now(),
            deadline,
        })
    }

    fn late(&self) -> ExecError {
        ExecError::Deadline {
            program: self.program.clone(),
            deadline: self.deadline,
        }
    }

    /// The next of what it prints; none when it has ended.
    pub(super) async fn print(&mut self) -> Result<Option<Bytes>, ExecError> {
        loop {
            let until = self.begun + self.deadline + GRACE;
            let Some(channel) = &mut self.channel else {
                return Ok(None);
            };
            let Ok(message) = tokio::time::timeout_at(until, channel.wait()).await else {
                self.kill().await;
                return Err(self.late());
            };
            match message {
                Some(ChannelMsg::Data { data }) => return Ok(Some(data)),
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    self.stderr.extend(&data[..]);
                    let over = self.stderr.len().saturating_sub(TAIL);
                    self.stderr.drain(..over);
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(Ok(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.status = Some(Err(format!("signal {signal_name:?}")));
                }
                Some(ChannelMsg::Failure) => {
                    self.status = Some(Err("the server runs no programs".to_owned()))
                }
                Some(ChannelMsg::Close) | None => return Ok(None),
                // What it has left running holds its pipes; it is not waited for.
                Some(ChannelMsg::Eof) if self.status.is_some() => return Ok(None),
                Some(_) => {}
            }
        }
    }

    /// All that it prints, or the beginning of it if that is more than an answer should be.
    pub(super) async fn answer(&mut self) -> Result<Vec<u8>, ExecError> {
        let mut said = Vec::new();
        while let Some(data) = self.print().await? {
            let room = ANSWER.saturating_sub(said.len()).min(data.len());
            said.extend_from_slice(data.get(..room).unwrap_or_default());
        }
        Ok(said)
    }

    /// Gives it a part of what it reads.
    pub(super) async fn give(&mut self, data: Bytes) -> Result<(), ExecError> {
        let until = self.begun + self.deadline + GRACE;
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        match tokio::time::timeout_at(until, channel.data_bytes(data)).await {
            // One that reads no further says itself how it ended.
            Ok(_) => Ok(()),
            Err(_) => {
                self.kill().await;
                Err(self.late())
            }
        }
    }

    /// It has nothing more to read.
    pub(super) async fn given(&mut self) {
        if let Some(channel) = &self.channel {
            // If the line is gone, the end of the program says so.
            let _gone = tokio::time::timeout(GRACE, channel.eof()).await;
        }
    }

    /// How it ended; what it still prints is passed over.
    pub(super) async fn finish(mut self) -> Result<(), ExecError> {
        while self.print().await?.is_some() {}
        self.ended()
    }

    /// How it ended, once it prints no more.
    pub(super) fn ended(&self) -> Result<(), ExecError> {
        let (front, back) = self.stderr.as_slices();
        let stderr = [front, back].concat();
        let stderr: Vec<String> = String::from_utf8_lossy(&stderr)
            .lines()
            .map(str::to_owned)
            .collect();
        let how = match self.status.clone() {
            Some(Ok(0)) => return Ok(()),
            // `timeout` has killed it, and itself with it.
            Some(Ok(124 | 137) | Err(_)) if self.begun.elapsed() >= self.deadline => {
                return Err(self.late());
            }
            Some(Ok(127)) => "it is not found; is it installed on the central?".to_owned(),
            Some(Ok(status)) => format!("exit status {status}"),
            Some(Err(how)) => how,
            None => "the connection was lost".to_owned(),
        };
        Err(ExecError::Failed {
            program: self.program.clone(),
            how,
            stderr,
        })
    }

    /// Ends its line, and with that it.
    async fn kill(&mut self) {
        if let Some(channel) = self.channel.take() {
            end(channel).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let channel = self.channel.take().filter(|_| self.status.is_none());
        // Without a runtime the connection ends as well.
        if let (Some(channel), Ok(runtime)) = (channel, tokio::runtime::Handle::try_current()) {
            runtime.spawn(end(channel));
        }
    }
}

/// Where only SFTP is allowed, a server starts that instead of what it is asked for, and nothing would ever come.
async fn has_shell(ssh: &Ssh) -> Result<bool, ExecError> {
    let mut hello = Running::open(ssh, "sh".to_owned(), format!("echo {SHELL}"), HELLO).await?;
    hello.given().await;
    let said = hello.answer().await?;
    // A shell may have greeted first.
    Ok(String::from_utf8_lossy(&said).lines().any(|line| line == SHELL))
}

async fn end(channel: Channel<Msg>) {
    // The connection may be gone, and the channel with it.
    let _late = tokio::time::timeout(GRACE, channel.close()).await;
}

/// Units of the central that are stopped for as long as this lives.
pub(super) struct Quiesced {
    running: Running,
    beat: tokio::task::JoinHandle<()>,
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        // Without the beat, or the line, the central starts them.
        self.beat.abort();
    }
}

impl Quiesced {
    /// Stops those of the units that run.
    pub(super) async fn stop(ssh: &Ssh, units: &[String]) -> Result<Option<Self>, CentralError> {
        if units.is_empty() {
            return Ok(None);
        }
        let patience = UNIT * u32::try_from(units.len()).unwrap_or(u32::MAX);
        let words = ["sh", "-c", KEEP_STOPPED, "sh"].into_iter();
        let line = line(words.chain(units.iter().map(String::as_str)));
        let mut running = Running::with_line(ssh, &["systemctl".to_owned()], line, patience).await?;
        let mut said = Vec::new();
        while !said.ends_with(b"stopped\n") {
            match running.print().await? {
                Some(data) => said.extend_from_slice(&data),
                None => {
                    let ended = running.finish().await.err();
                    return Err(ended.map_or_else(
                        || {
                            CentralError::Other(
                                "the central did not say that services are stopped".to_owned(),
                            )
                        },
                        CentralError::from,
                    ));
                }
            }
        }
        let Some(channel) = &running.channel else {
            return Err(CentralError::Cancelled);
        };
        let mut pulse = channel.make_writer();
        let beat = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            loop {
                tokio::time::sleep(BEAT).await;
                if pulse.write_all(b".").await.is_err() || pulse.flush().await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(Self { running, beat }))
    }

    /// Has them started again, and answers what did not start.
    pub(super) async fn start(mut self, units: usize) -> Result<(), ExecError> {
        self.beat.abort();
        self.running.given().await;
        // Its time begins anew: what went before was ours.
        self.running.begun = Instant::now();
        self.running.deadline = UNIT * u32::try_from(units.max(1)).unwrap_or(u32::MAX);
        while self.running.print().await?.is_some() {}
        match self.running.status {
            Some(Ok(0)) => Ok(()),
            _ => {
                let (front, back) = self.running.stderr.as_slices();
                let text = [front, back].concat();
                Err(ExecError::Failed {
                    program: "systemctl start".to_owned(),
                    how: "a service is stopped still; start it by hand".to_owned(),
                    stderr: String::from_utf8_lossy(&text)
                        .lines()
                        .map(str::to_owned)
                        .collect(),
                })
            }
        }
    }
}

/// Which of these programs the central has not; the answer of a shell.
pub(super) async fn lacking(ssh: &Ssh, programs: &[String]) -> Result<Vec<String>, ExecError> {
    const LOOK: &str =
        r#"for program; do command -v "$program" >/dev/null 2>&1 || printf '%s\0' "$program"; done"#;
    let mut argv: Vec<_> = ["sh", "-c", LOOK, "sh"].map(str::to_owned).to_vec();
    argv.extend(programs.iter().cloned());
    let mut running = Running::start(ssh, &argv, UNIT).await?;
    let said = running.answer().await?;
    running.finish().await?;
    let names = said.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_whatever_is_in_it() {
        let line = line(["pg_dump", "it's; rm -rf / $(x) `y` \n\\", ""]);
        assert!(
            line.ends_with("'pg_dump' 'it'\\''s; rm -rf / $(x) `y` \n\\' ''"),
            "{line}"
        );
    }
}
