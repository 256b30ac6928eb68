//! The web page's certificate from an authority: got, kept, and renewed long before it ends.
//!
//! **Invariant:** what is kept goes only when there is a new one whose key fits; a try that failed is told, and the next one
//! waits, also when the process is started again in between.

mod kept;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use kept::{Kept, KeptError};

use super::App;
use super::page::Renewal;
use crate::config::Config;
use crate::config::acme::Acme;
use crate::fleet::Backoff;
use crate::notify::acme::{self, AcmeError};
use crate::plan::renewal;
use crate::{error_chain, files};

/// How long it is waited at most before it is looked again: the clock may be set.
const LOOK: std::time::Duration = std::time::Duration::from_mins(15);

/// Why there was no new certificate.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error("the authority did not certify within {}", humantime::format_duration(*.0))]
    Deadline(std::time::Duration),
    #[error("the new certificate cannot be kept")]
    Keep(#[source] KeptError),
}

/// The tries that failed since a certificate was got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// What was asked for: another authority or another name is not held up by them.
    wanted: String,
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub at: Option<Timestamp>,
    /// Before when there is no other.
    pub next_at: Option<Timestamp>,
    /// Why the last one failed.
    pub problem: String,
}

impl Tries {
    /// The tries for what is configured now; none are as good as those that cannot be read.
    #[must_use]
    pub fn read(config: &Config, acme: &Acme) -> Self {
        let bytes = std::fs::read(path(config)).unwrap_or_default();
        let tries: Self = serde_json::from_slice(&bytes).unwrap_or_default();
        if tries.wanted == wanted(acme) {
            tries
        } else {
            Self::default()
        }
    }

    fn failed(&mut self, acme: &Acme, problem: String, now: Timestamp) {
        let backoff = Backoff {
            first: acme.retry_first,
            longest: acme.retry_longest,
        };
        // Never at once: authorities count.
        let random = 0.5 + rand::random::<f64>() / 2.0;
        let wait = SignedDuration::try_from(backoff.delay(self.count, random)).unwrap_or(SignedDuration::MAX);
        self.count = self.count.saturating_add(1);
        self.at = Some(now);
        self.next_at = Some(now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        self.problem = problem;
        self.wanted = wanted(acme);
    }

    fn note(&self, config: &Config) {
        let written = if self.count == 0 {
            match std::fs::remove_file(path(config)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            serde_json::to_vec(self)
                .map_err(std::io::Error::other)
                .and_then(|bytes| files::write_atomic(&path(config), &bytes, 0o600))
        };
        if let Err(error) = written {
            warn!(path = %path(config).display(), %error, "It is not noted how the page's certificate was tried for");
        }
    }

    /// When the next one may be: a clock that was set back holds up nothing for long.
    fn next(&self, acme: &Acme, now: Timestamp) -> Timestamp {
        let longest = SignedDuration::try_from(acme.retry_longest).unwrap_or(SignedDuration::MAX);
        let latest = now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        self.next_at.filter(|next| *next <= latest).unwrap_or(now)
    }
}

fn path(config: &Config) -> std::path::PathBuf {
    config.acme().join("tries.json")
}

fn wanted(acme: &Acme) -> String {
    format!("{} {}", acme.directory, acme.names.join(" "))
}

/// Keeps the page certified until `stop`, if that is configured.
pub async fn run(app: App, stop: CancellationToken) {
    let Some(acme) = app
        .config
        .acme
        .clone()
        .filter(|_| app.config.web_listen.is_some())
    else {
        return;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(&app, &acme) => {}
    }
}

async fn keep(app: &App, acme: &Acme) {
    // The same for as long as this process lives: what is due does not jump about.
    let early = rand::random();
    let mut tries = Tries::read(&app.config, acme);
    loop {
        // The authority looks at the page before it certifies.
        app.page.is_offered().await;
        let now = Timestamp::now();
        let due = due(&app.config, acme, early, now);
        let next = due.max(tries.next(acme, now));
        app.page.certified(Renewal {
            tries: tries.count,
            problem: tries.problem.clone(),
            next_at: Some(next),
        });
        if next > now {
            let wait = std::time::Duration::try_from(next.duration_since(now)).unwrap_or_default();
            tokio::time::sleep(wait.min(LOOK)).await;
            continue;
        }
        match renew(app, acme).await {
            Ok(until) => {
                info!(names = ?acme.names, %until, "The web page is certified");
                tries = Tries::default();
                app.page.renew();
            }
            Err(error) => {
                let problem = error_chain(&error);
                tries.failed(acme, problem, now);
                error!(
                    problem = tries.problem,
                    tries = tries.count,
                    next = ?tries.next_at,
                    "The web page got no new certificate and keeps the one that it has"
                );
            }
        }
        tries.note(&app.config);
    }
}

/// When a certificate is to be got: at once if none is kept that is of this authority's names.
fn due(config: &Config, acme: &Acme, early: f64, now: Timestamp) -> Timestamp {
    match Kept::read(config) {
        Ok(Some(kept)) if kept.is_for(&acme.names) => renewal::due(kept.from, kept.until, early),
        Ok(_) => now,
        Err(error) => {
            warn!(error = %error_chain(&error), "The page's certificate is got anew");
            now
        }
    }
}

async fn renew(app: &App, acme: &Acme) -> Result<Timestamp, TryError> {
    let directory = app.config.acme();
    for path in [app.config.web(), directory.clone()] {
        let made = files::make_directory(&path, 0o700);
        made.map_err(|source| TryError::Keep(KeptError::File { path, source }))?;
    }
    let _shown = app.page.answers();
    let answer = |name: &str, digest| app.page.answer(name, digest);
    let account = directory.join("account.json");
    let obtained = acme::obtain(acme, &account, &answer);
    let issued = match tokio::time::timeout(acme.deadline, Box::pin(obtained)).await {
        Ok(issued) => issued?,
        Err(_) => return Err(TryError::Deadline(acme.deadline)),
    };
    Kept::write(&app.config, &issued.chain, &issued.key)
        .map(|kept| kept.until)
        .map_err(TryError::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(name: &str) -> Acme {
        let text = format!(
            "[acme]\ndirectory = 'https://ca.example.com/'\nnames = ['{name}']\naccept-terms = true\n\
             retry-first = '1h'\nretry-longest = '4h'"
        );
        Config::parse(&text).unwrap().acme.unwrap()
    }

    #[test]
    fn tries_that_failed_are_remembered_for_what_they_were_for_and_wait_longer_and_longer() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            ..Config::default()
        };
        std::fs::create_dir_all(config.acme()).unwrap();
        let (acme, other) = (acme("a.example.com"), acme("b.example.com"));
        let now: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let hour = SignedDuration::from_hours(1);
        let mut tries = Tries::read(&config, &acme);
        assert_eq!(tries.next(&acme, now), now);
        for longest in [1, 2, 4, 4, 4] {
            tries.failed(&acme, "no answer".into(), now);
            let next = tries.next(&acme, now);
            assert!(
                next >= now + hour * longest / 2 && next <= now + hour * longest,
                "{next}"
            );
        }
        tries.note(&config);
        assert_eq!(Tries::read(&config, &acme), tries);
        assert_eq!(Tries::read(&config, &other), Tries::default());
        let earlier = now - hour * 24;
        assert_eq!(tries.next(&acme, earlier), earlier);
        Tries::default().note(&config);
        assert_eq!(Tries::read(&config, &acme), Tries::default());
    }
}
