//! A central on another machine from the browser: added by the form, its key confirmed, backed up.

use super::signed_in;
use crate::page::{Page, SOON};
use crate::servers::free_port;
use crate::servers::sshd::sshd;
use crate::ssh::far;
use crate::world::{SETTLED, World, json, said};

/// What sends the form.
const SAVE: &str = "form[action='/centrals/new'] button";
/// What has the central looked at.
const CHECK: &str = "form[action$='/check'] button";

#[tokio::test]
async fn a_person_adds_a_central_over_ssh_and_confirms_its_key_in_a_browser() {
    let server = sshd();
    let world = World::new().await;
    let sample = far(&world, 1_000_000).await;
    let page = signed_in(&world).await;
    let browser = &page.browser;
    let key = std::fs::read_to_string(server.dir.path().join("user")).unwrap();
    let typed = serde_json::json!({
        "satellite": "server", "way": "ssh", "server": "127.0.0.1", "port": server.port.to_string(), "user": "root",
        "private-key": key, "profile": sample.profile(),
    });
    page.open("/centrals/new").await;
    page.unfold("#server").await;
    page.put(&typed).await;
    page.pictures("central-ssh-form").await;
    browser.click(SAVE).await.unwrap();
    browser
        .says("Nobody has confirmed its key yet", SETTLED)
        .await
        .unwrap();
    let text = browser.text().await.unwrap();
    assert!(
        text.contains(&format!("ssh://root@127.0.0.1:{}", server.port)),
        "{text}"
    );
    page.pictures("central-ssh-stranger").await;
    page.glance_in("de", "central-ssh-stranger").await;

    browser.click(CHECK).await.unwrap();
    browser.says("It is the right key", SETTLED).await.unwrap();
    let shown = browser.text().await.unwrap();
    assert!(
        shown.contains("SHA256:") && shown.contains("cannot be read like this"),
        "{shown}"
    );
    page.pictures("central-ssh-key").await;
    let secret = key.lines().nth(2).unwrap();
    has_not(&page, secret).await;
    browser
        .click("div.note form[action$='/check'] button")
        .await
        .unwrap();
    browser
        .says("It has all that its profile names", SETTLED)
        .await
        .unwrap();
    page.pictures("central-ssh-fine").await;

    changed_and_backed_up(&world, &page, secret).await;
    what_is_old_moves(&world, &page).await;
    is_told_what_it_lacks(&world, &page).await;
}

/// The key did not come back.
async fn has_not(page: &Page, secret: &str) {
    let source = "return document.documentElement.outerHTML";
    let source = page.browser.script(source).await.unwrap();
    assert!(!source.as_str().unwrap().contains(secret), "the key came back");
}

/// Changed without its key being typed again: what is known stays.
async fn changed_and_backed_up(world: &World, page: &Page, secret: &str) {
    let browser = &page.browser;
    page.open("/centrals/new?of=far").await;
    has_not(page, secret).await;
    page.pictures("central-ssh-change").await;
    page.glance_in("de", "central-ssh-change").await;
    browser.click(SAVE).await.unwrap();
    browser.says("It is saved.", SETTLED).await.unwrap();
    browser
        .click("form[action='/archives/new'] button")
        .await
        .unwrap();
    browser.says("✓ succeeded", SETTLED).await.unwrap();
    let archives = json(world, &["backup", "list"]).await;
    let of_far = |archive: &&serde_json::Value| archive["central"] == "far";
    assert_eq!(
        archives.as_array().unwrap().iter().filter(of_far).count(),
        1,
        "{archives}"
    );
}

/// Files that an archive holds are removed from the central, and a second time there are none: both is said.
async fn what_is_old_moves(world: &World, page: &Page) {
    let browser = &page.browser;
    let create = "backup config create Old --central far --data-set cdr-voicemail --destination disk \
                  --archive-older-than 30";
    said(world, &create.split_whitespace().collect::<Vec<_>>()).await;
    for (told, picture) in [
        ("moved into the archive:", "archiving-done"),
        ("Nothing was old enough", "archiving-nothing"),
    ] {
        page.open("/backups/of/Old").await;
        browser.click("form[action$='/run'] button").await.unwrap();
        browser.says("✓ succeeded", SETTLED).await.unwrap();
        browser.says(told, SOON).await.unwrap();
        page.pictures(picture).await;
    }
    assert_eq!(crate::files_below(&world.at("far/cdr-voicemail")).len(), 0);
    page.open("/backups/of/Old").await;
    page.pictures("archiving-backup").await;
    page.glance_in("de", "archiving-backup").await;
}

/// A path that is not there, and a server that does not answer.
async fn is_told_what_it_lacks(world: &World, page: &Page) {
    let browser = &page.browser;
    std::fs::remove_dir_all(world.at("far/announcements")).unwrap();
    page.open("/centrals/far").await;
    browser.click(CHECK).await.unwrap();
    let lacks = world.at("far/announcements").display().to_string();
    browser.says("It lacks something", SETTLED).await.unwrap();
    browser.says(&lacks, SOON).await.unwrap();
    page.pictures("central-ssh-lacks").await;
    page.open("/centrals/new?of=far").await;
    page.put(&serde_json::json!({ "port": free_port().to_string(), "password": "secret word" }))
        .await;
    browser.click(SAVE).await.unwrap();
    browser.says("It is saved.", SETTLED).await.unwrap();
    browser.click(CHECK).await.unwrap();
    browser
        .says("It cannot be read like this", SETTLED)
        .await
        .unwrap();
    page.pictures("central-ssh-lost").await;
}
