//! Handshakes on loopback: who gets in, who does not, and what happens to those who are no longer trusted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use satellite_proto::identity::{Identity, Installation, Pin, Role};
use satellite_proto::tls::{
    Connection, Connections, DialError, Dialled, Expect, ServerTls, Trust, client_config, dial, incoming,
    is_expiry, is_refusal, is_wrong_peer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

const SOON: Duration = Duration::from_secs(5);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

struct Satellite {
    identity: Identity,
    tls: Arc<ServerTls>,
    connections: Connections,
    address: String,
    incoming: std::pin::Pin<Box<dyn Stream<Item = std::io::Result<Connection>> + Send>>,
}

async fn satellite(trust: &Trust) -> Satellite {
    listening(Identity::generate("s1").unwrap(), trust).await
}

async fn listening(identity: Identity, trust: &Trust) -> Satellite {
    let tls = ServerTls::new(&identity, trust).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Connections::default();
    let incoming = Box::pin(incoming(listener, tls.clone(), connections.clone()));
    Satellite {
        identity,
        tls,
        connections,
        address,
        incoming,
    }
}

fn trust(installation: &Installation, revoked: &[Pin]) -> Trust {
    Trust::Installation {
        certificate: installation.certificate().clone(),
        revoked: BTreeSet::from_iter(revoked.iter().copied()),
        floor: SystemTime::UNIX_EPOCH,
    }
}

impl Satellite {
    async fn dial(&self, identity: &Identity) -> Result<Dialled, DialError> {
        let config = client_config(identity, Expect::Pin(self.identity.pin())).unwrap();
        dial(&self.address, config, SOON).await
    }

    /// The connection as the satellite sees it; an error if it refuses `identity`, which shows at the first read.
    async fn meet(&mut self, identity: &Identity) -> Result<(Dialled, Connection), std::io::Error> {
        let mut dialled = self.dial(identity).await.unwrap();
        tokio::select! {
            connection = self.incoming.next() => Ok((dialled, connection.unwrap()?)),
            read = dialled.stream.read_u8() => Err(read.unwrap_err()),
        }
    }
}

#[tokio::test]
async fn a_leaf_of_the_installation_gets_in_with_its_role() {
    let installation = Installation::generate().unwrap();
    let mut satellite = satellite(&trust(&installation, &[])).await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let leaf = installation.issue(role, "r1", YEAR).unwrap();
        let (dialled, connection) = satellite.meet(&leaf).await.unwrap();
        let peer = connection.connect_info();
        assert_eq!((peer.role, peer.pin), (Some(role), leaf.pin()));
        assert_eq!(dialled.peer, satellite.identity.pin());
        assert_eq!(dialled.exporter, peer.exporter);
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let (installation, other) = (
        Installation::generate().unwrap(),
        Installation::generate().unwrap(),
    );
    let revoked = installation.issue(Role::Admin, "old", YEAR).unwrap();
    let past = SystemTime::now() - Duration::from_secs(3600);
    let strangers = [
        Identity::generate("admin").unwrap(),
        other.issue(Role::Admin, "r1", YEAR).unwrap(),
        installation
            .issue_between(Role::Admin, "late", past - YEAR..past)
            .unwrap(),
        Identity::from_pem(&revoked.key_pem(), &revoked.chain_pem()).unwrap(),
    ];
    let mut satellite = satellite(&trust(&installation, &[revoked.pin()])).await;
    for stranger in strangers {
        let error = satellite.meet(&stranger).await.map(drop).unwrap_err();
        assert!(is_refusal(&error), "{error:?}");
    }
    assert_eq!(satellite.connections.count(), 0);
}

#[tokio::test]
async fn a_connection_ends_when_the_leaf_it_was_made_with_runs_out() {
    let installation = Installation::generate().unwrap();
    let mut satellite = satellite(&trust(&installation, &[])).await;
    let short = installation
        .issue(Role::Admin, "r1", Duration::from_secs(3))
        .unwrap();
    let (_dialled, mut connection) = satellite.meet(&short).await.unwrap();
    let ended = tokio::time::timeout(SOON, connection.read_u8()).await;
    let error = ended.expect("the connection to be cut").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted, "{error}");
}

#[tokio::test]
async fn one_who_opens_connections_and_says_nothing_does_not_keep_others_out() {
    let installation = Installation::generate().unwrap();
    let mut satellite = satellite(&trust(&installation, &[])).await;
    let address = satellite.address.parse().unwrap();
    let mut silent = Vec::new();
    for _ in 0..520 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(address).await.unwrap());
    }
    let leaf = installation.issue(Role::Admin, "r1", YEAR).unwrap();
    satellite.meet(&leaf).await.unwrap();
}

#[tokio::test]
async fn anyone_gets_in_without_a_role_while_a_window_is_open_and_no_one_before() {
    let mut satellite = satellite(&Trust::Nobody).await;
    let stranger = Installation::generate()
        .unwrap()
        .issue(Role::Admin, "r1", YEAR)
        .unwrap();
    assert!(is_refusal(
        &satellite.meet(&stranger).await.map(drop).unwrap_err()
    ));
    satellite.tls.reload(&satellite.identity, &Trust::Anyone).unwrap();
    let (_dialled, connection) = satellite.meet(&stranger).await.unwrap();
    assert_eq!(connection.connect_info().role, None);
    assert_eq!(connection.connect_info().chain.len(), 2);
}

#[tokio::test]
async fn a_satellite_with_another_key_is_not_believed() {
    let satellite = satellite(&Trust::Anyone).await;
    let config = client_config(
        &Identity::generate("m").unwrap(),
        Expect::Pin(Pin::of_spki(b"other")),
    )
    .unwrap();
    let error = dial(&satellite.address, config, SOON).await.unwrap_err();
    assert!(is_wrong_peer(&error) && !is_refusal(&error), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_at_once_for_both() {
    let installation = Installation::generate().unwrap();
    let mut satellite = satellite(&trust(&installation, &[])).await;
    let (one, other) = (
        installation.issue(Role::Admin, "one", YEAR).unwrap(),
        installation.issue(Role::Admin, "two", YEAR).unwrap(),
    );
    let (mut kept, mut kept_here) = satellite.meet(&one).await.unwrap();
    let (mut lost, mut lost_here) = satellite.meet(&other).await.unwrap();
    let waiting = tokio::spawn(async move { lost_here.read_u8().await });
    tokio::task::yield_now().await;
    assert_eq!(satellite.connections.cut(|peer| peer.pin == other.pin()), 1);
    assert!(
        tokio::time::timeout(SOON, waiting)
            .await
            .unwrap()
            .unwrap()
            .is_err()
    );
    assert!(
        tokio::time::timeout(SOON, lost.stream.read_u8())
            .await
            .unwrap()
            .is_err()
    );
    kept.stream.write_u8(7).await.unwrap();
    kept.stream.flush().await.unwrap();
    assert_eq!(kept_here.read_u8().await.unwrap(), 7);
    assert_eq!(satellite.connections.count(), 1);
}

#[tokio::test]
async fn a_clock_before_the_floor_does_not_lock_a_leaf_out_and_one_at_the_floor_judges_it() {
    let installation = Installation::generate().unwrap();
    let in_two_years = SystemTime::now() + 2 * YEAR;
    let floor = Trust::Installation {
        certificate: installation.certificate().clone(),
        revoked: BTreeSet::new(),
        floor: in_two_years,
    };
    let mut satellite = satellite(&floor).await;
    let short = installation.issue(Role::Admin, "r1", YEAR).unwrap();
    assert!(is_refusal(&satellite.meet(&short).await.map(drop).unwrap_err()));
    let long = installation.issue(Role::Admin, "r1", 3 * YEAR).unwrap();
    assert!(satellite.meet(&long).await.is_ok());
}

/// Leaves of a time that has not come by the clock here. To a satellite whose clock is behind, each leaf of its server is one.
fn not_yet() -> [Range<SystemTime>; 2] {
    let now = SystemTime::now();
    [2 * YEAR, 500 * YEAR].map(|ahead| now + ahead..now + ahead + YEAR)
}

#[tokio::test]
async fn a_clock_that_is_behind_refuses_no_leaf_of_the_installation_and_makes_it_no_stronger() {
    let installation = Installation::generate().unwrap();
    for validity in not_yet() {
        let mut satellite = satellite(&trust(&installation, &[])).await;
        for role in [Role::Viewer, Role::Admin] {
            let leaf = installation.issue_between(role, "r1", validity.clone()).unwrap();
            let (_dialled, connection) = satellite.meet(&leaf).await.unwrap();
            assert_eq!(connection.connect_info().role, Some(role));
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_lets_no_stranger_in() {
    let (installation, other) = (
        Installation::generate().unwrap(),
        Installation::generate().unwrap(),
    );
    for validity in not_yet() {
        let issue = |by: &Installation, validity| by.issue_between(Role::Admin, "r1", validity).unwrap();
        let revoked = issue(&installation, validity.clone());
        // Says it is of the installation, and is not.
        let signed_by_another = issue(&other, validity.clone());
        let end = "-----END CERTIFICATE-----\n";
        let chain = signed_by_another.chain_pem();
        let (leaf, _) = chain.split_once(end).unwrap();
        let chain = format!("{leaf}{end}{}", installation.certificate_pem());
        let in_disguise = Identity::from_pem(&signed_by_another.key_pem(), &chain).unwrap();
        let inside_out = issue(&installation, validity.end..validity.start);
        let mut satellite = satellite(&trust(&installation, &[revoked.pin()])).await;
        for stranger in [signed_by_another, in_disguise, inside_out, revoked] {
            let error = satellite.meet(&stranger).await.map(drop).unwrap_err();
            assert!(is_refusal(&error), "{error:?}");
        }
        assert_eq!(satellite.connections.count(), 0);
    }
}

#[tokio::test]
async fn one_whose_leaf_has_run_out_by_the_other_sides_clock_is_told_so() {
    let installation = Installation::generate().unwrap();
    let mut satellite = satellite(&trust(&installation, &[])).await;
    let now = SystemTime::now();
    let late = now - 2 * YEAR..now - YEAR;
    let late = installation.issue_between(Role::Admin, "r1", late).unwrap();
    let error = satellite.meet(&late).await.map(drop).unwrap_err();
    assert!(is_expiry(&error) && is_refusal(&error), "{error:?}");
    let stranger = Identity::generate("admin").unwrap();
    let error = satellite.meet(&stranger).await.map(drop).unwrap_err();
    assert!(!is_expiry(&error) && is_refusal(&error), "{error:?}");
}

#[tokio::test]
async fn a_server_is_believed_by_a_clock_that_is_behind_and_only_if_the_installation_says_so() {
    let (installation, other) = (
        Installation::generate().unwrap(),
        Installation::generate().unwrap(),
    );
    let expect = |pin, floor| Expect::Installation { pin, floor };
    let dialled = async |leaf: Identity, expected| {
        let mut server = listening(leaf, &Trust::Anyone).await;
        let config = client_config(&Identity::generate("s1").unwrap(), expected).unwrap();
        let address = server.address.clone();
        let accepting = tokio::spawn(async move { server.incoming.next().await.is_some() });
        let dialled = dial(&address, config, SOON).await;
        accepting.abort();
        dialled.map(drop)
    };
    let now = SystemTime::now();
    for validity in not_yet() {
        let leaf = installation
            .issue_between(Role::Admin, "r1", validity.clone())
            .unwrap();
        dialled(leaf, expect(installation.pin(), now)).await.unwrap();
        let viewer = installation.issue_between(Role::Viewer, "r1", validity.clone());
        let strange = other.issue_between(Role::Admin, "r1", validity);
        for leaf in [viewer, strange] {
            let refused = dialled(leaf.unwrap(), expect(installation.pin(), now)).await;
            assert!(is_wrong_peer(&refused.unwrap_err()));
        }
    }
    // What ended before a moment that has passed for sure is over, however far behind the clock is.
    let over = installation.issue(Role::Admin, "r1", YEAR).unwrap();
    let refused = dialled(over, expect(installation.pin(), now + 2 * YEAR)).await;
    assert!(is_wrong_peer(&refused.unwrap_err()));
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_the_protocol_is_1_3() {
    let mut satellite = satellite(&Trust::Anyone).await;
    let (dialled, _connection) = satellite.meet(&Identity::generate("m").unwrap()).await.unwrap();
    let (_, session) = dialled.stream.get_ref();
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}
