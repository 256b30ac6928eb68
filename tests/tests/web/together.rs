//! The logs of two satellites, read as one.

use e2e::command::{run, stdout_of};
use e2e::console;
use e2e::lab::{Lab, SATELLITE};
use e2e::scratch::Scratch;
use e2e::wait::until;

use super::page::{LONG, SOON};
use super::world::World;

/// Where the second satellite is reached.
const SECOND: &str = "10.78.0.2";

#[tokio::test]
async fn a_person_reads_the_logs_of_two_satellites_as_one() {
    let twin = Scratch::new().await.unwrap();
    twin.boot().await.unwrap();
    let world = World::new().await;
    let lab = &world.lab;
    lab.pair(&["--bare"]).await.unwrap();
    joins(lab, &twin).await;
    let code = console::pairing_code(&twin.satellite()).await.unwrap();
    lab.server.pair(SECOND, &code, "s2", &["--bare"]).await.unwrap();
    for name in [SATELLITE, "s2"] {
        lab.server.converged(name, LONG).await.unwrap();
    }
    for (of, word) in [
        (lab as &Lab, "one-7431"),
        (&twin, "two-7431"),
        (lab, "three-7431"),
    ] {
        let satellite = of.satellite();
        let words = ["systemd-cat", "-t", "probe", "echo", word];
        satellite.exec(&words).await.unwrap();
        // The journal says when it has taken a line, not when that was written: the next one is later only then.
        until("the journal to have it", SOON, async || {
            let journal = satellite.exec(&["journalctl", "-q", "-t", "probe"]).await.ok()?;
            journal.contains(word).then_some(())
        })
        .await
        .unwrap();
    }
    world.sign_in().await;
    let browser = &world.browser;
    world
        .open(&format!(
            "/satellites/{SATELLITE}/logs?source=system&also=s2&find=-7431"
        ))
        .await;
    for word in ["one-7431", "two-7431", "three-7431"] {
        browser.says(word, SOON).await.unwrap();
    }
    let lines = "return [...document.querySelectorAll('#lines > span')].map((line) => line.textContent)";
    let lines = browser.script(lines).await.unwrap();
    let lines: Vec<&str> = lines
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split("probe").nth(1))
        .collect();
    let order = ["one", "two", "three"].map(|word| told.iter().position(|line| line.contains(word)));
    assert!(
        order.is_sorted() && order.iter().all(Option::is_some),
        "{lines:#?}"
    );
    let from = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert!(from(SATELLITE) >= 2 && from("s2") >= 1, "{lines:#?}");
    world.pictures("logs-of-two").await;

    // What comes while one looks, of either.
    world
        .open(&format!("/satellites/{SATELLITE}/logs?source=system&also=s2"))
        .await;
    browser.says("three-7431", SOON).await.unwrap();
    for (of, word) in [(&twin as &Lab, "four-7431"), (lab, "five-7431")] {
        let words = ["systemd-cat", "-t", "probe", "echo", word];
        of.satellite().exec(&words).await.unwrap();
        browser.says(word, SOON).await.unwrap();
    }
}

/// A cable from the server to the network of the other satellite, which passes on what is for the bridge.
async fn joins(lab: &Lab, twin: &Lab) {
    let (here, there) = (lab.lan.server_side(), twin.lan.server_side());
    let address = format!("{SECOND}/24");
    for words in [
        vec![
            "-n", &here, "link", "add", "twin0", "type", "veth", "peer", "name", "twin0", "netns", &there,
        ],
        vec!["-n", &here, "address", "add", "10.78.0.1/24", "dev", "twin0"],
        vec!["-n", &there, "address", "add", &address, "dev", "twin0"],
        vec!["-n", &here, "link", "set", "twin0", "up"],
        vec!["-n", &there, "link", "set", "twin0", "up"],
    ] {
        run("ip", &words).await.unwrap();
    }
    let inner = format!("{}:7640", twin.address().await.unwrap());
    let forward = format!(
        "echo 1 >/proc/sys/net/ipv4/ip_forward && iptables -w -t nat -A PREROUTING -d {SECOND} -p tcp --dport 7640 -j DNAT --to {inner} \
         && iptables -w -t nat -A POSTROUTING -o lan0 -j MASQUERADE"
    );
    let mut shell = twin.lan.at_server("sh");
    shell.args(["-c", &forward]);
    stdout_of(shell, SOON).await.unwrap();
}
