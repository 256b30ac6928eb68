//! Backup configurations.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use satellite_proto::wire::backup::v1::Encryption;
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, run, to_the_end, wire_time};
use crate::app::App;
use crate::app::configurations::{Configurations, Shown, preview};
use crate::app::passphrases;
use crate::language::Language;
use crate::plan::configuration::{self as plan, Configuration, DIRECTORY, Kind};
use crate::plan::retention::Retention;
use crate::plan::schedule::{CatchUp, Every, Schedule, Zone};

/// The service.
#[derive(Debug, Clone)]
pub struct ConfigurationApi {
    app: App,
    configurations: Configurations,
}

impl ConfigurationApi {
    /// The service over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            configurations: Configurations::new(app.clone()),
            app,
        }
    }
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn schedule_of(schedule: Option<wire::Schedule>) -> Result<Schedule, Status> {
    let schedule = schedule.unwrap_or_default();
    let catch_up = match schedule.catch_up() {
        wire::CatchUp::Unspecified | wire::CatchUp::Once => CatchUp::Once,
        wire::CatchUp::Skip => CatchUp::Skip,
    };
    let every = match schedule.every.as_str() {
        "" => Every::Manual,
        text => text.parse().map_err(invalid)?,
    };
    let time_zone: Zone = match schedule.time_zone.as_str() {
        "" => Zone::of_this_machine(),
        name => name.parse().map_err(invalid)?,
    };
    let start = match schedule.start.as_str() {
        "" => to_the_minute(time_zone.zone()),
        text => text.parse().map_err(|_| {
            invalid(format!(
                "{text:?} is no date and time: write for example 2026-11-22T02:00"
            ))
        })?,
    };
    Ok(Schedule {
        every,
        start,
        time_zone,
        catch_up,
    })
}

fn to_the_minute(zone: &TimeZone) -> jiff::civil::DateTime {
    let now = Zoned::new(Timestamp::now(), zone.clone()).datetime();
    now.with().second(0).subsec_nanosecond(0).build().unwrap_or(now)
}

/// A configuration as the wire has it, read.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn configuration_of(app: &App, one: Option<wire::Configuration>) -> Result<Configuration, Status> {
    let one = one.ok_or_else(|| Status::invalid_argument("`configuration` is missing"))?;
    let kind = match one.kind() {
        wire::ConfigurationKind::Unspecified | wire::ConfigurationKind::Backup => Kind::Backup,
        wire::ConfigurationKind::Archiving => Kind::Archiving,
    };
    let language = match one.language.as_str() {
        "" => Language::default(),
        code => Language::from_code(code)
            .ok_or_else(|| invalid(format!("there is no language {code:?}: use en, de, fr or it")))?,
    };
    let report_to = one
        .report_to
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty());
    let retention = one.retention.unwrap_or_default();
    Ok(Configuration {
        name: one.name.parse().map_err(invalid)?,
        kind,
        central: one.central,
        report_to: report_to.map(str::to_owned).collect(),
        language,
        schedule: schedule_of(one.schedule)?,
        data_sets: one.data_sets,
        destinations: one.destinations,
        retention: Retention {
            last: retention.last,
            daily: retention.daily,
            weekly: retention.weekly,
            monthly: retention.monthly,
            yearly: retention.yearly,
            max_bytes: retention.max_bytes,
        },
        directory: if one.directory.is_empty() {
            DIRECTORY.to_owned()
        } else {
            one.directory
        },
        older_than_days: one.older_than_days,
        enabled: !one.disabled,
        encryption: encryption_of(app, one.encryption, one.keeps_passphrase)?,
    })
}

/// Least characters of a passphrase: whoever has a copy may try as long as he likes.
const LEAST_PASSPHRASE: usize = 16;

fn encryption_of(
    app: &App,
    given: Option<Encryption>,
    keeps_passphrase: bool,
) -> Result<plan::Encryption, Status> {
    let given = given.unwrap_or_default();
    let passphrase = given.passphrase.map(|secret| secret.value).unwrap_or_default();
    if (1..LEAST_PASSPHRASE).contains(&passphrase.chars().count()) {
        return Err(invalid(format!(
            "the passphrase has fewer than {LEAST_PASSPHRASE} characters: whoever has a copy may try as long as he likes"
        )));
    }
    let sealed_passphrase = match passphrase.as_str() {
        "" => String::new(),
        text => passphrases::seal(app, text)?,
    };
    Ok(plan::Encryption {
        keeps_passphrase: keeps_passphrase && sealed_passphrase.is_empty(),
        recipients: given.recipients,
        sealed_passphrase,
    })
}

fn schedule_told(schedule: &Schedule) -> wire::Schedule {
    let catch_up = match schedule.catch_up {
        CatchUp::Once => wire::CatchUp::Once,
        CatchUp::Skip => wire::CatchUp::Skip,
    };
    wire::Schedule {
        every: schedule.every.to_string(),
        start: schedule.start.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        time_zone: schedule.time_zone.name().to_owned(),
        catch_up: catch_up.into(),
    }
}

/// A configuration as the wire has it: also for the command line, which reads it from a file.
impl From<Configuration> for wire::Configuration {
    fn from(one: Configuration) -> Self {
        let kind = run::kind_told(one.kind);
        Self {
            name: one.name.to_string(),
            kind: kind.into(),
            central: one.central,
            report_to: one.report_to.join(", "),
            language: one.language.code().to_owned(),
            schedule: Some(schedule_told(&one.schedule)),
            data_sets: one.data_sets,
            destinations: one.destinations,
            retention: Some(wire::Retention {
                last: one.retention.last,
                daily: one.retention.daily,
                weekly: one.retention.weekly,
                monthly: one.retention.monthly,
                yearly: one.retention.yearly,
                max_bytes: one.retention.max_bytes,
            }),
            directory: one.directory,
            older_than_days: one.older_than_days,
            disabled: !one.enabled,
            keeps_passphrase: !one.encryption.sealed_passphrase.is_empty(),
            encryption: (!one.encryption.recipients.is_empty()).then_some(Encryption {
                recipients: one.encryption.recipients,
                passphrase: None,
            }),
        }
    }
}

fn told(shown: Shown) -> wire::StoredConfiguration {
    wire::StoredConfiguration {
        next_due_time: shown.row.next_due.map(wire_time),
        create_time: Some(wire_time(shown.row.created_at)),
        update_time: Some(wire_time(shown.row.updated_at)),
        configuration: Some(wire::Configuration::from(shown.row.configuration)),
        last_run: shown.last_run.map(run::told),
    }
}

#[tonic::async_trait]
impl wire::configuration_service_server::ConfigurationService for ConfigurationApi {
    async fn put_configuration(
        &self,
        request: Request<wire::PutConfigurationRequest>,
    ) -> Result<Response<wire::PutConfigurationResponse>, Status> {
        let actor = actor(&request)?;
        let wire::PutConfigurationRequest {
            configuration,
            replace,
        } = request.into_inner();
        let subject = configuration
            .as_ref()
            .map(|one| one.name.clone())
            .unwrap_or_default();
        let about = (&actor, "ConfigurationService/PutConfiguration", subject.as_str());
        let configuration = asked(&self.app, about, configuration_of(&self.app, configuration)).await?;
        let configurations = self.configurations.clone();
        let row = to_the_end(async move { configurations.put(&actor, configuration, replace).await }).await?;
        let shown = Shown {
            row,
            last_run: None,
            last_result: None,
        };
        Ok(Response::new(wire::PutConfigurationResponse {
            configuration: Some(told(shown)),
        }))
    }

    async fn list_configurations(
        &self,
        _request: Request<wire::ListConfigurationsRequest>,
    ) -> Result<Response<wire::ListConfigurationsResponse>, Status> {
        let configurations = self.configurations.list().await?.into_iter().map(told).collect();
        Ok(Response::new(wire::ListConfigurationsResponse { configurations }))
    }

    async fn delete_configuration(
        &self,
        request: Request<wire::DeleteConfigurationRequest>,
    ) -> Result<Response<wire::DeleteConfigurationResponse>, Status> {
        let actor = actor(&request)?;
        let (configurations, name) = (self.configurations.clone(), request.into_inner().name);
        to_the_end(async move { configurations.remove(&actor, &name).await }).await?;
        Ok(Response::new(wire::DeleteConfigurationResponse {}))
    }

    async fn preview_schedule(
        &self,
        request: Request<wire::PreviewScheduleRequest>,
    ) -> Result<Response<wire::PreviewScheduleResponse>, Status> {
        let wire::PreviewScheduleRequest { schedule, count } = request.into_inner();
        let schedule = schedule_of(schedule)?;
        let count = if count == 0 {
            5
        } else {
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        Ok(Response::new(wire::PreviewScheduleResponse {
            times: preview(&schedule, count).into_iter().map(wire_time).collect(),
            schedule: Some(schedule_told(&schedule)),
        }))
    }
}
