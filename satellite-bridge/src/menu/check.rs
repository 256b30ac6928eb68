//! Tests the connection, from the cable to the server, and says in plain words what to do about what does not work.
//!
//! **Invariant:** nothing outside is needed to know what works: name servers are asked for the root, which each knows.
//! Nothing is changed.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use satellite_host::{exec::Exec, timedate};
use satellite_proto::wire::bridge::v1::PairingState;
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    Flow, Menu,
    overview::Overview,
    page::{HEIGHT, Page, Style, fit, pad},
    text::{Language, Text, check as t, common as c},
};
use crate::network::{Network, Observed};

/// How long an answer from the network may take.
const ANSWER: Duration = Duration::from_secs(3);
/// A server that was silent for longer may be gone.
const SILENCE: i64 = 180;
/// Servers and routers that are asked.
const MOST: usize = 3;
/// Asks a name server for the servers of the root, as RFC 1035 writes it; the first two bytes are its number.
const QUERY: [u8; 17] = [0x5a, 0x7e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fine,
    /// With what to do about it.
    Wrong(Text),
    /// It cannot be known, and why.
    Open(Text),
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tested {
    pub(super) what: Text,
    pub(super) detail: String,
    pub(super) outcome: Outcome,
}

impl Menu {
    pub(super) async fn test_connection(&mut self) -> Flow {
        let overview = Overview::load(&self.config).await;
        let mut tested = Vec::new();
        self.screen.show(&page(self.language, &tested, false))?;
        let observed = Network::open(&self.config).observe().await;
        tested.extend([link(&overview), address(&overview)]);
        self.screen.show(&page(self.language, &tested, false))?;
        tested.push(gateways(&observed).await);
        self.screen.show(&page(self.language, &tested, false))?;
        tested.push(name_servers(&observed).await);
        tested.push(clock());
        self.screen.show(&page(self.language, &tested, false))?;
        tested.push(port(&overview).await);
        tested.push(server(&overview));
        self.screen.forget_typed();
        let whole = page(self.language, &tested, true);
        self.press_on(&whole).await.map(drop)
    }
}

/// What is known so far.
pub(super) fn page(language: Language, tested: &[Tested], is_over: bool) -> Page {
    let foot = if is_over {
        language.say(c::FOOT_ANY_KEY)
    } else {
        ""
    };
    let mut page = Page::new(language.say(c::CHECK), foot);
    page.blank();
    for one in tested {
        let (mark, style) = match one.outcome {
            Outcome::Fine => (t::FINE, Style::Plain),
            Outcome::Wrong(_) => (t::WRONG, Style::Warning),
            Outcome::Open(_) => (t::OPEN, Style::Plain),
        };
        let text = format!(
            " {} {} {}",
            pad(language.say(mark), 8),
            pad(language.say(one.what), 24),
            fit(&one.detail, 44)
        );
        page.line(text, style);
    }
    page.blank();
    if !is_over {
        page.text(language.say(t::TESTING));
        return page;
    }
    let room = HEIGHT - 2;
    let mut is_fine = true;
    // What is nearest to the satellite comes first; the rest often works once that does, and is told then.
    for one in tested {
        let (Outcome::Wrong(text) | Outcome::Open(text)) = one.outcome else {
            continue;
        };
        is_fine = false;
        let mut advice = Page::default();
        advice.text(language.say(text));
        if page.lines.len() + advice.lines.len() > room {
            break;
        }
        page.lines.extend(advice.lines);
    }
    if is_fine {
        page.text(language.say(t::ALL_FINE));
    }
    page
}

fn link(overview: &Overview) -> Tested {
    let connected: Vec<_> = overview
        .links
        .iter()
        .filter(|link| link.has_carrier)
        .map(|link| link.name.clone())
        .collect();
    Tested {
        what: t::LINK,
        outcome: if connected.is_empty() {
            Outcome::Wrong(t::LINK_ADVICE)
        } else {
            Outcome::Fine
        },
        detail: connected.join(", "),
    }
}

fn address(overview: &Overview) -> Tested {
    Tested {
        what: t::ADDRESS,
        outcome: if overview.addresses.is_empty() {
            Outcome::Wrong(t::ADDRESS_ADVICE)
        } else {
            Outcome::Fine
        },
        detail: overview.addresses.first().cloned().unwrap_or_default(),
    }
}

async fn gateways(observed: &Observed) -> Tested {
    // One that is known by its link only cannot be asked without naming the link.
    let is_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let known: Vec<_> = observed
        .gateways
        .iter()
        .filter(|address| !is_local(address))
        .take(MOST)
        .collect();
    let mut silent = Vec::new();
    for address in &known {
        let asked = Exec::new("ping")
            .args(["-n", "-q", "-c", "2", "-i", "0.3", "-W", "2", "-w", "4"])
            .arg(address.to_string())
            .deadline(ANSWER * 2)
            .run()
            .await;
        if asked.is_err() {
            silent.push(address.to_string());
        }
    }
    let (outcome, detail) = match (known.is_empty(), silent.is_empty()) {
        (true, _) if !observed.gateways.is_empty() => (Outcome::Fine, joined(&observed.gateways)),
        (true, _) => (Outcome::Open(t::NO_GATEWAY), String::new()),
        (false, true) => (Outcome::Fine, joined(&known)),
        (false, false) => (Outcome::Wrong(t::GATEWAY_ADVICE), silent.join(", ")),
    };
    Tested {
        what: t::GATEWAY,
        outcome,
        detail,
    }
}

async fn name_servers(observed: &Observed) -> Tested {
    let mut silent = Vec::new();
    for server in observed.dns.iter().take(MOST) {
        if !answers(*server).await {
            silent.push(server.to_string());
        }
    }
    let (outcome, detail) = match (observed.dns.is_empty(), silent.is_empty()) {
        (true, _) => (Outcome::Open(t::NO_DNS), String::new()),
        (false, true) => (Outcome::Fine, joined(&observed.dns)),
        (false, false) => (Outcome::Wrong(t::DNS_ADVICE), silent.join(", ")),
    };
    Tested {
        what: t::DNS,
        outcome,
        detail,
    }
}

/// Whether a name server gives any answer to our question.
async fn answers(server: IpAddr) -> bool {
    let asked = timeout(ANSWER, async {
        let local: SocketAddr = match server {
            IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            IpAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect((server, 53)).await?;
        socket.send(&QUERY).await?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await?;
        Ok::<_, std::io::Error>(length >= 12 && answer.get(..2) == QUERY.get(..2))
    });
    matches!(asked.await, Ok(Ok(true)))
}

fn clock() -> Tested {
    let now = jiff::Timestamp::now();
    Tested {
        what: t::CLOCK,
        outcome: if timedate::is_synchronised() {
            Outcome::Fine
        } else {
            Outcome::Open(t::CLOCK_ADVICE)
        },
        detail: now.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    }
}

async fn port(overview: &Overview) -> Tested {
    let address = overview
        .addresses
        .first()
        .and_then(|address| address.split('/').next());
    let host: IpAddr = address
        .and_then(|address| address.parse().ok())
        .unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let connected = timeout(ANSWER, TcpStream::connect((host, overview.port))).await;
    Tested {
        what: t::PORT,
        outcome: if matches!(connected, Ok(Ok(_))) {
            Outcome::Fine
        } else {
            Outcome::Wrong(t::PORT_ADVICE)
        },
        detail: format!("{}/tcp", overview.port),
    }
}

fn server(overview: &Overview) -> Tested {
    let outcome = match (overview.pairing, overview.server_silence) {
        (PairingState::Paired, Some(silence)) if silence <= SILENCE => Outcome::Fine,
        (PairingState::Paired, _) => Outcome::Wrong(t::SERVER_ADVICE),
        _ => Outcome::Open(t::SERVER_UNPAIRED),
    };
    Tested {
        what: t::SERVER,
        outcome,
        detail: overview.server_name.clone(),
    }
}

fn joined<T: ToString>(values: &[T]) -> String {
    let words: Vec<_> = values.iter().map(ToString::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_server_that_answers_is_told_from_one_that_does_not() {
        let server = UdpSocket::bind("127.0.0.77:53").await;
        let Ok(server) = server else {
            // Not as root, or the port is taken: nothing to try against.
            return;
        };
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], QUERY);
            buffer[2] = 0x81;
            server.send_to(&buffer[..length], from).await.unwrap();
        });
        assert!(answers([127, 0, 0, 77].into()).await);
        answering.await.unwrap();
        assert!(!answers([127, 0, 0, 78].into()).await);
    }

    #[tokio::test]
    async fn a_machine_without_anything_gets_advice_and_no_error() {
        let observed = Observed::default();
        assert_eq!(gateways(&observed).await.outcome, Outcome::Open(t::NO_GATEWAY));
        assert_eq!(name_servers(&observed).await.outcome, Outcome::Open(t::NO_DNS));
    }
}
