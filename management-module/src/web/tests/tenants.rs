//! Two tenants on one server: a customer sees the own and nothing of the other.

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::shelf::{self, CONTENT, archive};
use super::stored::Stored;

/// More restores than the page looks at.
const MANY: u32 = 600;

/// `acme` has the central `pbx-a`, `other` has `pbx-b`: each with a configuration, a run, a restore, an archive, an account.
async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::open(&dir).await;
    stored.central("pbx-a", "acme", "error of pbx-a").await;
    stored.central("pbx-b", "other", "error of pbx-b").await;
    // Of the other one there are so many newer ones that they would fill the page.
    stored.restores("pbx-b", MANY).await;
    for (name, tenant) in [("account-a", "acme"), ("account-b", "other")] {
        let document = format!("json_object('name', '{name}', 'tenant', '{tenant}')");
        stored
            .run(&format!(
                "INSERT INTO accounts (name, source, document, created_at, updated_at) VALUES ('{name}', 'built-in', \
                 {document}, 0, 0)"
            ))
            .await;
    }
    let archives = vec![
        archive("id-a", "pbx-a", "acme", ""),
        archive("id-b", "pbx-b", "other", ""),
    ];
    shelf::serve(&dir, archives, vec!["pbx-b.sar: cannot be read".to_owned()]);
    let world = World::in_directory(dir).await;
    world.add_user("carl", wire::WebRole::Customer, &["acme"]).await;
    world.add_user("vera", wire::WebRole::Viewer, &[]).await;
    world.add_user("otto", wire::WebRole::Operator, &[]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_what_is_of_the_own_tenants_and_nothing_of_another() {
    let world = world().await;
    let mut carl = world.signed_in("carl").await;
    let mut vera = world.signed_in("vera").await;
    for (place, own, others) in [
        ("/", "Nightly pbx-a", "pbx-b"),
        ("/backups", "Nightly pbx-a", "pbx-b"),
        ("/backups/of/Nightly%20pbx-a", "error of pbx-a", "pbx-b"),
        ("/archives", "pbx-a.sar", "pbx-b"),
        ("/archives/id-a", "address of pbx-a", "pbx-b"),
        ("/centrals", "address of pbx-a", "pbx-b"),
        ("/centrals/pbx-a", "address of pbx-a", "pbx-b"),
        ("/restores", "error of pbx-a", "pbx-b"),
        ("/warnings", "account-a", "account-b"),
    ] {
        let page = carl.get(place).await;
        assert_eq!(page.status, 200, "{place}: {}", page.text);
        assert!(page.text.contains(own), "{place}: {}", page.text);
        assert!(!page.text.contains(others), "{place}: {}", page.text);
    }
    // Who may see all tenants sees both: what is missing above is not missing by chance.
    for (place, both) in [
        ("/", ["Nightly pbx-a", "Nightly pbx-b"]),
        ("/backups", ["Nightly pbx-a", "Nightly pbx-b"]),
        ("/archives", ["pbx-a.sar", "pbx-b.sar"]),
        ("/centrals", ["address of pbx-a", "address of pbx-b"]),
        ("/warnings", ["account-a", "account-b"]),
    ] {
        let page = vera.get(place).await;
        for text in both {
            assert!(page.text.contains(text), "{place}: {text}: {}", page.text);
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_tenant_is_not_there_for_a_customer_and_nothing_is_begun_on_it() {
    let world = world().await;
    let mut carl = world.signed_in("carl").await;
    let mut otto = world.signed_in("otto").await;
    for place in [
        "/backups/of/Nightly%20pbx-b",
        "/archives/id-b",
        "/archives/pbx-b.sar",
        "/archives/id-b/download",
        "/centrals/pbx-b",
        "/warnings/of/account-b",
    ] {
        let page = carl.get(place).await;
        assert_eq!(page.status, 404, "{place}: {}", page.text);
        assert!(
            !page.text.contains("error of pbx-b") && !page.text.contains(CONTENT),
            "{place}"
        );
        assert_eq!(otto.get(place).await.status, 200, "{place}");
    }
    assert_eq!(carl.get("/archives/id-a/download").await.text, CONTENT);
    carl.get("/archives").await;
    for (place, fields) in [
        ("/backups/of/Nightly%20pbx-b/run", vec![("key", "k")]),
        ("/archives/new", vec![("central", "pbx-b"), ("key", "k")]),
        (
            "/warnings/of/account-b/limits",
            vec![("percent", "1"), ("missed", "1"), ("failed", "1"), ("days", "1")],
        ),
    ] {
        let page = carl.post(place, &fields).await;
        assert_eq!(page.status, 404, "{place}: {}", page.text);
    }
    // A job that somebody else has begun is not the customer's either.
    otto.get("/archives").await;
    let begun = otto
        .post("/archives/new", &[("central", "pbx-b"), ("key", "mine")])
        .await;
    assert_eq!(begun.status, 303, "{}", begun.text);
    let job = begun.location.split('?').next().unwrap().to_owned();
    assert_eq!(otto.get(&job).await.status, 200);
    assert_eq!(carl.get(&job).await.status, 404, "{job}");
    assert_eq!(carl.get(&format!("{job}/events")).await.status, 404, "{job}");
    world.end().await;
}
