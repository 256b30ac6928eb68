//! The page as a browser and a wrongdoer see it: over TLS, from the whole module.

mod asked;
mod budget;
mod client;
mod members;
mod roles;
mod rollouts;
mod safety;
mod scripts;
mod shelf;
mod signing_in;
mod sizes;
mod stored;
mod tenants;
mod told;
mod warnings;

use std::time::Duration;

use satellite_proto::wire::management::v1 as wire;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use wire::web_service_client::WebServiceClient;

use self::client::Browser;
use crate::config::Config;
use crate::serve;

/// The password of all users of these tests.
const PASSWORD: &str = "correct horse battery";

/// A module that serves, with its page on some port of the loopback.
struct World {
    dir: tempfile::TempDir,
    address: String,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), serve::ServeError>>,
}

impl World {
    async fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap()).await
    }

    /// The same with what lies there already.
    async fn in_directory(dir: tempfile::TempDir) -> Self {
        // A backup-service of the server itself, where a test has put one.
        let shelf = dir.path().join("shelf.sock");
        let config = Config {
            local_backup_service: shelf.exists().then_some(shelf),
            state_dir: dir.path().join("state"),
            socket: dir.path().join("run/api.sock"),
            web_listen: Some("127.0.0.1:0".parse().unwrap()),
            join_listen: "127.0.0.1:0".parse().unwrap(),
            trust_anchors: dir.path().join("trust.toml"),
            server_name: "pbx <b>&\"test\"".into(),
            ..Config::default()
        };
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve::run_until(config, stop.clone()));
        let mut world = Self {
            dir,
            address: String::new(),
            stop,
            served,
        };
        let up = async {
            loop {
                assert!(!world.served.is_finished(), "the module ended");
                if let Ok(answer) = world.rpc().get_web(wire::GetWebRequest {}).await {
                    let address = answer.into_inner().address;
                    if !address.is_empty() {
                        return address;
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        world.address = tokio::time::timeout(Duration::from_secs(60), up).await.unwrap();
        world
    }

    /// What the command line uses.
    fn rpc(&self) -> WebServiceClient<Channel> {
        let socket = self.dir.path().join("run/api.sock");
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(socket).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://module").connect_with_connector_lazy(connector);
        WebServiceClient::new(channel)
    }

    async fn add_user(&self, name: &str, role: wire::WebRole, tenants: &[&str]) {
        let request = wire::AddUserRequest {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            role: role.into(),
            tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        };
        self.rpc().add_user(request).await.unwrap();
    }

    /// A browser that has been nowhere yet.
    fn browser(&self) -> Browser {
        Browser::new(&self.address, &self.dir.path().join("state/web/cert.pem"))
    }

    /// A browser in which that user has signed in.
    async fn signed_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.sign_in(name, PASSWORD).await;
        assert_eq!((page.status, page.location.as_str()), (303, "/"), "{}", page.text);
        browser
    }

    async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}
