//! A central on another machine from the browser: added by the form, its key confirmed, backed up.

use e2e::browser::Browser;
use e2e::central::Sample;
use e2e::command::command;
use e2e::network::write;

use crate::servers::free_port;
use crate::servers::sshd::sshd;
use crate::world::{SETTLED, World, json, said};

const ENTER: &str = "\u{e007}";
/// What sends the form.
const SAVE: &str = "form[action='/centrals/new'] button";
const PASSWORD: &str = "correct horse battery";

async fn signed_in(world: &World, page: &str) -> Browser {
    write(&world.at("password"), PASSWORD).unwrap();
    let file = world.at("password").display().to_string();
    said(
        world,
        &[
            "user",
            "add",
            "anna",
            "--role",
            "administrator",
            "--password-file",
            &file,
        ],
    )
    .await;
    let browser = Browser::start(command("chromedriver")).await.unwrap();
    browser.open(&format!("{page}/sign-in")).await.unwrap();
    browser.fill("#name", "anna").await.unwrap();
    browser.fill("#password", PASSWORD).await.unwrap();
    browser.press(ENTER).await.unwrap();
    browser.says("Overview", SETTLED).await.unwrap();
    browser
}

#[tokio::test]
async fn a_person_adds_a_central_over_ssh_and_confirms_its_key_in_a_browser() {
    let server = sshd();
    let mut world = World::new().await;
    let port = free_port();
    world
        .reconfigure(|text| format!("web-listen = \"127.0.0.1:{port}\"\n{text}"))
        .await;
    let sample = Sample {
        name: "far".into(),
        root: world.at("far"),
        seed: 2,
        bytes: 1_000_000,
    };
    sample.make(|_, _| ()).await.unwrap();

    let page = format!("https://127.0.0.1:{port}");
    let browser = signed_in(&world, &page).await;
    browser.open(&format!("{page}/centrals/new")).await.unwrap();
    let key = std::fs::read_to_string(server.dir.path().join("user")).unwrap();
    let typed = serde_json::json!({
        "satellite": "server", "way": "ssh", "server": "127.0.0.1", "port": server.port.to_string(), "user": "root",
        "private-key": key, "profile": sample.profile(),
    });
    // Typed key by key it would take minutes.
    let script = format!(
        "document.querySelector('main details').open = true; \
         for (const [name, value] of Object.entries({typed})) document.getElementById(name).value = value"
    );
    browser.script(&script).await.unwrap();
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

    browser.click("form[action$='/check'] button").await.unwrap();
    browser.says("It is the right key", SETTLED).await.unwrap();
    let shown = browser.text().await.unwrap();
    assert!(
        shown.contains("SHA256:") && shown.contains("cannot be read like this"),
        "{shown}"
    );
    let source = browser
        .script("return document.documentElement.outerHTML")
        .await
        .unwrap();
    let source = source.as_str().unwrap();
    let secret = key.lines().nth(2).unwrap();
    assert!(!source.contains(secret), "the key came back");
    browser
        .click("div.note form[action$='/check'] button")
        .await
        .unwrap();
    browser
        .says("It has all that its profile names", SETTLED)
        .await
        .unwrap();

    changed_and_backed_up(&world, &browser, &page, secret).await;
}

/// Changed without its key being typed again: what is known stays.
async fn changed_and_backed_up(world: &World, browser: &Browser, page: &str, secret: &str) {
    browser
        .open(&format!("{page}/centrals/new?of=far"))
        .await
        .unwrap();
    let source = browser
        .script("return document.documentElement.outerHTML")
        .await
        .unwrap();
    assert!(!source.as_str().unwrap().contains(secret), "the key came back");
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
