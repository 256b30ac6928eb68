//! Logs on the screen, read by this process itself: it needs no daemon.

use std::{io::Write as _, sync::Arc};

use tokio_stream::StreamExt as _;
use zstd::stream::write::Decoder;

use super::{
    Flow, IDLE, Menu, Stop,
    dialog::List,
    pager::{Pager, Wish},
    text::{common, tools as t},
};
use crate::{
    cli::error_chain,
    logs::{self, Logs, Piece, Query, Source},
};

/// Lines that are read before new ones are followed.
const LINES: u64 = 5_000;

impl Menu {
    pub(super) async fn show_logs(&mut self) -> Flow {
        let mut mark = 0;
        loop {
            let logs = Logs::new(Arc::new(logs::on_disk(&self.config)));
            let sources = logs.sources();
            let names = sources.iter().map(|source| self.name_of(source)).collect();
            let list = List::new(self.say(t::LOGS), names).at(mark);
            let Some(chosen) = self.choose(list).await? else {
                return Ok(());
            };
            mark = chosen;
            if let Some(source) = sources.get(chosen) {
                self.read_log(&logs, source).await?;
            }
        }
    }

    async fn read_log(&mut self, logs: &Logs, source: &Source) -> Flow {
        self.working(t::LOGS, common::WAIT)?;
        let query = Query {
            source: source.name.clone(),
            lines: Some(LINES),
            follow: true,
            ..Query::default()
        };
        let mut pieces = match logs.fetch(query).await {
            Ok(pieces) => pieces,
            Err(error) => return self.fail(t::LOGS, &error_chain(&error)).await,
        };
        let mut pager = Pager::new(self.name_of(source));
        let mut text = Unpacked::new()?;
        let mut has_ended = false;
        loop {
            let (_, height) = self.screen.size();
            pager.set_height(height);
            self.screen.show(&pager.page(self.language))?;
            tokio::select! {
                biased;
                press = self.screen.press() => {
                    if pager.press(press?) == Wish::Leave {
                        return Ok(());
                    }
                }
                piece = pieces.next(), if !has_ended => match piece {
                    Some(Ok(piece)) => pager.push(&text.add(&piece)?),
                    Some(Err(error)) => {
                        has_ended = true;
                        pager.end(error_chain(&error));
                    }
                    None => {
                        has_ended = true;
                        pager.end(String::new());
                    }
                },
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {
                    if self.screen.quiet_for() > IDLE {
                        return Err(Stop::Idle);
                    }
                }
            }
        }
    }

    fn name_of(&self, source: &Source) -> String {
        match source.name.as_str() {
            "bridge" => self.say(t::LOG_BRIDGE).to_owned(),
            "kernel" => self.say(t::LOG_KERNEL).to_owned(),
            "system" => self.say(t::LOG_SYSTEM).to_owned(),
            other => other.to_owned(),
        }
    }
}

/// Turns pieces of a compressed stream into text.
struct Unpacked {
    decoder: Decoder<'static, Vec<u8>>,
}

impl Unpacked {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            decoder: Decoder::new(Vec::new())?,
        })
    }

    fn add(&mut self, piece: &Piece) -> std::io::Result<String> {
        self.decoder.write_all(&piece.data)?;
        self.decoder.flush()?;
        let bytes = std::mem::take(self.decoder.get_mut());
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
