//! The support bundle: which disk, and what came of it.

use std::time::Duration;

use satellite_host::{
    files,
    usb::{self, Disk},
};

use super::{
    Flow, Menu,
    dialog::List,
    page::{Style, fit},
    text::{Language, common as c, tools as t},
};
use crate::{
    cli::error_chain,
    journal,
    support::{self, Outcome},
};

/// How long writing may take; USB disks can be slow.
const WRITING: Duration = Duration::from_secs(900);

impl Menu {
    pub(super) async fn write_support_bundle(&mut self) -> Flow {
        let disks = usb::disks();
        if disks.is_empty() {
            return self
                .tell(c::SUPPORT, &[t::SUPPORT_INTRO, t::SUPPORT_NO_DISK])
                .await;
        }
        let chosen = self.choose(disk_list(self.language, &disks)).await?;
        let Some(disk) = chosen.and_then(|index| disks.get(index)) else {
            return Ok(());
        };
        self.working(c::SUPPORT, t::SUPPORT_WRITING)?;
        let file = support::outcome_file(&self.config);
        let removed = files::remove(&file);
        let unit = format!("satellite-support@{}.service", disk.device);
        let started = self.units.start(&unit, WRITING).await;
        let outcome = journal::read::<Outcome>(&file).ok().flatten();
        match (outcome, started, removed) {
            (Some(outcome), _, Ok(_)) if outcome.error.is_empty() => {
                let size = (outcome.size / 1024).to_string();
                let text = self
                    .language
                    .fill(t::SUPPORT_DONE, &[&fit(&outcome.file, 70), &size]);
                self.tell_lines(c::SUPPORT, &[text], Style::Plain).await
            }
            (Some(outcome), _, Ok(_)) => self.fail(c::SUPPORT, &outcome.error).await,
            (_, Err(error), _) => self.fail(c::SUPPORT, &error_chain(&error)).await,
            (_, _, Err(error)) => self.fail(c::SUPPORT, &error_chain(&error)).await,
            (None, Ok(()), Ok(_)) => self.fail(c::SUPPORT, "the outcome is not known").await,
        }
    }
}

/// The disks by their makers' names.
pub(super) fn disk_list(language: Language, disks: &[Disk]) -> List {
    let names = disks.iter().map(|disk| {
        let size = disk.size / 1_000_000;
        format!("{}  {}  {size} MB", fit(&disk.device, 16), fit(&disk.model, 30))
    });
    List::new(language.say(c::SUPPORT), names.collect())
        .intro(vec![language.say(t::SUPPORT_INTRO).to_owned()])
}
