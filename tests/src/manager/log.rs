//! A log of a satellite, read as it comes.

use satellite_proto::wire::bridge::v1 as pb;
use tonic::Status;

use super::{CALL, local};

/// A log that is being read.
#[expect(missing_debug_implementations, reason = "the decoder has none")]
pub struct LogReader {
    pieces: tonic::Streaming<pb::FetchLogsResponse>,
    decoder: zstd::stream::write::Decoder<'static, Vec<u8>>,
    /// Where another fetch can go on.
    pub cursor: String,
}

impl LogReader {
    pub(super) fn new(pieces: tonic::Streaming<pb::FetchLogsResponse>) -> Result<Self, Status> {
        let decoder = zstd::stream::write::Decoder::new(Vec::new()).map_err(local)?;
        Ok(Self {
            pieces,
            decoder,
            cursor: String::new(),
        })
    }

    /// Reads on until the text so far contains `wanted` or the log ends, and answers the text so far.
    ///
    /// # Errors
    ///
    /// If the stream breaks, or nothing comes for too long.
    pub async fn until(&mut self, wanted: &str) -> Result<String, Status> {
        loop {
            std::io::Write::flush(&mut self.decoder).map_err(local)?;
            let text = String::from_utf8_lossy(self.decoder.get_ref()).into_owned();
            if !wanted.is_empty() && text.contains(wanted) {
                return Ok(text);
            }
            let piece = tokio::time::timeout(CALL, self.pieces.message()).await;
            let piece = piece.map_err(|_| Status::deadline_exceeded(format!("no `{wanted}` in:\n{text}")))?;
            let Some(piece) = piece? else { return Ok(text) };
            std::io::Write::write_all(&mut self.decoder, &piece.data).map_err(local)?;
            if !piece.cursor.is_empty() {
                self.cursor = piece.cursor;
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Errors
    ///
    /// As [`LogReader::until`].
    pub async fn all(&mut self) -> Result<String, Status> {
        self.until("").await
    }
}
