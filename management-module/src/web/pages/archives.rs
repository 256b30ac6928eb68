//! Archives: listed, made, fetched, checked, brought back, deleted.

mod members;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use futures_util::StreamExt as _;
use maud::{Markup, html};

pub(in crate::web) use self::members::show as members;
use super::logs::attachment;
use super::pair::to_the_end;
use crate::app::AppError;
use crate::app::backup::{RestoreWish, Stored};
use crate::app::later::{self, Task};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Tone, wire_moment};
use crate::web::pager::Part;
use crate::web::pages::jobs;
use crate::web::text::{backup, common, member};

/// The word that has to be typed before an archive is deleted, in every language the same.
const DELETE: &str = "delete";

/// The tenant of an archive, as people call it.
fn tenant(stored: &Stored) -> &str {
    match stored.archive.tenant.as_str() {
        "" => "default",
        tenant => tenant,
    }
}

/// The archive of the path, if it is the reader's business.
async fn find(ask: &Ask) -> Result<Stored, Failure> {
    let stored = ask.web.backups().find(ask.param("id")).await?;
    let is_own = ask.user()?.may_see_tenant(tenant(&stored));
    if is_own { Ok(stored) } else { Err(Failure::NoPage) }
}

fn place(stored: &Stored) -> String {
    format!("/archives/{}", escaped(&stored.archive.id))
}

/// How often a look is taken: each asks every satellite that has archives.
const EVERY: Duration = Duration::from_secs(15);

/// Problems that are told one by one.
const PROBLEMS: usize = 5;

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    listed(&ask, StatusCode::OK, &html! {}).await
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeBackups, EVERY, |ask: Arc<Ask>| async move {
        Ok(there(&ask, &asked(&ask).await?).into())
    })
}

/// The archives that are the reader's business.
struct There {
    part: Part<Stored>,
    count: u64,
    bytes: u64,
    /// Why archives of some satellites are not listed.
    problems: Vec<String>,
}

async fn asked(ask: &Ask) -> Result<There, Failure> {
    let user = ask.user()?;
    let listed = ask.web.backups().list("").await?;
    let mut own = listed.archives;
    own.retain(|stored| user.may_see_tenant(tenant(stored)));
    Ok(There {
        count: own.len() as u64,
        bytes: own.iter().map(|stored| stored.archive.size_bytes).sum(),
        problems: listed.problems,
        part: Part::asked(ask, own, |stored| {
            let archive = &stored.archive;
            format!("{} {}", archive.file_name, archive.central_address)
        }),
    })
}

async fn listed(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let user = ask.user()?;
    let shown = asked(ask).await?;
    let centrals = ask.web.backups().centrals().await?;
    let centrals: Vec<(String, String)> = centrals
        .into_iter()
        .filter(|central| user.may_see_tenant(&central.tenant))
        .map(|central| (central.name.clone(), central.name))
        .collect();
    let content = html! {
        div.head {
            h1 { (ask.say(common::ARCHIVES)) }
            @if ask.may(Need::RunBackups) && !centrals.is_empty() {
                form.actions method="post" action="/archives/new" {
                    (look::token(ask))
                    input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
                    label.unseen for="central" { (ask.say(backup::CENTRAL)) }
                    select #central name="central" { @for (value, text) in &centrals { option value=(value) { (text) } } }
                    button.main { "+ " (ask.say(backup::BACK_UP_NOW)) }
                }
            }
        }
        (said)
        @if !shown.part.is_empty() { (shown.part.field(ask, "/archives")) }
        div data-live=(shown.part.place("/archives/events")) { (there(ask, &shown)) }
    };
    Ok(look::page_with(ask, status, ask.say(common::ARCHIVES), &content))
}

fn there(ask: &Ask, shown: &There) -> Markup {
    let part = &shown.part;
    let (count, bytes) = (ask.language.number(shown.count), ask.language.size(shown.bytes));
    html! {
        @if ask.may(Need::SeeFleet) { (problems(ask, &shown.problems)) }
        p.soft { (ask.fill(backup::COUNT_AND_SIZE, &[&count, &bytes])) }
        @if part.is_empty() { p { (ask.say(backup::NO_ARCHIVES)) } } @else {
            @if !part.rows.is_empty() { div.sheet { table.stack #archives {
                thead { tr {
                    th scope="col" { (ask.say(backup::FILE_NAME)) }
                    th.number scope="col" { (ask.say(common::SIZE)) }
                    th scope="col" { (ask.say(backup::DATE)) }
                    th scope="col" { (ask.say(backup::FROM)) }
                    th scope="col" { span.unseen { (ask.say(common::ACTION)) } }
                } }
                tbody { @for stored in &part.rows { (row(ask, stored)) } }
            } } }
            (part.steps(ask, "/archives"))
        }
    }
}

/// Why archives of some satellites are not listed: the first ones in words, of a fleet the others by their number.
fn problems(ask: &Ask, problems: &[String]) -> Markup {
    let rest = problems.len().saturating_sub(PROBLEMS);
    html! {
        @for problem in problems.iter().take(PROBLEMS) { div.note.warn { p { (look::said(ask, problem)) } } }
        @if rest > 0 { p { a href="/satellites" { (ask.fill(backup::MORE_PROBLEMS, &[&ask.language.number(rest as u64)])) } } }
    }
}

fn row(ask: &Ask, stored: &Stored) -> Markup {
    let archive = &stored.archive;
    html! {
        tr {
            th scope="row" {
                a href=(place(stored)) { (archive.file_name) }
                @if archive.left_out > 0 { " " (look::badge(Tone::Warn, ask.say(common::PARTLY))) }
            }
            td.number data-label=(ask.say(common::SIZE)) { (ask.language.size(archive.size_bytes)) }
            td data-label=(ask.say(backup::DATE)) { (look::moment(ask, wire_moment(archive.create_time.as_ref()))) }
            td data-label=(ask.say(backup::FROM)) { (archive.central_address) }
            td.empty { @if ask.may(Need::RunBackups) {
                a href={ (place(stored)) "/download" } { (ask.say(common::DOWNLOAD)) span.unseen { " " (archive.file_name) } }
            } }
        }
    }
}

pub(in crate::web) async fn make(ask: Ask) -> Answer {
    let name = ask.form.text("central").to_owned();
    let centrals = ask.web.backups().centrals().await?;
    let user = ask.user()?;
    let is_own = centrals
        .iter()
        .any(|central| central.name == name && user.may_see_tenant(&central.tenant));
    if !is_own {
        return Err(Failure::NoPage);
    }
    let sets: Vec<String> = ask.form.all("set").map(str::to_owned).collect();
    let key: String = ask.form.text("key").chars().take(64).collect();
    let (backups, actor) = (ask.web.backups().clone(), ask.actor()?);
    let begun = to_the_end(Box::pin(
        async move { backups.run(actor, &name, &sets, &key).await },
    ))
    .await;
    match begun {
        Ok(job) => jobs::follow(&ask, &job, "/archives"),
        Err(error) => listed(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    shown(&ask, StatusCode::OK, &stored, &html! {}, "").await
}

async fn shown(ask: &Ask, status: StatusCode, stored: &Stored, said: &Markup, wrong: &str) -> Answer {
    let centrals = targets(ask).await?;
    let archive = &stored.archive;
    let content = html! {
        h1 { (archive.file_name) }
        (said)
        div.columns {
            section.card {
                dl {
                    dt { (ask.say(common::SIZE)) } dd { (ask.language.size(archive.size_bytes)) }
                    dt { (ask.say(backup::DATE)) } dd { (look::moment(ask, wire_moment(archive.create_time.as_ref()))) }
                    dt { (ask.say(backup::FROM)) } dd { (archive.central_address) " (" (archive.central) ")" }
                    dt { (ask.say(backup::TENANT)) } dd { (tenant(stored)) }
                    @if !archive.configuration.is_empty() { dt { (ask.say(backup::CONFIGURATION)) } dd { (archive.configuration) } }
                    dt { (ask.say(backup::SATELLITE)) } dd { (stored.satellite.as_str()) }
                    dt { (ask.say(backup::PATH)) } dd { code.small { (archive.path) } }
                    dt { (ask.say(backup::CHECKED)) } dd { (look::moment(ask, wire_moment(archive.verify_time.as_ref()))) }
                    dt { "SHA-256" } dd { code.small { (archive.sha256) } }
                    @if archive.left_out > 0 {
                        dt { (ask.say(backup::LEFT_OUT)) }
                        dd { (look::badge(Tone::Warn, &ask.language.number(archive.left_out))) }
                    }
                }
            }
            section.card {
                h2 { (ask.say(backup::DATA_SETS)) }
                table {
                    thead { tr { th scope="col" { (ask.say(common::NAME)) } th.number scope="col" { (ask.say(backup::ITEMS)) }
                        th.number scope="col" { (ask.say(common::SIZE)) } } }
                    tbody { @for set in &archive.data_sets { tr {
                        th scope="row" { (set.name) }
                        td.number { (ask.language.number(set.members)) }
                        td.number { (ask.language.size(set.size_bytes)) }
                    } } }
                }
            }
        }
        @if ask.may(Need::RunBackups) { div.actions.card {
            a.button.main href={ (place(stored)) "/download" } { (ask.say(common::DOWNLOAD)) }
            @if ask.may(Need::ChangeBackups) {
                (look::button(ask, &format!("{}/verify", place(stored)), backup::CHECK_NOW, ""))
            }
        } }
        @if ask.may(Need::ChangeBackups) { (changes(ask, stored, wrong, &centrals)) }
    };
    Ok(look::page_with(ask, status, &archive.file_name, &content))
}

/// The centrals onto which data may come back.
async fn targets(ask: &Ask) -> Result<Vec<(String, String)>, Failure> {
    let centrals = ask.web.backups().centrals().await?;
    let named = centrals
        .into_iter()
        .map(|central| (central.name.clone(), central.name));
    Ok(named.collect())
}

fn changes(ask: &Ask, stored: &Stored, wrong: &str, centrals: &[(String, String)]) -> Markup {
    let archive = &stored.archive;
    html! {
        p { a href={ (place(stored)) "/members" } { (ask.say(member::SINGLE)) } }
        details open[wrong == "restore"] {
            summary { (ask.say(backup::RESTORE)) }
            form.card method="post" action={ (place(stored)) "/restore" } {
                (look::token(ask))
                input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
                p { (ask.say(backup::RESTORE_WHAT)) }
                fieldset {
                    legend { (ask.say(backup::DATA_SETS)) }
                    @for set in &archive.data_sets {
                        (look::tick("set", &set.name, &html! { (set.name) " " span.soft { (ask.language.size(set.size_bytes)) } }, true))
                    }
                }
                (restore_to(ask, stored, centrals, wrong == "restore"))
            }
        }
        details open[wrong == "delete"] {
            summary { (ask.say(backup::DELETE)) }
            form.card method="post" action={ (place(stored)) "/delete" } {
                (look::token(ask))
                p { (ask.say(backup::DELETE_WHAT)) }
                (look::typed_word(ask, "delete", DELETE, wrong == "delete"))
                button.danger { (ask.say(backup::DELETE)) }
            }
        }
    }
}

/// Where data comes back to, and the word that has to be typed: the name of the central whose data is at stake.
fn restore_to(ask: &Ask, stored: &Stored, centrals: &[(String, String)], is_wrong: bool) -> Markup {
    let own = stored.archive.central.as_str();
    let chosen = Some(ask.form.text("central")).filter(|chosen| !chosen.is_empty());
    let label = match centrals {
        [_, _, ..] => ask.fill(backup::TYPE_CENTRAL, &[own]),
        _ => ask.fill(common::TYPE_WORD, &[own]),
    };
    html! {
        fieldset {
            legend { (ask.say(backup::WHERE)) }
            label.choice { input type="radio" name="where" value="place" checked data-shows="";
                span { (ask.say(backup::IN_PLACE)) } }
            label.choice { input type="radio" name="where" value="try" data-shows="";
                span { (ask.say(backup::ONLY_TRY)) } }
            label.choice { input type="radio" name="where" value="directory" data-shows="";
                span { (ask.say(backup::IN_DIRECTORY)) } }
        }
        div data-shown-for="directory" {
            (look::Field { name: "directory", label: ask.say(backup::DIRECTORY), value: ask.form.text("directory"),
                hint: ask.say(backup::DIRECTORY_HINT), ..look::Field::default() }.show())
        }
        div data-shown-for="place" {
            (look::select("central", ask.say(backup::ONTO), chosen.unwrap_or(own), centrals))
            (look::tick("overwrite", "yes", &html! { (ask.say(backup::OVERWRITE)) }, false))
            (look::tick("safety", "yes", &html! { (ask.say(backup::SAFETY)) }, true))
        }
        (look::typed(ask, "restore", &label, is_wrong))
        button.danger { (ask.say(backup::RESTORE)) }
    }
}

pub(in crate::web) async fn download(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    let offset = offset(&ask, stored.archive.size_bytes);
    let (stored, mut pieces) = ask
        .web
        .backups()
        .download(&stored.archive.id, offset.unwrap_or(0))
        .await?;
    let name = stored.satellite.clone();
    let data = async_stream::try_stream! {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|status| AppError::remote(name.as_str(), status))?;
            yield piece.data;
        }
    };
    let data: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<bytes::Bytes, AppError>> + Send>> =
        Box::pin(data);
    let mut response = attachment(
        &stored.archive.file_name,
        "application/octet-stream",
        Body::from_stream(data),
    );
    let size = stored.archive.size_bytes;
    let left = size.saturating_sub(offset.unwrap_or(0));
    if let Some(offset) = offset {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {offset}-{}/{size}", size.saturating_sub(1));
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    set(&mut response, header::CONTENT_LENGTH, &left.to_string());
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(
        &mut response,
        header::ETAG,
        &format!("\"{}\"", stored.archive.id.replace(['"', '\\'], "_")),
    );
    ask.app()
        .audit
        .record(
            &ask.actor()?,
            "Web/DownloadArchive",
            &stored.archive.file_name,
            Ok(()),
        )
        .await;
    Ok(response)
}

fn set(response: &mut axum::response::Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Where a download that was cut goes on, if it is asked to: `bytes=N-` only.
fn offset(ask: &Ask, size: u64) -> Option<u64> {
    let range = ask.headers.get(header::RANGE)?.to_str().ok()?;
    let from: u64 = range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    (from > 0 && from < size).then_some(from)
}

pub(in crate::web) async fn verify(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    let id = stored.archive.id.clone();
    let task = Task {
        actor: ask.actor()?,
        action: "Web/VerifyArchive",
        subject: stored.archive.file_name.clone(),
        kind: "verify",
        satellite: stored.satellite.to_string(),
        step: "reading the archive and comparing every digest",
        key: String::new(),
    };
    let (backups, actor) = (ask.web.backups().clone(), ask.actor()?);
    let work = async move { backups.verify(&actor, &id).await };
    let begun = later::begin(ask.app(), task, work).await;
    jobs::begun(&ask, begun, &place(&stored))
}

pub(in crate::web) async fn restore(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    // Single files are restored from a page of their own.
    let is_single = ask.form.is_set("find");
    let paths = if is_single {
        members::ticked(&ask)
    } else {
        Vec::new()
    };
    let in_place = ask.form.text("where") == "place";
    let word = match ask.form.text("central") {
        central if in_place && !central.is_empty() => central,
        _ => stored.archive.central.as_str(),
    };
    if ask.form.text("word") != word {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        if is_single {
            return members::again(&ask, status, &stored, &paths, None).await;
        }
        return shown(&ask, status, &stored, &html! {}, "restore").await;
    }
    let in_directory = ask.form.text("where") == "directory";
    let overwrite = in_place && ask.form.is_set("overwrite");
    let wish = RestoreWish {
        archive: stored.archive.id.clone(),
        directory: in_directory.then(|| ask.form.text("directory").into()),
        data_sets: ask.form.all("set").map(str::to_owned).collect(),
        paths: paths.clone(),
        central: if in_place {
            ask.form.text("central").to_owned()
        } else {
            String::new()
        },
        overwrite,
        test: ask.form.text("where") == "try",
        safety_backup: overwrite && ask.form.is_set("safety"),
        idempotency_key: ask.form.text("key").chars().take(64).collect(),
    };
    let invalid = |text| Err(AppError::Invalid(text));
    let begun = if is_single && paths.is_empty() {
        invalid(ask.say(member::NONE_TICKED).to_owned())
    } else if !is_single && wish.data_sets.is_empty() {
        invalid(ask.say(backup::NO_DATA_SET).to_owned())
    } else if wish
        .directory
        .as_ref()
        .is_some_and(|directory| !directory.is_absolute())
    {
        invalid(ask.say(backup::DIRECTORY_HINT).to_owned())
    } else {
        let (backups, actor) = (ask.web.backups().clone(), ask.actor()?);
        to_the_end(Box::pin(async move { backups.restore(actor, wish).await })).await
    };
    match begun {
        Ok(job) => jobs::follow(&ask, &job, &place(&stored)),
        Err(error) if is_single => {
            let problem = Some(look::problem(&ask, &error));
            members::again(&ask, status_of(&error), &stored, &paths, problem).await
        }
        Err(error) => shown(&ask, status_of(&error), &stored, &look::problem(&ask, &error), "").await,
    }
}

pub(in crate::web) async fn delete(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    if ask.form.text("word") != DELETE {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return shown(&ask, status, &stored, &html! {}, "delete").await;
    }
    let (backups, actor, id) = (ask.web.backups().clone(), ask.actor()?, stored.archive.id.clone());
    match to_the_end(Box::pin(async move { backups.delete(&actor, &id).await })).await {
        Ok(()) => Ok(go("/archives?done=deleted")),
        Err(error) => shown(&ask, status_of(&error), &stored, &look::problem(&ask, &error), "").await,
    }
}
