//! `update rollout …`

use std::time::Duration;

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1::steer_rollout_request::Action;
use satellite_proto::wire::management::v1::{
    GetRolloutRequest, ListRolloutsRequest, Rollout as Wire, RolloutTarget, RolloutTerms,
    StartRolloutRequest, SteerRolloutRequest,
};
use serde::Serialize;

use crate::cli::client::Client;
use crate::cli::job::Progress;
use crate::cli::texts::Text;
use crate::cli::{CliError, Global, client, render, texts};

/// How often a rollout that is watched is asked for.
const PERIOD: Duration = Duration::from_millis(500);

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Rollout {
    /// Brings a version of a workload to satellites in waves.
    Start(Start),
    /// Begins no further satellites; those under way end.
    Pause(One),
    /// Lets a rollout go on that was paused or has halted; what failed so far is not counted any more.
    Resume(One),
    /// Ends a rollout; satellites stay as they are.
    Abort(One),
    /// Shows a rollout and its satellites.
    Show(One),
    /// Follows a rollout until it ends, halts or is paused.
    Watch(One),
    /// Lists rollouts, newest first.
    List,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Start {
    /// Name of the workload.
    workload: String,
    /// Version.
    #[arg(long)]
    version: String,
    /// Satellite, can be repeated; without it all that are meant to run the workload.
    #[arg(long, value_name = "NAME")]
    satellite: Vec<String>,
    /// Satellite that comes first, as a canary; can be repeated.
    #[arg(long, value_name = "NAME")]
    first: Vec<String>,
    /// How many satellites come first, as canaries. One that fails halts the rollout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    canary: u32,
    /// Per cent of all that are updated when each further wave has ended.
    #[arg(long, value_name = "PER_CENT", value_delimiter = ',', default_values_t = [10, 50, 100])]
    waves: Vec<u32>,
    /// How many are updated at once.
    #[arg(long, value_name = "N", default_value_t = 10)]
    at_once: u32,
    /// How many are updated at once at one site (`satellite site`); 0: as many as in all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    per_site: u32,
    /// How long a wave is watched before the next one begins, such as `30min`.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    soak: Duration,
    /// Part of the day in which updates begin, such as `22:00-05:00 Europe/Berlin`; without a zone it is UTC.
    #[arg(long, value_name = "HOURS", default_value = "")]
    window: String,
    /// Per cent of all that may fail before the rollout halts by itself.
    #[arg(long, value_name = "PER_CENT", default_value_t = 5)]
    stop_at: u32,
    /// Follow it until it ends.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    /// Id; without it the one that is open, or the newest.
    id: Option<String>,
}

#[derive(Debug, Serialize)]
struct View {
    id: String,
    workload: String,
    version: String,
    state: String,
    problem: String,
    total: u32,
    done: u32,
    failed: u32,
    updating: u32,
    start_time: String,
    update_time: String,
}

impl From<Wire> for View {
    fn from(rollout: Wire) -> Self {
        Self {
            start_time: render::time(rollout.start_time.as_ref()),
            update_time: render::time(rollout.update_time.as_ref()),
            id: rollout.id,
            workload: rollout.workload,
            version: rollout.version,
            state: rollout.state,
            problem: rollout.problem,
            total: rollout.total,
            done: rollout.done,
            failed: rollout.failed,
            updating: rollout.updating,
        }
    }
}

impl View {
    const HEADING: [Text; 8] = [
        texts::ID,
        texts::WORKLOAD,
        texts::VERSION,
        texts::STATE,
        texts::SATELLITES,
        texts::FAILED_COUNT,
        texts::STARTED,
        texts::PROBLEM,
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.workload.clone(),
            self.version.clone(),
            self.state.clone(),
            format!("{} / {}", self.done, self.total),
            self.failed.to_string(),
            self.start_time.clone(),
            self.problem.clone(),
        ]
    }
}

#[derive(Debug, Serialize)]
struct TargetView {
    satellite: String,
    wave: u32,
    site: String,
    state: String,
    problem: String,
    start_time: String,
    end_time: String,
}

impl From<RolloutTarget> for TargetView {
    fn from(target: RolloutTarget) -> Self {
        Self {
            start_time: render::time(target.start_time.as_ref()),
            end_time: render::time(target.end_time.as_ref()),
            satellite: target.satellite,
            wave: target.wave,
            site: target.site,
            state: target.state,
            problem: target.problem,
        }
    }
}

#[derive(Debug, Serialize)]
struct Whole {
    rollout: View,
    satellites: Vec<TargetView>,
}

impl Rollout {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let steer = match self {
            Self::Start(start) => return start.run(global, client).await,
            Self::List => return list(global, client).await,
            Self::Show(one) => return show(global, client, one.id.unwrap_or_default()).await,
            Self::Watch(one) => return watch(global, client, one.id.unwrap_or_default()).await,
            Self::Pause(one) => (one, Action::Pause),
            Self::Resume(one) => (one, Action::Resume),
            Self::Abort(one) => (one, Action::Abort),
        };
        let request = SteerRolloutRequest {
            id: steer.0.id.unwrap_or_default(),
            action: steer.1.into(),
        };
        let answer = client.release.steer_rollout(request).await?.into_inner();
        let view = View::from(answer.rollout.unwrap_or_default());
        render::list(global.output, &[view], &View::HEADING, View::row)
    }
}

impl Start {
    async fn run(self, global: &Global, mut client: Client) -> Result<(), CliError> {
        let soak = u32::try_from(self.soak.as_secs())
            .map_err(|_| CliError::Usage("--soak: so long a time is not possible".to_owned()))?;
        let request = StartRolloutRequest {
            workload: self.workload,
            version: self.version,
            satellites: self.satellite,
            first: self.first,
            terms: Some(RolloutTerms {
                canary: self.canary,
                waves: self.waves,
                at_once: self.at_once,
                per_site: self.per_site,
                soak_seconds: soak,
                stop_at_percent: self.stop_at,
                window: self.window,
            }),
        };
        let answer = client.release.start_rollout(request).await?.into_inner();
        let rollout = answer.rollout.unwrap_or_default();
        if self.wait {
            return watch(global, client, rollout.id).await;
        }
        let view = View::from(rollout);
        render::list(global.output, &[view], &View::HEADING, View::row)
    }
}

async fn list(global: &Global, mut client: Client) -> Result<(), CliError> {
    let all = client.release.list_rollouts(ListRolloutsRequest {}).await?;
    let views: Vec<_> = all.into_inner().rollouts.into_iter().map(View::from).collect();
    render::list(global.output, &views, &View::HEADING, View::row)
}

async fn show(global: &Global, mut client: Client, id: String) -> Result<(), CliError> {
    let answer = client
        .release
        .get_rollout(GetRolloutRequest { id })
        .await?
        .into_inner();
    let whole = Whole {
        rollout: View::from(answer.rollout.unwrap_or_default()),
        satellites: answer.targets.into_iter().map(TargetView::from).collect(),
    };
    if global.output == crate::cli::Output::Json {
        return render::one(global.output, &whole, |_| Vec::new());
    }
    render::list(
        global.output,
        std::slice::from_ref(&whole.rollout),
        &View::HEADING,
        View::row,
    )?;
    let heading = [
        texts::SATELLITE,
        texts::WAVE,
        texts::SITE,
        texts::STATE,
        texts::STARTED,
        texts::PROBLEM,
    ];
    render::list(global.output, &whole.satellites, &heading, |target| {
        vec![
            target.satellite.clone(),
            target.wave.to_string(),
            target.site.clone(),
            target.state.clone(),
            target.start_time.clone(),
            target.problem.clone(),
        ]
    })
}

/// Follows a rollout with a bar over all satellites. Ctrl-C leaves it running.
async fn watch(global: &Global, mut client: Client, id: String) -> Result<(), CliError> {
    let mut progress = Progress::default();
    let mut asked = GetRolloutRequest { id };
    let rollout = loop {
        let answer = client.release.get_rollout(asked.clone()).await?.into_inner();
        let rollout = answer.rollout.unwrap_or_default();
        asked.id.clone_from(&rollout.id);
        let ended = rollout.done + rollout.failed;
        let step = format!(
            "{} {}: {} updating, {} failed",
            rollout.workload, rollout.version, rollout.updating, rollout.failed
        );
        progress.set(&step, ended.into(), rollout.total.into(), false);
        if rollout.state != "running" && rollout.updating == 0 {
            break rollout;
        }
        tokio::time::sleep(PERIOD).await;
    };
    progress.finish();
    let (state, problem) = (rollout.state.clone(), rollout.problem.clone());
    let view = View::from(rollout);
    let is_done = state == "done" && view.failed == 0;
    render::list(global.output, &[view], &View::HEADING, View::row)?;
    if is_done {
        return Ok(());
    }
    let text = format!("the rollout is {state}: {problem}; see `update rollout show`");
    Err(if state == "done" {
        CliError::Partly("the rollout is done, and satellites failed; see `update rollout show`".to_owned())
    } else {
        CliError::said(text)
    })
}
