//! Every method against every kind of caller. What is expected comes from the table and from the descriptors, so that
//! a new method without a row fails here.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message;
use prost_types::FileDescriptorSet;
use rustls::{ClientConfig, SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use satellite_bridge::access::{Least, TABLE};
use satellite_proto::{
    identity::{Identity, Role},
    tls::{Dialled, Expect, channel_over, client_config, dial},
    wire::DESCRIPTORS,
};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::lab::{DEADLINE, Lab, Manager, dialled, is_below};

fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let files = set
        .file
        .iter()
        .filter(|file| ["satellite.bridge.v1", "satellite.backup.v1"].contains(&file.package()));
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            let name = format!("/{}.{}", file.package(), service.name());
            methods.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("{name}/{}", method.name())),
            );
        }
    }
    assert!(methods.len() > 30, "the descriptors are not there");
    methods
}

/// Calls `method` with an empty message; the status with which the call ends or, if it goes on, OK.
async fn call(channel: Channel, method: &str) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    let called = async {
        client
            .ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let path = method.parse().unwrap();
        let codec = ProstCodec::<(), ()>::default();
        let mut answers = client
            .server_streaming(Request::new(()), path, codec)
            .await?
            .into_inner();
        answers.message().await.map(drop)
    };
    tokio::time::timeout(DEADLINE, called).await.unwrap_or(Ok(()))
}

fn least(method: &str) -> Least {
    let row = TABLE.iter().find(|row| row.method == method);
    row.unwrap_or_else(|| panic!("{method} has no row in the access table"))
        .least
}

#[tokio::test]
async fn whoever_is_not_a_member_is_refused_at_every_method() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let revoked = manager.leaf(Role::Admin);
    lab.daemon.pairing.revoke(revoked.pin(), None).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let yesterday = SystemTime::now() - day;
    let expired = manager
        .installation
        .issue_between(Role::Admin, "replica", yesterday - day..yesterday)
        .unwrap();
    let callers = [
        (
            "a self-made certificate",
            Some(Identity::generate("stranger").unwrap()),
        ),
        ("another installation's leaf", Some(Manager::new().admin)),
        ("an expired leaf", Some(expired)),
        ("a revoked leaf", Some(revoked)),
        ("no certificate", None),
    ];
    for (who, identity) in &callers {
        for method in methods() {
            let connection = match identity {
                Some(identity) => dialled(lab.address(), identity, Expect::Anyone).await,
                None => without_certificate(&lab).await,
            };
            let Ok(connection) = connection else { continue };
            let Ok(channel) = channel_over(connection).await else {
                continue;
            };
            let error = call(channel, &method)
                .await
                .expect_err(&format!("{who} called {method}"));
            assert!(
                is_below(&error),
                "{who} got as far as an answer from {method}: {error:?}"
            );
        }
    }
    assert_eq!(
        lab.daemon.connections.count(),
        0,
        "a connection of someone who is no member lives"
    );
    lab.see(&manager.admin).await.unwrap();
}

#[tokio::test]
async fn a_stranger_in_an_open_window_reaches_nothing_but_pairing() {
    let lab = Lab::start().await;
    lab.code();
    for method in methods() {
        let stranger = Manager::new().admin;
        let connection = dialled(lab.address(), &stranger, Expect::Anyone).await.unwrap();
        let code = call(channel_over(connection).await.unwrap(), &method)
            .await
            .unwrap_err()
            .code();
        let expected = match least(&method) {
            Least::Anyone => Code::Unimplemented, // An empty request asks for protocol version 0.
            Least::Member(_) => Code::Unauthenticated,
            Least::Console => Code::PermissionDenied,
        };
        assert_eq!(code, expected, "{method}");
    }
}

#[tokio::test]
async fn each_role_gets_as_far_as_the_table_says() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let channel = lab.connect(&manager.leaf(role)).await.unwrap();
        for method in methods() {
            let code = call(channel.clone(), &method)
                .await
                .map_or_else(|status| status.code(), |()| Code::Ok);
            match least(&method) {
                Least::Anyone => assert_eq!(code, Code::FailedPrecondition, "{role} {method}"),
                Least::Member(needs) if role >= needs => {
                    let refused = [Code::PermissionDenied, Code::Unauthenticated].contains(&code);
                    assert!(!refused, "{role} was refused {method}: {code:?}");
                }
                Least::Member(_) | Least::Console => {
                    assert_eq!(code, Code::PermissionDenied, "{role} {method}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_nobody_knows_is_refused() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let channel = lab.connect(&manager.admin).await.unwrap();
    for method in [
        "/satellite.bridge.v1.SatelliteService/Nothing",
        "/grpc.health.v1.Health/Check",
        "/x",
    ] {
        let code = call(channel.clone(), method).await.unwrap_err().code();
        assert_eq!(code, Code::PermissionDenied, "{method}");
    }
}

/// A handshake without a certificate of ours.
async fn without_certificate(lab: &Lab) -> Result<Dialled, Status> {
    let config = client_config(&Manager::new().admin, Expect::Anyone).unwrap();
    let mut config = ClientConfig::clone(&config);
    config.client_auth_cert_resolver = Arc::new(Nothing);
    let dialled = dial(&lab.address().to_string(), Arc::new(config), DEADLINE).await;
    dialled.map_err(|error| Status::unavailable(error.to_string()))
}

/// Has no certificate to show.
#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
