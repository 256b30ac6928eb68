//! A service manager that starts nothing and remembers what it was asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Activity, Answer, UnitError, UnitStatus, Units};

/// What a unit does when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It runs.
    Runs,
    /// It ends with an error before it is ready.
    Fails,
    /// It says that it is ready, and has ended the next time somebody looks.
    Dies,
    /// It stays as it was, and the service manager does not answer in time.
    Unanswered,
}

/// Decides how a unit behaves when it is started.
type Rule = Box<dyn Fn(&str) -> Behaviour + Send + Sync>;

/// The fake. A cheap handle: clones are the same manager.
#[derive(Clone)]
pub struct FakeUnits {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    calls: Vec<String>,
    active: BTreeMap<String, UnitStatus>,
    rule: Rule,
    /// What a unit writes when it is started.
    log: Vec<String>,
    written: Vec<(Timestamp, String)>,
    /// Stops that still work; none: all of them.
    stops_left: Option<u32>,
    /// Where the names of running units are kept, so that they outlive the process as real ones do.
    file: Option<PathBuf>,
}

impl fmt::Debug for FakeUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeUnits")
            .field("active", &self.lock().active.keys())
            .finish_non_exhaustive()
    }
}

impl Default for FakeUnits {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeUnits {
    /// A manager under which every unit runs as soon as it is started.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            calls: Vec::new(),
            active: BTreeMap::new(),
            rule: Box::new(|_| Behaviour::Runs),
            log: Vec::new(),
            written: Vec::new(),
            stops_left: None,
            file: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// The same, with the running units kept in `file` across processes.
    #[must_use]
    pub fn kept_in(file: PathBuf) -> Self {
        let fake = Self::new();
        let names = std::fs::read_to_string(&file).unwrap_or_default();
        let mut inner = fake.lock();
        for name in names.lines() {
            inner.active.insert(name.to_owned(), running());
        }
        inner.file = Some(file);
        drop(inner);
        fake
    }

    /// Sets how units behave that are started from now on.
    pub fn behave(&self, rule: impl Fn(&str) -> Behaviour + Send + Sync + 'static) {
        self.lock().rule = Box::new(rule);
    }

    /// Sets what every unit that is started from now on writes to its log.
    pub fn write_log(&self, lines: &[&str]) {
        self.lock().log = lines.iter().map(|&line| line.to_owned()).collect();
    }

    /// Lets stopping fail after so many more stops; none: it works again.
    pub fn stick_after(&self, stops: Option<u32>) {
        self.lock().stops_left = stops;
    }

    /// What was asked for, in order: "start x.service".
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Whether the unit runs.
    #[must_use]
    pub fn is_active(&self, unit: &str) -> bool {
        self.lock()
            .active
            .get(unit)
            .is_some_and(|status| status.activity == Activity::Active)
    }

    /// Lets a unit end by itself.
    pub fn kill(&self, unit: &str) {
        self.lock().active.insert(unit.to_owned(), failed());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: String, result: Result<(), UnitError>) -> Answer<'_, ()> {
        self.lock().calls.push(call);
        Box::pin(std::future::ready(result))
    }
}

impl Inner {
    fn keep(&self) {
        let Some(file) = &self.file else { return };
        let active = self
            .active
            .iter()
            .filter(|(_, status)| status.activity == Activity::Active);
        let names: Vec<&str> = active.map(|(name, _)| name.as_str()).collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "a fake of a machine that forgets nothing"
        )]
        let _lost_only_with_the_machine = std::fs::write(file, names.join("\n"));
    }
}

impl Units for FakeUnits {
    fn reload(&self) -> Answer<'_, ()> {
        self.note("reload".to_owned(), Ok(()))
    }

    fn start<'a>(&'a self, unit: &'a str, deadline: Duration) -> Answer<'a, ()> {
        let mut inner = self.lock();
        let behaviour = (inner.rule)(unit);
        if behaviour == Behaviour::Unanswered {
            drop(inner);
            let failure = UnitError::Deadline {
                action: "start",
                unit: unit.to_owned(),
                deadline,
            };
            return self.note(format!("start {unit}"), Err(failure));
        }
        let now = crate::clock::now();
        let lines: Vec<_> = inner.log.iter().map(|line| (now, line.clone())).collect();
        inner.written.extend(lines);
        let (status, result) = match behaviour {
            Behaviour::Runs => (running(), Ok(())),
            Behaviour::Dies => (failed(), Ok(())),
            Behaviour::Fails | Behaviour::Unanswered => {
                let result = "failed".to_owned();
                (
                    failed(),
                    Err(UnitError::Job {
                        action: "start",
                        unit: unit.to_owned(),
                        result,
                    }),
                )
            }
        };
        inner.active.insert(unit.to_owned(), status);
        inner.keep();
        drop(inner);
        self.note(format!("start {unit}"), result)
    }

    fn stop<'a>(&'a self, unit: &'a str, _deadline: Duration) -> Answer<'a, ()> {
        let mut inner = self.lock();
        if inner.stops_left == Some(0) {
            drop(inner);
            let failure = UnitError::Job {
                action: "stop",
                unit: unit.to_owned(),
                result: "timeout".to_owned(),
            };
            return self.note(format!("stop {unit}"), Err(failure));
        }
        inner.stops_left = inner.stops_left.map(|left| left.saturating_sub(1));
        inner.active.remove(unit);
        inner.keep();
        drop(inner);
        self.note(format!("stop {unit}"), Ok(()))
    }

    fn reset_failed<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        self.note(format!("reset {unit}"), Ok(()))
    }

    fn status<'a>(&'a self, unit: &'a str) -> Answer<'a, UnitStatus> {
        let status = self
            .lock()
            .active
            .get(unit)
            .cloned()
            .unwrap_or_else(UnitStatus::inactive);
        Box::pin(std::future::ready(Ok(status)))
    }

    fn log_tail<'a>(
        &'a self,
        _unit: &'a str,
        lines: u32,
        since: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>> {
        let inner = self.lock();
        let log = inner.written.iter().filter(|(at, _)| *at >= since);
        let log: Vec<String> = log.map(|(_, line)| line.clone()).collect();
        let skipped = log
            .len()
            .saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
        Box::pin(std::future::ready(log.into_iter().skip(skipped).collect()))
    }

    fn start_timer<'a>(&'a self, name: &'a str, after: Duration, command: &'a [String]) -> Answer<'a, ()> {
        self.note(format!("timer {name} {after:?} {}", command.join(" ")), Ok(()))
    }

    fn stop_timer<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.note(format!("stop-timer {name}"), Ok(()))
    }

    fn reboot(&self) -> Answer<'_, ()> {
        self.note("reboot".to_owned(), Ok(()))
    }

    fn power_off(&self) -> Answer<'_, ()> {
        self.note("power-off".to_owned(), Ok(()))
    }
}

fn running() -> UnitStatus {
    UnitStatus {
        activity: Activity::Active,
        detail: "running".to_owned(),
        main_pid: Some(1000),
        started: Some(crate::clock::now()),
        ..UnitStatus::inactive()
    }
}

fn failed() -> UnitStatus {
    UnitStatus {
        activity: Activity::Failed,
        detail: "failed".to_owned(),
        result: "exit-code".to_owned(),
        ..UnitStatus::inactive()
    }
}
