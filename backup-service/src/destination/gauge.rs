//! How far a piece of work is, for whoever watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Connects and looks around.
    Prepare,
    /// Sends.
    Send,
    /// Reads back.
    Verify,
    /// Fetches.
    Fetch,
}

/// A handle on it: the worker sets, the watcher reads.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    stage: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    retries: AtomicU32,
}

/// A moment of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What is being done.
    pub stage: Stage,
    /// Bytes.
    pub done: u64,
    /// Bytes.
    pub total: u64,
    /// How often a connection was begun anew.
    pub retries: u32,
}

impl Gauge {
    /// A stage begins, of which `done` of `total` bytes need not be done.
    pub fn begin(&self, stage: Stage, done: u64, total: u64) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
        self.0.done.store(done, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// So much of the stage is done.
    pub fn set(&self, done: u64) {
        self.0.done.store(done, Ordering::Relaxed);
    }

    /// A connection is begun anew.
    pub fn retried(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn read(&self) -> Reading {
        let stage = match self.0.stage.load(Ordering::Relaxed) {
            1 => Stage::Send,
            2 => Stage::Verify,
            3 => Stage::Fetch,
            _ => Stage::Prepare,
        };
        Reading {
            stage,
            done: self.0.done.load(Ordering::Relaxed),
            total: self.0.total.load(Ordering::Relaxed),
            retries: self.0.retries.load(Ordering::Relaxed),
        }
    }
}
