//! Starting programs: by name and arguments, never through a shell, with a deadline.
//!
//! **Invariant:** no string is ever split into arguments, and a child never outlives the future that runs it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// Where programs are looked for. Nothing a caller or the environment says changes it.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program may take unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How many bytes of each output are kept unless told otherwise.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How many bytes of what a failed program wrote go into its error.
const COMPLAINT_LIMIT: usize = 2048;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Talking to it failed.
    #[error("cannot exchange data with `{program}`")]
    Pipe {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("`{program}` was still running after {deadline:?}")]
    Deadline {
        /// The program.
        program: String,
        /// What it was given.
        deadline: Duration,
    },
    /// It ended with an error.
    #[error("`{program}` failed ({status}): {complaint}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        complaint: String,
    },
    /// It wrote more than is taken.
    #[error("`{program}` wrote more than {limit} bytes")]
    TooMuch {
        /// The program.
        program: String,
        /// What is taken.
        limit: usize,
    },
}

impl ExecError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::Pipe { .. } => true,
            Self::Start { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::OutOfMemory
                        | io::ErrorKind::ExecutableFileBusy
                )
            }
            Self::Failed { .. } | Self::TooMuch { .. } => false,
        }
    }
}

/// What a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Stdout as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Makes this process another program, with the same environment, files and id. Returns only if that fails.
#[must_use]
pub fn become_program(program: &std::path::Path, args: &[String]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    #[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
    let mut command = std::process::Command::new(program);
    command.args(args).exec()
}

/// A program that is about to be run.
///
/// The child gets an environment with nothing but [`PATH`] and `LC_ALL=C`, and no stdin unless [`Exec::input`] gives one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Exec {
    program: OsString,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    input: Option<Bytes>,
    deadline: Duration,
    limit: usize,
}

impl Exec {
    /// Names the program: an absolute path, or a name found in [`PATH`].
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            variables: Vec::new(),
            input: None,
            deadline: DEADLINE,
            limit: OUTPUT_LIMIT,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's otherwise empty environment.
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives the child `bytes` on stdin.
    pub fn input(mut self, bytes: impl Into<Bytes>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Sets how long it may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many bytes each of stdout and stderr may have.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Runs the program and returns what it wrote, if it ended with status 0.
    ///
    /// # Errors
    ///
    /// [`ExecError::Deadline`] after the deadline: the child has been sent SIGKILL, its own children have not. Any
    /// other exit than 0 is [`ExecError::Failed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the child.
    pub async fn run(self) -> Result<Output, ExecError> {
        let program = self.program.to_string_lossy().into_owned();
        let output = self.run_any().await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ExecError::Failed {
            program,
            status: output.status,
            complaint: complaint(&output.stderr),
        })
    }

    /// As [`Exec::run`], but any exit status is an answer.
    ///
    /// # Errors
    ///
    /// As [`Exec::run`], but never [`ExecError::Failed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the child.
    pub async fn run_any(self) -> Result<Output, ExecError> {
        let program = self.program.to_string_lossy().into_owned();
        let deadline = self.deadline;
        match timeout(deadline, self.exchange(&program)).await {
            Ok(result) => result,
            Err(_) => Err(ExecError::Deadline { program, deadline }),
        }
    }

    async fn exchange(self, program: &str) -> Result<Output, ExecError> {
        let pipe = |source| ExecError::Pipe {
            program: program.to_owned(),
            source,
        };
        let mut child = self.command().spawn().map_err(|source| ExecError::Start {
            program: program.to_owned(),
            source,
        })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let input = self.input.unwrap_or_default();
        let feed = async {
            let Some(mut stdin) = stdin else { return Ok(()) };
            match stdin.write_all(&input).await {
                // A program may end without having read all of it; its status says whether that was an error.
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            }
        };
        let (fed, stdout, stderr) = tokio::join!(feed, take(stdout, self.limit), take(stderr, self.limit));
        fed.map_err(pipe)?;
        let (Some(stdout), Some(stderr)) = (stdout.map_err(pipe)?, stderr.map_err(pipe)?) else {
            return Err(ExecError::TooMuch {
                program: program.to_owned(),
                limit: self.limit,
            });
        };
        let status = child.wait().await.map_err(pipe)?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Reads to the end; `None` if there is more than `limit`.
async fn take(source: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(source) = source else {
        return Ok(Some(Vec::new()));
    };
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    source.take(bound).read_to_end(&mut bytes).await?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= limit))
}

fn complaint(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(COMPLAINT_LIMIT);
    String::from_utf8_lossy(&stderr[start..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_writes_is_returned() {
        let output = Exec::new("printf")
            .args(["%s|", "a b", "$HOME"])
            .run()
            .await
            .unwrap();
        assert_eq!(output.text(), "a b|$HOME|");
    }

    #[tokio::test]
    async fn the_environment_is_empty_but_for_what_was_given() {
        let output = Exec::new("env").variable("GIVEN", "x").run().await.unwrap();
        let text = output.text();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["GIVEN=x", "LC_ALL=C", &format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn input_reaches_the_program() {
        let output = Exec::new("cat").input(vec![7_u8; 300_000]).run().await.unwrap();
        assert_eq!(output.stdout, vec![7_u8; 300_000]);
    }

    #[tokio::test]
    async fn a_program_that_ignores_its_input_is_not_an_error() {
        Exec::new("true").input(vec![7_u8; 300_000]).run().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_carries_what_the_program_said() {
        let err = Exec::new("ls").arg("/does/not/exist").run().await.unwrap_err();
        assert!(matches!(err, ExecError::Failed { .. }));
        assert!(err.to_string().contains("/does/not/exist"), "{err}");
        assert!(!err.is_transient());
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_killed() {
        let deadline = Duration::from_millis(50);
        let err = Exec::new("sleep")
            .arg("600")
            .deadline(deadline)
            .run()
            .await
            .unwrap_err();
        assert!(matches!(err, ExecError::Deadline { .. }) && err.is_transient());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_cannot_be_started() {
        let err = Exec::new("/does/not/exist").run().await.unwrap_err();
        assert!(matches!(err, ExecError::Start { .. }));
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let err = Exec::new("head")
            .args(["-c", "2000", "/dev/zero"])
            .output_limit(1999)
            .run()
            .await
            .unwrap_err();
        assert!(matches!(err, ExecError::TooMuch { limit: 1999, .. }));
    }
}
