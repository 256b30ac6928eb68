//! New satellites: paired by the code on their console, or joined by a token.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::app::join::{self, Wish};
use crate::app::satellites::{self, Pairing};
use crate::app::{Actor, App, AppError};
use crate::names::{Address, SatelliteName};
use crate::store::TokenRow;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Field, Tone};
use crate::web::text::{common, fleet, machine};

pub(in crate::web) async fn form(ask: Ask) -> Answer {
    Ok(shown(&ask, StatusCode::OK, &html! {}, Faults::default()))
}

/// What is wrong beside which field.
#[derive(Default)]
struct Faults {
    address: String,
    code: String,
    name: String,
}

fn shown(ask: &Ask, status: StatusCode, said: &Markup, faults: Faults) -> Response {
    let content = html! {
        h1 { (ask.say(machine::PAIR)) }
        (said)
        form.card method="post" action="/satellites/pair" {
            (look::token(ask))
            p { (ask.say(machine::PAIR_HOW)) }
            (Field { name: "address", label: ask.say(fleet::ADDRESS), value: ask.form.text("address"),
                hint: ask.say(machine::ADDRESS_HINT), fault: &faults.address, required: true, ..Field::default() }.show())
            (Field { name: "code", label: ask.say(machine::CODE), value: ask.form.text("code"),
                hint: ask.say(machine::CODE_HINT), fault: &faults.code, required: true, ..Field::default() }.show())
            (Field { name: "name", label: ask.say(common::NAME), value: ask.form.text("name"),
                hint: ask.say(machine::NAME_HINT), fault: &faults.name, ..Field::default() }.show())
            (look::tick("bare", "yes", &html! { (ask.say(machine::BARE)) }, ask.form.is_set("bare")))
            div.actions { button.main { (ask.say(machine::PAIR_NOW)) } a href="/satellites" { (ask.say(common::CANCEL)) } }
        }
        p { (ask.say(machine::NOBODY_THERE)) " " a href="/satellites/tokens" { (ask.say(machine::TOKENS)) } }
    };
    look::page_with(ask, status, ask.say(machine::PAIR), &content)
}

pub(in crate::web) async fn pair(ask: Ask) -> Answer {
    let mut faults = Faults::default();
    let address = ask.form.text("address").parse::<Address>();
    let code = ask.form.text("code").parse::<satellite_proto::pairing::Code>();
    let name = named(ask.form.text("name"));
    if address.is_err() {
        faults.address = ask.say(machine::NO_ADDRESS).to_owned();
    }
    if code.is_err() {
        faults.code = ask.say(machine::NO_CODE).to_owned();
    }
    if name.is_err() {
        faults.name = ask.say(machine::NO_NAME).to_owned();
    }
    let (Ok(address), Ok(code), Ok(name)) = (address, code, name) else {
        return Ok(shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &html! {}, faults));
    };
    let subject = name.as_ref().map_or(address.to_string(), ToString::to_string);
    let wish = Pairing {
        address,
        code,
        name,
        workloads: Vec::new(),
        bare: ask.form.is_set("bare"),
    };
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let paired = to_the_end(async move {
        let paired = satellites::pair(&app, wish).await;
        app.audit
            .recorded(&actor, "Web/PairSatellite", &subject, paired)
            .await
    });
    match paired.await {
        Ok(member) => Ok(go(&format!(
            "/satellites/{}?done=paired",
            escaped(member.row.name.as_str())
        ))),
        Err(error) => Ok(shown(
            &ask,
            status_of(&error),
            &look::problem(&ask, &error),
            faults,
        )),
    }
}

/// A name, if one was typed.
fn named(text: &str) -> Result<Option<SatelliteName>, ()> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|_| ())
    }
}

/// Does a change and its audit record to the end, whether the browser waits or not.
pub(in crate::web) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| AppError::machine("end what was begun", error))
        .flatten()
}

pub(in crate::web) async fn tokens(ask: Ask) -> Answer {
    tokens_shown(&ask, StatusCode::OK, &html! {}).await
}

async fn tokens_shown(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let rows = join::list(ask.app()).await?;
    let content = html! {
        h1 { (ask.say(machine::TOKENS)) }
        (said)
        p { (ask.say(machine::TOKENS_WHY)) }
        @if ask.may(Need::ChangeFleet) {
            form.card method="post" action="/satellites/tokens" {
                h2 { (ask.say(machine::MAKE_TOKEN)) }
                (look::token(ask))
                div.row {
                    (Field { name: "name", label: ask.say(common::NAME), value: ask.form.text("name"),
                        hint: ask.say(machine::NAME_HINT), ..Field::default() }.show())
                    (Field { name: "address", label: ask.say(machine::SERVER_ADDRESS), value: ask.form.text("address"),
                        hint: ask.say(machine::SERVER_ADDRESS_HINT), ..Field::default() }.show())
                    (Field { name: "hours", label: ask.say(machine::HOURS), kind: "number", value: "24", ..Field::default() }.show())
                }
                button.main { (ask.say(machine::MAKE_TOKEN)) }
            }
        }
        @if !rows.is_empty() {
            div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(machine::TOKEN)) }
                    th scope="col" { (ask.say(common::STATE)) }
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(common::UNTIL)) }
                    th scope="col" { span.unseen { (ask.say(common::ACTION)) } }
                } }
                tbody { @for row in &rows { (token_row(ask, row)) } }
            } }
        }
    };
    Ok(look::page_with(ask, status, ask.say(machine::TOKENS), &content))
}

fn token_row(ask: &Ask, row: &TokenRow) -> Markup {
    let id = row.id.to_string();
    let (tone, text) = if row.used_by.is_some() {
        (Tone::Quiet, machine::TOKEN_USED)
    } else if row.revoked_at.is_some() {
        (Tone::Quiet, machine::TOKEN_REVOKED)
    } else if row.expires_at <= Timestamp::now() {
        (Tone::Quiet, machine::TOKEN_EXPIRED)
    } else {
        (Tone::Good, machine::TOKEN_OPEN)
    };
    let is_open = tone == Tone::Good;
    let wished = row.wished_name.as_ref().map(ToString::to_string);
    let name = row.satellite.clone().or(wished).unwrap_or_default();
    html! {
        tr {
            th scope="row" { code { (id.get(..8).unwrap_or(&id)) } }
            td data-label=(ask.say(common::STATE)) { (look::badge(tone, ask.say(text))) }
            td data-label=(ask.say(common::NAME)) { (name) }
            td data-label=(ask.say(common::UNTIL)) { (look::moment(ask, Some(row.expires_at))) }
            td.empty { @if is_open && ask.may(Need::ChangeFleet) {
                (look::button(ask, &format!("/satellites/tokens/{id}/revoke"), machine::REVOKE, "danger"))
            } }
        }
    }
}

pub(in crate::web) async fn make_token(ask: Ask) -> Answer {
    let made = wish(&ask).map(|wish| (wish, ask.actor()));
    let made = match made {
        Ok((wish, actor)) => made_by(ask.app().clone(), actor?, wish).await,
        Err(error) => Err(error),
    };
    match made {
        Err(error) => tokens_shown(&ask, status_of(&error), &look::problem(&ask, &error)).await,
        Ok(created) => {
            let said = html! {
                div.note.good role="status" {
                    p { b { (ask.say(machine::TOKEN_ONCE)) } }
                    code.secret { (created.token.to_string()) }
                    @if !created.problem.is_empty() { p { (look::said(&ask, &created.problem)) } }
                }
            };
            tokens_shown(&ask, StatusCode::OK, &said).await
        }
    }
}

fn wish(ask: &Ask) -> Result<Wish, AppError> {
    let invalid = |text: &str| AppError::Invalid(text.to_owned());
    let hours: u64 = ask
        .form
        .text("hours")
        .parse()
        .map_err(|_| invalid("hours must be a number"))?;
    Ok(Wish {
        address: ask.form.text("address").to_owned(),
        name: named(ask.form.text("name")).map_err(|()| invalid(ask.say(machine::NO_NAME)))?,
        workloads: Vec::new(),
        bare: false,
        lifetime: Some(Duration::from_secs(hours.saturating_mul(3600))),
    })
}

async fn made_by(app: App, actor: Actor, wish: Wish) -> Result<join::Created, AppError> {
    to_the_end(async move {
        let made = join::create(&app, &actor, wish).await;
        let subject = made
            .as_ref()
            .map_or(String::new(), |made| format!("token {}", made.row.id));
        app.audit
            .recorded(&actor, "Web/CreateToken", &subject, made)
            .await
    })
    .await
}

pub(in crate::web) async fn revoke_token(ask: Ask) -> Answer {
    let id = ask.param("id").to_owned();
    // What is no id must not reach the audit log: it may be the token itself.
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::NoPage);
    }
    let revoked = join::revoke(ask.app(), &id).await;
    let subject = format!("token {id}");
    let revoked = ask
        .app()
        .audit
        .recorded(&ask.actor()?, "Web/RevokeToken", &subject, revoked)
        .await;
    match revoked {
        Ok(_) => Ok(go("/satellites/tokens?done=revoked")),
        Err(error) => tokens_shown(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}
