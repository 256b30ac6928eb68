//! Services over HTTPS as destinations: typed into their forms and tried by their button, with a wrong secret and with the right one.

use serde_json::{Value, json};

use super::signed_in;
use crate::page::{LONG, Page, SOON};
use crate::servers::apache::{USER, apache};
use crate::servers::swift::{SECRET_KEY, swift};
use crate::servers::{PASSWORD, Server};
use crate::world::{World, said};

/// A secret that no server knows, and that nobody is shown again.
const WRONG: &str = "not-the-right-secret";

fn authority(server: &Server) -> String {
    std::fs::read_to_string(server.dir.path().join("cert.pem")).unwrap()
}

#[tokio::test]
async fn a_person_adds_places_at_services_and_is_told_what_is_wrong_with_them() {
    let (swift, apache) = (swift(0, true), apache());
    let world = World::new().await;
    let page = signed_in(&world).await;
    let bucket = |secret: &str, bucket: &str| {
        json!({
            "endpoint": format!("https://127.0.0.1:{}", swift.port), "region": "eu-test-1", "bucket": bucket,
            "access-key": "pbx:anna", "secret-key": secret, "authority": authority(&swift),
        })
    };
    let cloud = |secret: &str| {
        json!({
            "url": format!("https://127.0.0.1:{}/", apache.port), "user": USER, "password": secret,
            "authority": authority(&apache),
        })
    };
    for (kind, wrong, right, told) in [
        (
            "s3",
            bucket(WRONG, "backup"),
            bucket(SECRET_KEY, "backup"),
            "the secret key does not fit the access key",
        ),
        (
            "webdav",
            cloud(WRONG),
            cloud(PASSWORD),
            "user or password is wrong",
        ),
    ] {
        saves(&page, kind, wrong, &format!("destination-{kind}-form")).await;
        tries(&page, kind).await;
        page.browser
            .says("it cannot be used like this", SOON)
            .await
            .unwrap();
        page.browser.says(told, SOON).await.unwrap();
        page.pictures(&format!("destination-{kind}-refused")).await;
        page.browser
            .click(&format!("form[action='/destinations/{kind}/remove'] button"))
            .await
            .unwrap();
        page.browser.says("It is removed.", SOON).await.unwrap();

        saves(&page, kind, right, &format!("destination-{kind}-right")).await;
        tries(&page, kind).await;
        page.browser
            .says("a file was written, read back and removed", LONG)
            .await
            .unwrap();
        page.pictures(&format!("destination-{kind}-fine")).await;
        shows_no_secret(&page).await;
    }
    // A bucket that is not there is no matter of the secret.
    saves(
        &page,
        "s3",
        named(bucket(SECRET_KEY, "nowhere"), "lost"),
        "destination-s3-lost",
    )
    .await;
    tries(&page, "lost").await;
    page.browser.says("the bucket `nowhere`", SOON).await.unwrap();
    page.glance("destination-s3-nowhere").await;
    // Both take what a run has made.
    let create = "backup config create Services --central sample --data-set core --destination s3 --destination webdav --then save";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;
    page.open("/backups/of/Services").await;
    page.browser.click("form[action$='/run'] button").await.unwrap();
    page.browser.says("✓ succeeded", LONG).await.unwrap();
}

fn named(mut fields: Value, name: &str) -> Value {
    fields["name"] = name.into();
    fields
}

/// A destination of a kind is typed in and saved; its name is that of its kind if it has no other.
async fn saves(page: &Page, kind: &str, fields: Value, picture: &str) {
    let name = fields["name"].as_str().unwrap_or(kind).to_owned();
    page.open(&format!("/destinations/new?kind={kind}")).await;
    page.put(&named(fields, &name)).await;
    page.glance(picture).await;
    page.browser.click("main form button.main").await.unwrap();
    page.browser.says("It is saved.", SOON).await.unwrap();
    let listed = format!("form[action='/destinations/{name}/test']");
    page.there(&listed).await;
}

/// Presses the button that tries it, and waits for what comes of that.
async fn tries(page: &Page, name: &str) {
    page.browser
        .click(&format!("form[action='/destinations/{name}/test'] button"))
        .await
        .unwrap();
    page.there("main .note[role=status] ul").await;
}

async fn shows_no_secret(page: &Page) {
    let source = "return document.documentElement.outerHTML";
    let source = page.browser.script(source).await.unwrap();
    let source = source.as_str().unwrap();
    for secret in [WRONG, SECRET_KEY, PASSWORD] {
        assert!(!source.contains(secret), "{secret} came back");
    }
}
