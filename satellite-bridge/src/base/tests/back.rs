//! A machine goes back: to an older system by a permit, and to the one that it came with by a factory reset.

use satellite_proto::wire::bridge::v1::OperationState;

use super::kill_child_at;
use super::machine::{FIRST, Running, SECOND, SHIPPED, World};
use crate::base::shipped;
use crate::base::shipped::Next;

/// Points at which going back differs from going forward: from where the older system could be started, to where it is.
const WAY_BACK: [&str; 4] = [
    "slot.kernel-written",
    "slot.others-hidden",
    "slot.armed",
    "base.trial-recorded",
];

/// Brings systems one after the other, each to the end.
pub(super) async fn brought(world: &World, versions: &[&str]) -> Running {
    let mut running = world.boot(world.start().await);
    for version in versions {
        running.begin(&world.bundle(version, 30)).await;
        assert!(!running.rests(true).await, "{:?}", running.last());
        drop(running);
        running = world.settled(true, version).await;
        assert_eq!(running.ground.version, *version);
    }
    running
}

#[tokio::test]
async fn a_system_goes_back_to_an_older_one_by_a_permit_once_and_forward_again() {
    for slots in [2, 3] {
        let world = World::with_slots(slots).await;
        let running = brought(&world, &["3.0.0"]).await;
        let older = world.bundle("2.0.0", 30);
        let refused = running.updates.begin(&older.manifest, &older.signatures);
        assert!(refused.unwrap_err().to_string().contains("needs a permit"));
        let permit = world.permit(&older, 10);
        running.go_back(&older, &permit).await;
        assert!(!running.rests(true).await, "{:?}", running.last());
        drop(running);
        let running = world.settled(true, "back").await;
        assert_eq!(running.last().state(), OperationState::Succeeded);
        assert_eq!((running.ground.version.as_str(), running.floor()), ("2.0.0", 2));
        drop(running);
        assert_eq!(world.start().await.version, "2.0.0", "{:?}", world.names());

        let running = brought(&world, &["3.0.0"]).await;
        let again = running
            .updates
            .begin_permitted(&older.manifest, &older.signatures, Some(&permit));
        assert!(again.unwrap_err().to_string().contains("used here before"));
        assert_eq!(running.floor(), 3);
    }
}

#[tokio::test]
async fn an_older_system_that_the_server_does_not_reach_is_given_up_for_the_newer_one_before() {
    for slots in [2, 3] {
        let world = World::with_slots(slots).await;
        let running = brought(&world, &["3.0.0"]).await;
        let older = world.bundle("2.0.0", 1);
        running.go_back(&older, &world.permit(&older, 10)).await;
        assert!(!running.rests(false).await);
        drop(running);
        let running = world.settled(false, "not reached").await;
        assert_eq!((running.ground.version.as_str(), running.floor()), ("3.0.0", 3));
        let error = running.last().error.unwrap();
        assert!(error.message.contains("did not reach system 2.0.0"), "{error:?}");
        drop(running);
        assert_eq!(world.start().await.version, "3.0.0", "{:?}", world.names());
        // The permit was not used up, and a version that is newer still comes in.
        let running = world.boot(world.start().await);
        running.go_back(&older, &world.permit(&older, 10)).await;
        assert!(!running.rests(true).await, "{:?}", running.last());
        drop(running);
        let running = world.settled(true, "second try").await;
        assert_eq!(running.ground.version, "2.0.0");
        drop(running);
        brought(&world, &["4.0.0"]).await;
    }
}

#[tokio::test]
async fn an_older_system_that_never_comes_up_leads_back_to_the_one_before_and_not_to_what_was_shipped() {
    let world = World::with_slots(3).await;
    let running = brought(&world, &["2.0.0", "4.0.0"]).await;
    let older = world.bundle("3.0.0", 30);
    running.go_back(&older, &world.permit(&older, 10)).await;
    assert!(!running.rests(true).await, "{:?}", running.last());
    drop(running);
    // It was written to the second slot: the third one runs.
    world.spoil(SECOND);
    let running = world.settled(true, "rotten").await;
    assert_eq!(running.ground.version, "4.0.0");
    assert!(running.last().error.unwrap().message.contains("did not come up"));
    let shipped = format!("satellite_{SHIPPED}.efi");
    assert_eq!(world.names(), [shipped, "satellite_4.0.0.efi".to_owned()]);
}

#[tokio::test]
async fn killed_anywhere_on_its_way_back_a_machine_starts_the_old_one_or_the_new_one_whole() {
    let mut news = 0;
    for point in WAY_BACK {
        let world = World::with_slots(3).await;
        let running = brought(&world, &["3.0.0"]).await;
        let ground = running.ground.clone();
        drop(running);
        world.bundle("2.0.0", 30).save(&world.root.join("bundle"));
        kill_child_at(point, "back", &world.root, &ground).await;
        let running = world.settled(true, point).await;
        let succeeded = running.last().state() == OperationState::Succeeded;
        news += usize::from(succeeded);
        let expected = if succeeded { ("2.0.0", 2) } else { ("3.0.0", 3) };
        assert_eq!(
            (running.ground.version.as_str(), running.floor()),
            expected,
            "{point}: {:?}",
            running.last()
        );
        drop(running);
        assert_eq!(
            world.start().await.version,
            expected.0,
            "{point}: {:?}",
            world.names()
        );
        brought(&world, &["4.0.0"]).await;
    }
    println!(
        "killed at {} points: the older system came up {news} times, the one before {}",
        WAY_BACK.len(),
        WAY_BACK.len() - news
    );
}

#[tokio::test]
async fn a_factory_reset_brings_back_the_system_that_the_machine_came_with_however_many_came_after() {
    for versions in [&["2.0.0"][..], &["2.0.0", "3.0.0", "4.0.0"], &[]] {
        let world = World::with_slots(3).await;
        drop(brought(&world, versions).await);
        world.erase();
        let running = world.at_home().await;
        assert_eq!(running.ground.version, SHIPPED, "{:?}", world.names());
        assert!(!world.is_unused());
        assert_eq!(running.floor(), 0);
        drop(running);
        assert_eq!(world.start().await.version, SHIPPED);
        // From there it goes on as it did when it was new.
        brought(&world, &["2.0.0", "3.0.0"]).await;
    }
}

#[tokio::test]
async fn a_factory_reset_of_an_older_machine_or_of_one_that_went_back_behind_what_it_came_with_ends_well() {
    // Two slots: what it came with may be overwritten, and what runs stays.
    let world = World::new().await;
    drop(brought(&world, &["2.0.0", "3.0.0"]).await);
    world.erase();
    assert_eq!(world.at_home().await.ground.version, "3.0.0");

    let world = World::with_slots(3).await;
    let running = world.boot(world.start().await);
    let older = world.bundle("0.9.0", 30);
    running.go_back(&older, &world.permit(&older, 10)).await;
    assert!(!running.rests(true).await, "{:?}", running.last());
    drop(running);
    assert_eq!(world.settled(true, "0.9.0").await.ground.version, "0.9.0");
    world.erase();
    assert_eq!(world.at_home().await.ground.version, SHIPPED);
}

#[tokio::test]
async fn a_shipped_system_that_does_not_come_up_after_a_reset_leaves_the_machine_with_the_one_that_does() {
    let world = World::with_slots(3).await;
    drop(brought(&world, &["2.0.0"]).await);
    world.spoil(FIRST);
    world.erase();
    let running = world.at_home().await;
    assert_eq!(running.ground.version, "2.0.0", "{:?}", world.names());
    assert!(!world.is_unused());
    drop(running);
    brought(&world, &["3.0.0"]).await;
}

#[tokio::test]
async fn killed_anywhere_after_a_factory_reset_a_machine_still_comes_to_the_system_that_it_came_with() {
    for point in shipped::FAIL_POINTS {
        let world = World::with_slots(3).await;
        let ground = brought(&world, &["2.0.0", "3.0.0"]).await.ground.clone();
        world.erase();
        kill_child_at(point, "home", &world.root, &ground).await;
        assert_eq!(world.at_home().await.ground.version, SHIPPED, "{point}");
    }
    println!(
        "killed at {} points: the shipped system came up each time",
        shipped::FAIL_POINTS.len()
    );
    let world = World::with_slots(3).await;
    let ground = brought(&world, &["2.0.0"]).await.ground.clone();
    assert_eq!(
        world.return_to_shipped(&ground).await,
        Next::Stay,
        "nobody asked for a reset"
    );
}
