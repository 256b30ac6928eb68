//! `satellite logs`

mod reader;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use satellite_proto::wire::bridge::v1::{FetchLogsRequest as Query, LogFormat, LogSource, LogSourceKind};
use satellite_proto::wire::management::v1::{FetchLogsRequest, ListLogSourcesRequest, ListSatellitesRequest};
use serde::Serialize;

use self::reader::Reader;
use super::texts::Text;
use super::{CliError, Global, Output, client, render, texts};
use crate::app::logs::lines::{Lines, PRIORITIES, Style};
use crate::app::logs::merge::Merge;

/// Stands for all satellites.
const ALL: &str = "all";

/// Lines of a satellite that wait to be merged.
const AHEAD: usize = 1024;

/// What to read.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Name of the satellite; several divided by commas, or `all`: their lines come in the order of their times.
    satellite: String,
    /// List the sources instead.
    #[arg(long, conflicts_with_all = ["source", "from", "since", "until", "priority", "lines", "follow", "output_file"])]
    list: bool,
    /// Source, as `--list` names it; without it the bridge.
    source: Option<String>,
    /// The same as an option.
    #[arg(long = "source", value_name = "SOURCE", conflicts_with = "source")]
    from: Option<String>,
    /// Not older than this: a time such as 2026-11-22T04:00:00Z, or how long ago, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not younger than this.
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// At least this urgent: 0 to 7, or emerg, alert, crit, err, warning, notice, info, debug.
    #[arg(long, value_parser = priority)]
    priority: Option<u32>,
    /// Only the last so many lines.
    #[arg(long, short = 'n')]
    lines: Option<u64>,
    /// Go on with new lines until interrupted, also after the satellite was away.
    #[arg(long, short)]
    follow: bool,
    /// Write the lines into this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct SourceView {
    name: String,
    kind: Text,
    size_bytes: u64,
    modify_time: String,
    description: String,
}

impl From<LogSource> for SourceView {
    fn from(source: LogSource) -> Self {
        let kind = match source.kind() {
            LogSourceKind::Unspecified => texts::UNKNOWN,
            LogSourceKind::Unit => texts::SOURCE_UNIT,
            LogSourceKind::File => texts::SOURCE_FILE,
            LogSourceKind::Kernel => texts::SOURCE_KERNEL,
            LogSourceKind::System => texts::SOURCE_SYSTEM,
        };
        Self {
            kind,
            modify_time: render::time(source.modify_time.as_ref()),
            name: source.name,
            size_bytes: source.size_bytes,
            description: source.description,
        }
    }
}

impl Logs {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        if self.list {
            return self.list(global).await;
        }
        let now = SystemTime::now();
        let source = self.source.clone().or(self.from.clone());
        let source = source.unwrap_or_else(|| "bridge".to_owned());
        let style = match global.output {
            Output::Table => Style::of(&source),
            Output::Json => Style::AsTheyAre,
        };
        let query = Query {
            source,
            since: self.since.as_deref().map(|text| moment(text, now)).transpose()?,
            until: self.until.as_deref().map(|text| moment(text, now)).transpose()?,
            max_priority: self.priority,
            lines: self.lines.unwrap_or_default(),
            cursor: String::new(),
            follow: self.follow,
            format: if global.output == Output::Json {
                LogFormat::Json
            } else {
                LogFormat::Text
            }
            .into(),
        };
        let mut client = client::connect(global).await?;
        let names = names(&mut client, &self.satellite).await?;
        if self.follow || names.len() > 1 {
            return self.line_by_line(global, client, names, (query, style)).await;
        }
        let request = FetchLogsRequest {
            satellite: self.satellite,
            query: Some(query),
        };
        let mut pieces = client.fleet.fetch_logs(request).await?.into_inner();
        let sink = Sink::open(self.output_file.as_deref())?;
        let mut lines =
            zstd::stream::write::Decoder::new(Lines::new(sink, style)).map_err(CliError::failed)?;
        while let Some(message) = pieces.message().await? {
            let Some(piece) = message.piece else { continue };
            lines
                .write_all(&piece.data)
                .and_then(|()| lines.flush())
                .map_err(CliError::failed)?;
        }
        let sink = lines.into_inner().into_inner().map_err(CliError::failed)?;
        if let Sink::File(file) = sink {
            file.sync_all().map_err(CliError::failed)?;
        }
        Ok(())
    }

    /// The lines of several satellites, or of one that is followed.
    async fn line_by_line(
        self,
        global: &Global,
        client: client::Client,
        names: Vec<String>,
        (query, style): (Query, Style),
    ) -> Result<(), CliError> {
        let mut sink = Sink::open(self.output_file.as_deref())?;
        let is_one = names.len() == 1;
        let width = names.iter().map(String::len).max().unwrap_or_default();
        let sources = names.into_iter().map(|satellite| {
            let (sender, lines) = tokio::sync::mpsc::channel(AHEAD);
            let reader = Reader {
                fleet: client.fleet.clone(),
                satellite: satellite.clone(),
                query: query.clone(),
            };
            tokio::spawn(reader.run(sender));
            (satellite, lines)
        });
        let mut merge = Merge::new(sources.collect(), self.follow);
        while let Some((satellite, line)) = merge.next().await {
            let text = match (global.output, line.strip_prefix('{')) {
                (Output::Json, Some(rest)) if !is_one => format!("{{\"satellite\":\"{satellite}\",{rest}\n"),
                (Output::Json, _) => format!("{line}\n"),
                (Output::Table, _) if is_one => format!("{}\n", style.shown(&line)),
                (Output::Table, _) => format!("{satellite:<width$} {}\n", style.shown(&line)),
            };
            sink.write_all(text.as_bytes()).map_err(CliError::failed)?;
        }
        if let Sink::File(file) = sink {
            file.sync_all().map_err(CliError::failed)?;
        }
        let mut failures = std::mem::take(&mut merge.failures);
        for (satellite, status) in &failures {
            render::note(&format!("{satellite}: {}", status.message()));
        }
        match failures.pop() {
            None => Ok(()),
            Some((_, status)) if is_one => Err(status.into()),
            Some(_) => Err(CliError::Partly(texts::LOGS_LACK.say().to_owned())),
        }
    }

    async fn list(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = ListLogSourcesRequest {
            satellite: self.satellite,
        };
        let sources = client.fleet.list_log_sources(request).await?.into_inner().sources;
        let views: Vec<_> = sources.into_iter().map(SourceView::from).collect();
        let heading = [
            texts::SOURCE,
            texts::KIND,
            texts::SIZE,
            texts::CHANGED,
            texts::DESCRIPTION,
        ];
        render::list(global.output, &views, &heading, |view| {
            let size = if view.size_bytes == 0 {
                String::new()
            } else {
                render::size(view.size_bytes)
            };
            vec![
                view.name.clone(),
                view.kind.say().to_owned(),
                size,
                view.modify_time.clone(),
                view.description.clone(),
            ]
        })
    }
}

/// Where the lines go.
enum Sink {
    Stdout,
    File(File),
}

impl Sink {
    fn open(file: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = file else {
            return Ok(Self::Stdout);
        };
        File::create_new(path).map(Self::File).map_err(|err| {
            CliError::failed(anyhow::Error::new(err).context(format!("cannot make `{}`", path.display())))
        })
    }
}

/// The satellites that are meant.
async fn names(client: &mut client::Client, text: &str) -> Result<Vec<String>, CliError> {
    if text == ALL {
        let all = client.fleet.list_satellites(ListSatellitesRequest {}).await?;
        let all: Vec<_> = all
            .into_inner()
            .satellites
            .into_iter()
            .map(|one| one.name)
            .collect();
        if all.is_empty() {
            return Err(CliError::said("there is no satellite"));
        }
        return Ok(all);
    }
    let mut names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
    names.dedup();
    Ok(names)
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.write(data),
            Self::Stdout => {
                render::bytes(data).map_err(|_| std::io::ErrorKind::WriteZero)?;
                Ok(data.len())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A priority by its number or its name.
fn priority(text: &str) -> Result<u32, String> {
    let numbered = (0..).zip(PRIORITIES);
    numbered
        .into_iter()
        .find(|(number, name)| *name == text || number.to_string() == text)
        .map(|(number, _)| number)
        .ok_or_else(|| format!("it is neither 0 to 7 nor one of {}", PRIORITIES.join(", ")))
}

/// A moment in RFC 3339, or so long before `now`.
pub(super) fn moment(text: &str, now: SystemTime) -> Result<prost_types::Timestamp, CliError> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return now
            .checked_sub(ago)
            .map(prost_types::Timestamp::from)
            .ok_or_else(|| not_a_moment(text));
    }
    let moment: jiff::Timestamp = text.parse().map_err(|_| not_a_moment(text))?;
    Ok(prost_types::Timestamp {
        seconds: moment.as_second(),
        nanos: moment.subsec_nanosecond(),
    })
}

fn not_a_moment(text: &str) -> CliError {
    CliError::Usage(format!(
        "`{text}` is neither a time such as 2026-11-22T04:00:00Z nor a while such as 2h"
    ))
}
