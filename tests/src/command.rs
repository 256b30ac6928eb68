//! Runs programs for the laboratory: with a deadline, without stdin, and with what they said in the error.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a program may take if nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A program to be run, killed if its future is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the laboratory starts programs as a user does"
)]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// Runs `command` to its end, however it ends.
///
/// # Errors
///
/// If it cannot be started, or is still running after `deadline`; it is killed then.
pub async fn finish(mut command: Command, deadline: Duration) -> anyhow::Result<Ended> {
    let shown = shown(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("`{shown}` was still running after {deadline:?}"))?
        .with_context(|| format!("cannot start `{shown}`"))?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `command` and answers what it wrote to stdout.
///
/// # Errors
///
/// As [`finish`], and if it ends with anything but 0.
pub async fn stdout_of(command: Command, deadline: Duration) -> anyhow::Result<String> {
    let shown = shown(&command);
    let ended = finish(command, deadline).await?;
    if ended.code != Some(0) {
        let mut said = String::new();
        for text in [&ended.stdout, &ended.stderr] {
            let tail: Vec<&str> = text.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                write!(said, "\n  {line}")?;
            }
        }
        anyhow::bail!("`{shown}` ended with {:?}:{said}", ended.code);
    }
    Ok(ended.stdout)
}

/// Runs `program` with `args` and answers what it wrote to stdout.
///
/// # Errors
///
/// As [`stdout_of`], after [`DEADLINE`].
pub async fn run(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let mut command = command(program);
    command.args(args);
    stdout_of(command, DEADLINE).await
}

/// Runs `command` with `input` on stdin and answers what it wrote to stdout.
///
/// # Errors
///
/// If it cannot be started, does not take its input, fails, or takes longer than [`DEADLINE`].
pub async fn feed(mut command: Command, input: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let shown = shown(&command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let writer = tokio::spawn(async move { stdin.write_all(&input).await });
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
        .await
        .with_context(|| format!("`{shown}` was still running after {DEADLINE:?}"))??;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "`{shown}` ended with {}: {complaint}",
        output.status
    );
    writer
        .await?
        .with_context(|| format!("`{shown}` did not read its input"))?;
    Ok(output.stdout)
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_is_quoted() {
        let err = run("sh", &["-c", "echo of no use >&2; exit 3"])
            .await
            .unwrap_err()
            .to_string();
        assert!(err.contains("Some(3)") && err.contains("of no use"), "{err}");
    }

    #[tokio::test]
    async fn input_arrives() {
        assert_eq!(feed(command("cat"), b"abc".to_vec()).await.unwrap(), b"abc");
    }
}
