//! Signing in at a provider of OpenID Connect: a real one, in a real browser.

use e2e::browser::Browser;
use e2e::command::command;
use e2e::network::write;
use e2e::provider::{CLIENT, PERSON_PASSWORD, Provider, SECRET};
use e2e::smtp::certificate;

use super::world::{SETTLED, World};

const BY_PROVIDER: &str = "a[href^='/sign-in/provider']";

/// Signs in at the provider's page, in a browser that nobody is signed in with there.
async fn sign_in(page: &str, name: &str, says: &str) -> Browser {
    let browser = Browser::start(command("chromedriver")).await.unwrap();
    browser.open(&format!("{page}/account")).await.unwrap();
    browser.says("Sign in with Glewlwyd", SETTLED).await.unwrap();
    browser.click(BY_PROVIDER).await.unwrap();
    browser.says("Login", SETTLED).await.unwrap();
    browser.fill("#username", name).await.unwrap();
    browser.fill("#password", PERSON_PASSWORD).await.unwrap();
    browser.press("\u{e007}").await.unwrap();
    browser.says("Continue", SETTLED).await.unwrap();
    let go_on =
        "[...document.querySelectorAll('button')].find(one => one.innerText.trim() == 'Continue').click()";
    browser.script(go_on).await.unwrap();
    browser.says(says, SETTLED).await.unwrap();
    browser
}

#[tokio::test]
async fn people_of_a_provider_sign_in_to_what_is_theirs_and_nobody_takes_the_name_of_another() {
    let mut world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    world.web = format!("127.0.0.1:{port}");
    let page = format!("https://{}", world.web);
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let back = format!("{page}/sign-in/provider/back");
    let provider = Provider::start(&world.at("provider"), &good, &back)
        .await
        .unwrap();
    for (name, groups) in [
        ("otto", &["staff", "ops"][..]),
        ("anna", &["staff"]),
        ("boss", &["ops"]),
    ] {
        provider.add(name, groups).await.unwrap();
    }
    write(&world.at("secret"), format!("{SECRET}\n")).unwrap();
    write(&world.at("password"), "correct horse battery").unwrap();
    let config = format!(
        "[openid]\nissuer = {:?}\nclient-id = {CLIENT:?}\nsecret-file = {:?}\nca-file = {:?}\npage = {page:?}\n\
         name = \"Glewlwyd\"\noperators = \"ops\"\n",
        provider.issuer,
        world.at("secret"),
        good.0,
    );
    world.start(&config, None).await;
    let password = world.at("password").display().to_string();
    // A user who was added here keeps the name.
    let added = [
        "user",
        "add",
        "boss",
        "--role",
        "administrator",
        "--password-file",
        &password,
    ];
    world.said(&added).await;
    let browser = sign_in(&page, "otto", "My account").await;
    browser.says("Operator", SETTLED).await.unwrap();
    assert!(!browser.text().await.unwrap().contains("Change password"));
    browser
        .open(&format!("{page}/account/second-factor"))
        .await
        .unwrap();
    browser.says("within five minutes", SETTLED).await.unwrap();
    // It has no password here, and none opens it.
    let other = Browser::start(command("chromedriver")).await.unwrap();
    other.open(&format!("{page}/sign-in")).await.unwrap();
    other.fill("#name", "otto").await.unwrap();
    other.fill("#password", PERSON_PASSWORD).await.unwrap();
    other.press("\u{e007}").await.unwrap();
    other.says("are wrong", SETTLED).await.unwrap();
    // An answer without the browser that asked, and one that was made up.
    other.open(&format!("{back}?code=x&state=y")).await.unwrap();
    other.says("was not confirmed", SETTLED).await.unwrap();
    drop(other);
    drop(sign_in(&page, "anna", "may do nothing here").await);
    drop(sign_in(&page, "boss", "is somebody else").await);
    // Somebody else who is called otto at the provider later is not the otto of before.
    provider.remove("otto").await.unwrap();
    provider.add("otto", &["ops"]).await.unwrap();
    drop(sign_in(&page, "otto", "is somebody else").await);
    let users = world.json(&["user", "list"]).await;
    assert_eq!(users.as_array().unwrap().len(), 2, "{users}");
    browser.click("form[action='/sign-out'] button").await.unwrap();
    // While the provider is down the others sign in.
    drop(provider);
    world.start(&config, None).await;
    browser.open(&format!("{page}/sign-in")).await.unwrap();
    browser.click(BY_PROVIDER).await.unwrap();
    browser.says("does not help", SETTLED).await.unwrap();
    browser.fill("#name", "boss").await.unwrap();
    browser.fill("#password", "correct horse battery").await.unwrap();
    browser.press("\u{e007}").await.unwrap();
    browser.says("Overview", SETTLED).await.unwrap();
    let log = world.log();
    assert!(!log.contains(SECRET) && !log.contains(PERSON_PASSWORD), "{log}");
}
