//! Accounts from an LDAP directory: a real slapd.

use std::path::Path;

use e2e::directory::{Account, PASSWORD, READER, SUFFIX, Slapd};
use e2e::network::write;
use e2e::smtp::certificate;
use e2e::wait::until;

use super::world::{SETTLED, World};

fn directory(slapd: &Slapd, more: &str) -> String {
    format!(
        "[directory]\nserver = \"127.0.0.1\"\nport = {}\nbind-dn = \"{READER}\"\naccounts-base = \"ou=accounts,{SUFFIX}\"\n\
         people-base = \"ou=people,{SUFFIX}\"\nresellers-base = \"ou=reseller,{SUFFIX}\"\ninterval = \"1s\"\n\
         deadline = \"5s\"\npage-size = 40\n{more}",
        slapd.port
    )
}

#[tokio::test]
async fn accounts_come_from_a_directory_and_stay_while_it_is_down() {
    let mut world = World::new();
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let other = certificate(world.dir.path(), "other").await.unwrap();
    let account = |uid: &str, warnings, mails: &[&str], person: &str, reseller: &str| Account {
        uid: uid.into(),
        warnings,
        mails: mails.iter().map(|&mail| mail.to_owned()).collect(),
        person: person.into(),
        reseller: reseller.into(),
    };
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
    ];
    accounts
        .extend((10..200).map(|number| account(&format!("50000{number}"), None, &["x@own.example"], "", "")));
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
    assert_eq!(
        (&read[0]["language"], &read[0]["quota_bytes"]),
        (&"de".into(), &107_374_182_400_u64.into())
    );
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
