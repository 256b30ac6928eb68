//! What a page is for those who may not do everything: nothing that is not theirs is offered, and who asks for it by hand is
//! told so on a page that can be read.

use std::collections::BTreeSet;

use e2e::central::Sample;
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::network::write;
use serde_json::Value;

use super::page::{LONG, SOON};
use super::world::{World, cli};

/// Forms that everybody has on every page.
const OWN: [&str; 2] = ["/language", "/sign-out"];

/// What the page has that changes something or leads elsewhere: actions of forms, places of links.
const OFFERED: &str = "const of = (css, name) => [...document.querySelectorAll(css)].map(one => one.getAttribute(name)); \
    return [of('form[method=post]', 'action'), of('a[href]', 'href')]";

#[tokio::test]
async fn an_operator_changes_and_a_viewer_only_looks_in_a_browser() {
    let world = World::with_satellite().await;
    let archive = Box::pin(furnished(&world)).await;
    world.sign_out().await;
    Box::pin(a_viewer_only_looks(&world, &archive)).await;
    world.sign_out().await;
    Box::pin(an_operator_changes(&world, &archive)).await;
}

/// A central with an archive, and a user of each role. The archive's id is answered.
async fn furnished(world: &World) -> String {
    let lab = &world.lab;
    let sample = Sample::at(lab.data().join("central"), 1_000_000);
    sample.make(|_, _| ()).await.unwrap();
    let profile = lab.data().join("central.toml");
    write(&profile, sample.profile()).unwrap();
    let disk = lab.data().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let password = lab.data().join("password");
    for line in [
        format!("central add {} --satellite {SATELLITE}", profile.display()),
        format!("destination add disk server {}", disk.display()),
        "backup config create Nightly --central sample --destination disk --then save-and-run".to_owned(),
        "account add acme --tenant default --mail office@example.com".to_owned(),
        format!(
            "user add otto --role operator --password-file {}",
            password.display()
        ),
        format!(
            "user add vera --role viewer --password-file {}",
            password.display()
        ),
    ] {
        cli(world, &line).await;
    }
    let archives = lab.server.archives().await.unwrap();
    archives[0].archive.as_ref().unwrap().id.clone()
}

/// The forms, but for those that everybody has, and the links of the page at `place`.
async fn offered(world: &World, place: &str) -> [BTreeSet<String>; 2] {
    world.open(place).await;
    let found = world.browser.script(OFFERED).await.unwrap();
    [0, 1].map(|list| {
        let all = found[list].as_array().unwrap().iter().filter_map(Value::as_str);
        all.filter(|place| !OWN.contains(place))
            .map(str::to_owned)
            .collect()
    })
}

/// Asks for a change as somebody does who knows its address, with a form of this session; the page says that it is refused.
async fn is_refused(world: &World, place: &str, fields: &Value) {
    let script = format!(
        "const form = document.createElement('form'); form.method = 'post'; form.action = {place}; \
         const token = document.querySelector(\"form[action='/sign-out'] input[name=token]\").value; \
         for (const [name, value] of Object.entries({{ token, ...{fields} }})) {{ \
           const field = document.createElement('input'); field.name = name; field.value = value; form.append(field) }} \
         document.body.append(form); form.submit()",
        place = Value::from(place)
    );
    world.browser.script(&script).await.unwrap();
    says_no(world, place).await;
}

async fn says_no(world: &World, place: &str) {
    let refused = world.browser.says("Your role does not allow this.", SOON).await;
    refused.unwrap_or_else(|error| panic!("{place}: {error}"));
    world.browser.says("Nothing was changed.", SOON).await.unwrap();
}

async fn a_viewer_only_looks(world: &World, archive: &str) {
    world.sign_in_as("vera").await;
    let [_, links] = offered(world, "/").await;
    for seen in [
        "/satellites",
        "/bundles",
        "/backups",
        "/archives",
        "/restores",
        "/centrals",
        "/warnings",
    ] {
        assert!(links.contains(seen), "{seen} is not in {links:?}");
    }
    for hidden in ["/users", "/audit", "/destinations"] {
        assert!(!links.contains(hidden), "{hidden} is in {links:?}");
    }
    world.pictures("viewer-overview").await;
    let archive = format!("/archives/{archive}");
    for (place, picture) in [
        ("/satellites".to_owned(), "satellites"),
        (format!("/satellites/{SATELLITE}"), "satellite"),
        (format!("/satellites/{SATELLITE}/firewall"), "firewall"),
        (format!("/satellites/{SATELLITE}/network"), "network"),
        (format!("/satellites/{SATELLITE}/logs"), "logs"),
        ("/bundles".to_owned(), "bundles"),
        ("/rollouts".to_owned(), "rollouts"),
        ("/backups".to_owned(), "backups"),
        ("/backups/of/Nightly".to_owned(), "backup"),
        ("/archives".to_owned(), "archives"),
        (archive.clone(), "archive"),
        ("/restores".to_owned(), "restores"),
        ("/centrals".to_owned(), "centrals"),
        ("/centrals/sample".to_owned(), "central"),
        ("/warnings".to_owned(), "warnings"),
        ("/warnings/of/acme".to_owned(), "account-of-warnings"),
    ] {
        let [forms, links] = offered(world, &place).await;
        assert!(forms.is_empty(), "{place} offers {forms:?}");
        let is_change = |link: &&String| {
            let path = link.split('?').next().unwrap();
            path.ends_with("/new")
                || path.ends_with("/pair")
                || path.ends_with("/tokens")
                || path.ends_with("/download") && !path.contains("/logs/")
        };
        let changes: Vec<_> = links.iter().filter(is_change).collect();
        assert!(changes.is_empty(), "{place} leads to {changes:?}");
        world.glance(&format!("viewer-{picture}")).await;
    }
    for (place, picture) in [
        (format!("/satellites/{SATELLITE}"), "satellite"),
        (archive.clone(), "archive"),
        ("/centrals/sample".to_owned(), "central"),
    ] {
        world.open(&place).await;
        world.pictures(&format!("viewer-{picture}")).await;
        world.glance_in("de", &format!("viewer-{picture}")).await;
    }
    a_viewer_is_refused(world, &archive).await;
}

/// Who knows the address is told no, and nothing happens.
async fn a_viewer_is_refused(world: &World, archive: &str) {
    let stop = format!("/satellites/{SATELLITE}/workloads/{WORKLOAD}/stop");
    is_refused(world, &stop, &serde_json::json!({})).await;
    world.pictures("refused").await;
    let remove = serde_json::json!({ "word": "delete" });
    is_refused(world, &format!("{archive}/delete"), &remove).await;
    let back = serde_json::json!({ "word": "sample", "where": "try", "set": "core", "key": "by hand" });
    is_refused(world, &format!("{archive}/restore"), &back).await;
    is_refused(
        world,
        "/archives/new",
        &serde_json::json!({ "central": "sample" }),
    )
    .await;
    for place in [
        "/satellites/pair",
        "/destinations",
        "/backups/new",
        "/users",
        &format!("{archive}/download"),
        &format!("{archive}/members"),
    ] {
        world.open(place).await;
        says_no(world, place).await;
    }
    world.glance_in("de", "refused").await;
    let server = &world.lab.server;
    assert_eq!(server.archives().await.unwrap().len(), 1);
    assert_eq!(cli(world, "backup restores --output json").await.trim(), "[]");
    world.open(&format!("/satellites/{SATELLITE}")).await;
    world.browser.says("✓ runs", SOON).await.unwrap();
}

async fn an_operator_changes(world: &World, archive: &str) {
    let browser = &world.browser;
    world.sign_in_as("otto").await;
    world.pictures("operator-overview").await;
    let place = format!("/satellites/{SATELLITE}");
    let [forms, links] = offered(world, &place).await;
    let restart = format!("{place}/workloads/{WORKLOAD}/restart");
    assert!(forms.contains(&restart), "{forms:?}");
    for hidden in ["/users", "/audit"] {
        assert!(!links.contains(hidden), "{hidden} is in {links:?}");
    }
    world.pictures("operator-satellite").await;
    browser
        .click(&format!("form[action='{restart}'] button"))
        .await
        .unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    let archive = format!("/archives/{archive}");
    let [forms, links] = offered(world, &archive).await;
    for wanted in ["restore", "delete", "verify"] {
        assert!(forms.contains(&format!("{archive}/{wanted}")), "{forms:?}");
    }
    assert!(links.contains(&format!("{archive}/download")), "{links:?}");
    browser.click("form[action$='/verify'] button").await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();

    // Users and what everybody did are the administrator's.
    let user =
        serde_json::json!({ "name": "eve", "password": "another long password", "role": "administrator" });
    is_refused(world, "/users", &user).await;
    let promoted = serde_json::json!({ "role": "administrator" });
    is_refused(world, "/users/otto", &promoted).await;
    for place in ["/users", "/audit", "/users/anna"] {
        world.open(place).await;
        says_no(world, place).await;
    }
    let users = cli(world, "user list --output json").await;
    let users: Value = serde_json::from_str(&users).unwrap();
    let roles = users.as_array().unwrap().iter();
    let roles: BTreeSet<(&str, &str)> = roles
        .map(|user| (user["name"].as_str().unwrap(), user["role"].as_str().unwrap()))
        .collect();
    let wanted = [
        ("anna", "administrator"),
        ("otto", "operator"),
        ("vera", "viewer"),
    ];
    assert_eq!(roles, BTreeSet::from(wanted));
}
