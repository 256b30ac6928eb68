//! Credentials go in and stay in.

use super::*;
use crate::app::backup::tests::world;

fn smb(password: Option<&str>) -> Place {
    let one = pb::SmbDestination {
        server: "nas".into(),
        share: "backup/pbx".into(),
        user: "DOM\\anna".into(),
        password: password.map(|value| pb::Secret { value: value.into() }),
        ..pb::SmbDestination::default()
    };
    Place::Satellite(Box::new(pb::Destination {
        kind: Some(Kind::Smb(one)),
        ..pb::Destination::default()
    }))
}

fn password(place: Place) -> String {
    match place {
        Place::Satellite(whole) => match whole.kind {
            Some(Kind::Smb(one)) => one.password.unwrap_or_default().value,
            _ => panic!("another kind"),
        },
        Place::Server(_) => panic!("another place"),
    }
}

#[tokio::test]
async fn a_password_is_sealed_and_kept_when_the_rest_is_changed() {
    let (dir, backups) = world().await;
    let destinations = Destinations::new(backups.app.clone());
    let actor = Actor::user(0);
    let secret = "pä ss%,w0rd";
    let row = destinations
        .put(&actor, "nas", smb(Some(secret)), false)
        .await
        .unwrap();
    assert_eq!(
        (kind_of(&row), place_of(&row).as_str(), row.secrets.clone()),
        ("smb", "smb://nas/backup/pbx", vec!["password".to_owned()])
    );
    assert_eq!(password(destinations.opened("nas").await.unwrap().1), secret);
    assert!(matches!(
        destinations.put(&actor, "nas", smb(None), false).await,
        Err(AppError::Exists(_))
    ));
    destinations.put(&actor, "nas", smb(None), true).await.unwrap();
    assert_eq!(password(destinations.opened("nas").await.unwrap().1), secret);
    destinations
        .put(&actor, "nas", smb(Some("other")), true)
        .await
        .unwrap();
    assert_eq!(password(destinations.opened("nas").await.unwrap().1), "other");
    assert!(!format!("{:?} {:?}", smb(Some(secret)), destinations.list().await.unwrap()).contains(secret));
    backups.app.store.close().await;
    for file in ["store.db", "store.db-wal"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "the password is readable in {file}");
    }
}

#[tokio::test]
async fn what_is_lacking_is_named() {
    let (_dir, backups) = world().await;
    let destinations = Destinations::new(backups.app.clone());
    let actor = Actor::user(0);
    let none = Place::Satellite(Box::default());
    let empty = pb::Destination {
        kind: Some(Kind::Sftp(pb::SftpDestination::default())),
        ..pb::Destination::default()
    };
    for (name, place, wanted) in [
        ("nas", none, "kind"),
        ("nas", Place::Satellite(Box::new(empty)), "server, user"),
        ("nas", Place::Server("backup".into()), "absolute"),
        ("nas", Place::Server("/".into()), "absolute"),
        ("N A S", Place::Server("/srv/backup".into()), "name"),
    ] {
        let error = destinations.put(&actor, name, place, false).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert!(destinations.list().await.unwrap().is_empty());
    assert!(matches!(
        destinations.remove(&actor, "nas").await,
        Err(AppError::NotFound { .. })
    ));
}
