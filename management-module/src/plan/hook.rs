//! What a webhook is told: JSON with words that do not change.
//!
//! **Invariant:** pure. What is told follows from what happened alone, so that a repeated message is the same.

use serde_json::{Value, json};

use super::account::Account;
use super::mail::report::Report;
use super::mail::warning::Now;
use super::outcome::{CopyState, RunState};
use super::warnings::{Finding, Kind, Raised};

/// A run that has ended.
#[must_use]
pub fn of_run(id: &str, server: &str, report: &Report) -> Value {
    let copies: Vec<Value> = report
        .copies
        .iter()
        .map(|copy| {
            let is_there = copy.state == CopyState::Done;
            json!({"destination": copy.destination, "done": is_there, "bytes": copy.bytes, "error": copy.error})
        })
        .collect();
    json!({
        "event": "run",
        "id": id,
        "server": server,
        "configuration": report.configuration,
        "central": report.central,
        "state": state(report.state),
        "planned_time": report.planned_at.to_string(),
        "end_time": report.ended_at.to_string(),
        "error": report.reason,
        "archive": report.archive,
        "bytes": report.bytes,
        "left_out": report.left_out,
        "copies": copies,
    })
}

/// A warning that stands or is over.
#[must_use]
pub fn of_warning(
    id: &str,
    server: &str,
    account: &Account,
    (kind, raised, now): (Kind, &Raised, Now),
) -> Value {
    json!({
        "event": "warning",
        "id": id,
        "server": server,
        "account": account.name,
        "tenant": account.tenant,
        "warning": kind.code(),
        "state": match now { Now::Stands => "stands", Now::Over => "over" },
        "since": raised.since.to_string(),
        "told": raised.told,
        "detail": detail(&raised.finding),
    })
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "queued",
        RunState::Deferred => "deferred",
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Partial => "partial",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Missed => "missed",
    }
}

fn detail(finding: &Finding) -> Value {
    match finding {
        Finding::Quota(used, quota) => json!({"used_bytes": used, "quota_bytes": quota}),
        Finding::Schedule(counts) => json!({"missed_times": counts}),
        Finding::Unsuccessful(counts) => json!({"failed_runs": counts}),
        Finding::Upgrade(clients) => json!({"programs": clients}),
        Finding::NoBackup(since) => json!({"known_since": since.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::account::{Limits, Party};

    #[test]
    fn a_program_is_told_a_warning_in_words_that_do_not_change() {
        let since: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let raised = Raised {
            since,
            told_at: Some(since),
            told: 1,
            finding: Finding::Unsuccessful([("Nachts \"x\"".to_owned(), 3)].into()),
            concerns: Vec::new(),
        };
        let account = Account {
            name: "4000001".into(),
            tenant: "customer".into(),
            language: crate::language::Language::De,
            own: Party::default(),
            reseller: None,
            limits: Limits::default(),
        };
        let told = of_warning("w1", "here", &account, (Kind::NoBackup, &raised, Now::Over));
        let wanted = json!({
            "event": "warning", "id": "w1", "server": "here", "account": "4000001", "tenant": "customer",
            "warning": "no-backup", "state": "over", "since": "2026-11-22T01:00:00Z", "told": 1,
            "detail": {"failed_runs": {"Nachts \"x\"": 3}},
        });
        assert_eq!(told, wanted);
    }
}
