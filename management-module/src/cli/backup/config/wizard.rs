//! The four steps of the wizard at the terminal, as the web page has them: what, which data, where to, what next.

use jiff::civil::DateTime;
use satellite_proto::wire::management::v1 as pb;

use super::super::super::destination;
use super::super::super::texts::{self, Text};
use super::super::super::{CliError, client, prompt, render};
use super::super::plan;
use super::{Then, retention_told};
use crate::plan::configuration::ConfigurationName;
use crate::plan::schedule::{Every, Zone};

/// Asks what was not said yet, and what to do with it. What is there already is offered first.
pub(super) async fn ask(
    client: &mut client::Client,
    one: &mut pb::Configuration,
    then: Option<Then>,
) -> Result<Then, CliError> {
    central(client, one).await?;
    step(1, texts::STEP_NAME);
    name_and_time(one)?;
    step(2, texts::STEP_DATA);
    data_sets(client, one).await?;
    step(3, texts::STEP_PLACE);
    place(client, one).await?;
    step(4, texts::STEP_OVERVIEW);
    overview(client, one).await?;
    if let Some(then) = then {
        return Ok(then);
    }
    let all = [Then::SaveAndRun, Then::Run, Then::Save];
    let names = [
        texts::SAVE_AND_RUN.say(),
        texts::RUN_ONLY.say(),
        texts::SAVE_ONLY.say(),
    ];
    let chosen = prompt::select(texts::WHAT_NEXT.say(), &names)?;
    all.get(chosen)
        .copied()
        .ok_or_else(|| CliError::said(texts::NOTHING_CHANGED.say()))
}

fn step(number: u32, title: Text) {
    render::note(&format!("\n{number}/4 {}", title.say()));
}

/// The only central, or the one that is chosen.
async fn central(client: &mut client::Client, one: &mut pb::Configuration) -> Result<(), CliError> {
    if !one.central.is_empty() {
        return Ok(());
    }
    let centrals = client
        .backup
        .list_centrals(pb::ListCentralsRequest {})
        .await?
        .into_inner()
        .centrals;
    let names: Vec<_> = centrals
        .iter()
        .map(|central| format!("{} ({})", central.name, central.address))
        .collect();
    let chosen = match names.len() {
        0 => return Err(CliError::said(texts::NO_CENTRAL.say())),
        1 => 0,
        _ => prompt::select(texts::CENTRAL.say(), &names)?,
    };
    one.central = centrals.into_iter().nth(chosen).unwrap_or_default().name;
    Ok(())
}

fn name_and_time(one: &mut pb::Configuration) -> Result<(), CliError> {
    let is_name = |text: &str| {
        text.parse::<ConfigurationName>()
            .map(drop)
            .map_err(|error| error.to_string())
    };
    one.name = prompt::line(texts::NAME.say(), &one.name, is_name)?;
    one.report_to = prompt::line(texts::REPORT_TO.say(), &one.report_to, |_| Ok(()))?;
    let schedule = one.schedule.get_or_insert_default();
    let intervals = [
        (texts::EVERY_DAY, "daily"),
        (texts::EVERY_WEEK, "weekly:"),
        (texts::EVERY_MONTH, "monthly:"),
        (texts::EVERY_HOURS, "h"),
        (texts::EVERY_MANUAL, "manual"),
    ];
    let names: Vec<_> = intervals.iter().map(|(text, _)| text.say()).collect();
    let chosen = prompt::select(texts::INTERVAL.say(), &names)?;
    let (_, form) = intervals
        .get(chosen)
        .copied()
        .unwrap_or((texts::EVERY_MANUAL, "manual"));
    let is_interval = |text: &str| text.parse::<Every>().map(drop).map_err(|error| error.to_string());
    schedule.every = match form {
        "weekly:" => {
            let is_days = |text: &str| is_interval(&format!("weekly:{text}"));
            format!("weekly:{}", prompt::line(texts::WEEKDAYS.say(), "sun", is_days)?)
        }
        "monthly:" => {
            let is_day = |text: &str| is_interval(&format!("monthly:{text}"));
            format!(
                "monthly:{}",
                prompt::line(texts::DAY_OF_MONTH.say(), "1", is_day)?
            )
        }
        "h" => {
            let is_hours = |text: &str| is_interval(&format!("{text}h"));
            format!("{}h", prompt::line(texts::HOURS.say(), "12", is_hours)?)
        }
        other => other.to_owned(),
    };
    if form == "manual" {
        return Ok(());
    }
    let here = Zone::of_this_machine();
    let zone = if schedule.time_zone.is_empty() {
        here.name().to_owned()
    } else {
        schedule.time_zone.clone()
    };
    let is_zone = |text: &str| text.parse::<Zone>().map(drop).map_err(|error| error.to_string());
    schedule.time_zone = prompt::line(texts::TIME_ZONE.say(), &zone, is_zone)?;
    let start = if schedule.start.is_empty() {
        tonight()
    } else {
        schedule.start.clone()
    };
    let is_time = |text: &str| {
        text.parse::<DateTime>()
            .map(drop)
            .map_err(|error| error.to_string())
    };
    schedule.start = prompt::line(texts::START.say(), &start, is_time)?;
    Ok(())
}

/// The next time that the clock shows two in the morning.
fn tonight() -> String {
    let today = jiff::Zoned::now().date();
    let day = today.tomorrow().unwrap_or(today);
    day.at(2, 0, 0, 0).strftime("%Y-%m-%dT%H:%M").to_string()
}

async fn data_sets(client: &mut client::Client, one: &mut pb::Configuration) -> Result<(), CliError> {
    let request = pb::MeasureCentralRequest {
        name: one.central.clone(),
    };
    let sizes = client
        .backup
        .measure_central(request)
        .await?
        .into_inner()
        .data_sets;
    let told = |set: &pb::DataSetSize| {
        let size = render::size(set.size_bytes);
        format!("{}: {} ({size})", set.data_set, set.description)
    };
    let names: Vec<_> = sizes.iter().map(told).collect();
    if sizes.iter().any(|set| set.can_be_large) {
        render::note(texts::CAN_BE_VERY_LARGE.say());
    }
    let chosen: Vec<_> = sizes
        .iter()
        .map(|set| one.data_sets.is_empty() || one.data_sets.contains(&set.data_set))
        .collect();
    let chosen = loop {
        let chosen = prompt::select_several(texts::DATA_SETS.say(), &names, &chosen)?;
        if !chosen.is_empty() {
            break chosen;
        }
        render::note(texts::CHOOSE_ONE.say());
    };
    one.data_sets = chosen
        .into_iter()
        .filter_map(|index| sizes.get(index))
        .map(|set| set.data_set.clone())
        .collect();
    Ok(())
}

async fn place(client: &mut client::Client, one: &mut pb::Configuration) -> Result<(), CliError> {
    let known = destination::all(client).await?;
    let mut names: Vec<_> = known
        .iter()
        .map(|place| format!("{} ({}: {})", place.name, place.kind, place.place))
        .collect();
    names.push(texts::SATELLITE_ONLY.say().to_owned());
    if known.is_empty() {
        render::note(texts::NO_DESTINATION.say());
    }
    let chosen = prompt::select(texts::DESTINATION.say(), &names)?;
    one.destinations = known
        .into_iter()
        .nth(chosen)
        .map(|place| place.name)
        .into_iter()
        .collect();
    Ok(())
}

async fn overview(client: &mut client::Client, one: &pb::Configuration) -> Result<(), CliError> {
    let request = pb::PreviewScheduleRequest {
        schedule: one.schedule.clone(),
        count: 3,
    };
    let preview = client.configuration.preview_schedule(request).await?.into_inner();
    let times: Vec<_> = preview
        .times
        .iter()
        .map(|time| render::time(Some(time)))
        .collect();
    let schedule = preview.schedule.unwrap_or_default();
    let lines = [
        (texts::NAME, one.name.clone()),
        (texts::CENTRAL, one.central.clone()),
        (texts::REPORT_TO, one.report_to.clone()),
        (texts::INTERVAL, schedule.every),
        (texts::START, format!("{} {}", schedule.start, schedule.time_zone)),
        (texts::NEXT_DUE, times.join(", ")),
        (texts::DATA_SETS, one.data_sets.join(", ")),
        (texts::DESTINATIONS, one.destinations.join(", ")),
        (
            texts::RETENTION,
            retention_told(&one.retention.unwrap_or_default()),
        ),
    ];
    let sizes = plan::lines(client, one).await;
    for (name, value) in lines
        .into_iter()
        .chain(sizes)
        .filter(|(_, value)| !value.is_empty())
    {
        render::note(&format!("  {}: {value}", name.say()));
    }
    Ok(())
}
