//! The network: what is in force, new settings, trying them, and the time in which they must be confirmed.
//!
//! **Invariant:** nothing is changed for good but by the confirmation; whoever does nothing gets the old settings back. All
//! of it works without the daemon.

pub(super) mod fields;

use std::time::Duration;

use super::{
    Flow, Menu,
    dialog::{List, Meant, Word},
    keys::Press,
    page::{Page, Style},
    text::{Language, common as c, network as t},
};
use crate::{
    cli::error_chain,
    network::{Finding, Ipv4, Network, Observed, Open, Settings},
};

/// Typed to keep settings with which the server did not get through.
const KEEP: &str = "KEEP";
/// Columns of the names of facts.
pub(super) const LABEL: usize = 22;

/// How an open change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Kept,
    TakenBack,
}

impl Menu {
    pub(super) async fn change_network(&mut self) -> Flow {
        let network = Network::open(&self.config);
        if let Some(open) = network.open_change() {
            return self.count_down(&network, open).await;
        }
        self.working(c::NETWORK, c::WAIT)?;
        let observed = network.observe().await;
        let entries = vec![self.say(t::CHANGE).to_owned()];
        let list = List::new(self.say(c::NETWORK), entries).rows(now(self.language, &observed), LABEL);
        if self.choose(list).await?.is_none() {
            return Ok(());
        }
        let settings = match network.settings() {
            Ok(settings) => settings,
            Err(error) => {
                self.fail(c::NETWORK, &error_chain(&error)).await?;
                Settings::default()
            }
        };
        let ports = observed.links.iter().filter(|link| link.vlan.is_none());
        let ports: Vec<_> = ports.map(|link| link.name.clone()).collect();
        let mut form = fields::form(self.language, &settings, &ports);
        if settings.ipv4 == Ipv4::Dhcp {
            fields::suggest(&mut form, &observed);
        }
        let language = self.language;
        while self.fill(&mut form, |form| fields::check(language, form)).await? {
            let Ok(wanted) = fields::read(&form) else { continue };
            if wanted == settings {
                self.tell(c::NETWORK, &[c::NOT_CHANGED]).await?;
                return Ok(());
            }
            if self.is_tried(&network, &wanted).await? {
                return self.apply(&network, &wanted).await;
            }
        }
        Ok(())
    }

    /// Whether the settings are to be applied, after what the network said to them.
    async fn is_tried(&mut self, network: &Network, wanted: &Settings) -> Flow<bool> {
        self.working(c::NETWORK, t::PROBING)?;
        let findings = network.probe(wanted).await;
        if findings.is_empty() {
            return Ok(true);
        }
        let list = findings_list(self.language, &findings);
        Ok(self.choose(list).await? == Some(1))
    }

    pub(super) async fn apply(&mut self, network: &Network, wanted: &Settings) -> Flow {
        self.working(c::NETWORK, t::APPLYING)?;
        match network.apply(wanted).await {
            Ok(open) => self.count_down(network, open).await,
            Err(error) => self.fail(c::NETWORK, &error_chain(&error)).await,
        }
    }

    /// Shows how much time is left to confirm, until it is confirmed or taken back.
    async fn count_down(&mut self, network: &Network, open: Open) -> Flow {
        let is_paired = network.is_paired();
        self.screen.forget_typed();
        let ended = loop {
            let Some(now) = network.open_change().filter(|now| now.id == open.id) else {
                break how_it_ended(network, &open);
            };
            let page = count_down_page(self.language, now.remaining.as_secs(), is_paired);
            self.screen.show(&page)?;
            match self.screen.press_within(Duration::from_millis(500)).await? {
                Some(Press::Enter) if !is_paired => {
                    if let Err(error) = network.confirm(open.id).await {
                        self.fail(c::NETWORK, &error_chain(&error)).await?;
                    }
                }
                Some(Press::Char('k' | 'K')) if is_paired => {
                    if self.keeps_anyway(network, &open).await?
                        && let Err(error) = network.keep_without_server(open.id).await
                    {
                        self.fail(c::NETWORK, &error_chain(&error)).await?;
                    }
                }
                Some(Press::Escape) => {
                    self.working(c::NETWORK, c::WAIT)?;
                    if let Err(error) = network.rollback(open.id).await {
                        self.fail(c::NETWORK, &error_chain(&error)).await?;
                    }
                }
                _ => {}
            }
        };
        let text = match ended {
            Ended::Kept => t::KEPT,
            Ended::TakenBack => t::TAKEN_BACK,
        };
        self.tell(c::NETWORK, &[text]).await
    }

    /// Whether the person takes it upon themselves; no, when the time is up meanwhile.
    async fn keeps_anyway(&mut self, network: &Network, open: &Open) -> Flow<bool> {
        let mut question = keep_anyway(self.language);
        loop {
            if network.open_change().is_none_or(|now| now.id != open.id) {
                return Ok(false);
            }
            self.screen.show(&question.page(self.language))?;
            let Some(press) = self.screen.press_within(Duration::from_millis(500)).await? else {
                continue;
            };
            match question.press(press) {
                Meant::Stay => {}
                Meant::Back => return Ok(false),
                Meant::Done(is_meant) => return Ok(is_meant),
            }
        }
    }
}

fn how_it_ended(network: &Network, open: &Open) -> Ended {
    match network.settings() {
        Ok(settings) if settings == open.settings => Ended::Kept,
        _ => Ended::TakenBack,
    }
}

/// What is in force.
pub(super) fn now(language: Language, observed: &Observed) -> Vec<(String, String)> {
    let row = |name, value: String| (language.say(name).to_owned(), value);
    let mut rows = vec![row(t::HOST_NAME, observed.host_name.clone())];
    for link in observed.links.iter().take(4) {
        let state = if link.has_carrier {
            t::LINK_UP
        } else {
            t::LINK_DOWN
        };
        let addresses: Vec<_> = link.reachable().iter().map(ToString::to_string).collect();
        let text = format!(
            "{}, {}, {}",
            link.name,
            link.hardware_address,
            language.say(state)
        );
        rows.push(row(t::PORT, text));
        for address in addresses.into_iter().take(3) {
            rows.push((String::new(), address));
        }
    }
    let list = |values: Vec<String>| {
        if values.is_empty() {
            "-".to_owned()
        } else {
            values.join(", ")
        }
    };
    rows.push(row(
        t::GATEWAY,
        list(observed.gateways.iter().map(ToString::to_string).collect()),
    ));
    rows.push(row(
        t::DNS,
        list(observed.dns.iter().map(ToString::to_string).collect()),
    ));
    rows.push(row(t::NTP, list(observed.ntp.clone())));
    rows
}

/// What was found out, and whether to go on.
pub(super) fn findings_list(language: Language, findings: &[Finding]) -> List {
    let texts = findings
        .iter()
        .take(6)
        .map(|finding| fields::finding_text(language, finding));
    let entries = vec![
        language.say(t::CORRECT).to_owned(),
        language.say(t::APPLY_ANYWAY).to_owned(),
    ];
    List::new(language.say(t::FOUND), entries).intro(texts.collect())
}

/// The time that is left.
pub(super) fn count_down_page(language: Language, seconds: u64, is_paired: bool) -> Page {
    let (foot, text) = if is_paired {
        (t::FOOT_SERVER_CONFIRMS, t::SERVER_CONFIRMS)
    } else {
        (t::FOOT_YOU_CONFIRM, t::YOU_CONFIRM)
    };
    let mut page = Page::new(language.say(c::NETWORK), language.say(foot));
    page.blank();
    page.text(language.say(t::IN_FORCE));
    page.blank();
    page.text(language.say(text));
    page.blank();
    page.styled(
        &language.fill(t::SECONDS_LEFT, &[&seconds.to_string()]),
        Style::Strong,
    );
    page
}

/// The question whether settings are kept that the server did not confirm.
pub(super) fn keep_anyway(language: Language) -> Word {
    Word::new(
        language.say(c::NETWORK),
        vec![language.say(t::KEEP_ANYWAY).to_owned()],
        KEEP,
    )
}
