//! What a person at the server sees of a satellite that restarts: its log goes on, its support bundle comes, and why its
//! workload ended is told.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Stdio;
use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::wait::until;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

const CONVERGED: Duration = Duration::from_mins(2);

/// A log that is followed on the command line.
struct Followed {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Followed {
    fn start(lab: &Scratch) -> Self {
        let mut command = lab.server.command(&[
            "satellite",
            "logs",
            SATELLITE,
            "system",
            "--follow",
            "--lines",
            "1",
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _child: child }
    }

    /// Reads on until a line has `wanted`; answers how many lines with `never` came before it.
    async fn until(&mut self, wanted: &str, never: &str) -> usize {
        let mut seen = 0;
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                seen += usize::from(!never.is_empty() && line.contains(never));
                if line.contains(wanted) {
                    return;
                }
            }
            panic!("the log ended before `{wanted}`");
        };
        tokio::time::timeout(CONVERGED, found).await.unwrap();
        seen
    }
}

async fn say(lab: &Scratch, text: &str) {
    let said = until("the satellite to say it", CONVERGED, async || {
        let words = ["systemd-cat", "-t", "probe", "-p", "info", "echo", text];
        lab.satellite().exec(&words).await.ok()
    });
    said.await.unwrap();
}

#[tokio::test]
async fn a_log_goes_on_after_restarts_and_who_helps_gets_all_in_one_file() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    let mut log = Followed::start(&lab);
    say(&lab, "probe-one").await;
    log.until("probe-one", "").await;
    let restart = ["systemctl", "restart", "satellite-bridge"];
    lab.satellite().exec(&restart).await.unwrap();
    say(&lab, "probe-two").await;
    assert_eq!(log.until("probe-two", "probe-one").await, 0, "a line came twice");
    lab.satellite().reboot().await.unwrap();
    say(&lab, "probe-three").await;
    assert_eq!(
        log.until("probe-three", "probe-two").await,
        0,
        "a line came twice"
    );

    lab.server.converged(SATELLITE, CONVERGED).await.unwrap();
    say(&lab, "login password=hunter2").await;
    let file = lab.data().join("support.tar.zst");
    let path = file.display().to_string();
    lab.server
        .cli(&["satellite", "support", SATELLITE, "--to", &path])
        .await
        .unwrap();
    let listed = e2e::command::run("tar", &["--zstd", "-tf", &path]).await.unwrap();
    for member in ["status.json", "machine/iptables.txt", "logs/bridge.log"] {
        assert!(listed.contains(member), "no {member} in\n{listed}");
    }
    let all = e2e::command::run(
        "tar",
        &["--zstd", "-xOf", &path, "--wildcards", "*/logs/system.log"],
    )
    .await;
    let all = all.unwrap();
    assert!(
        all.contains("probe-three") && !all.contains("hunter2"),
        "a secret is in the bundle"
    );

    let kill = [
        "systemctl",
        "kill",
        "-s",
        "ABRT",
        "satellite-workload-backup-service",
    ];
    lab.satellite().exec(&kill).await.unwrap();
    let told = until("the server to know why", CONVERGED, async || {
        let status = ["workload", "status", SATELLITE, "--output", "json"];
        let status = lab.server.cli(&status).await.ok()?;
        status.contains("signal ABRT").then_some(())
    });
    told.await.unwrap();
}
