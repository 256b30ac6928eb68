//! A factory reset of a booted, paired satellite: it tells its server, and comes back as it was shipped.

use std::time::Duration;

use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::wait::until;
use satellite_proto::wire::management::v1::Reachability;

const LIMIT: Duration = Duration::from_secs(120);
const BRIDGE: &str = "/usr/lib/satellite/satellite-bridge";

async fn fingerprint(lab: &Scratch) -> Option<(String, String)> {
    let text = lab
        .satellite()
        .exec(&[BRIDGE, "status", "--output", "json"])
        .await
        .ok()?;
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    let word = |key: &str| status[key].as_str().map(str::to_owned);
    Some((word("fingerprint")?, word("pairing")?))
}

#[tokio::test]
async fn a_reset_satellite_tells_its_server_and_has_nothing_left() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();
    let satellite = lab.satellite();
    let (before, pairing) = fingerprint(&lab).await.unwrap();
    assert_eq!(pairing, "paired");
    let left = satellite.exec(&[BRIDGE, "self-test"]).await;
    assert!(left.is_err(), "a paired satellite has nothing to lose: {left:?}");
    let hide = "for dir in /var/lib /var/lib/satellite /var/lib/private /var/log /var/tmp; do \
                echo this-was-here >$dir/canary; done";
    satellite.exec(&["sh", "-c", hide]).await.unwrap();

    // The machine goes down under the command.
    let _ = satellite.exec(&[BRIDGE, "factory-reset"]).await;
    let told = async || {
        let known = lab.server.satellite(SATELLITE).await?;
        (known.reachability() == Reachability::Disconnected).then_some(())
    };
    until("the server to hear of it", LIMIT, told).await.unwrap();
    let fresh = until("another key", LIMIT, async || {
        let (now, pairing) = fingerprint(&lab).await?;
        (now != before).then_some((now, pairing))
    });
    // The console offers a code by itself soon after.
    let (now, pairing) = fresh.await.unwrap();
    assert!(
        ["unpaired", "window-open"].contains(&pairing.as_str()),
        "{pairing}"
    );
    satellite.booted().await.unwrap();
    let left = satellite.exec(&[BRIDGE, "self-test"]).await.unwrap();
    assert_eq!(left.trim(), "nothing is left");
    let journal = satellite.exec(&["journalctl", "-b", "--no-pager"]).await.unwrap();
    assert!(
        journal.contains("nothing is left of an earlier life"),
        "{journal}"
    );
    let find = ["sh", "-c", "grep -rlF this-was-here /var || true"];
    assert_eq!(satellite.exec(&find).await.unwrap().trim(), "");

    // Until its menu comes up, the console still shows the page, and the code, of the earlier life.
    until("the console of the new life", LIMIT, async || {
        satellite.capture().await.ok()?.contains(&now).then_some(())
    })
    .await
    .unwrap();

    // It is as good as new, and the server knows it as another one.
    lab.server
        .cli(&["satellite", "forget", SATELLITE, "--yes"])
        .await
        .unwrap_err();
    lab.pair(&["--bare"]).await.unwrap();
    lab.server.converged(SATELLITE, LIMIT).await.unwrap();
}
