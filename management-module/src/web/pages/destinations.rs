//! Where archives are copied to: listed, added, tried, forgotten. Credentials come in and never go out.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination::Kind;

use super::pair::to_the_end;
use crate::app::destinations::{Destinations, DropboxWish, Place, Tried, kind_of, place_of};
use crate::language::step_name;
use crate::store::DestinationRow;
use crate::web::ask::{Answer, Ask, escaped, go, own_place};
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Field, Tone};
use crate::web::text::{Text, backup, common, plan};

/// What can be added: the word in the address, and what people call it.
const KINDS: [(&str, Text); 8] = [
    ("server", plan::KIND_SERVER),
    ("smb", plan::KIND_SMB),
    ("sftp", plan::KIND_SFTP),
    ("dropbox", plan::KIND_DROPBOX),
    ("usb", plan::KIND_USB),
    ("mail", plan::KIND_MAIL),
    ("s3", plan::KIND_S3),
    ("webdav", plan::KIND_WEBDAV),
];

/// A connection to a Dropbox that waits for its code. The verifier is a secret and stays here.
#[derive(Clone)]
pub(in crate::web) struct Waiting {
    name: String,
    app_key: String,
    satellite: String,
    verifier: String,
    url: String,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn kind_name(kind: &str) -> Option<Text> {
    KINDS
        .iter()
        .find(|(word, _)| *word == kind)
        .map(|(_, text)| *text)
}

/// What kind of destination it is, for a person.
pub(in crate::web) fn kind_said<'a>(ask: &Ask, row: &'a DestinationRow) -> &'a str {
    match kind_of(row) {
        // Only the command line adds it.
        "directory" => ask.say(plan::KIND_DIRECTORY),
        kind => kind_name(kind).map_or(kind, |text| ask.say(text)),
    }
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    listed(&ask, StatusCode::OK, &html! {}).await
}

async fn listed(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let rows = Destinations::new(ask.app().clone()).list().await?;
    let content = html! {
        div.head { h1 { (ask.say(plan::DESTINATIONS)) } a.button.main href="/destinations/new" { (ask.say(plan::NEW_DESTINATION)) } }
        (said)
        @if rows.is_empty() { p { (ask.say(plan::NO_DESTINATIONS)) } } @else {
            div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(plan::KIND)) }
                    th scope="col" { (ask.say(plan::PLACE)) }
                    th scope="col" { span.unseen { (ask.say(common::ACTION)) } }
                } }
                tbody { @for row in &rows { (one(ask, row)) } }
            } }
        }
    };
    Ok(look::page_with(
        ask,
        status,
        ask.say(plan::DESTINATIONS),
        &content,
    ))
}

fn one(ask: &Ask, row: &DestinationRow) -> Markup {
    let name = row.name.as_str();
    let kind = kind_said(ask, row);
    html! {
        tr {
            th scope="row" { (name) }
            td data-label=(ask.say(plan::KIND)) { (kind) }
            td data-label=(ask.say(plan::PLACE)) { (place_of(row)) }
            td.empty { div.actions {
                (look::button(ask, &format!("/destinations/{}/test", escaped(name)), plan::TEST, ""))
                (look::button(ask, &format!("/destinations/{}/remove", escaped(name)), plan::FORGET, "danger"))
            } }
        }
    }
}

pub(in crate::web) async fn form(ask: Ask) -> Answer {
    let kind = ask.query.text("kind").to_owned();
    if kind_name(&kind).is_none() {
        return Ok(choose(&ask));
    }
    Ok(shown(
        &ask,
        StatusCode::OK,
        &kind,
        ask.query.text("back"),
        &html! {},
    ))
}

fn choose(ask: &Ask) -> Response {
    let back = escaped(ask.query.text("back"));
    let content = html! {
        h1 { (ask.say(plan::NEW_DESTINATION)) }
        div.tiles { @for (kind, text) in KINDS {
            a.tile href={ "/destinations/new?kind=" (kind) "&back=" (back) } { (ask.say(text)) }
        } }
    };
    look::page(ask, ask.say(plan::NEW_DESTINATION), &content)
}

/// The fields of a kind: name, label, kind of field.
fn fields(kind: &str) -> &'static [(&'static str, Text, &'static str)] {
    match kind {
        "server" => &[("path", backup::DIRECTORY, "text")],
        "smb" => &[
            ("server", plan::SERVER, "text"),
            ("share", plan::SHARE, "text"),
            ("user", plan::USER, "text"),
            ("domain", plan::DOMAIN, "text"),
            ("password", plan::PASSWORD, "password"),
        ],
        "sftp" => &[
            ("server", plan::SERVER, "text"),
            ("port", plan::PORT, "number"),
            ("user", plan::USER, "text"),
            ("password", plan::PASSWORD, "password"),
            ("private-key", plan::PRIVATE_KEY, "area"),
            ("passphrase", plan::PASSPHRASE, "password"),
            ("path", plan::SFTP_PATH, "text"),
        ],
        "dropbox" => &[("app-key", plan::APP_KEY, "text")],
        "usb" => &[("label", plan::USB_LABEL, "text")],
        "mail" => &[
            ("server", plan::SERVER, "text"),
            ("port", plan::PORT, "number"),
            ("user", plan::USER, "text"),
            ("password", plan::PASSWORD, "password"),
            ("from", plan::SENDER, "text"),
            ("to", plan::RECIPIENTS, "text"),
        ],
        "s3" => &[
            ("endpoint", plan::ENDPOINT, "text"),
            ("region", plan::REGION, "text"),
            ("bucket", plan::BUCKET, "text"),
            ("prefix", plan::PREFIX, "text"),
            ("access-key", plan::ACCESS_KEY, "text"),
            ("secret-key", plan::SECRET_KEY, "password"),
            ("authority", plan::AUTHORITY, "area"),
        ],
        _ => &[
            ("url", plan::URL, "text"),
            ("user", plan::USER, "text"),
            ("password", plan::PASSWORD, "password"),
            ("authority", plan::AUTHORITY, "area"),
        ],
    }
}

fn shown(ask: &Ask, status: StatusCode, kind: &str, back: &str, said: &Markup) -> Response {
    let title = kind_name(kind).map_or(kind, |text| ask.say(text));
    let securities = match kind {
        "smb" => vec![(1, plan::SIGNED), (2, plan::ENCRYPTED)],
        "mail" => vec![(1, plan::STARTTLS), (2, plan::TLS), (3, plan::NO_SECURITY)],
        _ => Vec::new(),
    };
    let securities: Vec<_> = securities
        .into_iter()
        .map(|(number, text): (i32, Text)| (number.to_string(), ask.say(text).to_owned()))
        .collect();
    let content = html! {
        h1 { (title) }
        (said)
        form.card method="post" action="/destinations/new" {
            (look::token(ask))
            input type="hidden" name="kind" value=(kind);
            input type="hidden" name="back" value=(own_place(back));
            (Field { name: "name", label: ask.say(common::NAME), value: ask.form.text("name"),
                hint: ask.say(plan::DESTINATION_NAME_HINT), required: true, ..Field::default() }.show())
            @for (name, label, field) in fields(kind) {
                @if *field == "area" {
                    div.field { label for=(name) { (ask.say(*label)) } textarea.code #(name) name=(name) rows="5" spellcheck="false" {} }
                } @else {
                    // A secret that was typed does not come back.
                    (Field { name, label: ask.say(*label), kind: field,
                        value: if *field == "password" { "" } else { ask.form.text(name) },
                        complete: if *field == "password" { "new-password" } else { "off" }, ..Field::default() }.show())
                }
            }
            @if !securities.is_empty() { (look::select("security", ask.say(plan::SECURITY), ask.form.text("security"), &securities)) }
            div.actions { button.main { (ask.say(common::SAVE)) } a href=(own_place(back)) { (ask.say(common::CANCEL)) } }
        }
    };
    look::page_with(ask, status, title, &content)
}

/// What was typed, as the backup-service takes it.
fn place(ask: &Ask, kind: &str) -> Option<Place> {
    let text = |name: &str| ask.form.text(name).to_owned();
    let secret = |name: &str| {
        let value = ask.form.raw(name).to_owned();
        (!value.is_empty()).then_some(pb::Secret { value })
    };
    let number = |name: &str| ask.form.text(name).parse().unwrap_or(0);
    let list = |name: &str| {
        let all = ask.form.text(name).split([',', ';', ' ']);
        all.filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let security = || ask.form.text("security").parse().unwrap_or(1);
    let kind = match kind {
        "server" => return Some(Place::Server(text("path").into())),
        "smb" => Kind::Smb(pb::SmbDestination {
            server: text("server"),
            share: text("share"),
            user: text("user"),
            domain: text("domain"),
            password: secret("password"),
            security: security(),
            ..Default::default()
        }),
        "sftp" => Kind::Sftp(pb::SftpDestination {
            server: text("server"),
            port: number("port"),
            user: text("user"),
            password: secret("password"),
            private_key: secret("private-key"),
            passphrase: secret("passphrase"),
            path: text("path"),
            ..Default::default()
        }),
        "usb" => Kind::Usb(pb::UsbDestination {
            label: text("label"),
            ..Default::default()
        }),
        "mail" => Kind::Mail(pb::MailDestination {
            server: text("server"),
            port: number("port"),
            security: security(),
            user: text("user"),
            password: secret("password"),
            from: text("from"),
            to: list("to"),
            ..Default::default()
        }),
        "s3" => Kind::S3(pb::S3Destination {
            endpoint: text("endpoint"),
            region: text("region"),
            bucket: text("bucket"),
            prefix: text("prefix"),
            access_key: text("access-key"),
            secret_key: secret("secret-key"),
            authority: text("authority"),
        }),
        "webdav" => Kind::Webdav(pb::WebDavDestination {
            url: text("url"),
            user: text("user"),
            password: secret("password"),
            authority: text("authority"),
        }),
        _ => return None,
    };
    Some(Place::Satellite(Box::new(pb::Destination {
        kind: Some(kind),
        ..Default::default()
    })))
}

pub(in crate::web) async fn add(ask: Ask) -> Answer {
    let kind = ask.form.text("kind").to_owned();
    let back = own_place(ask.form.raw("back")).to_owned();
    if kind == "dropbox" {
        return begin_dropbox(&ask, &back).await;
    }
    let place = place(&ask, &kind).ok_or(Failure::NoPage)?;
    let (destinations, actor) = (Destinations::new(ask.app().clone()), ask.actor()?);
    let name = ask.form.text("name").to_owned();
    let added = to_the_end(Box::pin(async move {
        destinations.put(&actor, &name, place, false).await
    }));
    match added.await {
        Ok(_) if back == "/" => Ok(go("/destinations?done=saved")),
        Ok(_) => Ok(go(&back)),
        Err(error) => Ok(shown(
            &ask,
            status_of(&error),
            &kind,
            &back,
            &look::problem(&ask, &error),
        )),
    }
}

async fn begin_dropbox(ask: &Ask, back: &str) -> Answer {
    let app_key = ask.form.text("app-key").to_owned();
    match Destinations::new(ask.app().clone())
        .begin_dropbox(&app_key, "")
        .await
    {
        Err(error) => Ok(shown(
            ask,
            status_of(&error),
            "dropbox",
            back,
            &look::problem(ask, &error),
        )),
        Ok(begun) => {
            let waiting = Waiting {
                name: ask.form.text("name").to_owned(),
                app_key,
                satellite: begun.satellite.to_string(),
                verifier: begun.verifier,
                url: begun.url,
            };
            let id = ask.web.0.dropboxes.add(&ask.user()?.name, waiting);
            Ok(go(&format!("/destinations/dropbox/{id}")))
        }
    }
}

pub(in crate::web) async fn dropbox(ask: Ask) -> Answer {
    let waiting = ask
        .web
        .0
        .dropboxes
        .get(&ask.user()?.name, ask.param("id"))
        .ok_or(Failure::NoPage)?;
    Ok(dropbox_shown(&ask, StatusCode::OK, &waiting, &html! {}))
}

fn dropbox_shown(ask: &Ask, status: StatusCode, waiting: &Waiting, said: &Markup) -> Response {
    // What a satellite answers becomes a link only if it leads to where Dropbox asks people.
    let is_link = waiting.url.starts_with("https://");
    let content = html! {
        h1 { (ask.say(plan::KIND_DROPBOX)) }
        (said)
        form.card method="post" action={ "/destinations/dropbox/" (escaped(ask.param("id"))) } {
            (look::token(ask))
            p { (ask.say(plan::DROPBOX_HOW)) }
            @if is_link { p { a.button href=(waiting.url) target="_blank" rel="noopener noreferrer" { (ask.say(plan::DROPBOX_OPEN)) } } }
            (Field { name: "code", label: ask.say(plan::DROPBOX_CODE), required: true, ..Field::default() }.show())
            div.actions { button.main { (ask.say(plan::CONNECT)) } a href="/destinations" { (ask.say(common::CANCEL)) } }
        }
    };
    look::page_with(ask, status, ask.say(plan::KIND_DROPBOX), &content)
}

pub(in crate::web) async fn finish_dropbox(ask: Ask) -> Answer {
    let author = ask.user()?.name.clone();
    let waiting = ask
        .web
        .0
        .dropboxes
        .get(&author, ask.param("id"))
        .ok_or(Failure::NoPage)?;
    let wish = DropboxWish {
        name: waiting.name.clone(),
        app_key: waiting.app_key.clone(),
        satellite: waiting.satellite.clone(),
        verifier: waiting.verifier.clone(),
        code: ask.form.text("code").to_owned(),
        bytes_per_second: 0,
        replace: false,
    };
    let (destinations, actor) = (Destinations::new(ask.app().clone()), ask.actor()?);
    match to_the_end(Box::pin(async move {
        destinations.finish_dropbox(&actor, wish).await
    }))
    .await
    {
        Ok(_) => {
            ask.web.0.dropboxes.remove(&author, ask.param("id"));
            Ok(go("/destinations?done=saved"))
        }
        Err(error) => Ok(dropbox_shown(
            &ask,
            status_of(&error),
            &waiting,
            &look::problem(&ask, &error),
        )),
    }
}

pub(in crate::web) async fn test(ask: Ask) -> Answer {
    let name = ask.param("name").to_owned();
    let accept = ask.form.text("host-key").to_owned();
    let (destinations, actor, of) = (Destinations::new(ask.app().clone()), ask.actor()?, name.clone());
    let tried = to_the_end(Box::pin(async move {
        destinations.test(&actor, &of, "", &accept).await
    }));
    match tried.await {
        Ok(tried) => listed(&ask, StatusCode::OK, &found(&ask, &name, &tried)).await,
        Err(error) => listed(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}

fn found(ask: &Ask, name: &str, tried: &Tried) -> Markup {
    let steps = &tried.found.steps;
    let is_fine = !steps.is_empty() && steps.iter().all(|step| step.ok);
    let key = tried.found.host_key_fingerprint.as_str();
    let is_unknown = steps.iter().any(|step| {
        step.fault
            .as_ref()
            .is_some_and(|fault| fault.kind() == pb::FaultKind::HostKeyUnknown)
    });
    html! {
        div class=(if is_fine { "note good" } else { "note bad" }) role="status" {
            p { b { (name) ": " (ask.say(if is_fine { plan::TEST_FINE } else { plan::TEST_BAD })) } }
            ul { @for step in steps { li {
                (look::badge(if step.ok { Tone::Good } else { Tone::Bad }, ask.say(if step.ok { common::OK } else { common::FAILED })))
                " " (ask.say(step_name(step.name())))
                @if !step.message.is_empty() { ": " (look::said(ask, &step.message)) }
            } } }
            @if let Some(free) = tried.found.free_bytes { p { (ask.fill(plan::FREE, &[&ask.language.size(free)])) } }
            @if is_unknown && !key.is_empty() {
                form method="post" action={ "/destinations/" (escaped(name)) "/test" } {
                    (look::token(ask))
                    input type="hidden" name="host-key" value=(key);
                    p { (ask.say(plan::HOST_KEY)) " " code { (key) } }
                    button { (ask.say(plan::HOST_KEY_ACCEPT)) }
                }
            }
        }
    }
}

pub(in crate::web) async fn remove(ask: Ask) -> Answer {
    let name = ask.param("name").to_owned();
    let (destinations, actor) = (Destinations::new(ask.app().clone()), ask.actor()?);
    match to_the_end(Box::pin(async move { destinations.remove(&actor, &name).await })).await {
        Ok(()) => Ok(go("/destinations?done=removed")),
        Err(error) => listed(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}
