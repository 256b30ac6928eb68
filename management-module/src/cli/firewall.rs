//! `firewall …`

mod always;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use satellite_proto::wire::bridge::v1::{GetFirewallResponse, Rule, RuleCounter, Ruleset};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use crate::app::firewall::document::{self, Document};

use super::{CliError, Global, Output, client, prompt, read_text, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Firewall {
    /// Shows the rules of a satellite, or the chains in force.
    Show(Show),
    /// Shows what `firewall set` would change, and changes nothing. Exit code 1: there is a difference.
    Diff(Diff),
    /// Replaces the operator's rules by those of a document (TOML or JSON); undone by itself if the satellite cannot be reached then.
    Set(Set),
    /// Removes the operator's rules; those of workloads stay.
    Reset(Reset),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name of the satellite.
    satellite: String,
    /// Show the chains in force as iptables and ip6tables print them.
    #[arg(long, visible_alias = "chains", conflicts_with = "document")]
    raw: bool,
    /// Show the operator's rules as a document for `firewall set`.
    #[arg(long)]
    document: bool,
    /// Show how many packets and bytes met each rule since the rules were last changed.
    #[arg(long, conflicts_with_all = ["raw", "document"])]
    counters: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Name of the satellite.
    satellite: String,
    /// The document; `-` reads it from stdin.
    rules: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name of the satellite.
    satellite: String,
    /// The document; `-` reads it from stdin.
    rules: PathBuf,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// Name of the satellite.
    satellite: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct View {
    satellite: String,
    revision: String,
    in_sync: bool,
    open_change_id: String,
    default_in: &'static str,
    default_out: &'static str,
    always: Vec<RuleView>,
    rules: Vec<RuleView>,
    ipv4: Vec<String>,
    ipv6: Vec<String>,
    lines_left_out: u32,
}

#[derive(Debug, Serialize)]
struct RuleView {
    owner: String,
    name: String,
    direction: &'static str,
    protocol: &'static str,
    ports: Vec<String>,
    remotes: Vec<String>,
    action: &'static str,
    comment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    rate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl From<&Rule> for RuleView {
    fn from(rule: &Rule) -> Self {
        Self {
            owner: rule.owner.clone(),
            name: rule.name.clone(),
            direction: document::direction(rule.direction()),
            protocol: document::protocol(rule.protocol()),
            ports: rule.ports.iter().map(document::port_range).collect(),
            remotes: rule.remotes.clone(),
            action: document::action(rule.action()),
            comment: rule.comment.clone(),
            rate: rule.rate_limit.as_ref().map(document::rate).unwrap_or_default(),
            packets: None,
            bytes: None,
        }
    }
}

impl RuleView {
    fn row(&self) -> Vec<String> {
        let any = |list: &[String]| {
            if list.is_empty() {
                texts::ANY.say().to_owned()
            } else {
                list.join(",")
            }
        };
        let action = if self.rate.is_empty() {
            self.action.to_owned()
        } else {
            format!("{} {}", self.action, self.rate)
        };
        vec![
            self.owner.clone(),
            self.name.clone(),
            self.direction.to_owned(),
            self.protocol.to_owned(),
            any(&self.ports),
            any(&self.remotes),
            action,
            self.comment.clone(),
        ]
    }

    fn counted_row(&self) -> Vec<String> {
        let mut row = self.row();
        row.push(
            self.packets
                .map(|packets| packets.to_string())
                .unwrap_or_default(),
        );
        row.push(self.bytes.map(render::size).unwrap_or_default());
        row
    }
}

impl Firewall {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Show(command) => command.run(global).await,
            Self::Diff(command) => command.run(global).await,
            Self::Set(command) => command.run(global).await,
            Self::Reset(command) => command.run(global).await,
        }
    }
}

async fn get(
    client: &mut client::Client,
    satellite: &str,
    counters: bool,
) -> Result<GetFirewallResponse, CliError> {
    let request = pb::GetFirewallRequest {
        satellite: satellite.to_owned(),
        counters,
    };
    Ok(client
        .fleet
        .get_firewall(request)
        .await?
        .into_inner()
        .firewall
        .unwrap_or_default())
}

fn operators(ruleset: &Ruleset) -> Vec<Rule> {
    ruleset
        .rules
        .iter()
        .filter(|rule| rule.owner == "operator")
        .cloned()
        .collect()
}

impl Show {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let firewall = get(&mut client, &self.satellite, self.counters).await?;
        let ruleset = firewall.ruleset.clone().unwrap_or_default();
        if self.document {
            let document = Document::of(&operators(&ruleset), ruleset.default_in(), ruleset.default_out());
            return render::text(&document.to_toml());
        }
        if self.raw && global.output == Output::Table {
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (ipv4, ipv6) = (text(&firewall.ipv4), text(&firewall.ipv6));
            let rest = match firewall.lines_left_out {
                0 => String::new(),
                lines => format!("\n# {lines} lines did not fit into the satellite's answer\n"),
            };
            return render::text(&format!("# iptables -S\n{ipv4}\n# ip6tables -S\n{ipv6}{rest}"));
        }
        let view = View {
            satellite: self.satellite,
            in_sync: firewall.in_sync,
            open_change_id: firewall.open_change.clone().unwrap_or_default().id,
            default_in: document::action(ruleset.default_in()),
            default_out: document::action(ruleset.default_out()),
            always: always::in_force(firewall.ipv4.iter().chain(&firewall.ipv6)),
            rules: counted(&ruleset.rules, self.counters, &firewall.counters),
            revision: firewall.revision,
            ipv4: firewall.ipv4,
            ipv6: firewall.ipv6,
            lines_left_out: firewall.lines_left_out,
        };
        show(global.output, &view, self.counters)
    }
}

/// Rules with what met them, if that was asked for; one that met nothing yet has counters all the same.
fn counted(rules: &[Rule], is_counted: bool, counters: &[RuleCounter]) -> Vec<RuleView> {
    let known: HashMap<_, _> = counters
        .iter()
        .map(|counter| ((counter.owner.as_str(), counter.name.as_str()), counter))
        .collect();
    let each = rules.iter().map(|rule| {
        let counter = known.get(&(rule.owner.as_str(), rule.name.as_str()));
        let of =
            |read: fn(&RuleCounter) -> u64| is_counted.then(|| counter.map_or(0, |counter| read(counter)));
        RuleView {
            packets: of(|counter| counter.packets),
            bytes: of(|counter| counter.bytes),
            ..RuleView::from(rule)
        }
    });
    each.collect()
}

fn show(output: Output, view: &View, is_counted: bool) -> Result<(), CliError> {
    render::one(output, view, |view| {
        vec![
            (texts::SATELLITE, view.satellite.clone()),
            (texts::REVISION, view.revision.clone()),
            (texts::IN_FORCE_AS_SET, texts::yes_no(view.in_sync).to_owned()),
            (texts::OPEN_CHANGE, view.open_change_id.clone()),
        ]
    })?;
    if output == Output::Json {
        return Ok(());
    }
    if !view.in_sync {
        render::warning(texts::NOT_IN_SYNC.say());
    }
    render::text("\n")?;
    let rest = [("in", view.default_in), ("out", view.default_out)].map(|(direction, action)| RuleView {
        owner: "default".to_owned(),
        name: "everything-else".to_owned(),
        direction,
        protocol: "any",
        ports: Vec::new(),
        remotes: Vec::new(),
        action,
        comment: String::new(),
        rate: String::new(),
        packets: None,
        bytes: None,
    });
    let rules: Vec<_> = view.always.iter().chain(&view.rules).chain(&rest).collect();
    let heading = [
        texts::OWNER,
        texts::RULE,
        texts::DIRECTION,
        texts::PROTOCOL,
        texts::PORTS,
        texts::REMOTES,
        texts::ACTION,
        texts::COMMENT,
        texts::PACKETS,
        texts::SIZE,
    ];
    if is_counted {
        return render::list(output, &rules, &heading, |rule| rule.counted_row());
    }
    render::list(output, &rules, &heading[..8], |rule| rule.row())
}

/// Reads a document; every fault is told with its line.
fn read(path: &Path) -> Result<Document, CliError> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(CliError::failed)?
    } else {
        read_text(path)?
    };
    Document::parse(&text).map_err(|faults| {
        let lines = faults
            .iter()
            .map(|(line, fault)| format!("{}:{line}: {fault}", path.display()));
        CliError::Usage(lines.collect::<Vec<_>>().join("\n"))
    })
}

/// What a document would change on a satellite.
async fn changes(
    client: &mut client::Client,
    satellite: &str,
    wanted: &Document,
) -> Result<Vec<String>, CliError> {
    let ruleset = get(client, satellite, false).await?.ruleset.unwrap_or_default();
    let present = Document::of(&operators(&ruleset), ruleset.default_in(), ruleset.default_out());
    Ok(document::difference(&present, wanted))
}

impl Diff {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let wanted = read(&self.rules)?;
        let mut client = client::connect(global).await?;
        let changes = changes(&mut client, &self.satellite, &wanted).await?;
        if global.output == Output::Json {
            render::one(global.output, &changes, |_| Vec::new())?;
        } else {
            render::text(&changes.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        }
        if changes.is_empty() {
            return Ok(());
        }
        Err(CliError::said(texts::RULES_DIFFER.say()))
    }
}

impl Set {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let wanted = read(&self.rules)?;
        let mut client = client::connect(global).await?;
        let changes = changes(&mut client, &self.satellite, &wanted).await?;
        if changes.is_empty() {
            render::note("the rules are like this already");
            return Ok(());
        }
        render::note(changes.join("\n").as_str());
        if !prompt::confirm(&format!("Change the firewall of `{}`?", self.satellite), self.yes)? {
            return Err(CliError::said(texts::NOTHING_CHANGED.say()));
        }
        let request = pb::SetFirewallRequest {
            satellite: self.satellite,
            default_in: wanted.default_in_wire(),
            default_out: wanted.default_out_wire(),
            rules: wanted.rules(),
        };
        let revision = client.fleet.set_firewall(request).await?.into_inner().revision;
        render::note("the rules are in force and confirmed");
        render::word(global.output, "revision", &revision)
    }
}

impl Reset {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        prompt::confirm_loss(
            &format!("Remove the operator's rules of `{}`?", self.satellite),
            self.yes,
        )?;
        let request = pb::ResetFirewallRequest {
            satellite: self.satellite,
        };
        let revision = client.fleet.reset_firewall(request).await?.into_inner().revision;
        render::note("the operator's rules are gone");
        render::word(global.output, "revision", &revision)
    }
}
