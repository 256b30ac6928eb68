//! For programs: the webhook and the numbers for a monitoring system.

use std::net::SocketAddr;
use std::sync::Arc;

use e2e::network::write;
use e2e::wait::until;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::world::{SETTLED, World};

/// A request: its head and its body.
type Posted = (String, Value);

/// A server that answers as it is told to, first in, first out, then always 204; it keeps what was posted.
struct Receiver {
    port: u16,
    posted: Arc<Mutex<Vec<Posted>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn start(mut answers: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posted);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (head, body) = request(&mut stream).await;
                let answer = if answers.is_empty() {
                    "204 No Content"
                } else {
                    answers.remove(0)
                };
                kept.lock()
                    .await
                    .push((head, serde_json::from_slice(&body).unwrap()));
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { port, posted, task }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "a request that was cut");
        all.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or_default() {
            return (head.to_owned(), body.as_bytes().to_vec());
        }
    }
}

fn header<'a>(head: &'a str, wanted: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.next().map_or("", |(_, value)| value)
}

/// What a monitoring system reads.
pub(super) async fn numbers(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// All postings of a message are the same, but for how they were answered.
fn are_one(postings: &[&Posted]) {
    let ids = postings
        .iter()
        .map(|(head, body)| (header(head, "x-event-id"), body));
    let all: Vec<_> = ids.collect();
    assert!(all.windows(2).all(|two| two[0] == two[1]), "{postings:?}");
    let (head, _) = postings.first().unwrap();
    assert!(header(head, "x-signature-256").starts_with("sha256="), "{head}");
}

#[tokio::test]
async fn a_run_and_a_warning_are_posted_until_they_are_taken_and_can_be_read_as_numbers() {
    let mut world = World::new();
    let receiver = Receiver::start(vec!["503 Service Unavailable", "500 Oh"]).await;
    let metrics = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    write(&world.at("secret"), "s3cret\n").unwrap();
    let sections = format!(
        "metrics-listen = \"{metrics}\"\n[warnings]\ninterval = \"1s\"\n[webhook]\nurl = \"http://127.0.0.1:{}/hook?key=t0ken\"\n\
         secret-file = {:?}\nretry-first = \"100ms\"\nretry-longest = \"1s\"\n",
        receiver.port,
        world.at("secret"),
    );
    world.start(&sections, None).await;
    world.configured(&[]).await;
    world
        .said(&[
            "account",
            "add",
            "4000001",
            "--tenant",
            "customer",
            "--warnings",
            "off",
        ])
        .await;
    world.run().await;
    let all = until("a run and a warning to be taken", SETTLED, async || {
        let posted = receiver.posted.lock().await.clone();
        // Two were refused for now and came again, with the same id and the same words.
        (posted.len() >= 4).then_some(posted)
    });
    let all = all
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", world.log()));
    let mails = world.settled().await;
    assert!(mails.iter().all(|mail| mail["state"] == "sent"), "{mails:?}");
    let of = |event: &str| -> Vec<&Posted> {
        let own = all.iter().filter(|(_, body)| body["event"] == event);
        own.collect()
    };
    let (runs, warnings) = (of("run"), of("warning"));
    are_one(&runs);
    are_one(&warnings);
    let (run, warning) = (&runs[0].1, &warnings[0].1);
    assert_eq!(
        (&run["configuration"], &run["state"]),
        (&"Nachts".into(), &"failed".into())
    );
    assert_eq!(
        (
            &warning["account"],
            &warning["warning"],
            &warning["detail"]["failed_runs"]["Nachts"]
        ),
        (&"4000001".into(), &"unsuccessful".into(), &1.into())
    );
    let text = numbers(metrics).await;
    for line in [
        "HTTP/1.1 200 OK",
        "backup_last_run_ok{configuration=\"Nachts\"} 0",
        "backup_warning_since_seconds{account=\"4000001\",kind=\"unsuccessful\"} ",
        "mails{state=\"sent\"} 2",
        "# TYPE satellite_reachable gauge",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(
        !world.log().contains("t0ken") && !world.log().contains("s3cret"),
        "{}",
        world.log()
    );
}
