//! Copies and old snapshots of a paired satellite: the copied or restored data directory of a booted one.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::command::run;
use e2e::lab::SATELLITE;
use e2e::network::{Lan, SERVER};
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::management::v1::{FleetSatellite, Reachability};

const LIMIT: Duration = Duration::from_secs(90);
const BRIDGE: &str = "/usr/lib/satellite/satellite-bridge";

async fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    run("cp", &["-a", &from, &to]).await.unwrap();
}

async fn paired() -> Scratch {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();
    lab
}

async fn when(lab: &Scratch, what: &str, is_so: impl Fn(&FleetSatellite) -> bool) -> FleetSatellite {
    until(what, LIMIT, async || {
        lab.server.satellite(SATELLITE).await.filter(|known| is_so(known))
    })
    .await
    .unwrap()
}

fn generation(known: &FleetSatellite) -> u64 {
    known.observed.as_ref().map_or(0, |observed| observed.generation)
}

#[tokio::test]
async fn a_satellite_that_is_set_back_to_a_snapshot_is_recognised_and_catches_up() {
    let lab = paired().await;
    let satellite = lab.satellite();
    let first = when(&lab, "the satellite to be met", |known| generation(known) > 0).await;
    satellite.power_cut().await.unwrap();
    let (var, snapshot) = (satellite.var(), lab.data().join("snapshot"));
    copy(&var, &snapshot).await;
    lab.start().await.unwrap();
    let before = when(&lab, "the satellite to be back", |known| {
        known.reachability() == Reachability::Reachable && generation(known) > generation(&first)
    })
    .await;

    satellite.power_cut().await.unwrap();
    std::fs::remove_dir_all(&var).unwrap();
    copy(&snapshot, &var).await;
    lab.start().await.unwrap();
    let after = when(&lab, "the satellite to catch up", |known| {
        known.reachability() == Reachability::Reachable && generation(known) > generation(&before)
    })
    .await;
    assert_eq!(after.fingerprint, before.fingerprint);
    let told = async || {
        let audit = lab.server.cli(&["audit", "list"]).await.ok()?;
        audit.contains("set back to an earlier state").then_some(())
    };
    until("the audit log to say so", LIMIT, told).await.unwrap();
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();
}

/// The console's status of the satellite.
async fn status(lab: &Scratch) -> serde_json::Value {
    let text = lab
        .satellite()
        .exec(&[BRIDGE, "status", "--output", "json"])
        .await;
    serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
}

/// Lets the satellite believe that its hypervisor calls it `id`, as a copy of a virtual machine is called anew.
async fn runs_as(lab: &Scratch, id: &str) {
    let script = format!(
        "echo {id} >/run/instance && {{ echo 'instance-id = \"/run/instance\"'; cat /usr/lib/satellite/bridge.toml \
         2>/dev/null || true; }} >/etc/satellite/bridge.toml && systemctl restart satellite-bridge.service"
    );
    lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
}

#[tokio::test]
async fn a_copy_in_another_machine_is_quarantined_until_it_is_trusted_or_let_go_of() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    runs_as(&lab, "machine-a").await;
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    when(&lab, "the satellite to say which machine it is", |known| {
        known
            .observed
            .as_ref()
            .is_some_and(|observed| observed.instance_id == "machine-a")
    })
    .await;

    runs_as(&lab, "machine-b").await;
    let known = when(&lab, "the copy to be recognised", |known| {
        known.reachability() == Reachability::Quarantined
    })
    .await;
    assert!(known.problem.contains("satellite trust"), "{}", known.problem);
    let shown = status(&lab).await;
    assert!(
        shown["last_error"].as_str().unwrap().contains("quarantined"),
        "{shown}"
    );
    // Nothing is done with it, and it can be read.
    let refused = lab
        .server
        .try_cli(&["firewall", "show", SATELLITE])
        .await
        .unwrap();
    assert_ne!(refused.code, Some(0));
    lab.server
        .cli(&["satellite", "logs", SATELLITE, "bridge", "-n", "5"])
        .await
        .unwrap();

    // A person says that it was moved: it is the satellite from now on.
    lab.server
        .cli(&["satellite", "trust", SATELLITE, "--yes"])
        .await
        .unwrap();
    when(&lab, "the satellite to be trusted", |known| {
        known.reachability() == Reachability::Reachable
    })
    .await;
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();

    // Another copy is let go of at its console, and is a satellite of its own then.
    runs_as(&lab, "machine-c").await;
    when(&lab, "the copy to be recognised", |known| {
        known.reachability() == Reachability::Quarantined
    })
    .await;
    lab.satellite().exec(&[BRIDGE, "disconnect"]).await.unwrap();
    let own = until("a key of its own", LIMIT, async || {
        let shown = status(&lab).await;
        let fingerprint = shown["fingerprint"].as_str()?.to_owned();
        (shown["pairing"] == "unpaired" && fingerprint != known.fingerprint).then_some(fingerprint)
    });
    own.await.unwrap();
    // The server takes nothing that the copy said for a word of the satellite.
    let known = when(&lab, "the server to notice", |known| {
        known.reachability() != Reachability::Quarantined
    })
    .await;
    assert_ne!(known.reachability(), Reachability::Disconnected, "{known:?}");
}

/// Passes connections at `listen` on to one of two addresses, as a network does in which two machines have one address.
fn switch(lan: &Lan, listen: (Ipv4Addr, u16), first: String, second: String) -> Arc<AtomicBool> {
    let to_second = Arc::new(AtomicBool::new(false));
    let (lan, chosen) = (lan.clone(), to_second.clone());
    std::thread::spawn(move || {
        lan.enter().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
            loop {
                let Ok((mut from, _)) = listener.accept().await else {
                    continue;
                };
                let is_second = chosen.load(Ordering::SeqCst);
                let address = if is_second { second.clone() } else { first.clone() };
                let chosen = chosen.clone();
                tokio::spawn(async move {
                    let Ok(mut to) = tokio::net::TcpStream::connect(&address).await else {
                        return;
                    };
                    let switched = async {
                        while chosen.load(Ordering::SeqCst) == is_second {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        () = switched => {}
                    }
                });
            }
        });
    });
    to_second
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
async fn of_two_satellites_with_one_key_the_newer_is_quarantined_and_both_ends_say_so() {
    let lab = Scratch::new().await.unwrap();
    let twin = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    let first = format!("{}:7640", lab.address().await.unwrap());
    // The twin's network is joined to the server's by a cable of its own.
    twin.lan.up().await.unwrap();
    let (here, there) = (lab.lan.server_side(), twin.lan.server_side());
    for words in [
        vec![
            "-n", &here, "link", "add", "twin0", "type", "veth", "peer", "name", "twin0", "netns", &there,
        ],
        vec!["-n", &here, "address", "add", "10.78.0.1/24", "dev", "twin0"],
        vec!["-n", &there, "address", "add", "10.78.0.2/24", "dev", "twin0"],
        vec!["-n", &here, "link", "set", "twin0", "up"],
        vec!["-n", &there, "link", "set", "twin0", "up"],
    ] {
        run("ip", &words).await.unwrap();
    }
    let to_second = switch(&lab.lan, (SERVER, 17_640), first, "10.78.0.2:7640".to_owned());
    let code = e2e::console::pairing_code(&lab.satellite()).await.unwrap();
    let address = format!("{SERVER}:17640");
    let paired = lab.server.pair(&address, &code, SATELLITE, &["--bare"]).await;
    paired.unwrap();
    let known = when(&lab, "the satellite to be met", |known| generation(known) > 0).await;

    // A copy of its disk, while it runs on.
    std::fs::create_dir_all(twin.data().join("satellite")).unwrap();
    copy(&lab.satellite().var(), &twin.data().join("satellite/var")).await;
    copy(
        &lab.data().join("satellite/machine-id"),
        &twin.data().join("satellite/machine-id"),
    )
    .await;
    twin.boot().await.unwrap();
    // What reaches the twin's side of the cable is passed on to the twin.
    let second = format!("{}:7640", twin.address().await.unwrap());
    switch(
        &twin.lan,
        (Ipv4Addr::new(10, 78, 0, 2), 7640),
        second.clone(),
        second,
    );

    let boot = |known: &FleetSatellite| {
        known
            .observed
            .as_ref()
            .map(|o| o.boot_id.clone())
            .unwrap_or_default()
    };
    to_second.store(true, Ordering::SeqCst);
    let met = when(&lab, "the twin to be met", |now| boot(now) != boot(&known)).await;
    assert_eq!(met.fingerprint, known.fingerprint);
    to_second.store(false, Ordering::SeqCst);
    when(&lab, "the first to be met again", |now| {
        boot(now) == boot(&known) && now.reachability() == Reachability::Reachable
    })
    .await;
    let audit = async || {
        let audit = lab.server.cli(&["audit", "list"]).await.ok()?;
        audit
            .contains("another machine with its key is alive")
            .then_some(())
    };
    until("the audit log to say so", LIMIT, audit).await.unwrap();

    to_second.store(true, Ordering::SeqCst);
    when(&lab, "the twin to be quarantined", |now| {
        now.reachability() == Reachability::Quarantined
    })
    .await;
    let shown = twin.satellite().exec(&[BRIDGE, "status"]).await.unwrap();
    assert!(
        shown.contains("another satellite with the same key is alive"),
        "{shown}"
    );
    // Also after a restart; and the first goes on.
    twin.satellite().reboot().await.unwrap();
    let shown = twin.satellite().exec(&[BRIDGE, "status"]).await.unwrap();
    assert!(
        shown.contains("another satellite with the same key is alive"),
        "{shown}"
    );
    to_second.store(false, Ordering::SeqCst);
    when(&lab, "the first to be met again", |now| {
        now.reachability() == Reachability::Reachable
    })
    .await;
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();
}
