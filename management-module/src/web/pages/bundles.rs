//! Bundles, and bringing their versions to satellites.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt as _;
use maud::{Markup, html};
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::MAX_PIECE;
use tokio::sync::mpsc;

use super::pair::to_the_end;
use crate::app::bundles::{self, Added};
use crate::app::{App, AppError, workloads};
use crate::store::BundleRow;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::{Failure, heading_of, status_of};
use crate::web::live::live;
use crate::web::look;
use crate::web::pages::jobs;
use crate::web::text::{common, fleet, machine, rollout};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(5);

/// Pieces of a file between the connection and the disk.
const AHEAD: usize = 16;

/// How long nothing may come of a file that is sent.
const SILENCE: Duration = Duration::from_secs(60);

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    listed(&ask, StatusCode::OK, &html! {}).await
}

async fn listed(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let rows = ask.app().store.bundles().await?;
    let token = ask.session()?.form_token.as_str();
    let content = html! {
        div.head {
            h1 { (ask.say(common::BUNDLES)) }
            div.actions { a.button href="/rollouts" { (ask.say(rollout::ROLLOUTS)) } }
        }
        (said)
        div data-live="/bundles/events" { (table(ask, &rows)) }
        @if ask.may(Need::ChangeFleet) {
            form.card data-upload="/bundles" data-token=(token) data-failed=(ask.say(machine::UPLOAD_FAILED)) {
                h2 { (ask.say(machine::ADD_BUNDLE)) }
                p { (ask.say(machine::ADD_BUNDLE_HOW)) }
                div.field {
                    label for="file" { (ask.say(machine::FILE)) }
                    input #file type="file" accept=".bundle" required;
                }
                progress hidden aria-label=(ask.say(common::PROGRESS)) {}
                p.fault role="status" {}
                button.main { (ask.say(machine::ADD_BUNDLE)) }
                noscript { p { (ask.say(machine::NEEDS_SCRIPT)) } }
            }
        }
    };
    Ok(look::page_with(ask, status, ask.say(common::BUNDLES), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        Ok(table(&ask, &ask.app().store.bundles().await?).into())
    })
}

fn table(ask: &Ask, rows: &[BundleRow]) -> Markup {
    html! {
        @if rows.is_empty() { p { (ask.say(machine::NO_BUNDLES)) } } @else {
            div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(fleet::WORKLOAD)) }
                    th scope="col" { (ask.say(fleet::VERSION)) }
                    th scope="col" { (ask.say(machine::CHANNEL)) }
                    th scope="col" { (ask.say(machine::ARCHITECTURE)) }
                    th.number scope="col" { (ask.say(common::SIZE)) }
                    th scope="col" { (ask.say(machine::ADDED)) }
                    th scope="col" { span.unseen { (ask.say(common::ACTION)) } }
                } }
                tbody { @for bundle in rows { (row(ask, bundle)) } }
            } }
        }
    }
}

fn row(ask: &Ask, bundle: &BundleRow) -> Markup {
    html! {
        tr {
            th scope="row" { (bundle.workload.as_str()) }
            td data-label=(ask.say(fleet::VERSION)) { (bundle.version.to_string()) }
            td data-label=(ask.say(machine::CHANNEL)) { (bundle.channel) " " span.whole { "#" (bundle.release) } }
            td data-label=(ask.say(machine::ARCHITECTURE)) { (bundle.architecture) }
            td.number data-label=(ask.say(common::SIZE)) { (ask.language.size(bundle.size_bytes)) }
            td data-label=(ask.say(machine::ADDED)) { (look::moment(ask, Some(bundle.added_at))) }
            td.empty { @if ask.may(Need::ChangeFleet) { div.actions {
                a.button href=(in_waves(bundle)) {
                    (ask.say(rollout::IN_WAVES)) span.unseen { " " (bundle.workload.as_str()) " " (bundle.version.to_string()) }
                }
                form method="post" action={ "/bundles/" (escaped(bundle.workload.as_str())) "/push" } {
                    (look::token(ask))
                    input type="hidden" name="version" value=(bundle.version.to_string());
                    button { (ask.say(machine::TO_ALL)) }
                }
            } } }
        }
    }
}

/// Where the version is brought to satellites in waves.
fn in_waves(bundle: &BundleRow) -> String {
    let (workload, version) = (bundle.workload.as_str(), bundle.version.to_string());
    format!(
        "/rollouts/new?workload={}&version={}",
        escaped(workload),
        escaped(&version)
    )
}

/// Takes a file in that our script sends. Answers where to go, or what is wrong, as text.
pub(in crate::web) async fn add(ask: Ask) -> Answer {
    let actor = ask.actor()?;
    let app = ask.app().clone();
    let language = ask.language;
    let Some(body) = ask.take_body() else {
        return Err(Failure::NoPage);
    };
    let added = take(&app, body).await;
    let subject = added.as_ref().map_or(String::new(), |added| {
        format!("{} {}", added.bundle.workload, added.bundle.version)
    });
    let added = app.audit.recorded(&actor, "Web/AddBundle", &subject, added).await;
    let (status, text) = match added {
        Ok(_) => (StatusCode::OK, "/bundles?done=bundle-added".to_owned()),
        Err(error) => {
            let detail = Failure::detail_of(&error).unwrap_or_default();
            let (heading, detail) = (
                language.say(heading_of(&error)),
                language.tell(&detail).to_string(),
            );
            (
                status_of(&error),
                language.fill(common::NAMED, &[heading, &detail]),
            )
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    Ok(response)
}

async fn take(app: &App, body: Body) -> Result<Added, AppError> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let feed = async move {
        let mut pieces = body.into_data_stream();
        loop {
            let cut = |text: &str| AppError::Invalid(format!("the file did not come whole: {text}"));
            let piece = match tokio::time::timeout(SILENCE, pieces.next()).await {
                Ok(None) => return,
                Ok(Some(Ok(mut data))) => {
                    while data.len() > MAX_PIECE {
                        if sender.send(Ok(data.split_to(MAX_PIECE))).await.is_err() {
                            return;
                        }
                    }
                    Ok(data)
                }
                Ok(Some(Err(error))) => Err(cut(&error.to_string())),
                Err(_) => Err(cut("nothing came for a minute")),
            };
            let is_end = piece.is_err();
            if sender.send(piece).await.is_err() || is_end {
                return;
            }
        }
    };
    let (added, ()) = tokio::join!(bundles::add(app, receiver, false), feed);
    added
}

pub(in crate::web) async fn push(ask: Ask) -> Answer {
    let workload: WorkloadName = ask.named("workload")?;
    let version = ask.form.text("version").parse().map_err(|_| Failure::NoPage)?;
    let subject = format!("{workload} {version}");
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let job = to_the_end(async move {
        let job = workloads::push(&app, &workload, Some(version), Vec::new()).await;
        app.audit.recorded(&actor, "Web/PushUpdate", &subject, job).await
    });
    match job.await {
        Ok(job) => jobs::follow(&ask, &job, "/bundles"),
        Err(error) => listed(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}
