//! Tokens: who gets in by one, and who does not.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::identity::Pin;
use satellite_proto::join::{PROTOCOL_VERSION, Token};
use satellite_proto::pairing::Transcript;
use satellite_proto::wire::join::v1::JoinRefusal;

use super::World;
use crate::app::join::{self, Ask, Caller, Created, Wish};
use crate::app::{Actor, AppError};

fn caller(who: &str) -> Caller {
    Caller {
        ip: IpAddr::from([127, 0, 0, 1]),
        pin: Pin::of_spki(who.as_bytes()),
        exporter: [3; 32],
    }
}

impl World {
    async fn token(&self, lifetime: Duration) -> Created {
        let wish = Wish {
            address: "pbx.example".into(),
            lifetime: Some(lifetime),
            bare: true,
            ..Wish::default()
        };
        join::create(&self.app, &Actor::user(0), wish).await.unwrap()
    }

    fn ask(&self, token: &Token, caller: &Caller) -> Ask {
        Ask {
            token: token.id(),
            proof: token.satellite_proof(&self.transcript(caller)).to_vec(),
            name: "annex".into(),
            port: self.address.as_str().rsplit(':').next().unwrap().parse().unwrap(),
        }
    }

    fn transcript(&self, caller: &Caller) -> Transcript {
        Transcript {
            version: PROTOCOL_VERSION,
            exporter: caller.exporter,
            manager: self.app.fleet.identity().pin(),
            satellite: caller.pin,
            installation: self.app.installation_pin(),
        }
    }

    async fn try_join(&self, token: &Token, who: &str) -> Result<(), JoinRefusal> {
        let caller = caller(who);
        let answer = join::accept(&self.app, &caller, &self.ask(token, &caller))
            .await
            .unwrap();
        answer.map(|proof| assert!(token.verify_server(&self.transcript(&caller), &proof)))
    }

    async fn refusals(&self) -> Vec<String> {
        let records = self.app.audit.newest(100).await.unwrap();
        let joins = records
            .into_iter()
            .filter(|record| record.action == "JoinService/Join");
        joins.map(|record| record.result).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_satellite_joins_by_a_token_and_no_other() {
    let world = World::new().await;
    let Created { token, row, .. } = world.token(join::USUAL).await;
    assert_eq!(token.address(), "pbx.example:7601");
    assert!(!format!("{:?}", world.app.store.token(&row.id).await.unwrap()).contains("SJ1"));

    world.try_join(&token, "first").await.unwrap();
    let known = world.app.store.satellites().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].address, world.address);
    assert_eq!(known[0].name.as_str(), "annex");
    // Its answer was lost: it comes again, and is still one satellite.
    world.try_join(&token, "first").await.unwrap();
    assert_eq!(world.app.store.satellites().await.unwrap().len(), 1);

    assert_eq!(world.try_join(&token, "second").await, Err(JoinRefusal::Used));
    assert_eq!(world.refusals().await, ["refused: the token is used", "ok", "ok"]);
    let refused = join::revoke(&world.app, &row.id.to_string()).await.unwrap_err();
    assert!(matches!(refused, AppError::Precondition(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_satellites_at_once_with_one_token_have_one_winner() {
    let world = World::new().await;
    let Created { token, .. } = world.token(join::USUAL).await;
    let (one, two) = tokio::join!(world.try_join(&token, "one"), world.try_join(&token, "two"));
    assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    assert_eq!(one.err().or(two.err()), Some(JoinRefusal::Used));
    assert_eq!(world.app.store.satellites().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_run_out_or_not_proved_lets_nobody_in() {
    let world = World::new().await;
    let revoked = world.token(join::USUAL).await;
    let digits = revoked.row.id.to_string();
    assert!(join::revoke(&world.app, "").await.is_err());
    join::revoke(&world.app, &digits[..6]).await.unwrap();
    assert_eq!(
        world.try_join(&revoked.token, "a").await,
        Err(JoinRefusal::Revoked)
    );

    let old = world.token(join::USUAL).await;
    let past = crate::store::TokenRow {
        id: Token::generate("pbx:1", world.app.installation_pin(), 1)
            .unwrap()
            .id(),
        expires_at: Timestamp::from_second(1).unwrap(),
        ..old.row.clone()
    };
    world.app.store.add_token(&past).await.unwrap();
    let me = caller("a");
    let late = Ask {
        token: past.id,
        ..world.ask(&old.token, &me)
    };
    let refused = join::accept(&world.app, &me, &late).await.unwrap();
    assert_eq!(refused, Err(JoinRefusal::Expired));
    assert_eq!(world.refusals().await.len(), 2);

    // A proof made for another connection, or for another key; a token nobody gave out. None leaves a trace.
    let replayed = world.ask(&old.token, &caller("b"));
    assert_eq!(
        join::accept(&world.app, &me, &replayed).await.unwrap(),
        Err(JoinRefusal::Unknown)
    );
    let elsewhere = Caller {
        exporter: [4; 32],
        ..me.clone()
    };
    let recorded = world.ask(&old.token, &me);
    assert_eq!(
        join::accept(&world.app, &elsewhere, &recorded).await.unwrap(),
        Err(JoinRefusal::Unknown)
    );
    let nobodys = Token::generate("pbx:1", world.app.installation_pin(), u32::MAX).unwrap();
    assert_eq!(world.try_join(&nobodys, "a").await, Err(JoinRefusal::Unknown));
    assert_eq!(world.refusals().await.len(), 2);
    assert_eq!(world.app.store.satellites().await.unwrap(), []);

    // The good one still works.
    world.try_join(&old.token, "a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_nothing_sensible_is_not_made() {
    let world = World::new().await;
    let long = Duration::from_hours(91 * 24);
    for wish in [
        Wish {
            address: "p bx".into(),
            ..Wish::default()
        },
        Wish {
            address: "pbx".into(),
            lifetime: Some(long),
            ..Wish::default()
        },
        Wish {
            address: "pbx".into(),
            workloads: vec!["nothing".parse().unwrap()],
            ..Wish::default()
        },
    ] {
        join::create(&world.app, &Actor::user(0), wish).await.unwrap_err();
    }
    assert_eq!(world.app.store.tokens().await.unwrap(), []);
}
