//! Centrals: what is backed up.

mod way;

use axum::http::StatusCode;
use maud::{Markup, html};

use super::pair::to_the_end;
use crate::app::AppError;
use crate::app::backup::CentralWish;
use crate::store::Central;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Tone};
use crate::web::pager::Part;
use crate::web::text::{account, backup, common};

fn place(central: &Central) -> String {
    format!("/centrals/{}", escaped(&central.name))
}

async fn own(ask: &Ask) -> Result<Vec<Central>, Failure> {
    let user = ask.user()?;
    let mut all = ask.web.backups().centrals().await?;
    all.retain(|central| user.may_see_tenant(&central.tenant));
    Ok(all)
}

async fn find(ask: &Ask) -> Result<Central, Failure> {
    let name = ask.param("name");
    let found = own(ask).await?.into_iter().find(|central| central.name == name);
    found.ok_or(Failure::NoPage)
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let part = Part::asked(&ask, own(&ask).await?, |central: &Central| {
        [
            central.name.as_str(),
            &central.address,
            &central.tenant,
            &central.satellite,
        ]
        .join(" ")
    });
    let content = html! {
        div.head {
            h1 { (ask.say(common::CENTRALS)) }
            @if ask.may(Need::ChangeBackups) { a.button.main href="/centrals/new" { (ask.say(backup::NEW_CENTRAL)) } }
        }
        @if part.is_empty() { p { (ask.say(backup::NO_CENTRALS)) } } @else {
            (part.field(&ask, "/centrals"))
            @if !part.rows.is_empty() { div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(backup::FROM)) }
                    th scope="col" { (ask.say(backup::TENANT)) }
                    th scope="col" { (ask.say(backup::SATELLITE)) }
                } }
                tbody { @for central in &part.rows { tr {
                    th scope="row" {
                        a href=(place(central)) { (central.name) }
                        @if central.is_master { " " (look::badge(Tone::Quiet, ask.say(backup::MASTER))) }
                    }
                    td data-label=(ask.say(backup::FROM)) { (central.address) }
                    td data-label=(ask.say(backup::TENANT)) { (central.tenant) }
                    td data-label=(ask.say(backup::SATELLITE)) { (central.satellite) }
                } } }
            } } }
            (part.steps(&ask, "/centrals"))
        }
    };
    Ok(look::page(&ask, ask.say(common::CENTRALS), &content))
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let central = find(&ask).await?;
    shown(&ask, StatusCode::OK, &central, &html! {}, false).await
}

async fn shown(ask: &Ask, status: StatusCode, central: &Central, said: &Markup, wrong_word: bool) -> Answer {
    let is_stranger = way::is_stranger(central);
    let looked = match is_stranger {
        true => None,
        false => Some(ask.web.sizes(central).await),
    };
    let content = html! {
        h1 { (central.name) }
        (said)
        div.columns {
            section.card {
                dl {
                    dt { (ask.say(account::ROLE)) }
                    dd { (ask.say(if central.is_master { backup::MASTER } else { backup::SECONDARY })) }
                    dt { (ask.say(backup::FROM)) } dd { (central.address) }
                    dt { (ask.say(backup::TENANT)) } dd { (central.tenant) }
                    dt { (ask.say(backup::SATELLITE)) } dd { (central.satellite) }
                    dt { (ask.say(backup::REACHED)) } dd { (way::said(ask, central)) }
                    dt { (ask.say(backup::KNOWN_SINCE)) } dd { (look::moment(ask, Some(central.added_at))) }
                }
                @if ask.may(Need::ChangeBackups) { div.actions {
                    (look::button(ask, &format!("{}/check", place(central)), backup::CHECK_CENTRAL, if is_stranger { "main" } else { "" }))
                    a.button href={ "/centrals/new?of=" (escaped(&central.name)) } { (ask.say(backup::CHANGE_CENTRAL)) }
                    @if !central.is_master {
                        (look::button(ask, &format!("{}/master", place(central)), backup::MAKE_MASTER, ""))
                    }
                } }
            }
            section.card {
                h2 { (ask.say(backup::DATA_SETS)) }
                @match &looked {
                    Some(Err(error)) => { (look::problem(ask, error)) }
                    None => { (look::warning(ask.say(backup::KEY_FIRST))) }
                    Some(Ok(looked)) => {
                    @if let Some(error) = &looked.problem { (look::problem(ask, error)) }
                    @if ask.may(Need::RunBackups) { form method="post" action="/archives/new" {
                        (look::token(ask))
                        input type="hidden" name="central" value=(central.name);
                        input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
                        fieldset {
                            legend.unseen { (ask.say(backup::DATA_SETS)) }
                            @for (set, bytes) in &looked.sets {
                                (look::tick("set", &set.name, &html! {
                                    (set.name) @if let Some(bytes) = bytes { " " span.soft { (ask.language.size(*bytes)) } }
                                }, true))
                            }
                        }
                        button.main { "+ " (ask.say(backup::BACK_UP_NOW)) }
                    } } @else { dl { @for (set, bytes) in &looked.sets {
                        dt { (set.name) } dd { @if let Some(bytes) = bytes { (ask.language.size(*bytes)) } }
                    } } }
                    }
                }
            }
        }
        @if ask.may(Need::SeeFleet) {
            details { summary { (ask.say(backup::PROFILE)) } div.card { pre { (central.profile) } } }
        }
        @if ask.may(Need::ChangeBackups) {
            details open[wrong_word] {
                summary { (ask.say(backup::REMOVE_CENTRAL)) }
                form.card method="post" action={ (place(central)) "/remove" } {
                    (look::token(ask))
                    p { (ask.say(backup::REMOVE_CENTRAL_WHAT)) }
                    (look::typed_word(ask, "remove", &central.name, wrong_word))
                    button.danger { (ask.say(backup::REMOVE_CENTRAL)) }
                }
            }
        }
    };
    Ok(look::page_with(ask, status, &central.name, &content))
}

pub(in crate::web) async fn form(ask: Ask) -> Answer {
    form_shown(&ask, StatusCode::OK, &html! {}).await
}

async fn form_shown(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let places = ask.web.backups().places().await?;
    let names: Vec<_> = places
        .iter()
        .map(|name| (name.to_string(), name.to_string()))
        .collect();
    let of = ask.query.text("of");
    let known = own(ask).await?.into_iter().find(|central| central.name == of);
    let is_typed = ask.form.is_set("profile");
    let (profile, satellite) = match &known {
        Some(known) if !is_typed => (known.profile.as_str(), known.satellite.as_str()),
        _ => (ask.form.raw("profile"), ask.form.text("satellite")),
    };
    let replace = ask.form.is_set("replace") || (known.is_some() && !is_typed);
    let is_first = ask.web.backups().centrals().await?.is_empty();
    let title = match &known {
        Some(known) => format!("{} – {}", known.name, ask.say(backup::CHANGE_CENTRAL)),
        None => ask.say(backup::NEW_CENTRAL).to_owned(),
    };
    let content = html! {
        h1 { (title) }
        (said)
        @if is_first { div.note { p { (ask.say(backup::FIRST_CENTRAL)) } } }
        form.card method="post" action="/centrals/new" {
            (look::token(ask))
            (look::select("satellite", ask.say(backup::SATELLITE), satellite, &names))
            (way::fields(ask, known.as_ref()))
            div.field {
                label for="profile" { (ask.say(backup::PROFILE)) }
                textarea.code #profile name="profile" rows="18" spellcheck="false" required aria-describedby="profile-hint" {
                    "\n" (profile)
                }
                p.hint #profile-hint { (ask.say(backup::PROFILE_HINT)) }
            }
            (look::tick("replace", "yes", &html! { (ask.say(backup::REPLACE)) }, replace))
            div.actions { button.main { (ask.say(common::SAVE)) } a href="/centrals" { (ask.say(common::CANCEL)) } }
        }
    };
    Ok(look::page_with(ask, status, &title, &content))
}

pub(in crate::web) async fn add(ask: Ask) -> Answer {
    let (backups, actor) = (ask.web.backups().clone(), ask.actor()?);
    let reach = match way::typed(&ask) {
        Ok(reach) => reach,
        Err(error) => return form_shown(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    };
    let wish = CentralWish {
        profile: ask.form.raw("profile").replace("\r\n", "\n"),
        satellite: ask.form.text("satellite").to_owned(),
        replace: ask.form.is_set("replace"),
        reach,
    };
    let added = to_the_end(Box::pin(async move { backups.put_central(&actor, wish).await }));
    match added.await {
        Ok(central) => Ok(go(&format!("{}?done=saved", place(&central)))),
        Err(error) => form_shown(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}

/// Looks at the central; with a fingerprint its key is kept if it is that one.
pub(in crate::web) async fn check(ask: Ask) -> Answer {
    let central = find(&ask).await?;
    let (backups, actor, name) = (ask.web.backups().clone(), ask.actor()?, central.name.clone());
    let accept = ask.form.text("host-key").to_owned();
    let checked = to_the_end(Box::pin(async move {
        backups.check_central(&actor, &name, &accept).await
    }));
    let (status, said) = match checked.await {
        Ok(found) => (StatusCode::OK, way::found(&ask, &central, &found)),
        Err(error) => (status_of(&error), look::problem(&ask, &error)),
    };
    ask.web.0.sizes.forget(&central.name);
    // Its key may be confirmed by now.
    let central = find(&ask).await?;
    shown(&ask, status, &central, &said, false).await
}

pub(in crate::web) async fn set_master(ask: Ask) -> Answer {
    let central = find(&ask).await?;
    let (backups, actor, name) = (ask.web.backups().clone(), ask.actor()?, central.name.clone());
    let set = to_the_end(Box::pin(async move { backups.set_master(&actor, &name).await }));
    match set.await {
        Ok(()) => Ok(go(&format!("{}?done=saved", place(&central)))),
        Err(error) => {
            let said = look::problem(&ask, &error);
            shown(&ask, status_of(&error), &central, &said, false).await
        }
    }
}

pub(in crate::web) async fn remove(ask: Ask) -> Answer {
    let central = find(&ask).await?;
    if ask.form.text("word") != central.name {
        return shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &central, &html! {}, true).await;
    }
    let (backups, actor, name) = (ask.web.backups().clone(), ask.actor()?, central.name.clone());
    let removed: Result<(), AppError> =
        to_the_end(Box::pin(
            async move { backups.remove_central(&actor, &name).await },
        ))
        .await;
    match removed {
        Ok(()) => Ok(go("/centrals?done=removed")),
        Err(error) => {
            shown(
                &ask,
                status_of(&error),
                &central,
                &look::problem(&ask, &error),
                false,
            )
            .await
        }
    }
}
