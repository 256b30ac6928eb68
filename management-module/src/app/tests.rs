//! Use cases against a satellite over real TLS: paired, commissioned, and what goes wrong on the way.

mod join;
mod satellite;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::bundle::{KeyPair, Recipe, SecretKey, build};
use satellite_proto::identity::Identity;
use satellite_proto::pairing::Code;
use satellite_proto::tls::{Connections, ServerTls, Trust, incoming};
use satellite_proto::wire::bridge::v1 as pb;
use satellite_proto::wire::bridge::v1::firewall_service_server::FirewallServiceServer;
use satellite_proto::wire::bridge::v1::operation_service_server::OperationServiceServer;
use satellite_proto::wire::bridge::v1::pairing_service_server::PairingServiceServer;
use satellite_proto::wire::bridge::v1::satellite_service_server::SatelliteServiceServer;
use satellite_proto::wire::bridge::v1::update_service_server::UpdateServiceServer;
use satellite_proto::wire::bridge::v1::workload_service_server::WorkloadServiceServer;
use tokio::sync::mpsc;
use tonic::Code as Kind;

use self::satellite::Fake;
use super::reconcile::Pass;
use super::satellites::{FleetMember, Pairing};
use super::{Actor, App, AppError, Audit, Jobs, Reconciler, bundles, firewall, peers, satellites};
use crate::config::Config;
use crate::fleet::Fleet;
use crate::names::{Address, SatelliteName};
use crate::store::Outcome;
use crate::store::tests::fresh;
use crate::{files, installation};

const RECIPE: &str = r#"
workload = "w"
version = "1.0.0"
channel = "stable"
release = 1
architecture = "x86_64"
least_bridge = "0.1.0"
[unit]
exec = "bin/w"
[health]
start_seconds = 30
settle_seconds = 3
"#;

/// A module and a satellite that waits to be paired.
struct World {
    dir: tempfile::TempDir,
    app: App,
    fake: Fake,
    address: Address,
    code: Code,
}

impl World {
    async fn new() -> Self {
        let (dir, store) = fresh().await;
        let identity = Identity::generate("annex").unwrap();
        let tls = ServerTls::new(&identity, &Trust::Anyone).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (fake, code) = (Fake::default(), Code::generate().unwrap());
        fake.state().pin = Some(identity.pin());
        fake.state().code = Some(code.to_string().parse().unwrap());
        fake.state().ruleset.default_in = pb::Action::Drop.into();
        fake.state().ruleset.default_out = pb::Action::Accept.into();
        let server = tonic::transport::Server::builder()
            .add_service(PairingServiceServer::new(fake.clone()))
            .add_service(SatelliteServiceServer::new(fake.clone()))
            .add_service(FirewallServiceServer::new(fake.clone()))
            .add_service(UpdateServiceServer::new(fake.clone()))
            .add_service(WorkloadServiceServer::new(fake.clone()))
            .add_service(OperationServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(incoming(listener, tls, Connections::default())));

        let installation = installation::load_or_make(&dir.path().join("installation")).unwrap();
        let (fleet, mut reported) = Fleet::new(installation::issue_leaf(&installation, "pbx").unwrap());
        tokio::spawn(async move { while reported.recv().await.is_some() {} });
        let config = Config {
            state_dir: dir.path().to_owned(),
            trust_anchors: dir.path().join("trust.toml"),
            ..Config::default()
        };
        files::make_directory(&config.bundles(), 0o700).unwrap();
        let app = App {
            config: Arc::new(config),
            disks: satellite_host::disks::Disks::new(
                dir.path().join("disks"),
                satellite_host::disks::Way::Direct,
            ),
            jobs: Jobs::open(store.clone()).await.unwrap(),
            audit: Audit::new(store.clone()),
            rollouts: super::rollout::Bell::default(),
            desk: super::join::Desk::default(),
            runs: super::runs::Desk::default(),
            page: crate::app::page::Page::default(),
            reconciler: Reconciler::new(1),
            store,
            fleet,
            installation: Arc::new(installation),
            started_at: Timestamp::now(),
        };
        Self {
            dir,
            app,
            fake,
            address,
            code,
        }
    }

    async fn pair_with(&self, code: &Code) -> Result<FleetMember, AppError> {
        let wish = Pairing {
            address: self.address.clone(),
            code: code.to_string().parse().unwrap(),
            name: None,
            workloads: vec!["w".parse().unwrap()],
            bare: self.app.store.bundles().await.unwrap().is_empty(),
        };
        satellites::pair(&self.app, wish).await
    }

    /// The bytes of a bundle of several chunks, signed by a key that is trusted from now on.
    fn bundle(&self) -> Vec<u8> {
        let keys = KeyPair::generate(None).unwrap();
        let trust = format!("threshold = 1\nkeys = [{:?}]\n", keys.public_key);
        files::write_atomic(&self.app.config.trust_anchors, trust.as_bytes(), 0o644).unwrap();
        let payload = self.dir.path().join("payload/bin");
        files::make_directory(&payload, 0o755).unwrap();
        let mut seed = 1_u64;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        });
        files::write_atomic(
            &payload.join("w"),
            &noise.take(1 << 20).collect::<Vec<_>>(),
            0o755,
        )
        .unwrap();
        let signer = SecretKey::from_file_text(&keys.secret_file, None).unwrap();
        let mut file = Vec::new();
        let recipe = Recipe::from_toml(RECIPE).unwrap();
        build(&recipe, &self.dir.path().join("payload"), &[signer], &mut file).unwrap();
        file
    }

    async fn add(&self, bundle: &[u8]) -> bundles::Added {
        let (sender, pieces) = mpsc::channel(1);
        sender.send(Ok(bundle.to_vec().into())).await.unwrap();
        drop(sender);
        bundles::add(&self.app, pieces, false).await.unwrap()
    }

    /// Wakes the reconciler and waits until a pass that read everything has ended.
    async fn pass(&self) -> Pass {
        let (number, mut pass) = self.app.reconciler.wake(&annex()).unwrap();
        let over = pass.wait_for(|pass| pass.covers >= number && pass.ended);
        let over = tokio::time::timeout(Duration::from_secs(30), over).await;
        over.expect("the pass does not end").unwrap().clone()
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.state().done)
    }
}

fn annex() -> SatelliteName {
    "annex".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_while_pairing_is_told_and_stores_nothing() {
    let world = World::new().await;
    let wrong = world.pair_with(&Code::generate().unwrap()).await.unwrap_err();
    assert_eq!(wrong.code(), Kind::PermissionDenied);
    assert!(
        wrong.to_string().contains("the code is wrong: 4 tries are left"),
        "{wrong}"
    );

    world.fake.state().lies = true;
    let listened = world.pair_with(&world.code).await.unwrap_err();
    assert_eq!(listened.code(), Kind::PermissionDenied);
    assert!(
        listened
            .to_string()
            .contains("could not prove that it knows the code"),
        "{listened}"
    );

    let code = world.fake.state().code.take();
    let closed = world.pair_with(&world.code).await.unwrap_err();
    assert_eq!(closed.code(), Kind::FailedPrecondition);
    assert!(closed.to_string().contains("Open a pairing window"), "{closed}");
    assert_eq!(world.app.store.satellites().await.unwrap(), []);

    world.fake.state().code = code;
    world.fake.state().lies = false;
    assert_eq!(world.pair_with(&world.code).await.unwrap().row.name, annex());
    let twice = world.pair_with(&world.code).await.unwrap_err();
    assert_eq!(twice.code(), Kind::AlreadyExists);
    assert!(satellites::forget(&world.app, &annex()).await.unwrap());
    assert_eq!(world.app.store.satellites().await.unwrap(), []);
    assert_eq!(world.done().last().unwrap(), "unpair");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_satellite_is_commissioned_and_a_second_pass_does_nothing() {
    let world = World::new().await;
    let bundle = world.bundle();
    assert!(!world.add(&bundle).await.known);
    world.pair_with(&world.code).await.unwrap();
    assert!(world.pass().await.converged);
    let done = world.done();
    assert!(done[0].starts_with("begin: "), "{done:?}");
    assert_eq!(done[1..], ["install", "start"]);
    assert!(world.pass().await.converged);
    assert_eq!(world.done(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_as_people_write_them_are_set_once() {
    let world = World::new().await;
    world.pair_with(&world.code).await.unwrap();
    assert!(world.pass().await.converged);
    let rule = pb::Rule {
        name: "lan".into(),
        remotes: vec!["192.0.2.7".into(), "10.1.2.3/8".into()],
        ..Default::default()
    };
    let (unset, name) = (0, annex());
    firewall::set(&world.app, &name, vec![rule], unset, unset)
        .await
        .unwrap();
    assert_eq!(world.done(), ["firewall", "confirm"]);
    assert!(world.pass().await.converged);
    assert_eq!(world.done(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_goes_on_with_the_missing_chunks() {
    let world = World::new().await;
    let bundle = world.bundle();
    world.add(&bundle).await;
    world.fake.state().cut_after = Some(2);
    world.pair_with(&world.code).await.unwrap();
    assert!(world.pass().await.converged);
    let done = world.done();
    let missing: Vec<usize> = done
        .iter()
        .filter_map(|text| text.strip_prefix("begin: ")?.split_once(' ')?.0.parse().ok())
        .collect();
    let [first, second] = missing[..] else {
        panic!("{done:?}")
    };
    assert_eq!(first, second + 2, "{done:?}");
    let told = &world.app.store.history("annex", "w", 1).await.unwrap()[0];
    assert_eq!((told.bytes_sent, told.bytes_saved), (1 << 20, 0), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_failed_waits_for_a_person_and_a_full_disk_does_not() {
    let world = World::new().await;
    let bundle = world.bundle();
    world.add(&bundle).await;
    world.fake.state().install_fails = Some(Kind::FailedPrecondition);
    world.pair_with(&world.code).await.unwrap();
    let failure = world.pass().await.failure.unwrap();
    assert!(
        failure.message.contains("it went wrong") || failure.message.contains("failed here"),
        "{failure:?}"
    );
    let attempts = world.app.store.attempts(&annex()).await.unwrap();
    assert_eq!(attempts[0].outcome, Outcome::Failed);
    world.done();
    assert!(!world.pass().await.converged);
    assert_eq!(world.done(), Vec::<String>::new(), "it was tried again");

    world
        .app
        .store
        .forgive_attempts(&annex(), &"w".parse().unwrap())
        .await
        .unwrap();
    world.fake.state().install_fails = Some(Kind::ResourceExhausted);
    assert!(world.pass().await.failure.is_some());
    assert!(world.done().contains(&"install".to_owned()));
    world.fake.state().install_fails = None;
    assert!(world.pass().await.converged);
    assert!(world.done().contains(&"install".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_around_a_version_is_not_held_against_it() {
    for cause in [
        Kind::Aborted,
        Kind::Unavailable,
        Kind::Internal,
        Kind::DataLoss,
        Kind::PermissionDenied,
        Kind::Unauthenticated,
    ] {
        let world = World::new().await;
        let bundle = world.bundle();
        world.add(&bundle).await;
        world.fake.state().install_fails = Some(cause);
        world.pair_with(&world.code).await.unwrap();
        assert!(world.pass().await.failure.is_some());
        let attempts = world.app.store.attempts(&annex()).await.unwrap();
        assert_eq!(attempts[0].outcome, Outcome::Retry, "{cause:?}");
        world.fake.state().install_fails = None;
        assert!(world.pass().await.converged, "{cause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_damaged_here_is_not_held_against_its_version() {
    let world = World::new().await;
    let bundle = world.bundle();
    let added = world.add(&bundle).await;
    let place = bundles::path_of(&world.app.config, &added.bundle.manifest_digest);
    let mut spoilt = bundle.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    files::write_atomic(&place, &spoilt, 0o600).unwrap();
    world.pair_with(&world.code).await.unwrap();
    let failure = world.pass().await.failure.unwrap();
    assert!(failure.message.contains("read the bundle"), "{failure:?}");
    let attempts = world.app.store.attempts(&annex()).await.unwrap();
    assert_eq!(attempts[0].outcome, Outcome::Retry);
    files::write_atomic(&place, &bundle, 0o600).unwrap();
    assert!(world.pass().await.converged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_whose_file_was_lost_is_repaired_by_adding_it_again() {
    let world = World::new().await;
    let bundle = world.bundle();
    let added = world.add(&bundle).await;
    let place = bundles::path_of(&world.app.config, &added.bundle.manifest_digest);
    std::fs::remove_file(&place).unwrap();
    assert!(world.add(&bundle).await.known);
    assert_eq!(std::fs::read(&place).unwrap(), bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_refused_by_satellites_and_never_the_servers_own() {
    let world = World::new().await;
    world.pair_with(&world.code).await.unwrap();
    assert!(world.pass().await.converged);
    let (app, actor) = (&world.app, Actor::user(0));
    let own = app.fleet.identity().pin();
    let refused = peers::revoke(app, &actor, own, Vec::new()).await.unwrap_err();
    assert_eq!(refused.code(), Kind::FailedPrecondition);
    let lost = Identity::generate("replica").unwrap().pin();
    let unknown = peers::revoke(app, &actor, lost, vec!["other".parse().unwrap()]).await;
    assert_eq!(unknown.unwrap_err().code(), Kind::NotFound);
    assert_eq!(world.done(), Vec::<String>::new());
    let told = peers::revoke(app, &actor, lost, Vec::new()).await.unwrap();
    assert!(
        matches!(&told[..], [(name, Ok(2))] if *name == annex()),
        "{told:?}"
    );
    assert_eq!(world.done(), [format!("revoke {lost}")]);
    let rows = app.audit.newest(3).await.unwrap();
    let results: Vec<_> = rows
        .iter()
        .map(|row| (row.action.as_str(), row.result == "ok"))
        .collect();
    let action = "FleetService/RevokePeer";
    assert_eq!(results, [(action, true), (action, false), (action, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_damaged_on_the_satellite_is_repaired_when_it_is_started() {
    let world = World::new().await;
    let bundle = world.bundle();
    world.add(&bundle).await;
    world.pair_with(&world.code).await.unwrap();
    assert!(world.pass().await.converged);
    world.done();
    {
        let mut state = world.fake.state();
        state.damaged = true;
        state.chunks.clear();
        state.workloads[0].enabled = false;
        state.workloads[0].state = pb::WorkloadState::Stopped.into();
    }
    assert!(world.pass().await.converged);
    let done = world.done();
    assert_eq!(
        (done[0].as_str(), &done[2..]),
        ("start", &["install".to_owned(), "start".to_owned()][..]),
        "{done:?}"
    );
    assert!(done[1].starts_with("begin: "), "{done:?}");
}
