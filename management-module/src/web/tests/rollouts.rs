//! Rollouts on the page: begun, steered, followed, and by nobody who may not.

use http_body_util::BodyExt as _;
use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::client::Browser;
use super::stored::Stored;

/// Three satellites that are meant to run a service, and one version of it. None of them answers.
async fn world() -> (World, Stored) {
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::open(&dir).await;
    for name in ["alpha", "beta", "gamma"] {
        stored.satellite(name).await;
        stored
            .run(&format!(
                "INSERT INTO desired_workloads (satellite, workload, running) VALUES ('{name}', 'backup-service', TRUE)"
            ))
            .await;
    }
    stored.bundle("2.0.0", "stable").await;
    let world = World::in_directory(dir).await;
    world.add_user("otto", wire::WebRole::Operator, &[]).await;
    world.add_user("vera", wire::WebRole::Viewer, &[]).await;
    (world, stored)
}

const TYPED: [(&str, &str); 12] = [
    ("bundle", "backup-service 2.0.0"),
    ("satellites", ""),
    ("first", "beta"),
    ("canary", "1"),
    ("waves", "50 %, 100"),
    ("at-once", "2"),
    ("per-site", "1"),
    ("soak", "30"),
    ("stop-at", "5"),
    ("from", "22:00"),
    ("to", "05:00"),
    ("zone", "Europe/Zurich"),
];

/// The form with one field as `name` says.
fn typed<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let other = TYPED.iter().filter(|(field, _)| *field != name).copied();
    other.chain([(name, value)]).collect()
}

/// What the page at `place` sends until it says `wanted`.
async fn sends(browser: &Browser, place: &str, wanted: &str) -> String {
    let response = browser.raw("GET", place, None).await;
    assert_eq!(response.status(), 200, "{place}");
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains(wanted) {
        let frame = body
            .frame()
            .await
            .unwrap_or_else(|| panic!("no {wanted} in {text}"));
        if let Ok(data) = frame.unwrap().into_data() {
            text.push_str(&String::from_utf8_lossy(&data));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_begun_paused_resumed_and_given_up_on_the_page() {
    let (world, stored) = world().await;
    let mut otto = world.signed_in("otto").await;
    let page = otto.get("/bundles").await;
    let link = "/rollouts/new?workload=backup-service&amp;version=2.0.0";
    assert!(page.text.contains(link), "{}", page.text);
    let page = otto.get(&link.replace("&amp;", "&")).await;
    assert!(
        page.text.contains("value=\"backup-service 2.0.0\" selected"),
        "{}",
        page.text
    );
    let page = otto.post("/rollouts/new", &TYPED).await;
    assert_eq!(page.status, 303, "{}", page.text);
    let place = page.location;
    let page = otto.get(&place).await;
    for told in [
        "backup-service 2.0.0",
        "under way",
        "50\u{a0}%, 100\u{a0}%",
        "22:00–05:00 Europe/Zurich",
        "href=\"/satellites/gamma\"",
        "0 / 3",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let first = page.text.find("/satellites/beta").unwrap();
    assert!(
        page.text[..first].find("/satellites/alpha").is_none(),
        "beta comes first"
    );
    // A second one of the same service is refused, and what was typed is still there.
    otto.get("/rollouts/new").await;
    let page = otto.post("/rollouts/new", &TYPED).await;
    assert_eq!(page.status, 409, "{}", page.text);
    assert!(page.text.contains("is open") && page.text.contains("value=\"50 %, 100\""));
    // What changes comes to who looks, on the page of the rollout and in the list.
    let events = format!("{place}/events");
    let (follower, (page, list)) = (
        world.signed_in("vera").await,
        async {
            otto.get(&place).await;
            let page = otto.post(&format!("{place}/pause"), &[]).await;
            (page, otto.get("/rollouts").await)
        }
        .await,
    );
    assert_eq!((page.status, page.location.as_str()), (303, place.as_str()));
    assert!(list.text.contains("paused") && list.text.contains("data-live=\"/rollouts/events\""));
    assert!(
        sends(&follower, "/rollouts/events", "paused")
            .await
            .contains(&place)
    );
    let failed = format!(
        "UPDATE rollout_targets SET state = 'failed', problem = 'it <b>crashed' WHERE satellite = 'beta' AND rollout = '{}'",
        place.rsplit('/').next().unwrap()
    );
    let (sent, ()) = tokio::join!(
        sends(&follower, &events, "it &lt;b&gt;crashed"),
        stored.run(&failed)
    );
    assert!(sent.contains("failed") && sent.contains("1 / 3"), "{sent}");
    assert_eq!(otto.post(&format!("{place}/pause"), &[]).await.status, 409);
    otto.get(&place).await;
    assert_eq!(otto.post(&format!("{place}/resume"), &[]).await.status, 303);
    otto.get(&place).await;
    assert_eq!(otto.post(&format!("{place}/abort"), &[]).await.status, 303);
    let sent = sends(&follower, &events, "event: over").await;
    assert!(sent.contains("given up") && !sent.contains("<form"), "{sent}");
    let page = otto.get("/rollouts").await;
    assert!(
        page.text.contains("No rollout is open.") && page.text.contains(&place),
        "{}",
        page.text
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_rollout_is_told_beside_its_field_and_who_only_looks_begins_none() {
    let (world, _stored) = world().await;
    let mut otto = world.signed_in("otto").await;
    for (field, wrong, told) in [
        ("satellites", "alpha, Not a name", "is no name of a satellite"),
        ("first", "/etc", "is no name of a satellite"),
        ("canary", "many", "This is no number."),
        ("waves", "50, 10", "Rising numbers"),
        ("waves", "", "Rising numbers"),
        ("at-once", "0", "A number, at least 1."),
        ("per-site", "-1", "This is no number."),
        ("soak", "99999999", "This is no number."),
        ("stop-at", "101", "0 to 100."),
        ("from", "25:00", "This is no time of day."),
        ("to", "22:00", "not the one at which it begins"),
        ("zone", "Nowhere/City", "There is no such time zone."),
    ] {
        otto.get("/rollouts/new").await;
        let page = otto.post("/rollouts/new", &typed(field, wrong)).await;
        assert_eq!(page.status, 422, "{field}: {}", page.text);
        let fault = page.text.split(&format!("id=\"{field}-fault\"")).nth(1);
        let fault = fault.unwrap_or_else(|| panic!("{field} has no fault: {}", page.text));
        assert!(
            fault.split("</p>").next().unwrap().contains(told),
            "{field}: {fault}"
        );
        assert_eq!(page.text.matches("aria-invalid").count(), 1, "{field}");
        assert!(
            wrong.is_empty() || page.text.contains(&format!("value=\"{wrong}\"")),
            "{field}"
        );
    }
    for (field, value, status) in [
        ("bundle", "backup-service 9.9.9", 404),
        ("bundle", "nonsense", 404),
        ("satellites", "delta", 409),
    ] {
        otto.get("/rollouts/new").await;
        let page = otto.post("/rollouts/new", &typed(field, value)).await;
        assert_eq!(page.status, status, "{value}: {}", page.text);
    }
    let mut vera = world.signed_in("vera").await;
    let page = vera.get("/rollouts").await;
    assert!(
        page.status == 200 && !page.text.contains("/rollouts/new"),
        "{}",
        page.text
    );
    assert_eq!(vera.get("/rollouts/new").await.status, 403);
    assert_eq!(vera.get("/rollouts/nothing").await.status, 404);
    world.end().await;
}
