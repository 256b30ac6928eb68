//! What a person does besides the main job: tokens, workloads, versions and rollouts.

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::network::{SERVER, write};
use e2e::variant::{RELEASE, Variant};

use super::page::{LONG, SOON};
use super::world::{World, cli};

#[tokio::test]
async fn a_person_looks_after_satellites_from_a_browser() {
    let world = World::with_satellite().await;
    Box::pin(makes_a_token(&world)).await;
    Box::pin(switches_a_workload(&world)).await;
    Box::pin(brings_versions(&world)).await;
}

/// Clicks, and waits for the end of the job that it begins.
async fn done_by(world: &World, css: &str) {
    world.browser.click(css).await.unwrap();
    world.browser.says("✓ succeeded", LONG).await.unwrap();
}

async fn makes_a_token(world: &World) {
    let browser = &world.browser;
    world.open("/satellites/tokens").await;
    browser.fill("#name", "annex").await.unwrap();
    browser.fill("#address", &SERVER.to_string()).await.unwrap();
    browser
        .click("form[action='/satellites/tokens'] button.main")
        .await
        .unwrap();
    browser.says("It is shown only now.", SOON).await.unwrap();
    let token = browser
        .script("return document.querySelector('code.secret').textContent")
        .await
        .unwrap();
    let token = token.as_str().unwrap().to_owned();
    assert!(token.len() > 40, "{token}");
    world.pictures("token-made").await;
    world.open("/satellites/tokens").await;
    browser.says("annex", SOON).await.unwrap();
    assert!(!browser.text().await.unwrap().contains(&token));
    browser.click("form[action$='/revoke'] button").await.unwrap();
    browser.says("The token is useless now.", SOON).await.unwrap();
    browser.says("revoked", SOON).await.unwrap();
}

async fn switches_a_workload(world: &World) {
    let browser = &world.browser;
    let place = format!("/satellites/{SATELLITE}");
    for (action, state) in [("stop", "stopped"), ("start", "✓ runs"), ("restart", "✓ runs")] {
        world.open(&place).await;
        done_by(world, &format!("form[action$='/{WORKLOAD}/{action}'] button")).await;
        world.open(&place).await;
        browser.says(state, LONG).await.unwrap();
        world.glance(&format!("workload-{action}")).await;
    }
}

/// A file goes up from the browser and its version to the satellite; another one comes in waves that are steered.
async fn brings_versions(world: &World) {
    let (browser, lab) = (&world.browser, &world.lab);
    let bundles = lab.data().join("bundles");
    let newer = Variant {
        release: RELEASE + 1,
        ..Variant::good("9.0.0")
    };
    let file = newer.pack(&lab.release, &bundles).await.unwrap();
    world.open("/bundles").await;
    let damaged = lab.data().join("damaged.bundle");
    write(&damaged, "no bundle").unwrap();
    browser.choose("#file", &damaged).await.unwrap();
    browser.click("form[data-upload] button.main").await.unwrap();
    let fault = "return document.querySelector('form[data-upload] [role=status]').textContent";
    e2e::wait::until("the page to refuse what is no bundle", SOON, async || {
        let told = browser.script(fault).await.ok()?;
        (!told.as_str()?.is_empty()).then_some(())
    })
    .await
    .unwrap();
    browser.choose("#file", &file).await.unwrap();
    browser.click("form[data-upload] button.main").await.unwrap();
    browser.says("The bundle is there.", LONG).await.unwrap();
    browser.says("9.0.0", SOON).await.unwrap();
    world.pictures("bundle-added").await;
    world.open(&format!("/satellites/{SATELLITE}")).await;
    browser.says("9.0.0", LONG).await.unwrap();
    browser.says("✓ runs", LONG).await.unwrap();

    let newest = Variant {
        release: RELEASE + 2,
        ..Variant::good("9.1.0")
    };
    let file = newest.pack(&lab.release, &bundles).await.unwrap();
    cli(world, &format!("bundle add {} --hold", file.display())).await;
    world.open("/bundles").await;
    browser.click("a[href*='version=9.1.0']").await.unwrap();
    browser.says("How many come first", SOON).await.unwrap();
    browser.fill("#waves", "50, 20").await.unwrap();
    browser
        .click("form[action='/rollouts/new'] button.main")
        .await
        .unwrap();
    world.there("#waves[aria-invalid]").await;
    world.pictures("rollout-new").await;
    // Its time comes in half a day: until then it can be steered, however slow the machine is.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600;
    let [from, to] = [11, 12].map(|later| format!("{:02}:00", (hour + later) % 24));
    let times = format!(
        "document.getElementById('from').value = '{from}'; document.getElementById('to').value = '{to}'"
    );
    browser.script(&times).await.unwrap();
    begins_a_rollout(world).await;
    browser.click("form[action$='/pause'] button").await.unwrap();
    browser.says("paused", SOON).await.unwrap();
    world.pictures("rollout").await;
    world.open("/rollouts").await;
    browser.says("9.1.0", SOON).await.unwrap();
    world.pictures("rollouts").await;
    browser.click("tbody th a").await.unwrap();
    browser.click("form[action$='/resume'] button").await.unwrap();
    world.there("form[action$='/pause']").await;
    browser.click("form[action$='/abort'] button").await.unwrap();
    browser.says("given up", SOON).await.unwrap();

    world.open("/bundles").await;
    browser.click("a[href*='version=9.1.0']").await.unwrap();
    let rollout = begins_a_rollout(world).await;
    world.open(&format!("/satellites/{SATELLITE}")).await;
    browser.says("9.1.0", LONG).await.unwrap();
    browser.says("✓ runs", LONG).await.unwrap();
    browser.open(&rollout).await.unwrap();
    browser.says("✓ done", LONG).await.unwrap();
}

/// Fills in the rest, and answers the address of the rollout's own page, which is open then.
async fn begins_a_rollout(world: &World) -> String {
    let browser = &world.browser;
    browser.fill("#waves", "100").await.unwrap();
    browser
        .click("form[action='/rollouts/new'] button.main")
        .await
        .unwrap();
    let begun = e2e::wait::until("the rollout's own page", SOON, async || {
        let address = browser.address().await.ok()?;
        (!address.contains("/rollouts/new")).then_some(address)
    });
    let address = begun.await.unwrap();
    browser.says("9.1.0", SOON).await.unwrap();
    address
}
