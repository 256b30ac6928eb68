//! Signing in and out, and the choice of a language.

use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use maud::{Markup, html};

use crate::app::AppError;
use crate::app::users::{ABSOLUTE, Credentials, Refusal, Return, SignedIn};
use crate::language::Language;
use crate::web::ask::{Answer, Ask, escaped, go, own_place};
use crate::web::cookies;
use crate::web::failure::status_of;
use crate::web::look::{self, Field};
use crate::web::text::{account, common};

pub(in crate::web) async fn form(ask: Ask) -> Answer {
    if ask.session.as_ref().is_some_and(|session| session.is_proved) {
        return Ok(go("/"));
    }
    Ok(shown(&ask, StatusCode::OK, ask.query.text("next"), &html! {}))
}

/// The form, with a token of its own: nobody is to be signed in by another's page.
fn shown(ask: &Ask, status: StatusCode, next: &str, said: &Markup) -> Response {
    let known = cookies::find(&ask.headers, cookies::BEFORE).filter(|token| !token.is_empty());
    let fresh = known
        .is_none()
        .then(|| BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>()));
    let token = known.or(fresh.as_deref()).unwrap_or_default();
    let name = ask.form.text("name");
    let content = html! {
        h1 { (ask.say(account::SIGN_IN)) }
        (said)
        form.card method="post" action="/sign-in" {
            input type="hidden" name="token" value=(token);
            input type="hidden" name="next" value=(own_place(next));
            (Field { name: "name", label: ask.say(account::USER_NAME), value: name, complete: "username", required: true,
                ..Field::default() }.show())
            (Field { name: "password", label: ask.say(account::PASSWORD), kind: "password", complete: "current-password",
                required: true, ..Field::default() }.show())
            button.main { (ask.say(account::SIGN_IN)) }
        }
        @if let Some(provider) = &ask.app().config.openid {
            p {
                a.button href=(format!("/sign-in/provider?next={}", escaped(own_place(next)))) {
                    (ask.fill(account::BY_PROVIDER, &[&provider.name]))
                }
            }
        }
    };
    let mut response = look::page_with(ask, status, ask.say(account::SIGN_IN), &content);
    if let Some(fresh) = fresh {
        cookies::set(response.headers_mut(), cookies::BEFORE, &fresh, 0);
    }
    response
}

pub(in crate::web) async fn sign_in(ask: Ask) -> Answer {
    let next = own_place(ask.form.raw("next")).to_owned();
    let credentials = Credentials {
        ip: ask.ip,
        device: cookies::find(&ask.headers, cookies::DEVICE),
        name: ask.form.text("name"),
        secret: ask.form.raw("password").to_owned(),
    };
    match ask.web.0.sign_in.begin(ask.app(), credentials).await {
        Ok(signed_in) if signed_in.is_half => Ok(entered(
            &format!("/sign-in/code?next={}", escaped(&next)),
            &signed_in,
        )),
        Ok(signed_in) => Ok(entered(&next, &signed_in)),
        Err(refusal) => {
            let (status, said) = told(&ask, refusal)?;
            Ok(shown(&ask, status, &next, &said))
        }
    }
}

fn entered(next: &str, signed_in: &SignedIn) -> Response {
    let mut response = go(next);
    let headers = response.headers_mut();
    let seconds = u32::try_from(ABSOLUTE.as_secs()).unwrap_or(0);
    cookies::set(headers, cookies::SESSION, &signed_in.token, seconds);
    cookies::remove(headers, cookies::BEFORE);
    if let Some(device) = &signed_in.device {
        cookies::set(headers, cookies::DEVICE, device, cookies::YEAR);
    }
    response
}

/// What is said to somebody who is not signed in.
fn told(ask: &Ask, refusal: Refusal) -> Result<(StatusCode, Markup), crate::web::failure::Failure> {
    let note = |text: String| html! { div.note.bad role="alert" { p { (text) } } };
    match refusal {
        Refusal::Wrong => Ok((
            StatusCode::UNPROCESSABLE_ENTITY,
            note(ask.say(account::WRONG).to_owned()),
        )),
        Refusal::Wait(left) => {
            let seconds = left.as_secs() + 1;
            let text = ask.fill(account::WAIT, &[&ask.language.number(seconds)]);
            Ok((StatusCode::TOO_MANY_REQUESTS, note(text)))
        }
        Refusal::NotConfirmed => Ok((
            StatusCode::UNPROCESSABLE_ENTITY,
            note(ask.say(account::NOT_CONFIRMED).to_owned()),
        )),
        Refusal::NoRole => Ok((StatusCode::FORBIDDEN, note(ask.say(account::NO_ROLE).to_owned()))),
        Refusal::NoName => Ok((StatusCode::FORBIDDEN, note(ask.say(account::NO_NAME).to_owned()))),
        Refusal::NameTaken => Ok((
            StatusCode::FORBIDDEN,
            note(ask.say(account::NAME_TAKEN).to_owned()),
        )),
        // Who signs in here still can.
        Refusal::App(error @ AppError::Unavailable { .. }) => {
            Ok((status_of(&error), look::problem(ask, &error)))
        }
        Refusal::App(error) => Err(error.into()),
    }
}

/// Sends somebody to the provider.
pub(in crate::web) async fn to_provider(ask: Ask) -> Answer {
    let next = own_place(ask.query.raw("next")).to_owned();
    match ask.web.0.provider.begin(ask.app(), &next).await {
        Ok(sent) => {
            let mut response = go(&sent.place);
            cookies::set(response.headers_mut(), cookies::PROVIDER, &sent.kept, 600);
            Ok(response)
        }
        Err(error) => {
            let (status, said) = told(&ask, Refusal::App(error))?;
            Ok(shown(&ask, status, &next, &said))
        }
    }
}

/// Somebody comes back from the provider.
pub(in crate::web) async fn from_provider(ask: Ask) -> Answer {
    let issuer = ask.query.text("iss");
    let came = Return {
        kept: cookies::find(&ask.headers, cookies::PROVIDER).unwrap_or_default(),
        code: ask.query.raw("code"),
        state: ask.query.raw("state"),
        issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
    };
    let mut response = match ask.web.0.provider.finish(ask.app(), ask.ip, came).await {
        Ok((signed_in, next)) if signed_in.is_half => {
            entered(&format!("/sign-in/code?next={}", escaped(&next)), &signed_in)
        }
        Ok((signed_in, next)) => entered(&next, &signed_in),
        Err(refusal) => {
            let (status, said) = told(&ask, refusal)?;
            shown(&ask, status, "", &said)
        }
    };
    cookies::remove(response.headers_mut(), cookies::PROVIDER);
    Ok(response)
}

pub(in crate::web) async fn code_form(ask: Ask) -> Answer {
    Ok(code_shown(
        &ask,
        StatusCode::OK,
        ask.query.text("next"),
        &html! {},
    ))
}

fn code_shown(ask: &Ask, status: StatusCode, next: &str, said: &Markup) -> Response {
    let content = html! {
        h1 { (ask.say(account::SECOND_FACTOR)) }
        (said)
        form.card method="post" action="/sign-in/code" {
            (look::token(ask))
            input type="hidden" name="next" value=(own_place(next));
            div.field {
                label for="code" { (ask.say(account::CODE)) }
                input #code type="text" name="code" inputmode="numeric" autocomplete="one-time-code" required autofocus;
                p.hint { (ask.say(account::CODE_HINT)) }
            }
            div.actions {
                button.main { (ask.say(account::SIGN_IN)) }
                a href="/sign-in" { (ask.say(common::BACK)) }
            }
        }
    };
    look::page_with(ask, status, ask.say(account::SECOND_FACTOR), &content)
}

pub(in crate::web) async fn code(ask: Ask) -> Answer {
    let next = own_place(ask.form.raw("next")).to_owned();
    let half = ask.session()?;
    let credentials = Credentials {
        ip: ask.ip,
        device: cookies::find(&ask.headers, cookies::DEVICE),
        name: half.user.name.as_str(),
        secret: ask.form.text("code").to_owned(),
    };
    let proved = ask.web.0.sign_in.prove(ask.app(), half, credentials).await;
    match proved {
        Ok(signed_in) => Ok(entered(&next, &signed_in)),
        Err(refusal) => {
            let (status, said) = told(&ask, refusal)?;
            Ok(code_shown(&ask, status, &next, &said))
        }
    }
}

pub(in crate::web) async fn sign_out(ask: Ask) -> Answer {
    let session = ask.session()?;
    session.end(ask.app()).await?;
    let from = ask.ip.to_string();
    ask.app()
        .audit
        .record(&ask.actor()?, "Web/SignOut", &from, Ok(()))
        .await;
    let mut response = go("/sign-in");
    cookies::remove(response.headers_mut(), cookies::SESSION);
    Ok(response)
}

pub(in crate::web) async fn language(ask: Ask) -> Answer {
    let mut response = go(own_place(ask.form.raw("back")));
    if let Some(language) = Language::from_code(ask.form.text("language")) {
        cookies::set(
            response.headers_mut(),
            cookies::LANGUAGE,
            language.code(),
            cookies::YEAR,
        );
        if let Ok(user) = ask.user() {
            ask.app()
                .store
                .note_language(user.name.as_str(), language.code())
                .await?;
        }
    }
    Ok(response)
}
