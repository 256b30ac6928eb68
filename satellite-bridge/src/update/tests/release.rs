//! Releases go forward; back only by a permit, once.

use satellite_proto::wire::bridge::v1::OperationState;
use tonic::{Code, Status};

use super::*;

/// Begins an upload with a permit and answers why it is refused.
fn refusal(satellite: &Satellite, bundle: &Parts, permit: Option<&Signed>) -> Status {
    let begun = satellite
        .updates
        .begin_permitted(&bundle.manifest, &bundle.signatures, permit);
    begun.unwrap_err().into()
}

#[tokio::test]
async fn the_floor_outlives_the_workload_and_counts_for_each_channel() {
    let world = World::new();
    let satellite = world.boot();
    let old = world.bundle(1, "good one");
    satellite.install(&world.bundle(5, "good five"), true).await;
    let removed = satellite.workloads.remove(&name(), true, "remove").unwrap();
    satellite.end_of(removed).await;
    satellite.rest().await;
    drop(satellite);
    let satellite = world.boot();
    let refused = refusal(&satellite, &old, None);
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("release 5"), "{}", refused.message());
    let beta = world.bundle_of("good beta", |recipe| recipe.channel = "beta".to_owned());
    let operation = satellite.install(&beta, true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    satellite.rest().await;
    assert_eq!(refusal(&satellite, &old, None).code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_version_that_failed_raises_no_floor() {
    let world = World::new();
    let satellite = world.boot();
    satellite.install(&world.bundle(1, "good one"), true).await;
    let operation = satellite.install(&world.bundle(7, "broken"), true).await;
    assert_eq!(operation.state(), OperationState::Failed);
    satellite.rest().await;
    let operation = satellite.install(&world.bundle(2, "good two"), true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
}

#[tokio::test]
async fn a_permit_lets_go_back_once_to_the_release_that_it_names() {
    let world = World::new();
    let satellite = world.boot();
    let (one, two, three) = (
        world.bundle(1, "good one"),
        world.bundle(2, "good two"),
        world.bundle(3, "good three"),
    );
    satellite.install(&three, true).await;
    satellite.rest().await;
    let permit = world.permit(&two, 10, 3600);
    assert_eq!(
        refusal(&satellite, &one, Some(&permit)).code(),
        Code::FailedPrecondition
    );
    let operation = satellite.go_back(&two, &permit).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    satellite.rest().await;
    assert_eq!(world.rows(), "good two");
    // From there it goes forward again, and no older release is let in by it.
    assert_eq!(refusal(&satellite, &one, None).code(), Code::FailedPrecondition);
    let operation = satellite.install(&three, true).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
    satellite.rest().await;
    let again = refusal(&satellite, &two, Some(&permit));
    assert!(again.message().contains("used"), "{}", again.message());
    let older = world.permit(&two, 9, 3600);
    assert_eq!(
        refusal(&satellite, &two, Some(&older)).code(),
        Code::FailedPrecondition
    );
    let operation = satellite.go_back(&two, &world.permit(&two, 11, 3600)).await;
    assert_eq!(operation.state(), OperationState::Succeeded, "{operation:?}");
}

#[tokio::test]
async fn a_permit_that_is_old_changed_or_signed_by_another_is_none() {
    let world = World::new();
    let satellite = world.boot();
    let two = world.bundle(2, "good two");
    satellite.install(&world.bundle(3, "good three"), true).await;
    satellite.rest().await;
    let late = world.permit(&two, 1, -1);
    // A clock may be wrong: it is not held against the bundle.
    assert_eq!(refusal(&satellite, &two, Some(&late)).code(), Code::Unavailable);
    let good = world.permit(&two, 1, 3600);
    for at in 0..good.document.len() {
        let mut document = good.document.to_vec();
        document[at] ^= 1;
        let changed = Signed {
            document: document.into(),
            ..good.clone()
        };
        assert_eq!(
            refusal(&satellite, &two, Some(&changed)).code(),
            Code::FailedPrecondition
        );
    }
    let other = KeyPair::generate(None).unwrap();
    let other = SecretKey::from_file_text(&other.secret_file, None).unwrap();
    let mut foreign = Signed {
        signatures: Vec::new(),
        ..good
    };
    foreign.sign(&other, "").unwrap();
    assert_eq!(
        refusal(&satellite, &two, Some(&foreign)).code(),
        Code::FailedPrecondition
    );
}
