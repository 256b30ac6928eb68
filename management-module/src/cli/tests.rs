//! What the command line takes, refuses and prints.

use clap::{CommandFactory, Parser};
use satellite_proto::wire::backup::v1::{Archive, ArchiveDataSet};
use satellite_proto::wire::bridge::v1 as bridge;
use satellite_proto::wire::management::v1::{DesiredWorkload, FleetSatellite};

use super::backup::ArchiveView;
use super::satellite::SatelliteView;
use super::{Cli, CliError, Output, render};

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[track_caller]
fn refused(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.is_empty());
    let err =
        Cli::try_parse_from(std::iter::once("management-module").chain(words)).expect_err("a usage error");
    err.render().to_string()
}

#[test]
fn usage_errors_say_what_is_missing() {
    let lines = [
        "",
        "satellite",
        "satellite pair",
        "satellite pair 10.0.0.7 --code A --code-file b",
        "satellite pair 10.0.0.7 --bare --workload x",
        "satellite pair 10.0.0.7 --wait-limit 5m",
        "satellite logs s1 --list --follow",
        "satellite logs s1 --priority 8",
        "satellite logs s1 --priority warn",
        "backup restore a.sar",
        "backup restore a.sar --to /x --overwrite",
        "backup restore a.sar --to /x --in-place",
        "bundle build --recipe r --payload p --out o",
        "audit list --limit 0",
        "satellite list --output yaml",
        "satellite list --lang es",
    ];
    let told: Vec<_> = lines
        .iter()
        .map(|line| format!("$ management-module {line}\n{}", refused(line)))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

fn satellite() -> FleetSatellite {
    let workload = bridge::Workload {
        name: "backup-service".to_owned(),
        version: "0.1.0".to_owned(),
        state: bridge::WorkloadState::Healthy.into(),
        enabled: true,
        ..bridge::Workload::default()
    };
    FleetSatellite {
        name: "s1".to_owned(),
        address: "10.0.0.7:7640".to_owned(),
        fingerprint: "ab".repeat(32),
        reachability: 2,
        seen_time: Some(prost_types::Timestamp {
            seconds: 1_795_320_000,
            nanos: 5,
        }),
        observed: Some(bridge::Satellite {
            bridge_version: "0.1.0".to_owned(),
            os_version: "Debian GNU/Linux 13 (trixie)".to_owned(),
            architecture: "x86_64".to_owned(),
            addresses: vec!["10.0.0.7/24".to_owned()],
            disk_free_bytes: 5 << 30,
            disk_total_bytes: 10 << 30,
            workloads: vec![workload],
            ..bridge::Satellite::default()
        }),
        converged: true,
        ..FleetSatellite::default()
    }
}

fn archive() -> Archive {
    Archive {
        id: "0198f0c2-0000-7000-8000-000000000000".to_owned(),
        file_name: "pbx-1-20261122T040000Z.sar".to_owned(),
        size_bytes: 12_345_678,
        create_time: Some(prost_types::Timestamp {
            seconds: 1_795_320_000,
            nanos: 0,
        }),
        central: "pbx-1".to_owned(),
        central_address: "10.0.0.5".to_owned(),
        tenant: "default".to_owned(),
        data_sets: vec![ArchiveDataSet {
            name: "core".to_owned(),
            members: 12,
            size_bytes: 20_000_000,
        }],
        sha256: "cd".repeat(32),
        ..Archive::default()
    }
}

#[test]
fn satellites_are_printed_for_people_and_for_programs() {
    let view = SatelliteView::from(satellite());
    let told = [
        render::listed(Output::Table, &[&view], &SatelliteView::HEADING, |view| {
            view.row()
        })
        .unwrap(),
        render::told(Output::Table, &view, SatelliteView::properties).unwrap(),
        render::told(Output::Json, &view, SatelliteView::properties).unwrap(),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_satellite_that_is_not_as_wanted_says_what_is_missing() {
    let wanted = |workload: &str, digest: &str, running| DesiredWorkload {
        workload: workload.to_owned(),
        version: "0.2.0".to_owned(),
        running,
        manifest_digest: digest.to_owned(),
    };
    let mut satellite = satellite();
    satellite.converged = false;
    satellite.desired = vec![
        wanted("backup-service", "abc", true),
        wanted("other", "def", true),
    ];
    let problem = |satellite: &FleetSatellite| SatelliteView::from(satellite.clone()).row().pop().unwrap();
    assert_eq!(
        problem(&satellite),
        "backup-service is 0.1.0, wanted 0.2.0; other 0.2.0 is not installed"
    );
    satellite.desired = vec![wanted("backup-service", "", false)];
    assert_eq!(problem(&satellite), "backup-service is healthy, wanted stopped");
    satellite.problem = "backup-service is not healthy: it ended".to_owned();
    assert_eq!(problem(&satellite), satellite.problem, "nothing is said twice");
    satellite.observed = None;
    satellite.problem.clear();
    assert_eq!(
        problem(&satellite),
        "",
        "of a satellite that never answered nothing is known"
    );
}

#[test]
fn archives_are_printed_for_people_and_for_programs() {
    let view = ArchiveView::new(archive(), "s1".to_owned());
    let told = [
        render::listed(Output::Table, &[&view], &ArchiveView::HEADING, |view| view.row()).unwrap(),
        render::told(Output::Table, &view, ArchiveView::properties).unwrap(),
        render::listed(Output::Json, &[&view], &ArchiveView::HEADING, |view| view.row()).unwrap(),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn an_empty_list_is_a_heading_or_an_empty_array() {
    let none: [SatelliteView; 0] = [];
    let json = render::listed(Output::Json, &none, &SatelliteView::HEADING, SatelliteView::row).unwrap();
    assert_eq!(json, "[]\n");
}

#[test]
fn a_moment_is_a_time_or_a_while_ago() {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(10_000);
    assert_eq!(super::logs::moment("2h", now).unwrap().seconds, 2800);
    assert_eq!(
        super::logs::moment("1970-01-01T00:00:07Z", now).unwrap().seconds,
        7
    );
    assert!(matches!(
        super::logs::moment("yesterday", now),
        Err(CliError::Usage(_))
    ));
}

/// The commands in a document: in fenced blocks, and in backticks where `M` or the program's name comes first.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(str::trim);
    let in_backticks = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    lines
        .chain(in_backticks)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let program = words.next()?;
            ["M", "$M", "management-module"]
                .contains(&program)
                .then_some(())?;
            let words: Vec<_> = words
                .take_while(|word| !["#", "&&", ">", "|"].contains(word))
                .map(str::to_owned)
                .collect();
            (!words.is_empty() && words[0] != "...").then_some(words)
        })
        .collect()
}

#[test]
fn the_commands_in_the_documentation_are_understood() {
    let documents = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/runbook.md"),
        include_str!("../../../docs/central-profile.md"),
        include_str!("../../../docs/bundle.md"),
        include_str!("../../../docs/firewall.md"),
    ];
    let found: Vec<_> = documents.into_iter().flat_map(commands).collect();
    assert!(found.len() > 30, "only {} commands were found", found.len());
    for words in found {
        let line = std::iter::once("management-module".to_owned()).chain(words.clone());
        if let Err(err) = Cli::try_parse_from(line) {
            // A document may name a command without what it works on, or ask for its help.
            let names_only = [
                clap::error::ErrorKind::MissingRequiredArgument,
                clap::error::ErrorKind::DisplayHelp,
            ];
            assert!(names_only.contains(&err.kind()), "{words:?}: {err}");
        }
    }
}

#[tokio::test]
async fn a_module_that_does_not_run_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("no.sock").display().to_string();
    // Named, so that the environment does not choose for the tests beside this one.
    let english = ["management-module", "--lang", "en"];
    let line = english
        .into_iter()
        .chain(["--socket", &socket, "satellite", "list"]);
    let cli = Cli::parse_from(line);
    let done = cli.run().await;
    assert_eq!(
        format!("{done:?}"),
        format!("{:?}", std::process::ExitCode::from(3))
    );
}

#[tokio::test]
async fn a_key_is_made_once_and_a_bundle_of_it_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let run = async |words: Vec<String>| {
        let line = ["management-module", "--lang", "en"].map(str::to_owned);
        format!("{:?}", Cli::parse_from(line.into_iter().chain(words)).run().await)
    };
    let good = format!("{:?}", std::process::ExitCode::SUCCESS);
    let keygen = || {
        [
            "bundle",
            "keygen",
            &at("key"),
            "--no-password",
            "--trust",
            &at("trust"),
        ]
        .map(str::to_owned)
    };
    assert_eq!(run(keygen().to_vec()).await, good);
    assert_ne!(run(keygen().to_vec()).await, good, "a key is never replaced");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(at("key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    std::fs::create_dir(at("payload")).unwrap();
    std::fs::copy("/bin/true", at("payload/service")).unwrap();
    let recipe = "workload = \"service\"\nversion = \"1.0.0\"\nchannel = \"stable\"\nrelease = 1\n\
                  architecture = \"x86_64\"\nleast_bridge = \"0.1.0\"\n[unit]\nexec = \"service\"\n\
                  [health]\nstart_seconds = 10\nsettle_seconds = 1\n";
    std::io::Write::write_all(
        &mut std::fs::File::create(at("recipe")).unwrap(),
        recipe.as_bytes(),
    )
    .unwrap();
    let (recipe, payload, key, out) = (at("recipe"), at("payload"), at("key"), at("a.bundle"));
    let build = [
        "bundle",
        "build",
        "--recipe",
        &recipe,
        "--payload",
        &payload,
        "--key",
        &key,
        "--out",
        &out,
    ];
    assert_eq!(run(build.map(str::to_owned).to_vec()).await, good);
    let inspect = ["bundle", "inspect", &out, "--trust", &at("trust")].map(str::to_owned);
    assert_eq!(run(inspect.to_vec()).await, good);
}
