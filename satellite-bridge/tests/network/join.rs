//! Joining by a token: the satellite's side, against servers honest and not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use satellite_bridge::{
    join::{self, Ended, JoinError},
    menu::client::Console,
    pairing::Stage,
};
use satellite_proto::{
    identity::{Identity, Pin, Role},
    join::{PROTOCOL_VERSION, Token},
    pairing::Transcript,
    pushback,
    tls::{Connections, Peer, ServerTls, Trust, incoming},
    wire::{
        bridge::v1::{GetConsoleResponse, JoinState, PairingState},
        join::v1::{
            JoinRefusal, JoinRequest, JoinResponse,
            join_service_server::{JoinService, JoinServiceServer},
        },
    },
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::Server};

use crate::lab::{DEADLINE, Lab, Manager};

/// A server that receives satellites with tokens.
#[derive(Clone)]
struct Desk {
    leaf: Pin,
    installation: Pin,
    token: Arc<Mutex<Option<Token>>>,
    refusal: JoinRefusal,
    /// So many calls are sent away for so long.
    sends_away: Arc<Mutex<(u32, Duration)>>,
    calls: Arc<Mutex<Vec<(Peer, JoinRequest)>>>,
    times: Arc<Mutex<Vec<Instant>>>,
}

#[tonic::async_trait]
impl JoinService for Desk {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        self.times.lock().unwrap().push(Instant::now());
        {
            let mut sends_away = self.sends_away.lock().unwrap();
            if sends_away.0 > 0 {
                sends_away.0 -= 1;
                let status = Status::resource_exhausted("too many calls");
                return Err(pushback::come_after(status, sends_away.1));
            }
        }
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        let request = request.into_inner();
        let transcript = Transcript {
            version: PROTOCOL_VERSION,
            exporter: peer.exporter,
            manager: self.leaf,
            satellite: peer.pin,
            installation: self.installation,
        };
        let verifier = self.token.lock().unwrap().as_ref().unwrap().verifier();
        assert!(verifier.verify_satellite(&transcript, &request.satellite_proof));
        self.calls.lock().unwrap().push((peer, request));
        Ok(Response::new(JoinResponse {
            refusal: self.refusal.into(),
            server_proof: verifier.server_proof(&transcript).to_vec().into(),
            server_name: "server two".to_owned(),
        }))
    }
}

/// Offers `identity` on `listener`.
fn serve(listener: TcpListener, identity: &Identity, installation: Pin, refusal: JoinRefusal) -> Desk {
    let desk = Desk {
        leaf: identity.pin(),
        installation,
        token: Arc::default(),
        refusal,
        sends_away: Arc::default(),
        calls: Arc::default(),
        times: Arc::default(),
    };
    let tls = ServerTls::new(identity, &Trust::Anyone).unwrap();
    let calls = incoming(listener, tls, Connections::default());
    let server = Server::builder().add_service(JoinServiceServer::new(desk.clone()));
    tokio::spawn(server.serve_with_incoming(calls));
    desk
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn token(address: SocketAddr, installation: Pin, seconds: i64) -> Token {
    let expires = jiff::Timestamp::now().as_second() + seconds;
    Token::generate(
        &address.to_string(),
        installation,
        u32::try_from(expires).unwrap(),
    )
    .unwrap()
}

async fn console(lab: &Lab) -> GetConsoleResponse {
    let mut console = Console::connect(&lab.config.console_socket()).await.unwrap();
    console.status().await.unwrap()
}

/// Waits until joining stands like this.
async fn stands(lab: &Lab, state: JoinState) -> GetConsoleResponse {
    let waited = async {
        loop {
            let status = console(lab).await;
            if status.join.as_ref().is_some_and(|join| join.state() == state) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waited).await;
    waited.unwrap_or_else(|_| panic!("it does not come to {state:?}"))
}

/// The desk of `manager`'s server, and a token for it that holds for ten minutes.
async fn desk_of(manager: &Manager, refusal: JoinRefusal) -> (Desk, Token) {
    let (listener, address) = listener().await;
    let pin = manager.installation.pin();
    let desk = serve(listener, &manager.admin, pin, refusal);
    let token = token(address, pin, 600);
    *desk.token.lock().unwrap() = Some(token.clone());
    (desk, token)
}

#[tokio::test]
async fn a_satellite_that_is_sent_away_comes_again_when_the_server_said_and_not_before() {
    let lab = Lab::start().await;
    let manager = Manager::new();
    let (desk, token) = desk_of(&manager, JoinRefusal::Unspecified).await;
    let wait = Duration::from_millis(2500);
    *desk.sends_away.lock().unwrap() = (1, wait);
    join::start(&lab.config, &token.to_string()).await.unwrap();
    crate::lab::until("the candidate", || lab.daemon.pairing.stage() == Stage::Candidate).await;
    let times = desk.times.lock().unwrap().clone();
    // By itself it would have come again within a second.
    assert!(times[1] - times[0] >= wait, "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn a_satellite_joins_the_server_that_its_token_names() {
    let lab = Lab::start().await;
    let manager = Manager::new();
    let (desk, token) = desk_of(&manager, JoinRefusal::Unspecified).await;
    join::start(&lab.config, &token.to_string()).await.unwrap();
    crate::lab::until("the candidate", || lab.daemon.pairing.stage() == Stage::Candidate).await;
    let record = lab.config.state_dir.join("join.json");
    assert!(std::fs::read_to_string(&record).unwrap().contains("SJ1-"));

    let calls = desk.calls.lock().unwrap().clone();
    let [(peer, request)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(peer.pin, lab.daemon.pairing.pin());
    assert_eq!(request.port, u32::from(lab.address().port()));
    let secret = token.to_string();
    assert!(!format!("{request:?}").contains(&secret[4..20]));

    lab.see(&manager.admin).await.unwrap();
    let status = stands(&lab, JoinState::Joined).await;
    assert_eq!(status.pairing(), PairingState::Paired);
    assert_eq!(status.server_name, "server two");
    let kept = std::fs::read_to_string(&record).unwrap();
    assert!(!kept.contains("SJ1"), "the token is still on the disk: {kept}");

    // Let go of, it does not come back by itself, also not after a restart.
    assert!(matches!(
        join::start(&lab.config, &secret).await,
        Err(JoinError::Daemon(_))
    ));
    satellite_bridge::reset::disconnect(&lab.config).await.unwrap();
    let lab = lab.restarted(0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired);
    assert_eq!(desk.calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_is_not_the_server_of_the_token_hears_nothing() {
    let (real, other) = (Manager::new(), Manager::new());
    // A stranger's installation; a stranger's leaf with the true installation's certificate behind it; a leaf of the
    // true one that is no administrator's.
    let operator = real.leaf(Role::Operator);
    let stranger = Identity::generate("middle").unwrap();
    let forged = Identity::from_pem(
        &stranger.key_pem(),
        &format!("{}{}", stranger.chain_pem(), real.installation.certificate_pem()),
    )
    .unwrap();
    for (what, identity) in [
        ("other", &other.admin),
        ("forged", &forged),
        ("operator", &operator),
    ] {
        let lab = Lab::start().await;
        let (listener, address) = listener().await;
        let desk = serve(
            listener,
            identity,
            real.installation.pin(),
            JoinRefusal::Unspecified,
        );
        let token = token(address, real.installation.pin(), 600);
        *desk.token.lock().unwrap() = Some(token.clone());
        join::start(&lab.config, &token.to_string()).await.unwrap();
        let told = async {
            loop {
                let problem = console(&lab).await.join.unwrap().problem;
                if !problem.is_empty() {
                    return problem;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let problem = tokio::time::timeout(DEADLINE, told).await.unwrap();
        assert!(problem.contains("is not the server"), "{what}: {problem}");
        assert!(desk.calls.lock().unwrap().is_empty(), "{what} heard something");
        assert_eq!(lab.daemon.pairing.stage(), Stage::Unpaired, "{what}");
    }
}

#[tokio::test]
async fn a_refused_token_is_told_at_the_console_and_not_tried_again() {
    for (refusal, state) in [
        (JoinRefusal::Used, JoinState::Used),
        (JoinRefusal::Expired, JoinState::Expired),
        (JoinRefusal::Revoked, JoinState::Revoked),
        (JoinRefusal::Unknown, JoinState::Unknown),
    ] {
        let lab = Lab::start().await;
        let manager = Manager::new();
        let (desk, token) = desk_of(&manager, refusal).await;
        join::start(&lab.config, &token.to_string()).await.unwrap();
        let status = stands(&lab, state).await;
        assert!(status.last_error.contains("join token"), "{}", status.last_error);
        let lab = lab.restarted(0).await;
        let status = stands(&lab, state).await;
        assert!(!status.last_error.is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(desk.calls.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_token_is_tried_until_the_server_is_there_also_over_a_restart() {
    let lab = Lab::start().await;
    let manager = Manager::new();
    let (taken, address) = listener().await;
    drop(taken);
    let token = token(address, manager.installation.pin(), 600);
    join::start(&lab.config, &token.to_string().to_lowercase())
        .await
        .unwrap();
    stands(&lab, JoinState::Trying).await;
    let lab = lab.restarted(0).await;
    stands(&lab, JoinState::Trying).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let desk = serve(
        listener,
        &manager.admin,
        manager.installation.pin(),
        JoinRefusal::Unspecified,
    );
    *desk.token.lock().unwrap() = Some(token);
    crate::lab::until("the candidate", || lab.daemon.pairing.stage() == Stage::Candidate).await;
    // The server does not call: the candidate is dropped in time, and the token tried again.
    lab.clock.advance(601);
    crate::lab::until("another call", || {
        // Whoever looks finds that it has run out; a clock that jumps wakes nobody.
        let _ = lab.daemon.pairing.stage();
        desk.calls.lock().unwrap().len() > 1
    })
    .await;
    lab.see(&manager.admin).await.unwrap();
    stands(&lab, JoinState::Joined).await;
}

#[tokio::test]
async fn a_token_that_has_run_out_ends_when_its_server_does_not_answer() {
    let lab = Lab::start().await;
    let (taken, address) = listener().await;
    drop(taken);
    let token = token(address, Manager::new().installation.pin(), -5);
    join::start(&lab.config, &token.to_string()).await.unwrap();
    let status = stands(&lab, JoinState::Expired).await;
    assert!(status.last_error.contains("expired"), "{}", status.last_error);
    assert_eq!(Ended::Expired.to_string(), status.last_error);
}

#[tokio::test]
async fn what_is_no_token_is_refused_at_once_without_repeating_it() {
    let lab = Lab::start().await;
    let refused = join::start(&lab.config, "SJ1-NONSENSE").await.unwrap_err();
    assert!(matches!(refused, JoinError::Token(_)), "{refused}");
    assert!(!format!("{refused}").contains("NONSENSE"));
    let manager = lab.paired().await;
    let (_listener, address) = listener().await;
    let token = token(address, manager.installation.pin(), 60);
    let refused = join::start(&lab.config, &token.to_string()).await.unwrap_err();
    assert!(matches!(refused, JoinError::Daemon(_)), "{refused}");
}
