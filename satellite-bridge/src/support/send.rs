//! The support bundle for the server.
//!
//! **Invariant:** one is made at a time, in memory that goes with the boot, and nothing of it is left when it was sent.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use satellite_host::files;
use satellite_proto::wire::MAX_PIECE;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tonic::Status;
use uuid::Uuid;

use super::to_directory;
use crate::cli::error_chain;
use crate::config::Config;

/// Makes support bundles. A cheap handle.
#[derive(Debug, Clone)]
pub struct SupportBundles {
    config: Arc<Config>,
    turn: Arc<Semaphore>,
}

impl SupportBundles {
    /// Bundles of the satellite that `config` is about.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes a bundle, and answers it in pieces; the first has its name.
    ///
    /// # Errors
    ///
    /// RESOURCE_EXHAUSTED: one is being made. INTERNAL: it cannot be written.
    pub async fn make(
        &self,
    ) -> Result<impl Stream<Item = Result<(String, Bytes), Status>> + Send + 'static, Status> {
        let permit = self.turn.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted("a support bundle is being made already: try again in a minute")
        })?;
        let directory = self.config.run_dir.join(format!("support-{}", Uuid::new_v4()));
        let failed = |error: &dyn std::error::Error| {
            tracing::warn!(error = error_chain(error), "Support bundle not made");
            Status::internal(format!("the support bundle cannot be made: {error}"))
        };
        files::create_dir(&directory, 0o700).map_err(|error| failed(&error))?;
        let made = to_directory(&self.config, &directory).await;
        let opened = match &made {
            Ok((path, _)) => tokio::fs::File::open(path).await.map_err(|error| failed(&error)),
            Err(error) => Err(failed(error)),
        };
        // Its memory is given back when the file is closed.
        if let Err(error) = files::remove_tree(&directory) {
            tracing::warn!(
                error = error_chain(&error),
                "What a support bundle left cannot be removed"
            );
        }
        let (mut file, name) = match (opened, made) {
            (Ok(file), Ok((path, _))) => {
                let name = path.file_name().unwrap_or_default();
                (file, name.to_string_lossy().into_owned())
            }
            (Err(status), _) => return Err(status),
            (_, Err(error)) => return Err(failed(&error)),
        };
        Ok(async_stream::stream! {
            let _turn = permit;
            let mut name = name;
            loop {
                let mut piece = Vec::with_capacity(MAX_PIECE);
                let read: io::Result<usize> = (&mut file).take(MAX_PIECE as u64).read_to_end(&mut piece).await;
                match read {
                    Ok(0) => return,
                    Ok(_) => yield Ok((std::mem::take(&mut name), Bytes::from(piece))),
                    Err(error) => {
                        yield Err(Status::internal(format!("the support bundle cannot be read: {error}")));
                        return;
                    }
                }
            }
        })
    }
}
