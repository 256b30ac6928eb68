//! `make run` and `make stop`: the laboratory that a person plays with.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use e2e::first_light::{STEPS, first_light};
use e2e::lab::Lab;
use e2e::release::Release;
use e2e::tell::{Teller, mebibytes, seconds};

/// The name of this laboratory.
const ID: &str = "run";

/// A satellite, a server and a sample central to play with.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does the main job step by step and leaves the system running.
    Run {
        /// Megabytes of the sample central, roughly.
        #[arg(long, default_value_t = 300)]
        megabytes: u64,
    },
    /// Ends the system and removes it.
    Stop,
    /// Shows what the satellite's console shows.
    Screen,
    /// Builds the machine image and signs it with the development key.
    Image {
        /// Which files are made.
        #[arg(long, default_value = "raw,qcow2,ova,vhdx")]
        formats: String,
        /// What a set of packages means that is not the accepted one: `check` refuses it, `report` tells, `renew` accepts.
        #[arg(long, default_value = "check")]
        lock: String,
    },
}

impl Cli {
    async fn run(self) -> anyhow::Result<()> {
        if let Command::Image { formats, lock } = &self.command {
            let dir = Release::find()?.image(formats, lock).await?;
            println!("The machine image lies in {}", dir.display());
            return Ok(());
        }
        let data = Release::find()?.top().join("target/lab/run");
        let lab = Lab::open(ID, &data)?;
        match self.command {
            Command::Run { megabytes } => run(&lab, megabytes).await,
            Command::Stop => {
                lab.remove().await;
                let _ = std::fs::remove_file(wrapper(&lab));
                println!("The laboratory is gone.");
                Ok(())
            }
            Command::Screen => {
                println!("{}", lab.satellite().capture().await?.trim_end());
                Ok(())
            }
            Command::Image { .. } => Ok(()),
        }
    }
}

async fn run(lab: &Lab, megabytes: u64) -> anyhow::Result<()> {
    able()?;
    let mut tell = Teller::new(STEPS);
    let seen = match first_light(lab, megabytes * 1_000_000, &mut tell).await {
        Ok(seen) => seen,
        Err(err) => {
            let evidence = lab.data().join("evidence.txt");
            e2e::network::write(&evidence, lab.evidence().await)?;
            return Err(err.context(format!(
                "it did not work; what was seen lies in {}",
                evidence.display()
            )));
        }
    };
    let wrapper = wrapper(lab);
    let text = format!(
        "#!/bin/sh\n# The management module of `make run`.\nMANAGEMENT_MODULE_CONFIG='{}' exec '{}' \"$@\"\n",
        lab.server.config().display(),
        lab.release.program("management-module").display(),
    );
    e2e::network::write(&wrapper, text)?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    let module = wrapper
        .strip_prefix(lab.release.top())
        .unwrap_or(&wrapper)
        .display()
        .to_string();
    println!(
        "\nDone in {}. The bridge takes {} of memory.",
        seconds(tell.elapsed()),
        mebibytes(seen.bridge_memory)
    );
    println!("\nThe system runs. Go on (as root) with:");
    let console = lab.satellite().tmux();
    for (line, what) in [
        (
            format!("{module} satellite show {}", e2e::lab::SATELLITE),
            "how the satellite is",
        ),
        (format!("{module} workload list"), "what runs on it"),
        (format!("{module} backup run sample"), "another backup"),
        (format!("{module} backup list"), "the archives"),
        (
            format!("{module} firewall show {}", e2e::lab::SATELLITE),
            "its firewall",
        ),
        (
            format!("tmux -L {console} attach"),
            "the satellite's console (leave: Ctrl-B, D)",
        ),
        ("make stop".to_owned(), "end and remove it"),
    ] {
        println!("  {line:<58} # {what}");
    }
    Ok(())
}

fn wrapper(lab: &Lab) -> PathBuf {
    lab.release.top().join("target/lab/management-module")
}

/// Says plainly what is missing, before something fails obscurely.
fn able() -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "a satellite is booted in a container with its own network, which needs root: use `make run`"
    );
    // In a thread of its own: a namespace that was left stays left.
    let namespaces = std::thread::spawn(|| {
        use nix::sched::{CloneFlags, unshare};
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
    });
    let namespaces = namespaces.join().ok().context("a thread broke")?;
    namespaces.context(
        "this machine does not let root make namespaces (is this an unprivileged container?), so no satellite can \
         be booted here. Next best: `make test` runs what needs none; or run this on a virtual machine, \
         or in a container started with --privileged",
    )
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(Cli::parse().run()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("\nlab: {err:#}");
            ExitCode::FAILURE
        }
    }
}
