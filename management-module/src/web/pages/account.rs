//! One's own account: password and second factor.

use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::BASE32_NOPAD;
use maud::{Markup, PreEscaped, html};
use qrcode::{Color, EcLevel, QrCode};

use crate::app::AppError;
use crate::app::users::totp::Secret;
use crate::app::users::{self, Change, Credentials, Refusal};
use crate::web::ask::{Answer, Ask, go};
use crate::web::cookies;
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Field};
use crate::web::pages::users::role_name;
use crate::web::text::{account, common};

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    shown(&ask, StatusCode::OK, &html! {})
}

fn shown(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let user = ask.user()?;
    let content = html! {
        h1 { (ask.say(common::ACCOUNT)) }
        (said)
        div.card {
            dl {
                dt { (ask.say(account::USER_NAME)) } dd { (user.name.as_str()) }
                dt { (ask.say(account::ROLE)) } dd { (ask.say(role_name(user.role))) }
                @if !user.tenants.is_empty() {
                    dt { (ask.say(account::TENANTS)) } dd { (user.tenants.join(", ")) }
                }
                dt { (ask.say(account::SECOND_FACTOR)) }
                dd { (ask.say(if user.has_second_factor { common::ON } else { common::OFF })) }
            }
        }
        div.columns {
            @if !user.is_of_provider { form.card method="post" action="/account/password" {
                h2 { (ask.say(account::CHANGE_PASSWORD)) }
                (look::token(ask))
                input type="hidden" name="name" value=(user.name.as_str()) autocomplete="username";
                (present(ask))
                (Field { name: "password", label: ask.say(account::NEW_PASSWORD), kind: "password", complete: "new-password",
                    hint: ask.say(account::PASSWORD_HINT), required: true, ..Field::default() }.show())
                (Field { name: "again", label: ask.say(account::AGAIN), kind: "password", complete: "new-password",
                    required: true, ..Field::default() }.show())
                button.main { (ask.say(account::CHANGE_PASSWORD)) }
            } }
            div.card {
                h2 { (ask.say(account::SECOND_FACTOR)) }
                p { (ask.say(account::FACTOR_WHY)) }
                @if user.has_second_factor {
                    form method="post" action="/account/second-factor/remove" {
                        (look::token(ask))
                        @if user.is_of_provider { (present(ask)) } @else {
                            div.field {
                                label for="factor-present" { (ask.say(account::PRESENT_PASSWORD)) }
                                input #factor-present type="password" name="present" autocomplete="current-password" required;
                            }
                        }
                        button.danger { (ask.say(account::FACTOR_OFF)) }
                    }
                } @else {
                    a.button href="/account/second-factor" { (ask.say(account::FACTOR_ON)) }
                }
            }
        }
    };
    Ok(look::page_with(ask, status, ask.say(common::ACCOUNT), &content))
}

/// Asks for the password, of those who have one here or in the directory.
fn present(ask: &Ask) -> Markup {
    if ask.user().is_ok_and(|user| user.is_of_provider) {
        return html! { p.hint { (ask.say(account::SIGN_IN_ANEW)) } };
    }
    let field = Field {
        name: "present",
        label: ask.say(account::PRESENT_PASSWORD),
        kind: "password",
        complete: "current-password",
        required: true,
        ..Field::default()
    };
    field.show()
}

/// Whether who sits there now knows the password. Wrong tries count as those of signing in.
async fn is_present(ask: &Ask) -> Result<Result<(), Response>, Failure> {
    let credentials = Credentials {
        ip: ask.ip,
        device: cookies::find(&ask.headers, cookies::DEVICE),
        name: ask.user()?.name.as_str(),
        secret: ask.form.raw("present").to_owned(),
    };
    let note = |text: String| html! { div.note.bad role="alert" { p { (text) } } };
    let said = match ask
        .web
        .0
        .sign_in
        .confirm(ask.app(), ask.session()?, credentials)
        .await
    {
        Ok(()) => return Ok(Ok(())),
        Err(Refusal::App(error)) => return Err(error.into()),
        Err(_) if ask.user()?.is_of_provider => note(ask.say(account::SIGN_IN_ANEW).to_owned()),
        Err(Refusal::Wait(left)) => {
            let seconds = ask.language.number(left.as_secs() + 1);
            note(ask.fill(account::WAIT, &[&seconds]))
        }
        Err(_) => note(ask.say(account::WRONG_PRESENT).to_owned()),
    };
    shown(ask, StatusCode::UNPROCESSABLE_ENTITY, &said).map(Err)
}

async fn changed(ask: &Ask, action: &str, done: Result<(), AppError>, place: &str) -> Answer {
    let name = ask.user()?.name.clone();
    let done = ask
        .app()
        .audit
        .recorded(&ask.actor()?, action, name.as_str(), done)
        .await;
    match done {
        Ok(()) => Ok(go(place)),
        Err(error) => shown(ask, status_of(&error), &look::problem(ask, &error)),
    }
}

pub(in crate::web) async fn password(ask: Ask) -> Answer {
    if let Err(response) = is_present(&ask).await? {
        return Ok(response);
    }
    if ask.form.raw("password") != ask.form.raw("again") {
        let said = html! { div.note.bad role="alert" { p { (ask.say(account::DIFFER)) } } };
        return shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &said);
    }
    let change = Change {
        password: Some(ask.form.raw("password").to_owned()),
        ..Change::default()
    };
    let session = ask.session()?;
    let done = users::change(ask.app(), &session.user.name, change, &session.token_hash).await;
    changed(&ask, "Web/ChangePassword", done, "/account?done=password").await
}

pub(in crate::web) async fn factor_form(ask: Ask) -> Answer {
    if ask.user()?.has_second_factor {
        return Ok(go("/account"));
    }
    factor_shown(&ask, StatusCode::OK, &Secret::generate(), false)
}

fn factor_shown(ask: &Ask, status: StatusCode, secret: &Secret, is_wrong: bool) -> Answer {
    let uri = secret.to_uri(&ask.app().config.server_name, ask.user()?.name.as_str());
    let content = html! {
        h1 { (ask.say(account::FACTOR_ON)) }
        form.card method="post" action="/account/second-factor" {
            (look::token(ask))
            p { (ask.say(account::FACTOR_HOW)) }
            (qr(&uri, ask.say(account::FACTOR_QR)))
            p { (ask.say(account::FACTOR_TEXT)) " " span.secret { (secret.to_text()) } }
            input type="hidden" name="secret" value=(secret.to_text());
            (Field { name: "code", label: ask.say(account::CODE), complete: "one-time-code", required: true,
                fault: if is_wrong { ask.say(account::WRONG_CODE) } else { "" }, ..Field::default() }.show())
            (present(ask))
            div.actions {
                button.main { (ask.say(account::FACTOR_ON)) }
                a href="/account" { (ask.say(common::CANCEL)) }
            }
        }
    };
    Ok(look::page_with(
        ask,
        status,
        ask.say(account::FACTOR_ON),
        &content,
    ))
}

pub(in crate::web) async fn factor(ask: Ask) -> Answer {
    let bytes = BASE32_NOPAD
        .decode(ask.form.text("secret").as_bytes())
        .unwrap_or_default();
    let Some(secret) = Secret::from_bytes(&bytes) else {
        return Ok(go("/account/second-factor"));
    };
    if ask.user()?.has_second_factor {
        return Ok(go("/account"));
    }
    if let Err(response) = is_present(&ask).await? {
        return Ok(response);
    }
    let name = ask.user()?.name.clone();
    match users::set_second_factor(ask.app(), &name, &secret, ask.form.text("code")).await {
        Err(AppError::Refused(_)) => factor_shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &secret, true),
        done => changed(&ask, "Web/SetSecondFactor", done, "/account?done=factor-on").await,
    }
}

pub(in crate::web) async fn factor_off(ask: Ask) -> Answer {
    if let Err(response) = is_present(&ask).await? {
        return Ok(response);
    }
    let change = Change {
        reset_second_factor: true,
        ..Change::default()
    };
    let session = ask.session()?;
    let done = users::change(ask.app(), &session.user.name, change, &session.token_hash).await;
    changed(&ask, "Web/RemoveSecondFactor", done, "/account?done=factor-off").await
}

/// A QR code as an image of its own: black on white in light and dark.
fn qr(text: &str, name: &str) -> Markup {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else {
        return html! {};
    };
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            path.push_str(&format!("M{} {}h1v1h-1z", at % width + 2, at / width + 2));
        }
    }
    let size = width + 4;
    html! {
        svg.qr role="img" aria-label=(name) viewBox={ "0 0 " (size) " " (size) } shape-rendering="crispEdges" {
            (PreEscaped(format!("<path fill=\"#000\" d=\"{path}\"/>")))
        }
    }
}
