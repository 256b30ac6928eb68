//! An operation as it lies on the disk.
//!
//! **Invariant:** the wire form is made from the record, never the other way round.

use jiff::Timestamp;
use satellite_proto::wire::bridge::v1::{self as wire, OperationState};
use serde::{Deserialize, Serialize};
use tonic::Code;
use uuid::Uuid;

/// Bytes of a message that are kept: many operations go into one answer.
const MESSAGE_MOST: usize = 4096;
/// Lines of a log that are kept with a failure.
const LINES_MOST: usize = 50;
/// Bytes of each of them that are kept.
const LINE_MOST: usize = 400;

/// What is kept of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) idempotency_key: String,
    pub(super) stage: Stage,
    pub(super) create_time: Timestamp,
    pub(super) update_time: Timestamp,
    #[serde(default)]
    pub(super) progress: Option<Progress>,
    #[serde(default)]
    pub(super) error: Option<Failure>,
    #[serde(skip)]
    pub(super) awaits_contact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    done: u64,
    total: u64,
    unit: String,
    step: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) log_tail: Vec<String>,
    pub(super) rolled_back: bool,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code as i32,
            message: shortened(&message.into(), MESSAGE_MOST),
            log_tail: Vec::new(),
            rolled_back: false,
        }
    }

    /// With the end of a log, in which whoever wrote it may have put anything.
    pub(super) fn with_log(self, log: &[String]) -> Self {
        let skipped = log.len().saturating_sub(LINES_MOST);
        let tail = log.iter().skip(skipped);
        Self {
            log_tail: tail.map(|line| shortened(line, LINE_MOST)).collect(),
            ..self
        }
    }
}

/// At most `most` bytes of `text`, without what would move a terminal's cursor.
fn shortened(text: &str, most: usize) -> String {
    let mut short = String::new();
    for c in text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
    {
        if short.len().saturating_add(c.len_utf8()) > most {
            break;
        }
        short.push(c);
    }
    short
}

impl Record {
    pub(super) fn new(kind: &str, subject: &str, key: &str) -> Self {
        let now = Timestamp::now();
        Self {
            id: Uuid::now_v7(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            idempotency_key: key.to_owned(),
            stage: Stage::Running,
            create_time: now,
            update_time: now,
            progress: None,
            error: None,
            awaits_contact: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage != Stage::Running
    }

    pub(super) fn set_progress(&mut self, done: u64, total: u64, unit: &str, step: &str) {
        self.progress = Some(Progress {
            done,
            total,
            unit: unit.to_owned(),
            step: step.to_owned(),
        });
    }

    pub(super) fn to_wire(&self) -> wire::Operation {
        let state = match self.stage {
            Stage::Running => OperationState::Running,
            Stage::Succeeded => OperationState::Succeeded,
            Stage::Failed => OperationState::Failed,
            Stage::Cancelled => OperationState::Cancelled,
        };
        let progress = self.progress.as_ref().map(|progress| wire::Progress {
            done: progress.done,
            total: progress.total,
            unit: progress.unit.clone(),
            step: progress.step.clone(),
        });
        let error = self.error.as_ref().map(|failure| wire::OperationError {
            code: failure.code,
            message: failure.message.clone(),
            log_tail: failure.log_tail.clone(),
            rolled_back: failure.rolled_back,
        });
        wire::Operation {
            id: self.id.to_string(),
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            state: state as i32,
            progress,
            create_time: Some(crate::rpc::timestamp(self.create_time)),
            update_time: Some(crate::rpc::timestamp(self.update_time)),
            error,
            idempotency_key: self.idempotency_key.clone(),
            awaits_contact: self.awaits_contact,
        }
    }
}
