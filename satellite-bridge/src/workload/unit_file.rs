//! The unit file of a workload, from the few keys that a manifest may set and our hardening.
//!
//! **Invariant:** whatever stands in a manifest, it comes out as the value it was: no character of it is taken for
//! a line, a variable, a specifier or another setting. Pure.

use std::fmt::Write;
use std::path::Path;

use satellite_proto::bundle::{Digest, Manifest, WorkloadName};

use super::places::Places;

/// The longest name of a user that the service manager takes.
const USER_MOST: usize = 31;
/// Seconds beyond the health gate's that the service manager waits before it gives up a start.
const START_GRACE: u32 = 5;

/// The unit of the version `digest` of a workload.
#[must_use]
pub(super) fn render(places: &Places, digest: Digest, manifest: &Manifest) -> String {
    let name = &manifest.workload;
    let capability = if manifest.unit.ports_below_1024 {
        "CAP_NET_BIND_SERVICE"
    } else {
        ""
    };
    let mut unit = String::new();
    let mut line = |text: &str| {
        unit.push_str(text);
        unit.push('\n');
    };
    line("# Made by satellite-bridge at each of its starts. Changes are lost.");
    line("[Unit]");
    line(&format!(
        "Description=Workload {name} {}",
        specifiers(&manifest.version.to_string())
    ));
    line("After=network.target");
    line("StartLimitIntervalSec=300");
    line("StartLimitBurst=8");
    line("");
    line("[Service]");
    for program in programs(places, digest, manifest) {
        line(&program);
    }
    line(&format!(
        "Environment={}",
        variable("SATELLITE_SOCKET", &places.socket(name).to_string_lossy())
    ));
    line(&format!(
        "Environment={}",
        variable(
            "SATELLITE_STATE",
            &places
                .workload_state_dir
                .join(format!("satellite-{name}"))
                .to_string_lossy()
        )
    ));
    // Before the manifest's own words, which the file outranks: the proxy is the machine's to name.
    line(&format!(
        "EnvironmentFile=-{}",
        specifiers(&places.run_dir.join("proxy.env").to_string_lossy())
    ));
    for (key, value) in &manifest.unit.environment {
        line(&format!("Environment={}", variable(key, value)));
    }
    line(&format!(
        "TimeoutStartSec={}",
        manifest.health.start_seconds.saturating_add(START_GRACE)
    ));
    line("TimeoutStopSec=30");
    line("Restart=on-failure");
    line("RestartSec=2");
    line("");
    line("DynamicUser=yes");
    line(&format!("User={}", user(name)));
    line(&format!("StateDirectory=satellite-{name}"));
    line("StateDirectoryMode=0750");
    line(&format!("RuntimeDirectory={}", runtime_directory(places, name)));
    line("RuntimeDirectoryMode=0750");
    line("UMask=0077");
    if let Some(most) = manifest.unit.memory_max {
        line(&format!("MemoryMax={most}"));
    }
    line("TasksMax=512");
    line("LimitNOFILE=16384");
    line(&format!("CapabilityBoundingSet={capability}"));
    line(&format!("AmbientCapabilities={capability}"));
    line(HARDENING);
    unit
}

const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
RemoveIPC=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM";

/// What is started, before, after and for the workload.
fn programs(places: &Places, digest: Digest, manifest: &Manifest) -> Vec<String> {
    let name = &manifest.workload;
    let version = places.home(name).version(digest);
    let kind = if manifest.health.silent { "exec" } else { "notify" };
    let mut lines = vec![format!("Type={kind}")];
    // Both outside of the sandbox. Before each start, also one by the service manager: what runs is what was signed. After
    // each end, whoever ended it: why.
    let verify = own(places, &["verify-workload", name.as_str(), &digest.to_string()]);
    lines.extend(verify.map(|verify| format!("ExecStartPre=+{verify}")));
    let note = own(places, &["workload-ended", name.as_str()]);
    lines.extend(note.map(|note| format!("ExecStopPost=-+{note}")));
    let unit = &manifest.unit;
    lines.push(format!(
        "ExecStart={}",
        command(&version.join(&unit.exec), &unit.args)
    ));
    let health = manifest.health.command.as_ref();
    lines.extend(health.map(|health| {
        let check = command(&version.join(&health.exec), &health.args);
        format!("ExecStartPost={check}")
    }));
    lines
}

/// A command line of this program.
fn own(places: &Places, words: &[&str]) -> Option<String> {
    let (program, args) = places.own_command.split_first()?;
    let words = words.iter().map(|&word| word.to_owned());
    let args: Vec<_> = args.iter().cloned().chain(words).collect();
    Some(command(Path::new(program), &args))
}

/// A user's name that no other workload has. Long names are cut and told apart by a digest.
fn user(name: &WorkloadName) -> String {
    let whole = format!("sat-{name}");
    if whole.len() <= USER_MOST {
        return whole;
    }
    let digest = Digest::of(name.as_str().as_bytes()).to_string();
    format!("{}-{}", &whole[..USER_MOST - 9], &digest[..8])
}

/// Where the socket lies, relative to `/run`, where the service manager makes it.
fn runtime_directory(places: &Places, name: &WorkloadName) -> String {
    let run = places.run_dir.strip_prefix("/run").unwrap_or(&places.run_dir);
    let run = run.strip_prefix("/").unwrap_or(run);
    format!("{}/workloads/{name}", specifiers(&run.to_string_lossy()))
}

/// A command line: each argument quoted, so that none is split, replaced or taken for the command's end.
fn command(program: &Path, args: &[String]) -> String {
    let mut line = quoted(&program.to_string_lossy(), true);
    for arg in args {
        line.push(' ');
        line.push_str(&quoted(arg, true));
    }
    line
}

/// One assignment of `Environment=`, where `$` has no meaning.
fn variable(key: &str, value: &str) -> String {
    quoted(&format!("{key}={value}"), false)
}

fn quoted(text: &str, dollar: bool) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '%' => out.push_str("%%"),
            '$' if dollar => out.push_str("$$"),
            c if c.is_control() => escape_bytes(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape_bytes(out: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests;
