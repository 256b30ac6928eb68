//! The web page as a person sees it: a real browser, a real satellite, the whole way from the first sign-in to a restore.
#![expect(clippy::unwrap_used, reason = "a test")]

mod arranging;
#[path = "../../../backup-service/tests/dropbox_server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod dropbox_server;
mod gallery;
mod looking_after;
mod page;
mod roles;
mod support;
mod together;
mod world;

use e2e::central::Sample;
use e2e::console;
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::wait::until;

use self::page::{ENTER, LONG, SOON};
use self::world::World;

const TAB: &str = "\u{e004}";

#[tokio::test]
async fn a_person_runs_everything_from_a_browser() {
    let world = World::new().await;
    world.open("/").await;
    world.browser.says("User name", SOON).await.unwrap();
    finds_hindrances(&world).await;
    world.pictures("sign-in").await;
    world.sign_in().await;
    world.browser.says("No satellite yet", SOON).await.unwrap();
    world.pictures("overview-empty").await;
    Box::pin(pairs(&world)).await;
    Box::pin(changes_the_firewall(&world)).await;
    Box::pin(reads_logs(&world)).await;
    Box::pin(backs_up(&world)).await;
    for place in [
        "warnings",
        "account",
        "users",
        "audit",
        "bundles",
        "satellites/tokens",
    ] {
        world.open(&format!("/{place}")).await;
        world.pictures(&place.replace('/', "-")).await;
    }
    Box::pin(in_all_languages(&world)).await;
    world.open("/account").await;
    world.sign_out().await;
}

/// What looks for hindrances finds one that is there.
async fn finds_hindrances(world: &World) {
    let add = "const field = document.createElement('input'); document.querySelector('form').append(field); window.field = field";
    world.browser.script(add).await.unwrap();
    let found = world.browser.hindrances(&world.axe).await.unwrap();
    assert!(
        found.iter().any(|fault| fault.starts_with("label: ")),
        "{found:?}"
    );
    world.browser.script("window.field.remove()").await.unwrap();
}

async fn pairs(world: &World) {
    let browser = &world.browser;
    let code = console::pairing_code(&world.lab.satellite()).await.unwrap();
    let address = world.lab.address().await.unwrap().to_string();
    world.open("/satellites/pair").await;
    browser.fill("#address", "not an address").await.unwrap();
    browser.fill("#code", "short").await.unwrap();
    browser.click("main form button").await.unwrap();
    browser
        .says("neither a host name nor an IP address", SOON)
        .await
        .unwrap();
    world.pictures("pair-faults").await;
    browser.fill("#address", &address).await.unwrap();
    browser.fill("#code", &code).await.unwrap();
    browser.fill("#name", SATELLITE).await.unwrap();
    browser.click("main form button").await.unwrap();
    browser.says("The satellite is paired.", SOON).await.unwrap();
    // It is commissioned while one looks, without anything being clicked.
    browser.says("✓ runs", LONG).await.unwrap();
    browser.says("✓ reachable", SOON).await.unwrap();
    world.pictures("satellite").await;
    world.open("/satellites").await;
    browser.says("backup-service", SOON).await.unwrap();
    world.pictures("satellites").await;
    world.open("/").await;
    browser.says("All is well.", SOON).await.unwrap();
    world.pictures("overview").await;

    world.open(&format!("/satellites/{SATELLITE}")).await;
    a_change_takes_nothing_from_under_the_finger(world).await;
    browser.click("form[action$='/restart'] button").await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    world.pictures("job").await;
}

/// A button that is pressed while the page is brought up to date is still the same one, and keeps the focus.
async fn a_change_takes_nothing_from_under_the_finger(world: &World) {
    let (browser, server) = (&world.browser, &world.lab.server);
    let held =
        "window.held = document.querySelector(\"form[action$='/restart'] button\"); window.held.focus()";
    browser.script(held).await.unwrap();
    let workload = ["workload", "stop", SATELLITE, WORKLOAD];
    server.cli(&workload).await.unwrap();
    browser.says("stopped", LONG).await.unwrap();
    server
        .cli(&["workload", "start", SATELLITE, WORKLOAD])
        .await
        .unwrap();
    browser.says("✓ runs", LONG).await.unwrap();
    let is_same = "return window.held.isConnected && document.activeElement === window.held";
    assert_eq!(browser.script(is_same).await.unwrap(), true);
}

async fn changes_the_firewall(world: &World) {
    let browser = &world.browser;
    let place = format!("/satellites/{SATELLITE}/firewall");
    world.open(&place).await;
    browser.says("windows-share", SOON).await.unwrap();
    world.pictures("firewall").await;
    let wrong = "[[rule]]\nname = \"web\"\ndirection = \"sideways\"\naction = \"accept\"\n";
    browser.fill("#rules", wrong).await.unwrap();
    browser.click("form[action$='/check'] button").await.unwrap();
    browser.says("Line 3:", SOON).await.unwrap();
    let right = wrong
        .replace("sideways", "in")
        .replace("action", "protocol = \"tcp\"\nports = [8080]\naction");
    browser.fill("#rules", &right).await.unwrap();
    browser.click("form[action$='/check'] button").await.unwrap();
    browser.says("+ name = \"web\"", SOON).await.unwrap();
    world.pictures("firewall-diff").await;
    browser.click("form[action$='/apply'] button.main").await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    let rules = world.lab.satellite().exec(&["iptables", "-S"]).await.unwrap();
    assert!(rules.contains("8080"), "{rules}");
    world.open(&format!("/satellites/{SATELLITE}/network")).await;
    browser.says("automatic (DHCP)", SOON).await.unwrap();
    browser.click("form button[formaction$='/probe']").await.unwrap();
    browser.says("without changing anything", SOON).await.unwrap();
    world.pictures("network").await;
}

async fn reads_logs(world: &World) {
    let browser = &world.browser;
    world
        .open(&format!("/satellites/{SATELLITE}/logs?source=system"))
        .await;
    browser.says("systemd", SOON).await.unwrap();
    let words = [
        "systemd-cat",
        "-t",
        "probe",
        "echo",
        "a <b>line</b> that comes now",
    ];
    world.lab.satellite().exec(&words).await.unwrap();
    browser.says("a <b>line</b> that comes now", SOON).await.unwrap();
    browser.fill("#filter", "that comes now").await.unwrap();
    let seen = "return [...document.querySelectorAll('#lines > span')].filter((line) => !line.hidden).length";
    assert_eq!(browser.script(seen).await.unwrap(), 1);
    world.pictures("logs").await;
    searches_the_whole_log(world).await;
    let fetched =
        "const r = new XMLHttpRequest(); r.open('GET', location.pathname + '/download?source=system', false);
        r.send(); return r.getResponseHeader('content-disposition') + r.responseText";
    let fetched = browser.script(fetched).await.unwrap();
    let fetched = fetched.as_str().unwrap();
    assert!(
        fetched.starts_with("attachment; filename=\"s1-system.log\"") && fetched.contains("that comes now")
    );
}

/// What is older than the lines on the page is found as well, and nothing else is shown.
async fn searches_the_whole_log(world: &World) {
    let (browser, satellite) = (&world.browser, world.lab.satellite());
    let much = "echo needle-7431 in the haystack; for i in $(seq 700); do echo straw $i; done";
    let words = ["systemd-cat", "-t", "probe", "sh", "-c", much];
    satellite.exec(&words).await.unwrap();
    // Written is not yet in the journal.
    until("the journal to have all lines", SOON, async || {
        let journal = satellite.exec(&["journalctl", "-q", "-t", "probe"]).await.ok()?;
        journal.contains("straw 700").then_some(())
    })
    .await
    .unwrap();
    let place = format!("/satellites/{SATELLITE}/logs?source=system");
    world.open(&place).await;
    browser.says("straw 700", SOON).await.unwrap();
    let shown = "return document.getElementById('lines').textContent.includes('needle-7431')";
    assert_eq!(browser.script(shown).await.unwrap(), false);
    browser.fill("#find", "NEEDLE-7431").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("needle-7431 in the haystack", SOON).await.unwrap();
    let count = "return document.querySelectorAll('#lines > span').length";
    assert_eq!(browser.script(count).await.unwrap(), 1);
    browser.fill("#also", "nobody").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser
        .says("There is no satellite “nobody”", SOON)
        .await
        .unwrap();
    world.open(&place).await;
}

async fn backs_up(world: &World) {
    let (browser, lab) = (&world.browser, &world.lab);
    let sample = Sample::at(lab.data().join("central"), 4_000_000);
    sample.make(|_, _| ()).await.unwrap();
    world.open("/centrals/new").await;
    world
        .put(&serde_json::json!({ "profile": sample.profile() }))
        .await;
    world.pictures("central-new").await;
    browser
        .click("form[action='/centrals/new'] button")
        .await
        .unwrap();
    browser.says("Back up now", SOON).await.unwrap();
    world.pictures("central").await;
    browser
        .click("form[action='/archives/new'] button")
        .await
        .unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    Box::pin(configures(world)).await;
    Box::pin(ends_otherwise(world)).await;
    world.open("/archives").await;
    browser.says(".sar", SOON).await.unwrap();
    world.pictures("archives").await;
    browser.click("tbody th a").await.unwrap();
    browser.says("SHA-256", SOON).await.unwrap();
    world.pictures("archive").await;
    let fetched = "const r = new XMLHttpRequest(); r.open('GET', location.pathname + '/download', false);
        r.overrideMimeType('text/plain; charset=x-user-defined'); r.send();
        return [r.status, r.responseText.length, +r.getResponseHeader('content-length')]";
    let fetched = browser.script(fetched).await.unwrap();
    assert_eq!(fetched[0], 200);
    assert_eq!(fetched[1], fetched[2], "the download is whole");

    Box::pin(restores_and_deletes(world)).await;
}

/// The wizard: an error beside its field, forth and back without loss, a destination on the way, saved and run at once.
async fn configures(world: &World) {
    let (browser, lab) = (&world.browser, &world.lab);
    world.open("/backups/new").await;
    browser.fill("#name", "a/b").await.unwrap();
    browser.fill("#report-to", "office@example.com").await.unwrap();
    browser.click("button[value=next]").await.unwrap();
    browser
        .says("that can be a directory everywhere", SOON)
        .await
        .unwrap();
    world.pictures("wizard-1").await;
    browser.fill("#name", "Nightly").await.unwrap();
    browser.click("button[value=next]").await.unwrap();
    browser
        .says("What is backed up, and how large it is now.", SOON)
        .await
        .unwrap();
    world.pictures("wizard-2").await;
    browser.click("input[name=set]").await.unwrap();
    browser.click("button[value=back]").await.unwrap();
    let name = "return document.getElementById('name').value + document.getElementById('report-to').value";
    browser.says("Report errors to", SOON).await.unwrap();
    assert_eq!(browser.script(name).await.unwrap(), "Nightlyoffice@example.com");
    browser.click("button[value=next]").await.unwrap();
    browser.says("What is backed up", SOON).await.unwrap();
    let ticked = "return [...document.querySelectorAll('input[name=set]')].map((set) => set.checked)";
    let ticked = browser.script(ticked).await.unwrap();
    assert_eq!(
        (&ticked[0], &ticked[1]),
        (&false.into(), &true.into()),
        "{ticked}"
    );
    browser.click("button[value=next]").await.unwrap();
    let disk = lab.data().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    browser.click("a[href^='/destinations/new']").await.unwrap();
    browser.says("Windows share", SOON).await.unwrap();
    world.pictures("destination-kinds").await;
    browser.click("a[href*='kind=server']").await.unwrap();
    browser.fill("#name", "disk").await.unwrap();
    browser.fill("#path", &disk.display().to_string()).await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser
        .click("input[name=destination][value=disk]")
        .await
        .unwrap();
    world.pictures("wizard-3").await;
    browser.click("button[value=next]").await.unwrap();
    browser.says("What shall happen now?", SOON).await.unwrap();
    world.pictures("wizard-4").await;
    browser.click("button[value=save-and-run]").await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    world.open("/backups/of/Nightly").await;
    browser.says("✓ done", SOON).await.unwrap();
    world.pictures("backup").await;
    world.open("/destinations").await;
    browser.click("form[action$='/test'] button").await.unwrap();
    browser
        .says("a file was written, read back and removed", SOON)
        .await
        .unwrap();
    world.pictures("destinations").await;
    world.open("/backups").await;
    browser.says("Nightly", SOON).await.unwrap();
    world.pictures("backups").await;
}

/// The other two ends of the wizard: what is only run is not kept, and what is only saved is not run.
async fn ends_otherwise(world: &World) {
    let (browser, server) = (&world.browser, &world.lab.server);
    let archives = server.archives().await.unwrap().len();
    goes_through(world, "Just once").await;
    browser.click("button[value=run]").await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    world.glance("wizard-run-only").await;
    let fetched = "const r = new XMLHttpRequest(); r.open('GET', document.querySelector('main a[href$=\"/download\"]').href, false);
        r.send(); return r.status";
    assert_eq!(browser.script(fetched).await.unwrap(), 200, "downloaded at once");
    assert_eq!(server.archives().await.unwrap().len(), archives + 1);
    world.open("/backups").await;
    browser.says("Nightly", SOON).await.unwrap();
    let text = browser.text().await.unwrap();
    assert!(!text.contains("Just once"), "{text}");

    goes_through(world, "For later").await;
    browser.click("button[value=save]").await.unwrap();
    browser.says("It is saved.", SOON).await.unwrap();
    browser.says("For later", SOON).await.unwrap();
    world.open("/backups/of/For%20later").await;
    browser.says("disk", SOON).await.unwrap();
    browser.says("It was not run yet.", SOON).await.unwrap();
    assert_eq!(server.archives().await.unwrap().len(), archives + 1);
}

/// The wizard from its first step to its last, with the destination that is there.
async fn goes_through(world: &World, name: &str) {
    let browser = &world.browser;
    world.open("/backups/new").await;
    browser.fill("#name", name).await.unwrap();
    browser.click("button[value=next]").await.unwrap();
    browser.says("What is backed up", SOON).await.unwrap();
    browser.click("button[value=next]").await.unwrap();
    browser
        .click("input[name=destination][value=disk]")
        .await
        .unwrap();
    browser.click("button[value=next]").await.unwrap();
    browser.says("What shall happen now?", SOON).await.unwrap();
    browser.says(name, SOON).await.unwrap();
}

async fn restores_and_deletes(world: &World) {
    let (browser, lab) = (&world.browser, &world.lab);
    // Only by keyboard: into a directory, then deleted by the word.
    let target = lab.data().join("restored");
    world.unfold("form[action$='/restore']").await;
    browser.click("input[value=directory]").await.unwrap();
    browser
        .fill("#directory", &target.display().to_string())
        .await
        .unwrap();
    browser.fill("#restore-word", "wrong").await.unwrap();
    browser.press(&format!("{TAB}{ENTER}")).await.unwrap();
    browser.says("That is not the word.", SOON).await.unwrap();
    browser.click("input[value=directory]").await.unwrap();
    browser
        .fill("#directory", &target.display().to_string())
        .await
        .unwrap();
    browser.fill("#restore-word", "sample").await.unwrap();
    browser.press(&format!("{TAB}{ENTER}")).await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    assert!(target.read_dir().unwrap().next().is_some());
    let before = lab.server.archives().await.unwrap().len();
    world.open("/archives").await;
    browser.click("tbody th a").await.unwrap();
    world.unfold("form[action$='/delete']").await;
    browser.fill("#delete-word", "delete").await.unwrap();
    browser.click("form[action$='/delete'] button").await.unwrap();
    browser.says("It is removed.", SOON).await.unwrap();
    let left = lab.server.archives().await.unwrap();
    assert_eq!(left.len(), before - 1, "{left:?}");
    world.open("/restores").await;
    browser.says("✓ succeeded", SOON).await.unwrap();
    world.pictures("restores").await;
    let records = lab.server.cli(&["audit", "list"]).await.unwrap();
    for wanted in [
        "web user anna",
        "Web/SetFirewall",
        "BackupService/RunBackup",
        "BackupService/DeleteArchive",
    ] {
        assert!(records.contains(wanted), "{wanted} is missing in {records}");
    }
}

async fn in_all_languages(world: &World) {
    let browser = &world.browser;
    for (code, word) in [
        ("de", "Übersicht"),
        ("fr", "Vue d'ensemble"),
        ("it", "Panoramica"),
        ("en", "Overview"),
    ] {
        world.speak(code).await;
        browser.says(word, SOON).await.unwrap();
        world.pictures(&format!("overview-{code}")).await;
        world.open(&format!("/satellites/{SATELLITE}")).await;
        browser.says(SATELLITE, SOON).await.unwrap();
        world.pictures(&format!("satellite-{code}")).await;
    }
}
