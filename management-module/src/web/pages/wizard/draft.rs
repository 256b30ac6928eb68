//! What was typed into the wizard so far, right or wrong, and the configuration that it makes.
//!
//! **Invariant:** pure.

use jiff::civil::{Date, DateTime, Time};

use crate::app::AppError;
use crate::language::Language;
use crate::plan::configuration::{Configuration, ConfigurationName, DIRECTORY, Encryption, Kind};
use crate::plan::retention::Retention;
use crate::plan::schedule::{CatchUp, Every, Schedule, Zone};
use crate::web::form::Form;
use crate::web::text::{Text, plan};

/// The days of the week as schedules name them.
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A configuration on its way.
#[derive(Debug, Clone)]
pub(in crate::web) struct Draft {
    /// The configuration that is changed; empty: a new one.
    pub(super) replaces: String,
    pub(super) name: String,
    pub(super) central: String,
    pub(super) report_to: String,
    pub(super) language: String,
    pub(super) interval: String,
    pub(super) hours: String,
    pub(super) days: Vec<String>,
    pub(super) month_day: String,
    pub(super) date: String,
    pub(super) time: String,
    pub(super) zone: String,
    /// None: all that there are.
    pub(super) sets: Option<Vec<String>>,
    pub(super) destinations: Vec<String>,
    pub(super) directory: String,
    pub(super) keep_last: String,
    /// What the wizard does not ask for, of the configuration that is changed.
    rest: Option<Box<Configuration>>,
}

/// What is wrong, beside which field.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(&'static str, Text)>);

impl Faults {
    pub(super) fn add(&mut self, field: &'static str, text: Text) {
        self.0.push((field, text));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with a field; empty if nothing is.
    pub(super) fn of(&self, language: Language, field: &str) -> &'static str {
        let found = self.0.iter().find(|(name, _)| *name == field);
        found.map_or("", |(_, text)| language.say(*text))
    }
}

impl Draft {
    /// An empty one for a central: tonight, each night.
    pub(super) fn new(central: &str, language: &str) -> Self {
        let today = jiff::Zoned::now().date();
        Self {
            replaces: String::new(),
            name: String::new(),
            central: central.to_owned(),
            report_to: String::new(),
            language: language.to_owned(),
            interval: "daily".into(),
            hours: "6".into(),
            days: vec!["mon".into()],
            month_day: "1".into(),
            date: today.tomorrow().unwrap_or(today).to_string(),
            time: "02:00".into(),
            zone: Zone::of_this_machine().to_string(),
            sets: None,
            destinations: Vec::new(),
            directory: DIRECTORY.into(),
            keep_last: String::new(),
            rest: None,
        }
    }

    /// One that changes a configuration.
    pub(super) fn of(plan: &Configuration) -> Self {
        let start = plan.schedule.start;
        let mut draft = Self {
            replaces: plan.name.to_string(),
            name: plan.name.to_string(),
            report_to: plan.report_to.join(", "),
            language: plan.language.code().to_owned(),
            date: start.date().to_string(),
            time: start.time().strftime("%H:%M").to_string(),
            zone: plan.schedule.time_zone.to_string(),
            sets: Some(plan.data_sets.clone()).filter(|sets| !sets.is_empty()),
            destinations: plan.destinations.clone(),
            directory: plan.directory.clone(),
            keep_last: match plan.retention.last {
                0 => String::new(),
                last => last.to_string(),
            },
            rest: Some(Box::new(plan.clone())),
            ..Self::new(&plan.central, "")
        };
        match &plan.schedule.every {
            Every::Manual => draft.interval = "manual".into(),
            Every::Hours(hours) => (draft.interval, draft.hours) = ("hours".into(), hours.to_string()),
            Every::Daily => draft.interval = "daily".into(),
            Every::Weekly(days) => {
                let chosen = DAYS.iter().zip(days).filter(|(_, is_chosen)| **is_chosen);
                draft.days = chosen.map(|(day, _)| (*day).to_owned()).collect();
                draft.interval = "weekly".into();
            }
            Every::Monthly(day) => (draft.interval, draft.month_day) = ("monthly".into(), day.to_string()),
            Every::MonthEnd => (draft.interval, draft.month_day) = ("monthly".into(), "last".into()),
        }
        draft
    }

    /// Takes the fields of a step as they were typed.
    pub(super) fn take(&mut self, step: usize, form: &Form) {
        let text = |name: &str| form.text(name).chars().take(1000).collect::<String>();
        let all = |name: &'static str| form.all(name).map(str::to_owned).collect();
        match step {
            1 => {
                if self.replaces.is_empty() {
                    self.name = text("name");
                }
                if form.is_set("central") {
                    let central = text("central");
                    if central != self.central {
                        (self.central, self.sets) = (central, None);
                    }
                }
                (self.report_to, self.language, self.interval) =
                    (text("report-to"), text("language"), text("interval"));
                (self.hours, self.month_day, self.days) = (text("hours"), text("month-day"), all("day"));
                (self.date, self.time, self.zone) = (text("date"), text("time"), text("zone"));
            }
            2 if form.is_set("sets") => self.sets = Some(all("set")),
            3 if form.is_set("destinations") => {
                self.destinations = all("destination");
                (self.directory, self.keep_last) = (text("directory"), text("keep-last"));
            }
            _ => {}
        }
    }

    /// The interval as schedules write it.
    pub(super) fn every(&self) -> String {
        match self.interval.as_str() {
            "hours" => format!("{}h", self.hours.trim()),
            "weekly" => format!("weekly:{}", self.days.join(",")),
            "monthly" => format!("monthly:{}", self.month_day.trim()),
            other => other.to_owned(),
        }
    }

    fn start(&self) -> Option<DateTime> {
        let date: Date = self.date.parse().ok()?;
        let time: Time = self.time.parse().ok()?;
        Some(date.to_datetime(time))
    }

    fn report_to(&self) -> Vec<String> {
        let all = self.report_to.split([',', ';', ' ']);
        all.filter(|one| !one.is_empty()).map(str::to_owned).collect()
    }

    /// What is wrong with a step.
    pub(super) fn faults(&self, step: usize) -> Faults {
        let mut faults = Faults::default();
        match step {
            1 => {
                if self.name.parse::<ConfigurationName>().is_err() {
                    faults.add("name", plan::NO_NAME);
                }
                let looks_like = |one: &String| one.split('@').filter(|part| !part.is_empty()).count() == 2;
                if !self.report_to().iter().all(looks_like) {
                    faults.add("report-to", plan::NO_ADDRESS);
                }
                if self.every().parse::<Every>().is_err() {
                    let field = match self.interval.as_str() {
                        "hours" => "hours",
                        "monthly" => "month-day",
                        _ => "interval",
                    };
                    faults.add(field, plan::NO_INTERVAL);
                }
                if self.date.parse::<Date>().is_err() {
                    faults.add("date", plan::NO_DATE);
                }
                if self.time.parse::<Time>().is_err() {
                    faults.add("time", plan::NO_TIME);
                }
                if self.zone.parse::<Zone>().is_err() {
                    faults.add("zone", plan::NO_ZONE);
                }
            }
            2 if self.sets.as_ref().is_some_and(Vec::is_empty) => {
                faults.add("set", crate::web::text::backup::NO_DATA_SET)
            }
            3 => {
                if self.directory.parse::<ConfigurationName>().is_err() {
                    faults.add("directory", plan::NO_DIRECTORY);
                }
                if !self.keep_last.is_empty() && self.keep_last.parse::<u32>().is_err() {
                    faults.add("keep-last", plan::NO_NUMBER);
                }
            }
            _ => {}
        }
        faults
    }

    /// The configuration that all of it makes.
    pub(super) fn configuration(&self) -> Result<Configuration, AppError> {
        let invalid = |text: String| AppError::Invalid(text);
        let rest = self.rest.as_deref();
        let schedule = Schedule {
            every: self
                .every()
                .parse()
                .map_err(|error: crate::plan::schedule::NotASchedule| invalid(error.to_string()))?,
            start: self
                .start()
                .ok_or_else(|| invalid("start date or time are not right".into()))?,
            time_zone: self
                .zone
                .parse()
                .map_err(|error: crate::plan::schedule::NotASchedule| invalid(error.to_string()))?,
            catch_up: rest.map_or(CatchUp::default(), |rest| rest.schedule.catch_up),
        };
        Ok(Configuration {
            name: self
                .name
                .parse()
                .map_err(|error: crate::plan::configuration::NotAConfigurationName| {
                    invalid(error.to_string())
                })?,
            kind: rest.map_or(Kind::default(), |rest| rest.kind),
            central: self.central.clone(),
            report_to: self.report_to(),
            language: Language::from_code(&self.language).unwrap_or_default(),
            schedule,
            data_sets: self.sets.clone().unwrap_or_default(),
            destinations: self.destinations.clone(),
            retention: Retention {
                last: self.keep_last.parse().unwrap_or(0),
                ..rest.map_or(Retention::default(), |rest| rest.retention)
            },
            directory: self.directory.clone(),
            older_than_days: rest.map_or(0, |rest| rest.older_than_days),
            enabled: rest.is_none_or(|rest| rest.enabled),
            encryption: rest.map_or(Encryption::default(), |rest| rest.encryption.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Draft {
        let mut draft = Draft::new("pbx", "de");
        let form = "name=Nightly&report-to=a@example.com,+b@example.com&language=de&interval=weekly&day=mon&day=thu&hours=6\
                    &month-day=1&date=2026-12-01&time=02:30&zone=Europe/Zurich";
        draft.take(1, &Form::parse(form.as_bytes()));
        draft.take(2, &Form::parse(b"sets=chosen&set=core"));
        draft.take(
            3,
            &Form::parse(b"destinations=chosen&destination=nas&directory=starface-backup&keep-last=7"),
        );
        draft
    }

    #[test]
    fn what_is_typed_makes_a_configuration_and_comes_back_from_it() {
        let draft = full();
        assert!((1..=3).all(|step| draft.faults(step).is_empty()));
        let plan = draft.configuration().unwrap();
        assert_eq!(plan.schedule.every.to_string(), "weekly:mon,thu");
        assert_eq!(plan.report_to, ["a@example.com", "b@example.com"]);
        assert_eq!((plan.retention.last, plan.language), (7, Language::De));
        assert_eq!(Draft::of(&plan).configuration().unwrap(), plan);
    }

    #[test]
    fn what_is_wrong_is_told_beside_its_field_and_stays_typed() {
        let mut draft = full();
        let form = "name=a/b&report-to=nobody&interval=monthly&month-day=40&date=soon&time=25:00&zone=Mars";
        draft.take(1, &Form::parse(form.as_bytes()));
        let faults = draft.faults(1);
        for field in ["name", "report-to", "month-day", "date", "time", "zone"] {
            assert!(!faults.of(Language::En, field).is_empty(), "{field}");
        }
        assert_eq!((draft.name.as_str(), draft.zone.as_str()), ("a/b", "Mars"));
        assert_eq!(
            draft.sets.as_deref(),
            Some(&["core".to_owned()][..]),
            "other steps are as they were"
        );
        draft.take(2, &Form::parse(b"sets=chosen"));
        assert!(!draft.faults(2).is_empty());
    }
}
