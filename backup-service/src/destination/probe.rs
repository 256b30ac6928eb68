//! Tries a destination step by step and says in plain words how far it got.

use std::time::Duration;

use bytes::Bytes;

use super::fault::Fault;
use super::path::{Mark, PlacePath};
use super::place::Place;
use super::target::Target;

/// How long the whole test may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Reached.
    Connect,
    /// The server's key or certificate is the right one.
    HostKey,
    /// The credentials are taken.
    SignIn,
    /// Our directory is there.
    Directory,
    /// A file was written.
    Write,
    /// It was read back.
    ReadBack,
    /// It was removed.
    Remove,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Steps that went well, with a text.
    pub good: Vec<(Step, String)>,
    /// The step that did not.
    pub bad: Option<(Step, Fault)>,
    /// Bytes free.
    pub free: Option<u64>,
    /// Most bytes of a file.
    pub most: Option<u64>,
}

/// Tries it.
pub async fn probe(target: &Target, mark: &Mark) -> Findings {
    let mut findings = Findings::default();
    let tried = tokio::time::timeout(DEADLINE, steps(target, mark, &mut findings)).await;
    let failed = match tried {
        Ok(Ok(())) => None,
        Ok(Err(failed)) => Some(failed),
        Err(_) => Some((
            findings
                .good
                .last()
                .map_or(Step::Connect, |(last, _)| after(*last)),
            Fault::Cut {
                at: target.identity(),
                why: format!("it took longer than {}", humantime::format_duration(DEADLINE)),
            },
        )),
    };
    findings.bad = failed;
    findings
}

fn after(step: Step) -> Step {
    match step {
        Step::Connect => Step::HostKey,
        Step::HostKey => Step::SignIn,
        Step::SignIn => Step::Directory,
        Step::Directory => Step::Write,
        Step::Write => Step::ReadBack,
        Step::ReadBack | Step::Remove => Step::Remove,
    }
}

type Failed = (Step, Fault);

async fn steps(target: &Target, mark: &Mark, findings: &mut Findings) -> Result<(), Failed> {
    let place = target.connect().await;
    let reached = match &place {
        Ok(_) => Step::SignIn,
        Err(
            Fault::Unreachable { .. } | Fault::Cut { .. } | Fault::NotPluggedIn { .. } | Fault::Busy { .. },
        ) => {
            return Err((Step::Connect, place.err().unwrap_or_else(never)));
        }
        Err(Fault::HostKeyUnknown { .. } | Fault::HostKeyChanged { .. } | Fault::Certificate { .. }) => {
            Step::Connect
        }
        Err(Fault::SignIn { .. } | Fault::Security { .. } | Fault::Clock { .. }) => Step::HostKey,
        Err(_) => Step::SignIn,
    };
    for (step, text) in target.met() {
        if step <= reached {
            findings.good.push((step, text));
        }
    }
    let mut place = place.map_err(|fault| (after(reached), fault))?;
    let done = with(&mut *place, target, mark, findings).await;
    place.close().await;
    done
}

fn never() -> Fault {
    Fault::Description("nothing is known about it".to_owned())
}

async fn with(
    place: &mut dyn Place,
    target: &Target,
    mark: &Mark,
    findings: &mut Findings,
) -> Result<(), Failed> {
    let on = |step| move |fault| (step, fault);
    findings.most = place.most().await.map_err(on(Step::Directory))?;
    if place.only_takes() {
        return Ok(());
    }
    let base = PlacePath::top(&target.base);
    place.make_directory(&base).await.map_err(on(Step::Directory))?;
    findings.free = place.free().await.map_err(on(Step::Directory))?;
    findings
        .good
        .push((Step::Directory, format!("the directory `{base}` is there")));

    let name = mark.temporary(&format!("test-{}", uuid::Uuid::new_v4().simple()));
    let path = base.join(&name).ok_or_else(|| (Step::Write, never()))?;
    let content = Bytes::from(format!("This file may be removed: {name}\n"));
    let written = write(place, &path, &content).await;
    let read = match written {
        Ok(()) => {
            findings
                .good
                .push((Step::Write, "a small file was written".to_owned()));
            read_back(place, &path, &content)
                .await
                .map_err(on(Step::ReadBack))
        }
        Err(fault) => Err((Step::Write, fault)),
    };
    let good = read.is_ok();
    if good {
        findings
            .good
            .push((Step::ReadBack, "it was read back and is the same".to_owned()));
    }
    let removed = place.remove(&path).await.map_err(on(Step::Remove));
    read.and(removed)?;
    findings.good.push((Step::Remove, "it was removed".to_owned()));
    Ok(())
}

async fn write(place: &mut dyn Place, path: &PlacePath, content: &Bytes) -> Result<(), Fault> {
    place.begin(path, 0, content.len() as u64).await?;
    place.put(content.clone()).await?;
    place.end().await
}

async fn read_back(place: &mut dyn Place, path: &PlacePath, content: &Bytes) -> Result<(), Fault> {
    let mut read = Vec::new();
    while read.len() <= content.len() {
        let piece = place
            .get(path, read.len() as u64, content.len() + 1 - read.len())
            .await?;
        if piece.is_empty() {
            break;
        }
        read.extend_from_slice(&piece);
    }
    if read == content[..] {
        Ok(())
    } else {
        Err(Fault::Damaged {
            path: format!("`{path}`"),
            why: "other bytes came back".to_owned(),
        })
    }
}
