//! The page's certificate from a real authority.

use std::path::Path;
use std::time::Duration;

use e2e::authority::{Authority, KEY, KEY_ID, free_port};
use e2e::command::{command, finish};
use e2e::network::write;
use e2e::smtp::certificate;
use e2e::wait::until;
use serde_json::Value;

use super::watched::numbers;
use super::world::{SETTLED, World};

const NAME: &str = "page.example.org";

/// Certificates are renewed after about 8 seconds of these.
const VALIDITY: Duration = Duration::from_secs(12);

/// A program of others reaches the page by its name and finds the certificate good.
async fn is_trusted(world: &World, root: &Path) {
    let (_, port) = world.web.split_once(':').unwrap();
    until("a foreign client to trust the page", SETTLED, async || {
        let mut ask = command("curl");
        ask.args(["--silent", "--show-error", "--fail", "--cacert"])
            .arg(root)
            .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
            .arg(format!("https://{NAME}:{port}/sign-in"));
        let ended = finish(ask, SETTLED).await.ok()?;
        (ended.code == Some(0)).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until `web show` says what is wanted.
async fn shown(world: &World, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let found = until(what, SETTLED, async || {
        let shown = world.json(&["web", "show"]).await;
        is_it(&shown).then_some(shown)
    });
    found
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", world.log()))
}

/// What `config check` says to a person.
async fn told_by_check(world: &World) -> String {
    let ended = world.cli(&["config", "check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout + &ended.stderr
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn an_authority_certifies_the_page_which_keeps_its_certificate_while_there_is_none() {
    let mut world = World::new();
    let (port, page, metrics) = (free_port(), free_port(), free_port());
    world.web = format!("127.0.0.1:{page}");
    let own = certificate(world.dir.path(), "authority").await.unwrap();
    let authority = Authority::start(&world.at("authority"), (port, page), &own, VALIDITY)
        .await
        .unwrap();
    write(&world.at("external"), KEY).unwrap();
    let config = format!(
        "metrics-listen = \"127.0.0.1:{metrics}\"\n[acme]\ndirectory = \"https://127.0.0.1:{port}/dir\"\n\
         names = [{NAME:?}]\naccept-terms = true\ncontact = [\"it@example.org\"]\nca-file = {:?}\n\
         external-key-id = {KEY_ID:?}\nexternal-key-file = {:?}\nretry-first = \"500ms\"\nretry-longest = \"1s\"\n",
        own.0,
        world.at("external"),
    );
    world.start(&config, None).await;
    let kept = world.at("state/web/acme/certificate.pem");
    let (kept_at, account) = (kept.clone(), world.at("state/web/acme/account.json"));
    until("a certificate", SETTLED, async || kept_at.exists().then_some(()))
        .await
        .unwrap_or_else(|error| panic!("{error}: {} {}", world.log(), authority.log()));
    is_trusted(&world, &authority.root().await.unwrap()).await;
    assert_eq!((mode(&kept), mode(&account)), (0o600, 0o600));
    let (first, known) = (std::fs::read(&kept).unwrap(), std::fs::read(&account).unwrap());

    // It is renewed by itself, by the same account, and shown without a restart.
    until("another certificate", SETTLED, async || {
        (std::fs::read(&kept).ok()? != first).then_some(())
    })
    .await
    .unwrap();
    is_trusted(&world, &authority.root().await.unwrap()).await;
    assert_eq!(std::fs::read(&account).unwrap(), known);

    // The authority is gone: the page keeps what it has, and people are told.
    authority.end().await.unwrap();
    let told = shown(&world, "a failure to be told", |shown| {
        shown["renewal_problem"] != "" && shown["renewal_time"] != ""
    })
    .await;
    let address = format!("127.0.0.1:{metrics}").parse().unwrap();
    let said = numbers(address).await;
    assert!(!said.contains("web_certificate_failed_tries 0"), "{said}");
    assert!(said.contains("web_certificate_failed_tries "), "{said}");
    assert!(said.contains("web_certificate_expire_time_seconds "), "{said}");
    let checked = told_by_check(&world).await;
    assert!(checked.contains("the web page got no certificate"), "{checked}");
    assert!(world.log().contains("The web page got no new certificate"));
    let before = std::fs::read(&kept).unwrap();
    world.start(&config, None).await;
    let after = shown(&world, "the page to be offered", |shown| {
        shown["certificate_fingerprint"] != "" && shown["renewal_problem"] != ""
    })
    .await;
    assert_eq!(after["certificate_fingerprint"], told["certificate_fingerprint"]);
    assert_eq!(std::fs::read(&kept).unwrap(), before);

    // It comes back and knows nobody: a new account, a new certificate, nothing more to tell.
    let authority = Authority::start(&world.at("authority"), (port, page), &own, VALIDITY)
        .await
        .unwrap();
    shown(&world, "the page to be certified again", |shown| {
        shown["renewal_problem"] == "" && shown["certificate_fingerprint"] != told["certificate_fingerprint"]
    })
    .await;
    is_trusted(&world, &authority.root().await.unwrap()).await;
    assert_ne!(std::fs::read(&account).unwrap(), known);
    let checked = told_by_check(&world).await;
    assert!(!checked.contains("got no certificate"), "{checked}");
    assert!(!world.log().contains(KEY));
}
