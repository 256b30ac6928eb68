//! Calls that are passed on to a workload's socket.

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use satellite_bridge::proxy::{Route, Routes};
use satellite_proto::{identity::Role, wire::ROLE_HEADER};
use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{Code, body::Body, client::Grpc, transport::Server};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::lab::Lab;

const METHOD: &str = "/satellite.backup.v1.ArchiveService/CreateArchive";

struct OneRoute(PathBuf);

impl Routes for OneRoute {
    fn route(&self, package: &str) -> Option<Route> {
        let (workload, socket) = ("backup-service".to_owned(), self.0.clone());
        (package == "satellite.backup.v1").then(|| Route {
            workload,
            socket,
            state: "stopped".to_owned(),
        })
    }
}

/// A workload that answers with the roles that it was told, sends the body back as it comes, and ends with trailers.
async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let roles = request.headers().get_all(ROLE_HEADER).iter();
    let roles: Vec<_> = roles.map(|value| value.to_str().unwrap().to_owned()).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-trailer", HeaderValue::from_static("arrived"));
    let frames = request
        .into_body()
        .into_data_stream()
        .map(|piece| piece.map(http_body::Frame::data));
    let end = tokio_stream::once(Ok(http_body::Frame::<Bytes>::trailers(trailers)));
    let mut answer = Response::new(Body::new(StreamBody::new(frames.chain(end))));
    answer
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
        .headers_mut()
        .insert("x-roles", HeaderValue::from_str(&roles.join(",")).unwrap());
    Ok(answer)
}

fn serve(socket: &PathBuf) -> tokio::task::JoinHandle<()> {
    let calls = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    tokio::spawn(async move {
        Server::builder()
            .serve_with_incoming(service_fn(echo), calls)
            .await
            .unwrap();
    })
}

#[tokio::test]
async fn a_call_is_passed_on_with_the_true_role_and_comes_back_with_trailers() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let lab = Lab::with_routes(Some(Arc::new(OneRoute(socket.clone())))).await;
    let manager = lab.paired().await;
    let mut client = Grpc::new(lab.connect(&manager.leaf(Role::Operator)).await.unwrap());
    let codec = ProstCodec::<String, String>::default;
    let request = |count: usize| {
        let mut request = tonic::Request::new(tokio_stream::iter(vec!["x".repeat(100_000); count]));
        request
            .metadata_mut()
            .insert(ROLE_HEADER, "admin".parse().unwrap());
        request
    };

    client.ready().await.unwrap();
    let error = client
        .streaming(request(1), METHOD.parse().unwrap(), codec())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(
        error.message().contains("`backup-service`") && error.message().contains("stopped"),
        "{error:?}"
    );

    for _ in 0..2 {
        let workload = serve(&socket);
        client.ready().await.unwrap();
        let answer = client
            .streaming(request(50), METHOD.parse().unwrap(), codec())
            .await
            .unwrap();
        assert_eq!(answer.metadata().get("x-roles").unwrap(), "operator");
        let mut pieces = answer.into_inner();
        let mut bytes = 0;
        while let Some(piece) = pieces.message().await.unwrap() {
            bytes += piece.len();
        }
        assert_eq!(bytes, 50 * 100_000);
        assert_eq!(
            pieces
                .trailers()
                .await
                .unwrap()
                .unwrap()
                .get("x-trailer")
                .unwrap(),
            "arrived"
        );
        // The workload is restarted: the next call goes over a new connection.
        workload.abort();
        let _ = workload.await;
        std::fs::remove_file(&socket).unwrap();
    }
}

#[tokio::test]
async fn a_package_that_no_workload_offers_is_unimplemented() {
    let lab = Lab::start().await;
    let manager = lab.paired().await;
    let mut client = Grpc::new(lab.connect(&manager.admin).await.unwrap());
    client.ready().await.unwrap();
    let path = METHOD.parse().unwrap();
    let call = client.unary(
        tonic::Request::new(String::new()),
        path,
        ProstCodec::<String, String>::default(),
    );
    assert_eq!(call.await.unwrap_err().code(), Code::Unimplemented);
}
