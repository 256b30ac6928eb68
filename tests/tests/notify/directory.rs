//! Accounts from an LDAP directory: a real slapd.

use std::path::Path;

use e2e::browser::Browser;
use e2e::command::command;
use e2e::directory::{Account, OPERATOR, OPERATORS, PASSWORD, PERSON_PASSWORD, READER, SUFFIX, Slapd};
use e2e::network::write;
use e2e::smtp::{Wish, certificate};
use e2e::wait::until;

use super::world::{SETTLED, World, mail};

fn directory(slapd: &Slapd, more: &str) -> String {
    format!(
        "[directory]\nserver = \"127.0.0.1\"\nport = {}\nbind-dn = \"{READER}\"\naccounts-base = \"ou=accounts,{SUFFIX}\"\n\
         people-base = \"ou=people,{SUFFIX}\"\nresellers-base = \"ou=reseller,{SUFFIX}\"\nservices-base = \"ou=services,{SUFFIX}\"\ninterval = \"1s\"\n\
         deadline = \"5s\"\npage-size = 40\n\
         quota-percent-attribute = \"exampleQuotaPercent\"\n{more}",
        slapd.port
    )
}

/// What is set here stays, though the directory is read each second.
async fn what_is_set_stays(world: &World) {
    let limits = [
        "account",
        "limits",
        "4000001",
        "--quota-percent",
        "60",
        "--failed",
        "3",
    ];
    world.said(&limits).await;
    let set = async || {
        let list = world.json(&["account", "list"]).await;
        (list[0]["quota_percent"].clone(), list[0]["failed"].clone())
    };
    assert_eq!(set().await, (60.into(), 3.into()));
    let times = || world.log().matches("Accounts of the directory read").count();
    let before = times();
    let again = until("the directory to be read again", SETTLED, async || {
        (times() > before + 1).then_some(())
    });
    again.await.unwrap();
    assert_eq!(set().await, (60.into(), 3.into()));
}

/// An account of the directory, in the tenant of its name.
fn account(uid: &str, warnings: Option<bool>, mails: &[&str], person: &str, reseller: &str) -> Account {
    Account {
        uid: uid.into(),
        warnings,
        mails: mails.iter().map(|&mail| mail.to_owned()).collect(),
        person: person.into(),
        reseller: reseller.into(),
        service: String::new(),
    }
}

/// Six accounts to look at, and so many others that they come on several pages.
fn many() -> Vec<Account> {
    let mut accounts = vec![
        account(
            "4000001",
            Some(true),
            &["a@own.example", "b@own.example"],
            "anna",
            "rita",
        ),
        account("4000002", Some(true), &[], "anna", ""),
        account("4000003", Some(false), &["c@own.example"], "anna", ""),
        account("4000004", Some(true), &["nobody"], "", ""),
        account("4000005", None, &["d@own.example"], "anna", ""),
        Account {
            service: "hosting".into(),
            ..account("4000006", Some(true), &[], "", "")
        },
    ];
    let others = (10..200).map(|number| account(&format!("50000{number}"), None, &["x@own.example"], "", ""));
    accounts.extend(others);
    accounts
}

#[tokio::test]
async fn accounts_come_from_a_directory_and_stay_while_it_is_down() {
    let mut world = World::new();
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let other = certificate(world.dir.path(), "other").await.unwrap();
    let accounts = many();
    let slapd = Slapd::start(&world.at("slapd"), &good, &accounts).await.unwrap();
    write(&world.at("password"), PASSWORD).unwrap();
    let settings = |ca: &Path| {
        format!(
            "ca-file = {ca:?}\npassword-file = {:?}\n",
            world.dir.path().join("password")
        )
    };
    let (trusted, foreign) = (settings(&good.0), settings(&other.0));
    let mail =
        "[mail]\nserver = \"127.0.0.1\"\nfrom = \"b@example.com\"\noperator = \"operator@example.com\"\n";
    world
        .start(&format!("{}{mail}", directory(&slapd, &foreign)), None)
        .await;
    let said = until("the directory to be refused", SETTLED, async || {
        world.log().contains("Directory not read").then_some(())
    });
    said.await.unwrap();
    assert_eq!(world.json(&["account", "list"]).await, serde_json::json!([]));
    world
        .start(&format!("{}{mail}", directory(&slapd, &trusted)), None)
        .await;
    let read = until("the accounts to be read", SETTLED, async || {
        let list = world.json(&["account", "list"]).await;
        (list.as_array()?.len() == accounts.len()).then_some(list)
    });
    let read = read
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", world.log()));
    let warned = |number: usize| read[number]["warned"].clone();
    assert_eq!(
        warned(0),
        serde_json::json!(["a@own.example", "b@own.example", "rita@reseller.example"])
    );
    assert_eq!(warned(1), serde_json::json!(["anna@people.example"]));
    assert_eq!(warned(2), serde_json::json!([]));
    // Of who has no address the operator hears; who does not say that it wants warnings gets none.
    assert_eq!(warned(3), serde_json::json!(["operator@example.com"]));
    assert_eq!(warned(4), serde_json::json!([]));
    assert_eq!(warned(5), serde_json::json!(["hosting@services.example"]));
    assert_eq!(
        (&read[0]["language"], &read[0]["quota_bytes"]),
        (&"de".into(), &107_374_182_400_u64.into())
    );
    assert_eq!(read[0]["quota_percent"], 75);
    what_is_set_stays(&world).await;
    let read = world.json(&["account", "list"]).await;
    let refused = world.cli(&["account", "remove", "4000001", "--yes"]).await;
    assert!(refused.stderr.contains("comes from the directory"), "{refused:?}");
    let before = world.log().matches("Directory not read").count();
    drop(slapd);
    let down = until("the directory to be down", SETTLED, async || {
        (world.log().matches("Directory not read").count() > before).then_some(())
    });
    down.await.unwrap();
    assert_eq!(world.json(&["account", "list"]).await, read);
    assert!(!world.log().contains("w0rd"));
}

/// Waits until the log of the module says something once more.
async fn says_again(world: &World, text: &str, before: usize) {
    let said = until(text, SETTLED, async || {
        (world.log().matches(text).count() > before).then_some(())
    });
    said.await
        .unwrap_or_else(|error| panic!("{error}: {}", world.log()));
}

#[tokio::test]
async fn a_directory_over_tls_is_verified_sends_us_nowhere_and_holds_up_no_warning_when_it_is_silent() {
    let mut world = World::new();
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let other = certificate(world.dir.path(), "other").await.unwrap();
    write(&world.at("password"), PASSWORD).unwrap();
    // Whoever follows the referral comes here; and a directory that takes connections and says nothing.
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let accounts = [account("customer", Some(true), &["a@own.example"], "anna", "")];
    let port = elsewhere.local_addr().unwrap().port();
    let slapd = Slapd::referring(&world.at("slapd"), &good, &accounts, Some(port))
        .await
        .unwrap();
    let server = world.mail_server("mails", &Wish::default()).await;
    let config = |port: u16, ca: &Path| {
        let old = format!("port = {}", slapd.port);
        let directory = directory(&slapd, "").replace(&old, &format!("port = {port}\nsecurity = \"tls\""));
        let directory = directory.replace("deadline = \"5s\"", "deadline = \"1s\"");
        format!(
            "{directory}ca-file = {ca:?}\npassword-file = {:?}\n[warnings]\ninterval = \"1s\"\n{}",
            world.dir.path().join("password"),
            mail(server.port, "security = \"none\"")
        )
    };
    let (foreign, trusted) = (config(slapd.tls_port, &other.0), config(slapd.tls_port, &good.0));
    let unanswered = config(silent.local_addr().unwrap().port(), &good.0);

    world.start(&foreign, None).await;
    says_again(&world, "Directory not read", 0).await;
    assert_eq!(world.json(&["account", "list"]).await, serde_json::json!([]));
    world.start(&trusted, None).await;
    let read = until("the account to be read", SETTLED, async || {
        let list = world.json(&["account", "list"]).await;
        (list.as_array()?.len() == 1).then_some(list)
    });
    let read = read
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", world.log()));
    assert_eq!(read[0]["warned"], serde_json::json!(["a@own.example"]));
    let came = tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await;
    assert!(came.is_err(), "the referral was followed");

    let before = world.log().matches("Directory not read").count();
    world.start(&unanswered, None).await;
    says_again(&world, "Directory not read", before).await;
    world.configured(&[]).await;
    world.run().await;
    let taken = world.taken(&server, 1).await;
    assert_eq!(taken[0].to, ["a@own.example"]);
    assert!(
        taken[0].header("Subject").unwrap().contains("customer"),
        "{:?}",
        taken[0]
    );
    assert_eq!(world.json(&["account", "list"]).await, read);
}

/// Tries to sign in with a browser that has forgotten who it was.
async fn sign_in(browser: &Browser, page: &str, (name, password): (&str, &str), says: &str) {
    browser.open(&format!("{page}/sign-in")).await.unwrap();
    browser.fill("#name", name).await.unwrap();
    browser.fill("#password", password).await.unwrap();
    browser.press("\u{e007}").await.unwrap();
    browser.says(says, SETTLED).await.unwrap();
}

#[tokio::test]
async fn people_of_the_directory_sign_in_to_what_is_theirs() {
    let mut world = World::new();
    world.web = "127.0.0.1:0".to_owned();
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let accounts = [
        account("4000001", None, &[], "anna", ""),
        account("4000002", None, &[], "bert", ""),
    ];
    let slapd = Slapd::start(&world.at("slapd"), &good, &accounts).await.unwrap();
    write(&world.at("password"), PASSWORD).unwrap();
    let more = format!(
        "ca-file = {:?}\npassword-file = {:?}\nsign-in = {{ operators = \"{OPERATORS}\" }}\n",
        good.0,
        world.at("password")
    );
    world.start(&directory(&slapd, &more), None).await;
    let read = until("the accounts to be read", SETTLED, async || {
        let list = world.json(&["account", "list"]).await;
        (list.as_array()?.len() == accounts.len()).then_some(())
    });
    read.await.unwrap();
    let shown = world.json(&["web", "show"]).await;
    let page = format!("https://{}", shown["address"].as_str().unwrap());
    let browser = Browser::start(command("chromedriver")).await.unwrap();
    for wrong in [
        ("anna", "wrong"),
        ("anna*", PERSON_PASSWORD),
        ("carl", PERSON_PASSWORD),
    ] {
        sign_in(&browser, &page, wrong, "are wrong").await;
    }
    sign_in(&browser, &page, ("anna", PERSON_PASSWORD), "Overview").await;
    browser.open(&format!("{page}/warnings")).await.unwrap();
    browser.says("4000001", SETTLED).await.unwrap();
    let text = browser.text().await.unwrap();
    assert!(
        !text.contains("4000002") && !text.contains("Satellites\n"),
        "{text}"
    );
    browser.open(&format!("{page}/account")).await.unwrap();
    browser.click("form[action='/sign-out'] button").await.unwrap();
    sign_in(&browser, &page, (OPERATOR, PERSON_PASSWORD), "Pair a satellite").await;
    browser.open(&format!("{page}/account")).await.unwrap();
    browser.click("form[action='/sign-out'] button").await.unwrap();
    browser.says("Sign in", SETTLED).await.unwrap();
    drop(slapd);
    sign_in(
        &browser,
        &page,
        (OPERATOR, PERSON_PASSWORD),
        "the directory cannot be asked",
    )
    .await;
    let log = world.log();
    assert!(!log.contains("pérsön"), "{log}");
}
