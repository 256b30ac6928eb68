//! Forms of others, scripts in addresses, headers, sizes, languages.

use satellite_proto::wire::management::v1 as wire;

use super::scripts::{SCRIPT, is_clean};
use super::{PASSWORD, World};
use crate::language::Language;

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_page_or_session_changes_nothing() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    browser.get("/users").await;
    let fields = [("name", "bert"), ("role", "viewer"), ("password", PASSWORD)];
    let with = |token: &str| {
        let mut all: Vec<(&str, String)> = fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        all.push(("token", token.to_owned()));
        all
    };
    for token in ["", "wrong"] {
        let all = with(token);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(browser.post_as_is("/users", &all).await.status, 403, "{token}");
    }
    browser.get("/users").await;
    browser.origin = Some("https://evil.example");
    assert_eq!(browser.post("/users", &fields).await.status, 403);
    browser.origin = Some("null");
    assert_eq!(browser.post("/users", &fields).await.status, 403);
    browser.origin = None;
    browser.get("/users").await;
    assert_eq!(browser.post("/users", &fields).await.status, 303);
    // Nobody is signed in by another's page either.
    let mut stranger = world.browser();
    stranger.get("/sign-in").await;
    let page = stranger
        .post_as_is(
            "/sign-in",
            &[("name", "anna"), ("password", PASSWORD), ("token", "x")],
        )
        .await;
    assert_eq!(page.status, 403);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_an_address_are_shown_as_text() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    let escaped: String = form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect();
    for place in [
        format!("/{escaped}"),
        format!("/satellites/{escaped}"),
        format!("/sign-in?next={escaped}"),
        format!("/jobs/x?back={escaped}"),
        format!("/?done={escaped}"),
        "/audit".to_owned(),
    ] {
        is_clean(&place, &browser.get(&place).await);
    }
    // The server's own name is one as well.
    let page = browser.get("/").await;
    assert!(page.text.contains("pbx &lt;b&gt;&amp;&quot;test&quot;") && !page.text.contains("pbx <b>"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_and_the_first_page_is_small() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    let mut total = 0;
    let page = browser.get("/").await;
    let parts = page
        .text
        .split('"')
        .filter(|part| part.starts_with("/static/"))
        .map(str::to_owned);
    let mut places: Vec<String> = parts.collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 3, "{places:?}");
    total += page.text.len();
    for place in places {
        let page = browser.get(&place).await;
        assert_eq!(page.status, 200);
        assert!(
            page.headers["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        total += page.text.len();
    }
    assert!(total <= 100_000, "{total} bytes");
    for place in ["/", "/nowhere", "/sign-in", "/satellites"] {
        let page = browser.get(place).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(wanted), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["referrer-policy"], "same-origin");
        for inline in ["<script>", " onclick=", " onload=", " style=", "<style"] {
            assert!(!page.text.contains(inline), "{place} has {inline}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_the_readers_language() {
    let world = World::new().await;
    world.add_user("anna", wire::WebRole::Viewer, &[]).await;
    let mut browser = world.browser();
    for (accepted, word) in [
        ("de-CH,en;q=0.5", "Anmelden"),
        ("fr", "Se connecter"),
        ("it", "Accedi"),
        ("ja", "Sign in"),
    ] {
        browser.language = accepted;
        let page = browser.get("/sign-in").await;
        assert!(page.text.contains(word), "{accepted}");
    }
    // What is chosen counts more than what the browser says, and the user keeps it elsewhere.
    let mut browser = world.signed_in("anna").await;
    browser.get("/").await;
    let page = browser
        .post("/language", &[("language", "it"), ("back", "/satellites")])
        .await;
    assert_eq!(page.location, "/satellites");
    assert!(browser.get("/satellites").await.text.contains("Satelliti"));
    let mut other = world.signed_in("anna").await;
    assert!(other.get("/").await.text.contains("lang=\"it\""));
    for language in Language::ALL {
        other.get("/").await;
        other
            .post("/language", &[("language", language.code()), ("back", "/")])
            .await;
        let page = other.get("/").await;
        assert!(page.text.contains(&format!("<html lang=\"{}\"", language.code())));
    }
    world.end().await;
}
