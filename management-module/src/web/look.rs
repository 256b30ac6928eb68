//! How every page looks: its frame, and the pieces that pages are made of.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::access::Need;
use super::ask::Ask;
use super::failure::{Failure, heading_of, status_of};
use super::statics;
use super::text::{Text, account, common, machine, warn};
use crate::app::AppError;
use crate::app::users::Weak;
use crate::language::Language;

/// The entries of the navigation: name, place, what it takes to see it.
const PLACES: [(Text, &str, Need); 11] = [
    (common::OVERVIEW, "/", Need::SignedIn),
    (common::SATELLITES, "/satellites", Need::SeeFleet),
    (common::BUNDLES, "/bundles", Need::SeeFleet),
    (common::BACKUPS, "/backups", Need::SeeBackups),
    (common::ARCHIVES, "/archives", Need::SeeBackups),
    (common::RESTORES, "/restores", Need::SeeBackups),
    (common::CENTRALS, "/centrals", Need::SeeBackups),
    (warn::WARNINGS, "/warnings", Need::SeeBackups),
    (common::USERS, "/users", Need::Administer),
    (common::AUDIT, "/audit", Need::Administer),
    (common::ACCOUNT, "/account", Need::SignedIn),
];

/// Places without an entry of their own, and the one that leads to them.
const BELOW: [(&str, &str); 2] = [("/rollouts", "/bundles"), ("/destinations", "/backups")];

/// A page as an answer.
pub(super) fn page(ask: &Ask, title: &str, content: &Markup) -> Response {
    page_with(ask, StatusCode::OK, title, content)
}

/// The same, with another status.
pub(super) fn page_with(ask: &Ask, status: StatusCode, title: &str, content: &Markup) -> Response {
    let session = ask.session.as_ref().filter(|session| session.is_proved);
    let own_name = &ask.app().config.server_name;
    let markup = html! {
        (DOCTYPE)
        html lang=(ask.language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " – " (own_name) }
                link rel="stylesheet" href=(statics::place("style.css"));
                link rel="icon" type="image/svg+xml" href=(statics::place("icon.svg"));
                script src=(statics::place("page.js")) defer {}
            }
            body class=[session.is_none().then_some("alone")] {
                a.skip href="#main" { (ask.say(common::SKIP)) }
                header.top {
                    a.brand href="/" {
                        img src=(statics::place("icon.svg")) alt="" width="28" height="28";
                        span { (ask.say(common::SATELLITES)) " " small { (own_name) } }
                    }
                    @if let Some(session) = session {
                        span.soft.small { (session.user.name.as_str()) }
                        (button(ask, "/sign-out", common::SIGN_OUT, ""))
                    }
                }
                @if session.is_some() { (navigation(ask)) }
                main #main tabindex="-1" { (done(ask)) (content) }
                footer {
                    span { "management-module " (env!("CARGO_PKG_VERSION")) }
                    (languages(ask))
                }
            }
        }
    };
    let mut response = Response::new(Body::from(markup.into_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn navigation(ask: &Ask) -> Markup {
    let path = ask.place.split('?').next().unwrap_or_default();
    let is_in = |place: &str| path == place || (place != "/" && path.starts_with(&format!("{place}/")));
    let is_here = |place: &str| is_in(place) || BELOW.iter().any(|(below, of)| *of == place && is_in(below));
    html! {
        nav.side aria-label=(ask.say(common::NAVIGATION)) {
            ul {
                @for (name, place, need) in PLACES {
                    @if ask.may(need) {
                        li { a href=(place) aria-current=[is_here(place).then_some("page")] { (ask.say(name)) } }
                    }
                }
            }
        }
    }
}

fn languages(ask: &Ask) -> Markup {
    html! {
        form method="post" action="/language" aria-label=(ask.say(common::LANGUAGE)) {
            (token(ask))
            input type="hidden" name="back" value=(ask.place);
            @for language in Language::ALL {
                button.quiet name="language" value=(language.code()) lang=(language.code())
                    aria-current=[(language == ask.language).then_some("true")] { (language.name()) }
            }
        }
    }
}

/// What was just done, if the address says so by a word that is known.
fn done(ask: &Ask) -> Markup {
    let said = common::DONE
        .iter()
        .find(|(word, _)| *word == ask.query.text("done"));
    html! { @if let Some((_, text)) = said { div.note.good role="status" { p { (ask.say(*text)) } } } }
}

/// The page of a request that gets no other.
pub(super) fn failure(ask: &Ask, failure: &Failure) -> Response {
    let heading = ask.say(failure.heading());
    let content = html! {
        h1 { (heading) }
        @if let Some(detail) = failure.detail() { div.note.bad role="alert" { p { (said(ask, &detail)) } } }
        @if matches!(failure, Failure::Forbidden) { p { (ask.say(common::FORBIDDEN_WHO)) } }
        p { a href="/" { (ask.say(common::TO_OVERVIEW)) } }
    };
    page_with(ask, failure.status(), heading, &content)
}

/// What a use case says that did not do what was asked: to be shown on the page of the form.
pub(super) fn problem(ask: &Ask, error: &AppError) -> Markup {
    let status = status_of(error);
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(problem = %crate::error_chain(error), place = ask.place, "A use case of the web page failed");
    }
    let detail = Failure::detail_of(error);
    html! {
        div.note.bad role="alert" {
            p { b { (ask.say(heading_of(error))) } }
            @if let AppError::Password(weak) = error { p { (ask.say(weakness(*weak))) } } @else if let Some(detail) = detail { p { (said(ask, &detail)) } }
        }
    }
}

/// What a program said, in the reader's language; what stayed English is marked as such.
pub(super) fn said(ask: &Ask, message: &str) -> Markup {
    let said = ask.language.tell(message);
    html! {
        @for piece in said.pieces() {
            @if piece.is_foreign { span lang="en" { (piece.text) } } @else { (piece.text) }
        }
    }
}

/// What is wanted of a password, in the reader's language.
fn weakness(weak: Weak) -> Text {
    match weak {
        Weak::Length => account::PASSWORD_LENGTH,
        Weak::Common => account::PASSWORD_COMMON,
        Weak::Name => account::PASSWORD_NAME,
    }
}

/// A warning that is no error.
pub(super) fn warning(text: &str) -> Markup {
    html! { div.note.warn { p { (text) } } }
}

/// The field that proves that a form is of this session.
pub(super) fn token(ask: &Ask) -> Markup {
    let of_session = ask.session.as_ref().map(|session| session.form_token.as_str());
    let before = || super::cookies::find(&ask.headers, super::cookies::BEFORE);
    let value = of_session.or_else(before).unwrap_or_default();
    html! { input type="hidden" name="token" value=(value); }
}

/// A button that does something at once. `class` is one of the style sheet's.
pub(super) fn button(ask: &Ask, place: &str, name: Text, class: &str) -> Markup {
    html! {
        form method="post" action=(place) { (token(ask)) button class=[Some(class).filter(|c| !c.is_empty())] { (ask.say(name)) } }
    }
}

/// A field of a form with its label, its fault and a hint.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) kind: &'a str,
    pub(super) value: &'a str,
    pub(super) hint: &'a str,
    pub(super) fault: &'a str,
    pub(super) complete: &'a str,
    pub(super) required: bool,
}

impl Default for Field<'_> {
    fn default() -> Self {
        Self {
            name: "",
            label: "",
            kind: "text",
            value: "",
            hint: "",
            fault: "",
            complete: "off",
            required: false,
        }
    }
}

impl Field<'_> {
    pub(super) fn show(&self) -> Markup {
        let (hint, fault) = (format!("{}-hint", self.name), format!("{}-fault", self.name));
        let mut described = Vec::new();
        if !self.fault.is_empty() {
            described.push(fault.as_str());
        }
        if !self.hint.is_empty() {
            described.push(hint.as_str());
        }
        let described = described.join(" ");
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                input #(self.name) type=(self.kind) name=(self.name) value=(self.value) autocomplete=(self.complete)
                    required[self.required] aria-invalid=[(!self.fault.is_empty()).then_some("true")]
                    aria-describedby=[Some(&described).filter(|text| !text.is_empty())];
                @if !self.fault.is_empty() { p.fault id=(fault) { (self.fault) } }
                @if !self.hint.is_empty() { p.hint id=(hint) { (self.hint) } }
            }
        }
    }
}

/// A choice of one among several, as a list.
pub(super) fn select(name: &str, label: &str, chosen: &str, choices: &[(String, String)]) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select #(name) name=(name) {
                @for (value, text) in choices { option value=(value) selected[value == chosen] { (text) } }
            }
        }
    }
}

/// A box to tick.
pub(super) fn tick(name: &str, value: &str, label: &Markup, is_set: bool) -> Markup {
    html! {
        label.choice { input type="checkbox" name=(name) value=(value) checked[is_set]; span { (label) } }
    }
}

/// The field for the word that has to be typed before something is lost.
pub(super) fn typed_word(ask: &Ask, id: &str, word: &str, fault: bool) -> Markup {
    typed(ask, id, &ask.fill(common::TYPE_WORD, &[word]), fault)
}

/// The same with a label that says which word it is.
pub(super) fn typed(ask: &Ask, id: &str, label: &str, fault: bool) -> Markup {
    let field = format!("{id}-word");
    html! {
        div.field {
            label for=(field) { (label) }
            input #(field) type="text" name="word" autocomplete="off" autocapitalize="off" spellcheck="false" required
                aria-invalid=[fault.then_some("true")];
            @if fault { p.fault { (ask.say(common::WRONG_WORD)) } }
        }
    }
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Quiet,
}

/// A state in a word, with a sign for those who see no colours.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    let (class, sign) = match tone {
        Tone::Good => ("badge good", "✓"),
        Tone::Warn => ("badge warn", "!"),
        Tone::Bad => ("badge bad", "✕"),
        Tone::Quiet => ("badge", "–"),
    };
    html! { span class=(class) { span aria-hidden="true" { (sign) " " } (text) } }
}

/// A moment, for people and for programs.
pub(super) fn moment(ask: &Ask, time: Option<Timestamp>) -> Markup {
    html! {
        @match time {
            Some(time) => time datetime=(time.to_string()) title=(time.to_string()) { (ask.language.moment(time)) },
            None => span.soft { (ask.say(common::NEVER)) },
        }
    }
}

/// A moment as the wire has it.
pub(super) fn wire_moment(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// How long it takes until a change that waits to be confirmed goes back by itself.
pub(super) fn countdown(ask: &Ask, seconds: u64) -> Markup {
    let left = ask.language.number(seconds);
    html! { div.note.warn role="timer" { p { (ask.fill(machine::OPEN_CHANGE, &[&left])) } } }
}

/// Progress, as a bar and in numbers.
pub(super) fn progress(ask: &Ask, done: u64, total: u64, unit: &str) -> Markup {
    let amount = |number: u64| {
        if unit == "bytes" {
            ask.language.size(number)
        } else {
            ask.language.number(number)
        }
    };
    html! {
        @if total > 0 {
            progress max=(total) value=(done.min(total)) aria-label=(ask.say(common::PROGRESS)) {}
            p.small.soft { (amount(done)) " / " (amount(total)) " (" (percent(done, total)) "\u{a0}%)" }
        } @else {
            progress aria-label=(ask.say(common::PROGRESS)) {}
            @if done > 0 { p.small.soft { (amount(done)) } }
        }
    }
}

pub(super) fn percent(done: u64, total: u64) -> u64 {
    let (done, total) = (u128::from(done.min(total)), u128::from(total.max(1)));
    u64::try_from(done * 100 / total).unwrap_or(100)
}
