//! Date and time.

use jiff::{Timestamp, civil, tz::TimeZone};
use satellite_host::timedate;

use super::{
    Flow, Menu,
    form::{Field, Form},
    text::{Language, common as c, tools as t},
};
use crate::cli::error_chain;

/// No clock is right that is before this software was made.
const FLOOR: civil::Date = civil::date(2026, 1, 1);

/// What is shown and asked.
pub(super) fn form(language: Language, now: Timestamp, is_synchronised: bool) -> Form {
    let shown = now.to_zoned(TimeZone::UTC);
    let follows = if is_synchronised {
        t::CLOCK_SYNCED
    } else {
        t::CLOCK_NOT_SYNCED
    };
    let intro = vec![
        language.fill(t::CLOCK_NOW, &[&shown.strftime("%Y-%m-%d %H:%M UTC").to_string()]),
        language.say(follows).to_owned(),
    ];
    let fields = vec![
        Field::text(
            t::CLOCK_DATE,
            t::CLOCK_HINT,
            &shown.strftime("%Y-%m-%d").to_string(),
            10,
        ),
        Field::text(
            t::CLOCK_TIME,
            t::CLOCK_HINT,
            &shown.strftime("%H:%M").to_string(),
            5,
        ),
    ];
    Form::new(language.say(c::CLOCK), fields, t::CLOCK_SET).intro(intro)
}

/// Notes what is wrong.
pub(super) fn check(language: Language, form: &mut Form) {
    let [date, time] = form.fields.as_mut_slice() else {
        return;
    };
    date.error = parse_date(&date.value)
        .is_none()
        .then(|| language.say(t::CLOCK_WRONG_DATE).to_owned());
    time.error = parse_time(&time.value)
        .is_none()
        .then(|| language.say(t::CLOCK_WRONG_TIME).to_owned());
}

fn parse_date(text: &str) -> Option<civil::Date> {
    let date = civil::Date::strptime("%Y-%m-%d", text.trim()).ok()?;
    (FLOOR..civil::date(2100, 1, 1)).contains(&date).then_some(date)
}

fn parse_time(text: &str) -> Option<civil::Time> {
    civil::Time::strptime("%H:%M", text.trim()).ok()
}

impl Menu {
    pub(super) async fn set_clock(&mut self) -> Flow {
        let language = self.language;
        let mut form = form(language, Timestamp::now(), timedate::is_synchronised());
        if !self.fill(&mut form, |form| check(language, form)).await? {
            return Ok(());
        }
        let (Some(date), Some(time)) = (parse_date(form.value(0)), parse_time(form.value(1))) else {
            return Ok(());
        };
        let Ok(moment) = date.to_datetime(time).to_zoned(TimeZone::UTC) else {
            return Ok(());
        };
        self.working(c::CLOCK, c::WAIT)?;
        let set = timedate::set(moment.timestamp()).await;
        self.told(c::CLOCK, set.map_err(|error| error_chain(&error)), c::DONE)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_date_and_a_time_that_can_be_are_taken() {
        for (text, is_right) in [
            ("2026-11-30", true),
            (" 2026-11-30 ", true),
            ("2026-02-29", false),
            ("2025-12-31", false),
            ("2100-01-01", false),
            ("30.11.2026", false),
            ("", false),
        ] {
            assert_eq!(parse_date(text).is_some(), is_right, "{text}");
        }
        for (text, is_right) in [
            ("14:30", true),
            ("00:00", true),
            ("24:00", false),
            ("1430", false),
            ("", false),
        ] {
            assert_eq!(parse_time(text).is_some(), is_right, "{text}");
        }
    }
}
