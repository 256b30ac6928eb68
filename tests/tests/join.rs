//! Zero touch: a satellite that boots with a join token is paired and commissioned with nobody at its console.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use e2e::network::SERVER;
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::management::v1::ListSatellitesRequest;

const LIMIT: Duration = Duration::from_secs(90);

/// The server with the release's bundle, and the text of a token for it.
async fn token(lab: &Scratch, options: &[&str]) -> String {
    let address = SERVER.to_string();
    let words = [
        "satellite",
        "token",
        "create",
        "--server",
        &address,
        "--output",
        "json",
    ];
    let made = lab.server.cli(&[&words[..], options].concat()).await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["state"], "open");
    made["token"].as_str().unwrap().to_owned()
}

async fn console_status(lab: &Scratch) -> serde_json::Value {
    let words = [
        "/usr/lib/satellite/satellite-bridge",
        "status",
        "--output",
        "json",
    ];
    let text = lab.satellite().exec(&words).await.unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[tokio::test]
async fn a_satellite_with_a_token_in_a_credential_is_commissioned_with_nobody_at_its_console() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    let token = token(&lab, &["--name", "s1"]).await;
    lab.leave_credential("satellite.join-token", &token).unwrap();
    let start = Instant::now();
    lab.boot().await.unwrap();
    let satellite = lab.server.converged("s1", Duration::from_mins(3)).await.unwrap();
    println!("power on to commissioned: {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(
        satellite.address,
        format!("{}:7640", lab.address().await.unwrap())
    );
    let workloads = satellite.observed.unwrap().workloads;
    assert_eq!(workloads[0].name, "backup-service");
    assert_eq!(console_status(&lab).await["pairing"], "paired");

    // Nothing keeps or shows the token.
    let kept = [
        "sh",
        "-c",
        "grep -rlF SJ1- /var/lib /run/satellite /var/log || true",
    ];
    assert_eq!(lab.satellite().exec(&kept).await.unwrap().trim(), "");
    let journal = lab
        .satellite()
        .exec(&["journalctl", "-b", "--no-pager"])
        .await
        .unwrap();
    assert!(!journal.contains(&token[4..20]), "the token is in the journal");
    let log = std::fs::read_to_string(lab.server.log()).unwrap();
    assert!(!log.contains(&token[4..20]), "the token is in the server's log");
    let audit = lab.server.cli(&["audit", "list"]).await.unwrap();
    assert!(
        audit.contains("JoinService/Join") && !audit.contains(&token[4..20]),
        "{audit}"
    );

    // It boots again with the same credential, which has ended, and is what it was.
    lab.satellite().reboot().await.unwrap();
    lab.server.converged("s1", LIMIT).await.unwrap();

    // Set back to what was shipped it has another key: the token is used, and both sides say so.
    let wipe = ["/usr/lib/satellite/satellite-bridge", "disconnect"];
    lab.satellite().exec(&wipe).await.unwrap();
    let gone = async || {
        lab.server
            .satellite("s1")
            .await
            .filter(|s| s.reachability == 5)
            .map(drop)
    };
    until("the server to know that it was disconnected", LIMIT, gone)
        .await
        .unwrap();
    lab.satellite().stop().await;
    let var = lab.satellite().var();
    std::fs::remove_dir_all(var.join("lib/satellite")).unwrap();
    lab.start().await.unwrap();
    let told = async || {
        let error = console_status(&lab).await["last_error"].as_str()?.to_owned();
        error
            .contains("another satellite has used the join token")
            .then_some(())
    };
    until("the console to say that the token is used", LIMIT, told)
        .await
        .unwrap();
    let audit = lab.server.cli(&["audit", "list"]).await.unwrap();
    assert!(audit.contains("refused: the token is used"), "{audit}");
}

#[tokio::test]
async fn the_server_listens_for_satellites_only_while_a_token_is_out() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    let ports = async || {
        let mut ss = lab.lan.at_server("ss");
        ss.args(["-H", "-tln"]);
        e2e::command::stdout_of(ss, Duration::from_secs(10))
            .await
            .unwrap()
    };
    assert!(!ports().await.contains(":7601"));
    let first = token(&lab, &["--bare"]).await;
    assert!(ports().await.contains(":7601"), "{}", ports().await);

    // Strangers who say nothing, and many of them, keep nobody out.
    let address = format!("{SERVER}:7601");
    let lan = lab.lan.clone();
    let silent = std::thread::spawn(move || {
        lan.enter().unwrap();
        let connect = |_| std::net::TcpStream::connect(&address).unwrap();
        (0..40).map(connect).collect::<Vec<_>>()
    });
    let silent = silent.join().unwrap();
    lab.leave_credential("satellite.join-token", &first).unwrap();
    lab.boot().await.unwrap();
    let joined = async || {
        let mut fleet = lab.server.fleet();
        let all = fleet.list_satellites(ListSatellitesRequest {});
        (all.await.ok()?.into_inner().satellites.len() == 1).then_some(())
    };
    until("the satellite to join", LIMIT, joined).await.unwrap();
    drop(silent);

    let listed = lab.server.cli(&["satellite", "token", "list"]).await.unwrap();
    assert!(listed.contains("used") && !listed.contains("SJ1"), "{listed}");
}

#[tokio::test]
async fn a_virtual_machine_is_prepared_with_its_token_in_files_only() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Scratch::new().await.unwrap();
    lab.lan.up().await.unwrap();
    lab.serve().await.unwrap();
    let (image, vm) = (lab.data().join("satellite.qcow2"), lab.data().join("vm"));
    e2e::network::write(&image, "").unwrap();
    let (image, to, server) = (
        image.display().to_string(),
        vm.display().to_string(),
        SERVER.to_string(),
    );
    let words = [
        "satellite",
        "vm",
        "create",
        "--image",
        &image,
        "--to",
        &to,
        "--server",
        &server,
    ];
    let said = lab.server.cli(&words).await.unwrap();
    assert!(
        said.contains("-fw_cfg") && said.contains("virsh define"),
        "{said}"
    );
    assert!(!said.contains("SJ1-"), "{said}");
    let token = std::fs::read_to_string(vm.join("join-token")).unwrap();
    assert!(token.starts_with("SJ1-"), "{token}");
    for (file, has_token) in [("join-token", true), ("ovf-env.xml", true), ("domain.xml", false)] {
        let text = std::fs::read_to_string(vm.join(file)).unwrap();
        assert_eq!(text.contains(&token), has_token, "{file}");
        let mode = std::fs::metadata(vm.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
