//! Mails with the real programs: a server whose backups fail, real mail servers, and the server killed at every step of a mail.
#![expect(clippy::unwrap_used, reason = "a test")]

mod certified;
mod directory;
mod provider;
mod watched;
mod world;

use std::path::Path;

use e2e::network::write;
use e2e::smtp::{Taken, Wish, certificate};
use e2e::wait::until;

use world::{SETTLED, World, ids, mail};

/// The places at which the server may be killed on the way of a mail, from its source: a new one cannot be forgotten.
fn points() -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(top.join("management-module/src/app/notify.rs")).unwrap();
    let list = text.split("pub const FAIL_POINTS").nth(1).unwrap();
    let list = list.split("];").next().unwrap();
    let found: Vec<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(found.len() >= 4, "where are the fail points? {found:?}");
    found
}

#[tokio::test]
async fn a_failed_run_is_told_to_each_address_and_one_that_is_refused_hinders_no_other() {
    let mut world = World::new();
    let server = world.mail_server("mails", &Wish::default()).await;
    world.start(&mail(server.port, "security = \"none\""), None).await;
    let to = [
        "refused@example.com",
        "later@example.com",
        "anna@example.com",
        "ANNA@example.com",
    ];
    world.configured(&to).await;
    world.run().await;
    let taken = world.taken(&server, 1).await;
    assert_eq!(
        (taken.len(), &taken[0].to[..]),
        (1, &["anna@example.com".to_owned()][..])
    );
    let text = &taken[0].text;
    assert!(
        taken[0].header("Message-ID").unwrap().ends_with("@example.com>"),
        "{text}"
    );
    assert_eq!(taken[0].header("Auto-Submitted"), Some("auto-generated"));
    assert!(
        taken[0].header("Subject").unwrap().starts_with("Datensicherung"),
        "{text}"
    );
    for part in [
        "text/plain; charset=utf-8",
        "text/html; charset=utf-8",
        "Was zu tun ist",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The one that is not taken now is sent again until it is.
    server.open().unwrap();
    let taken = world.taken(&server, 2).await;
    assert_eq!(taken[1].to, ["later@example.com"]);
    let mails = world.settled().await;
    let mut states: Vec<_> = mails
        .iter()
        .map(|mail| {
            (
                mail["recipient"].as_str().unwrap(),
                mail["state"].as_str().unwrap(),
            )
        })
        .collect();
    states.sort_unstable();
    let wanted = [
        ("anna@example.com", "sent"),
        ("later@example.com", "sent"),
        ("refused@example.com", "refused"),
    ];
    assert_eq!(states, wanted);
    let refused = mails.iter().find(|mail| mail["state"] == "refused").unwrap();
    assert!(
        refused["error"].as_str().unwrap().contains("nobody of that name"),
        "{refused}"
    );
}

#[tokio::test]
async fn mails_wait_for_a_server_that_is_down_and_survive_a_kill_at_each_step() {
    let mut world = World::new();
    let server = world.mail_server("mails", &Wish::default()).await;
    let port = server.port;
    drop(server);
    let section = mail(port, "security = \"none\"");
    world.start(&section, None).await;
    world.configured(&["anna@example.com"]).await;
    world.run().await;
    world.run().await;
    let waiting = until("both mails to wait with a reason", SETTLED, async || {
        let mails = world.json(&["notify", "list"]).await;
        let told = mails.as_array()?.iter().filter(|mail| mail["error"] != "");
        (told.count() == 2).then_some(())
    });
    waiting.await.unwrap();
    let wish = Wish {
        port,
        ..Wish::default()
    };
    let server = world.mail_server("mails", &wish).await;
    world.taken(&server, 2).await;
    world.settled().await;
    let (points, mut count) = (points(), 2);
    for point in &points {
        world.start(&section, Some(point)).await;
        // Where it is killed before it answers, that is no answer.
        let _killed = world.cli(&["backup", "run", "Nachts"]).await;
        let mut module = world.module.take().unwrap();
        let dead = tokio::time::timeout(SETTLED, module.wait()).await;
        assert!(dead.is_ok(), "{point} was not passed: {}", world.log());
        world.start(&section, None).await;
        count += 1;
        world.taken(&server, count).await;
        // Noted as well: the next start kills the module.
        world.settled().await;
    }
    let (mails, taken) = (world.settled().await, server.taken().unwrap());
    // Nothing is lost or told by two mails; one that the server took unheard came twice, with the same id.
    assert_eq!((mails.len(), ids(&taken).len()), (count, count));
    assert!(mails.iter().all(|mail| mail["state"] == "sent"), "{mails:?}");
    assert!((count..=count + 1).contains(&taken.len()), "{}", taken.len());
}

#[tokio::test]
async fn a_process_that_stands_by_takes_over_from_one_that_is_killed_and_loses_no_mail() {
    let mut world = World::new();
    let server = world.mail_server("mails", &Wish::default()).await;
    let section = mail(server.port, "security = \"none\"");
    world.start(&section, None).await;
    world.configured(&["anna@example.com"]).await;
    let points = points();
    for (count, point) in (1..).zip(&points) {
        world.start(&section, Some(point)).await;
        let standby = world.stands_by().await;
        let _killed = world.cli(&["backup", "run", "Nachts"]).await;
        let mut leader = world.module.replace(standby).unwrap();
        let dead = tokio::time::timeout(SETTLED, leader.wait()).await;
        assert!(dead.is_ok(), "{point} was not passed: {}", world.log());
        // Nobody does anything: it is there, and tells what the other could not.
        world.taken(&server, count).await;
        world.settled().await;
    }
    let (mails, taken) = (world.settled().await, server.taken().unwrap());
    let count = points.len();
    assert_eq!((mails.len(), ids(&taken).len()), (count, count));
    assert!(mails.iter().all(|mail| mail["state"] == "sent"), "{mails:?}");
    assert!((count..=count + 1).contains(&taken.len()), "{}", taken.len());
}

#[tokio::test]
async fn nothing_is_sent_without_the_encryption_and_the_password_that_are_asked_for() {
    let mut world = World::new();
    let good = certificate(world.dir.path(), "good").await.unwrap();
    let user = Some(("satellite".to_owned(), "pä ss%,\"w0rd".to_owned()));
    let starttls = Wish {
        certificate: Some(good.clone()),
        user: user.clone(),
        ..Wish::default()
    };
    let implicit = Wish {
        implicit: true,
        ..starttls.clone()
    };
    write(&world.at("password"), "pä ss%,\"w0rd\n").unwrap();
    write(&world.at("wrong"), "wrong\n").unwrap();
    let plain = world.mail_server("plain", &Wish::default()).await;
    let (by_starttls, by_tls) = (
        world.mail_server("starttls", &starttls).await,
        world.mail_server("implicit", &implicit).await,
    );
    let trust = format!("ca-file = {:?}\n", good.0);
    let signed = |name: &str| {
        format!(
            "user = \"satellite\"\npassword-file = {:?}\n",
            world.dir.path().join(name)
        )
    };
    let (right, wrong) = (signed("password"), signed("wrong"));
    // Port, settings, and what is complained about; none: it works.
    let cases = [
        (by_starttls.port, format!("{trust}{right}"), None),
        (by_tls.port, format!("security = \"tls\"\n{trust}{right}"), None),
        (
            by_starttls.port,
            format!("{trust}{wrong}"),
            Some("cannot sign in"),
        ),
        (
            by_starttls.port,
            right.clone(),
            Some("cannot encrypt the connection"),
        ),
        (
            by_tls.port,
            format!("security = \"tls\"\n{right}"),
            Some("cannot connect"),
        ),
        (
            plain.port,
            format!("{trust}{right}"),
            Some("STARTTLS is not supported"),
        ),
    ];
    for (port, more, complaint) in cases {
        world.start(&mail(port, &more), None).await;
        let ended = world.cli(&["notify", "test", "anna@example.com"]).await;
        match complaint {
            None => assert_eq!(ended.code, Some(0), "{more}: {ended:?}"),
            Some(text) => {
                assert_ne!(ended.code, Some(0), "{more}: {ended:?}");
                assert!(ended.stderr.contains(text), "{more}: {ended:?}");
            }
        }
    }
    for server in [&by_starttls, &by_tls] {
        let taken = server.taken().unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].encrypted, taken[0].user.as_str()), (true, "satellite"));
    }
    assert!(plain.taken().unwrap().is_empty());
    assert!(!world.log().contains("w0rd"));
}

/// The subjects that an address was sent, oldest first.
fn subjects(taken: &[Taken], address: &str) -> Vec<String> {
    let own = taken.iter().filter(|mail| mail.to == [address]);
    own.map(|mail| mail.header("Subject").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_account_is_warned_once_and_told_when_it_is_over() {
    let mut world = World::new();
    let server = world.mail_server("mails", &Wish::default()).await;
    let section = mail(
        server.port,
        "security = \"none\"\noperator = \"operator@example.com\"",
    );
    let section = format!("[warnings]\ninterval = \"1s\"\n{section}");
    world.start(&section, None).await;
    world.configured(&[]).await;
    let add = "account add 4000001 --tenant customer --language en --failed 2 --mail anna@example.com --reseller-warnings on";
    world.said(&add.split(' ').collect::<Vec<_>>()).await;
    world
        .said(&[
            "account",
            "add",
            "silent",
            "--tenant",
            "customer",
            "--warnings",
            "off",
            "--mail",
            "silent@example.com",
        ])
        .await;
    world.run().await;
    // Warnings are looked for at intervals, not by the run itself.
    let listed = until("a warning", SETTLED, async || {
        let list = world.json(&["warning", "list"]).await;
        list.as_array()
            .is_some_and(|list| !list.is_empty())
            .then_some(list)
    });
    let listed = listed.await.unwrap();
    assert_eq!(
        (listed.as_array().unwrap().len(), &listed[0]["account"]),
        (1, &"silent".into()),
        "{listed}"
    );
    world.run().await;
    let raised = until("the account to be warned", SETTLED, async || {
        let list = world.json(&["warning", "list"]).await;
        let own = list.as_array()?.iter().find(|one| one["account"] == "4000001")?;
        (own["told"] == 1).then(|| own.clone())
    });
    let raised = raised.await.unwrap();
    assert_eq!(
        (&raised["kind"], &raised["detail"]),
        (&"errors".into(), &"Nachts: 2".into()),
        "{raised}"
    );
    // The reseller wants to hear of it and has no address: the operator does.
    world.taken(&server, 2).await;
    world.run().await;
    world.start(&section, None).await;
    world.said(&["account", "edit", "4000001", "--failed", "0"]).await;
    let taken = world.taken(&server, 4).await;
    let wanted = ["Backup of 4000001: errors", "Over: Backup of 4000001: errors"];
    for address in ["anna@example.com", "operator@example.com"] {
        assert_eq!(subjects(&taken, address), wanted);
    }
    assert_eq!((taken.len(), world.settled().await.len()), (4, 4));
}
