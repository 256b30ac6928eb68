//! The right to work on a workload, and what the work reports to.
//!
//! **Invariant:** who sees that an operation has ended can begin the next one: both happen under one lock.

use std::future::Future;
use std::sync::Arc;

use satellite_proto::bundle::{Digest, WorkloadName};
use satellite_proto::wire::bridge::v1::Operation;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{Instrument, error, info_span};

use super::record::Fault;
use super::{Inner, WorkloadError, Workloads};
use crate::operations::{Begun, OperationHandle};

/// How work on a workload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked for.
    Done,
    /// With an error, and whether everything is as it was before.
    Failed { fault: Fault, rolled_back: bool },
}

/// The right to work on one workload; nobody else has it until it is given back.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: WorkloadName,
    /// `None` if the operation had ended already when the satellite died.
    handle: Option<OperationHandle>,
    released: bool,
}

impl Claim {
    pub(crate) fn progress(&self, done: u64, total: u64, unit: &str, step: &str) {
        if let Some(handle) = &self.handle {
            handle.progress(done, total, unit, step);
        }
    }

    /// Says whether the server is awaited.
    pub(crate) fn await_contact(&self, awaited: bool) {
        if let Some(handle) = &self.handle {
            handle.await_contact(awaited);
        }
    }

    /// The operation that it reports to; empty if there is none.
    pub(crate) fn operation_id(&self) -> String {
        self.handle.as_ref().map(OperationHandle::id).unwrap_or_default()
    }

    pub(crate) fn stop(&self) -> CancellationToken {
        self.handle
            .as_ref()
            .map(OperationHandle::cancel_token)
            .unwrap_or_default()
    }

    /// Reports the end, does what is left to be done when nobody may come in between, and gives the right back.
    pub(crate) fn finish(mut self, outcome: &Outcome, last: impl FnOnce()) {
        self.inner.refresh(&self.name);
        let mut busy = self.inner.busy();
        if let Some(handle) = &self.handle {
            report(handle, outcome);
        }
        last();
        busy.remove(&self.name);
        self.released = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.released {
            self.inner.busy().remove(&self.name);
        }
    }
}

fn report(handle: &OperationHandle, outcome: &Outcome) {
    match outcome {
        Outcome::Done => handle.succeed(),
        Outcome::Failed { fault, .. } if fault.code == Code::Cancelled as i32 => handle.cancelled(),
        Outcome::Failed { fault, rolled_back } => {
            handle.fail(
                Code::from_i32(fault.code),
                fault.message.clone(),
                fault.log_tail.clone(),
                *rolled_back,
            );
        }
    }
}

impl Workloads {
    /// Records the operation, takes the right to work on the workload and lets `work` do it.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Busy`]: nothing was recorded. [`WorkloadError::Operation`].
    pub(crate) fn begin<W>(
        &self,
        what: Work<'_>,
        work: impl FnOnce(Claim) -> W + Send + 'static,
    ) -> Result<Operation, WorkloadError>
    where
        W: Future<Output = ()> + Send,
    {
        if let Some(operation) = self.begun_before(what.kind, what.key)
            && operation.subject == what.name.as_str()
        {
            return Ok(operation);
        }
        let handle = {
            let mut busy = self.inner.busy();
            if busy.contains_key(what.name) {
                return Err(WorkloadError::Busy(what.name.clone()));
            }
            let begun = self
                .inner
                .operations
                .begin(what.kind, what.name.as_str(), what.key);
            match begun.map_err(WorkloadError::Operation)? {
                Begun::Existing(operation) => return Ok(operation),
                Begun::New(handle) => {
                    busy.insert(what.name.clone(), what.target);
                    handle
                }
            }
        };
        let operation = handle.snapshot();
        let claim = Claim {
            inner: self.inner.clone(),
            name: what.name.clone(),
            handle: Some(handle),
            released: false,
        };
        spawn(what.kind, claim, work);
        Ok(operation)
    }

    /// The same for work that was under way when the satellite died.
    pub(crate) fn resume<W>(
        &self,
        what: &Work<'_>,
        operation: &str,
        work: impl FnOnce(Claim) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send,
    {
        let handle = self.inner.operations.adopt(operation);
        self.inner.busy().insert(what.name.clone(), what.target);
        let claim = Claim {
            inner: self.inner.clone(),
            name: what.name.clone(),
            handle,
            released: false,
        };
        spawn(what.kind, claim, work);
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a WorkloadName,
    pub(crate) key: &'a str,
    pub(crate) target: Option<Digest>,
}

/// Runs the work on a thread of its own, where it may wait for the disk.
fn spawn<W>(kind: &'static str, claim: Claim, work: impl FnOnce(Claim) -> W + Send + 'static)
where
    W: Future<Output = ()> + Send,
{
    let span = info_span!("work", kind, workload = claim.name.as_str());
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || runtime.block_on(work(claim).instrument(span)));
    tokio::spawn(async move {
        if let Err(err) = thread.await
            && err.is_panic()
        {
            error!(kind, "Work on a workload stopped by a fault in the bridge");
        }
    });
}
