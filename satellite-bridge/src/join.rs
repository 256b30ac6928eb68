//! Joining by a token: the satellite calls the server that the token names, and both end paired.
//!
//! A token comes from the person at the console, or at start from whoever made the machine ([`source`]). It is tried until
//! it has worked, is refused, or has run out, over restarts; one that has ended is never tried again.
//!
//! **Invariant:** nothing but a TLS greeting leaves the satellite before the server has shown the key that the token
//! names, and the token's secret itself is never sent.

mod attempt;
mod record;
pub mod seed;
pub mod source;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use satellite_proto::{
    join::{NotAToken, Token},
    pushback,
    wire::join::v1::JoinRefusal,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::record::{Ended, Record};
use crate::{
    cli::error_chain,
    config::Config,
    journal::JournalError,
    menu::client::{ClientError, Console},
    pairing::{Pairing, Stage},
};

/// Ceiling of the wait after the first try that failed.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Ceiling of all waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It is none.
    #[error(transparent)]
    Token(NotAToken),
    /// There is an installation already.
    #[error("the satellite is paired already: disconnect it first")]
    Paired,
    /// The disk does not take it.
    #[error("the join token cannot be recorded: check the disk of the satellite")]
    Record(#[source] JournalError),
    /// The daemon does not run or did not take it.
    #[error("the satellite's daemon did not take the join token")]
    Daemon(#[source] ClientError),
}

/// Gives the token that a person entered to the daemon, which tries it from now on. How that goes is in the answer of
/// `GetConsole`.
///
/// # Errors
///
/// [`JoinError`]: [`JoinError::Token`] says what is wrong with the text.
pub async fn start(config: &Config, token: &str) -> Result<(), JoinError> {
    // The daemon's answer could not say what is wrong in the person's language.
    let _: Token = token.parse().map_err(JoinError::Token)?;
    let console = Console::connect(&config.console_socket()).await;
    let mut console = console.map_err(JoinError::Daemon)?;
    console.join(token).await.map_err(JoinError::Daemon)
}

/// How joining stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no token.
    Idle,
    /// It is tried again and again.
    Trying {
        /// The server's address.
        server: String,
        /// Why it has not worked so far; empty before the first try has ended.
        problem: String,
        /// Until when.
        expires: Option<Timestamp>,
    },
    /// It is over.
    Ended(Ended),
}

impl Standing {
    /// What a person has to know of it; empty if nothing.
    #[must_use]
    pub fn problem(&self) -> String {
        match self {
            Self::Idle | Self::Ended(Ended::Joined) => String::new(),
            Self::Trying { problem, .. } => problem.clone(),
            Self::Ended(ended) => ended.to_string(),
        }
    }
}

/// What came of one try.
enum Tried {
    /// The token has ended.
    Ended(Ended),
    /// It is tried again, not before the time that the server may have asked for.
    Again {
        /// That time.
        asked: Option<Duration>,
    },
}

/// Tries a token until it has ended. A cheap handle.
#[derive(Debug, Clone)]
pub struct Joiner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pairing: Pairing,
    record: PathBuf,
    port: u16,
    wanted: watch::Sender<Option<Token>>,
    standing: watch::Sender<Standing>,
}

impl Joiner {
    /// Goes on with the token that was tried before the restart, or takes the one that whoever made the machine has left,
    /// unless it has ended. `port` is where the satellite takes calls.
    #[must_use]
    pub fn open(config: &Config, pairing: Pairing, port: u16) -> Self {
        let path = config.state_dir.join("join.json");
        let record = record::read(&path);
        let token = (pairing.stage() == Stage::Unpaired || pairing.stage() == Stage::Candidate)
            .then(|| record::open_token(record.as_ref()).or_else(|| fresh_token(&path, record.as_ref())))
            .flatten();
        let standing = match (&token, record.and_then(|record| record.ended)) {
            (Some(token), _) => trying(token, String::new()),
            (None, Some(ended)) => Standing::Ended(ended),
            (None, None) => Standing::Idle,
        };
        let shared = Shared {
            pairing,
            record: path,
            port,
            wanted: watch::Sender::new(token),
            standing: watch::Sender::new(standing),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Tries `token` from now on, in place of another one.
    ///
    /// # Errors
    ///
    /// [`JoinError::Token`], [`JoinError::Paired`]; [`JoinError::Record`]: nothing changed.
    pub fn start(&self, token: &str) -> Result<(), JoinError> {
        let token: Token = token.parse().map_err(JoinError::Token)?;
        if self.shared.pairing.stage() != Stage::Unpaired {
            return Err(JoinError::Paired);
        }
        record::begin(&self.shared.record, &token).map_err(JoinError::Record)?;
        self.shared.standing.send_replace(trying(&token, String::new()));
        self.shared.wanted.send_replace(Some(token));
        Ok(())
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.shared.standing.borrow().clone()
    }

    /// Tries until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.go_on() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn go_on(&self) {
        let mut wanted = self.shared.wanted.subscribe();
        let mut changes = self.shared.pairing.changes();
        let mut attempt = 0;
        loop {
            let token = wanted.borrow_and_update().clone();
            changes.mark_unchanged();
            let Some(token) = token else {
                attempt = 0;
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let wait = match self.shared.pairing.stage() {
                Stage::Paired | Stage::Quarantined => {
                    self.end(&token, Ended::Joined);
                    continue;
                }
                // The server's first call, or the end of its time.
                Stage::Candidate => None,
                Stage::Unpaired => match self.try_once(&token).await {
                    Tried::Ended(ended) => {
                        self.end(&token, ended);
                        continue;
                    }
                    Tried::Again { asked } => {
                        attempt += 1;
                        Some(pushback::wait(delay(attempt - 1, random()), asked, random()))
                    }
                },
            };
            let elapsed = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = elapsed => {}
                changed = wanted.changed() => { attempt = 0; if changed.is_err() { return } }
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn try_once(&self, token: &Token) -> Tried {
        let Shared { pairing, port, .. } = &*self.shared;
        let error = match attempt::attempt(pairing, token, *port).await {
            Ok(server) => {
                tracing::info!(server, "Joined, the server's first call is awaited");
                return Tried::Again { asked: None };
            }
            Err(error) => error,
        };
        let text = error_chain(&error);
        if let Some(refusal) = error.refusal() {
            tracing::error!(address = token.address(), error = text, "Join token refused");
            return Tried::Ended(Ended::of(refusal));
        }
        let now = pairing.clock().wall().as_second();
        if now >= i64::from(token.expires()) {
            tracing::error!(address = token.address(), error = text, "Join token has run out");
            return Tried::Ended(Ended::of(JoinRefusal::Expired));
        }
        tracing::warn!(
            address = token.address(),
            error = text,
            "Joining did not work, it is tried again"
        );
        self.shared.standing.send_replace(trying(token, text));
        Tried::Again {
            asked: error.pushback(),
        }
    }

    fn end(&self, token: &Token, ended: Ended) {
        if let Err(error) = record::end(&self.shared.record, token, ended) {
            tracing::error!(error = %error_chain(&error), "End of the join token not recorded");
        }
        self.shared.standing.send_replace(Standing::Ended(ended));
        // Only this token: another one may have come meanwhile.
        self.shared.wanted.send_if_modified(|wanted| {
            let is_this = wanted.as_ref() == Some(token);
            if is_this {
                *wanted = None;
            }
            is_this
        });
    }
}

fn trying(token: &Token, problem: String) -> Standing {
    Standing::Trying {
        server: token.address().to_owned(),
        problem,
        expires: Timestamp::from_second(token.expires().into()).ok(),
    }
}

/// The token that whoever made the machine has left, if it is another one than the one that has ended.
fn fresh_token(path: &std::path::Path, record: Option<&Record>) -> Option<Token> {
    let (place, text) = source::find()?;
    let token: Token = match text.parse() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, place, "Join token cannot be read");
            return None;
        }
    };
    if record.is_some_and(|record| record.id == token.id().to_string()) {
        return None;
    }
    tracing::info!(place, id = %token.id(), server = token.address(), "Join token found");
    if let Err(error) = record::begin(path, &token) {
        tracing::error!(error = %error_chain(&error), "Join token not recorded");
    }
    Some(token)
}

/// Exponential backoff with full jitter: `random` of a ceiling that doubles up to the longest.
fn delay(attempt: u32, random: f64) -> Duration {
    let ceiling = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt.min(16)));
    ceiling.min(LONGEST_WAIT).mul_f64(random.clamp(0.0, 1.0))
}

fn random() -> f64 {
    let (bits, _) = Uuid::new_v4().as_u64_pair();
    // The upper half of a random id is random but for its version.
    f64::from(u32::try_from(bits >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_are_spread() {
        let ceilings: Vec<_> = (0..9).map(|attempt| delay(attempt, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(delay(u32::MAX, 1.0), LONGEST_WAIT);
        assert_eq!(delay(5, 0.0), Duration::ZERO);
        let spread: std::collections::BTreeSet<_> = (0..20).map(|_| delay(9, random())).collect();
        assert!(spread.len() > 15);
    }
}
