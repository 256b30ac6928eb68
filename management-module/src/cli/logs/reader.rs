//! Reads a log line by line; one that is followed goes on after the satellite, its daemon or the connection was away.

use std::io::Write as _;
use std::time::Duration;

use satellite_proto::wire::bridge::v1::FetchLogsRequest as Query;
use satellite_proto::wire::management::v1::FetchLogsRequest;
use satellite_proto::wire::management::v1::fleet_service_client::FleetServiceClient;
use tokio::sync::mpsc::Sender;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::app::logs::lines::take_lines;
use crate::cli::render;

/// The longest first wait, and the longest of all, before a log that was cut is asked for again.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// Whose log is read, and how.
pub(super) struct Reader {
    pub(super) fleet: FleetServiceClient<Channel>,
    pub(super) satellite: String,
    pub(super) query: Query,
}

/// How reading ended.
enum End {
    /// There is no more.
    Whole,
    /// Nobody listens any more.
    Unheard,
    /// It was cut.
    Cut(Status),
}

impl Reader {
    /// Sends all lines without their ends, until there are no more; a log that is followed has no end.
    pub(super) async fn run(mut self, lines: Sender<Result<String, Status>>) {
        let (mut attempt, mut was_told, mut has_begun) = (0, false, false);
        loop {
            let mut count = 0_u64;
            let end = match self.once(&lines, &mut count).await {
                Ok(end) => end,
                Err(status) => End::Cut(status),
            };
            if count > 0 {
                (attempt, was_told) = (0, false);
            }
            has_begun |= count > 0;
            match end {
                End::Unheard => return,
                End::Whole if !self.query.follow => return,
                End::Cut(status) if status.code() == Code::OutOfRange && !self.query.cursor.is_empty() => {
                    // What the cursor stands for is gone from the journal: on with what comes now.
                    self.query.cursor.clear();
                    self.query.since = Some(std::time::SystemTime::now().into());
                }
                End::Cut(status) if !self.query.follow || !(has_begun || may_go(&status)) => {
                    let _unheard = lines.send(Err(status)).await;
                    return;
                }
                End::Whole | End::Cut(_) => {}
            }
            if !was_told {
                render::note(&format!(
                    "{}: the log was cut; it goes on when the satellite answers",
                    self.satellite
                ));
                was_told = true;
            }
            tokio::time::sleep(wait(attempt, rand::random())).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn once(&mut self, lines: &Sender<Result<String, Status>>, count: &mut u64) -> Result<End, Status> {
        let request = FetchLogsRequest {
            satellite: self.satellite.clone(),
            query: Some(self.query.clone()),
        };
        let mut pieces = self.fleet.fetch_logs(request).await?.into_inner();
        let broken = |err: std::io::Error| Status::unavailable(format!("the log is damaged: {err}"));
        let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).map_err(broken)?;
        while let Some(message) = pieces.message().await? {
            let Some(piece) = message.piece else { continue };
            decoder
                .write_all(&piece.data)
                .and_then(|()| decoder.flush())
                .map_err(broken)?;
            for line in take_lines(decoder.get_mut()) {
                *count += 1;
                if lines.send(Ok(line)).await.is_err() {
                    return Ok(End::Unheard);
                }
            }
            if !piece.cursor.is_empty() {
                // From here on a new connection goes on.
                self.query.cursor = piece.cursor;
                (self.query.lines, self.query.since) = (0, None);
            }
        }
        let rest = std::mem::take(decoder.get_mut());
        if !rest.is_empty() {
            let line = String::from_utf8_lossy(&rest).into_owned();
            if lines.send(Ok(line)).await.is_err() {
                return Ok(End::Unheard);
            }
        }
        Ok(End::Whole)
    }
}

/// A random part of a ceiling that grows up to the longest.
fn wait(attempt: u32, random: f64) -> Duration {
    let [first, longest] = WAITS;
    let ceiling = first.saturating_mul(2_u32.saturating_pow(attempt)).min(longest);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

/// Whether asking again may help before anything came.
fn may_go(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown
    )
}
