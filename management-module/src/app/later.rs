//! Work that takes a while and that no caller waits for: a job follows it.
//!
//! **Invariant:** it goes on to its end if whoever asked leaves; how it ended is in the job and in the audit log.

use satellite_proto::wire::management::v1::JobEvent;

use super::{Actor, App, AppError, Begun};

/// What is done, as the job and the audit log say it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Who wants it.
    pub actor: Actor,
    /// What the audit log calls it.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// Kind of the job.
    pub kind: &'static str,
    /// The satellite that it concerns.
    pub satellite: String,
    /// What is said while it is under way.
    pub step: &'static str,
    /// Repeats of the same wish carry the same key.
    pub key: String,
}

/// Begins `work` and answers the id of its job. A repeated key answers the first job, and begins nothing.
///
/// # Errors
/// What the store says.
pub async fn begin<T: Send + 'static>(
    app: &App,
    task: Task,
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<String, AppError> {
    let mut job = match app.jobs.begin(task.kind, &task.satellite, &task.key).await? {
        Begun::Existing(id) => return Ok(id),
        Begun::New(job) => job,
    };
    let id = job.id().to_owned();
    let app = app.clone();
    tokio::spawn(async move {
        job.progress(task.step, 0, 0, "").await;
        let done = work.await;
        match app
            .audit
            .recorded(&task.actor, task.action, &task.subject, done)
            .await
        {
            Ok(_) => job.succeed(JobEvent::default()).await,
            Err(error) => job.fail(error.into()).await,
        }
    });
    Ok(id)
}
