//! A fleet in one process: many daemons of the real library, each with a disk, a service manager and a packet filter of its
//! own that only remember. They speak the real protocol on a port of 127.0.0.1 each.
//!
//! What they say and what is done to them is in lines: stdout has JSON, stdin takes the commands of [`script::Command`], so
//! that a test, or a file with such lines, plays the faults.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]

mod member;
mod script;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use member::{Meetings, Member, Place};
use script::Command;

/// Files, sockets and connections of a member at once: two that listen, one or two connections, a file that is written.
const FILES: u64 = 6;

/// Members that start or stop at once.
const AT_ONCE: usize = 64;

/// Runs many satellites in one process.
#[derive(Debug, Parser)]
struct Cli {
    /// Where they keep their state; emptied by nobody.
    #[arg(long)]
    directory: PathBuf,
    /// How many there are.
    #[arg(long)]
    count: usize,
    /// The number of the first one; the names say it.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Keys whose signatures on bundles count.
    #[arg(long)]
    trust: PathBuf,
}

struct Fleet {
    members: Vec<Member>,
    meetings: Meetings,
}

impl Fleet {
    async fn start(cli: &Cli) -> anyhow::Result<Self> {
        let meetings = Meetings::default();
        let numbers = cli.first..cli.first.saturating_add(cli.count);
        let places = numbers.map(|number| Place::new(&cli.directory, &cli.trust, number));
        let members: Vec<_> = places.map(|place| Member::new(place, meetings.clone())).collect();
        let mut fleet = Self { members, meetings };
        fleet
            .each(0..cli.count, async |member| member.start().await)
            .await?;
        Ok(fleet)
    }

    /// Does something to a part of the members, many at once.
    async fn each(
        &mut self,
        part: std::ops::Range<usize>,
        act: impl AsyncFn(&mut Member) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let part = part.start.min(self.members.len())..part.end.min(self.members.len());
        for some in self.members[part].chunks_mut(AT_ONCE) {
            let all = some.iter_mut().map(|member| act(member));
            futures_util::future::try_join_all(all).await?;
        }
        Ok(())
    }

    /// Does what a line asks for, and says so when it is done.
    async fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Stop(part) => {
                self.each(part, async |member| {
                    member.stop().await;
                    Ok(())
                })
                .await?;
            }
            Command::Start(part) => self.each(part, async |member| member.start().await).await?,
            Command::Cut(part) => {
                self.each(part, async |member| {
                    member.cut();
                    Ok(())
                })
                .await?;
            }
            Command::Break(part, is_broken) => {
                self.each(part, async |member| {
                    member.break_workloads(is_broken);
                    Ok(())
                })
                .await?;
            }
            Command::Wait(time) => tokio::time::sleep(time).await,
            Command::Forget => self.meetings.forget(),
            Command::Count => {
                println!("{}", json!({ "met": self.meetings.moments() }));
                return Ok(());
            }
        }
        println!("{}", json!({ "done": true }));
        Ok(())
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    raise_limit(cli.count)?;
    let mut fleet = Fleet::start(&cli).await?;
    for member in &fleet.members {
        println!("{}", member.introduced()?);
    }
    println!("{}", json!({ "ready": fleet.members.len() }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.parse() {
            Ok(command) => fleet.obey(command).await?,
            Err(error) => println!("{}", json!({ "error": format!("{error:#}") })),
        }
    }
    Ok(())
}

/// Allows as many open files as are needed, as far as this process may.
fn raise_limit(count: usize) -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let needed = u64::try_from(count)?.saturating_mul(FILES).saturating_add(256);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = needed.min(hard);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("no more files may be opened")?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
