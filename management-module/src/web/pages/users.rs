//! The users of the page, for administrators.

use axum::http::StatusCode;
use maud::{Markup, html};

use crate::app::AppError;
use crate::app::users::{self, Change, Role, User, UserName};
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Field, Tone};
use crate::web::text::{Text, account, common};

pub(in crate::web) fn role_name(role: Role) -> Text {
    match role {
        Role::Administrator => account::ADMINISTRATOR,
        Role::Operator => account::OPERATOR,
        Role::Viewer => account::VIEWER,
        Role::Customer => account::CUSTOMER,
    }
}

fn role_field(ask: &Ask, chosen: &str) -> Markup {
    let choices = Role::ALL.map(|role| (role.to_string(), ask.say(role_name(role)).to_owned()));
    look::select("role", ask.say(account::ROLE), chosen, &choices)
}

fn tenants_field(ask: &Ask, value: &str) -> Markup {
    let field = Field {
        name: "tenants",
        label: ask.say(account::TENANTS),
        value,
        hint: ask.say(account::TENANTS_HINT),
        ..Field::default()
    };
    field.show()
}

fn tenants_of(ask: &Ask) -> Vec<String> {
    ask.form.text("tenants").split(',').map(str::to_owned).collect()
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    listed(&ask, StatusCode::OK, &html! {}).await
}

async fn listed(ask: &Ask, status: StatusCode, said: &Markup) -> Answer {
    let users = users::list(ask.app()).await?;
    let label = |text: Text| ask.say(text);
    let role = Some(ask.form.text("role"))
        .filter(|role| !role.is_empty())
        .unwrap_or("viewer");
    let content = html! {
        h1 { (ask.say(common::USERS)) }
        (said)
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (label(account::USER_NAME)) }
                th scope="col" { (label(account::ROLE)) }
                th scope="col" { (label(account::TENANTS)) }
                th scope="col" { (label(account::SECOND_FACTOR)) }
                th scope="col" { (label(account::LAST_SIGN_IN)) }
            } }
            tbody { @for user in &users { (row(ask, user)) } }
        } }
        form.card method="post" action="/users" {
            h2 { (ask.say(account::ADD_USER)) }
            (look::token(ask))
            div.row {
                (Field { name: "name", label: label(account::USER_NAME), value: ask.form.text("name"),
                    hint: label(account::NAME_HINT), required: true, ..Field::default() }.show())
                (role_field(ask, role))
            }
            div.row {
                (Field { name: "password", label: label(account::PASSWORD), kind: "password", complete: "new-password",
                    hint: label(account::PASSWORD_HINT), required: true, ..Field::default() }.show())
                (tenants_field(ask, ask.form.text("tenants")))
            }
            button.main { (ask.say(account::ADD_USER)) }
        }
    };
    Ok(look::page_with(ask, status, ask.say(common::USERS), &content))
}

fn row(ask: &Ask, user: &User) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href={ "/users/" (escaped(user.name.as_str())) } { (user.name.as_str()) }
                @if user.disabled { " " (look::badge(Tone::Warn, ask.say(account::DISABLED))) }
            }
            td data-label=(ask.say(account::ROLE)) { (ask.say(role_name(user.role))) }
            td data-label=(ask.say(account::TENANTS)) { (user.tenants.join(", ")) }
            td data-label=(ask.say(account::SECOND_FACTOR)) {
                @if user.has_second_factor { (look::badge(Tone::Good, ask.say(common::ON))) }
                @else { (look::badge(Tone::Quiet, ask.say(common::OFF))) }
            }
            td data-label=(ask.say(account::LAST_SIGN_IN)) { (look::moment(ask, user.signed_in_at)) }
        }
    }
}

pub(in crate::web) async fn add(ask: Ask) -> Answer {
    let name = ask.form.text("name").to_owned();
    let added = async {
        let name: UserName = name.parse()?;
        let role: Role = ask.form.text("role").parse()?;
        let tenants = if role == Role::Customer {
            tenants_of(&ask)
        } else {
            Vec::new()
        };
        users::add(ask.app(), &name, ask.form.raw("password"), role, tenants).await
    };
    let added = added.await;
    let shown: String = name.chars().take(63).collect();
    let added = ask
        .app()
        .audit
        .recorded(&ask.actor()?, "Web/AddUser", &shown, added)
        .await;
    match added {
        Ok(()) => Ok(go("/users?done=user-added")),
        Err(error) => listed(&ask, status_of(&error), &look::problem(&ask, &error)).await,
    }
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let user = users::get(ask.app(), &ask.named("name")?).await?;
    Ok(one(&ask, StatusCode::OK, &user, &html! {}, false))
}

fn one(
    ask: &Ask,
    status: StatusCode,
    user: &User,
    said: &Markup,
    wrong_word: bool,
) -> axum::response::Response {
    let name = user.name.as_str();
    let place = format!("/users/{}", escaped(name));
    let content = html! {
        h1 { (name) }
        (said)
        form.card method="post" action=(place) {
            h2 { (ask.say(account::CHANGE_USER)) }
            (look::token(ask))
            (role_field(ask, user.role.as_str()))
            (tenants_field(ask, &user.tenants.join(", ")))
            (Field { name: "password", label: ask.say(account::NEW_PASSWORD), kind: "password", complete: "new-password",
                hint: ask.say(account::EMPTY_STAYS), ..Field::default() }.show())
            @if user.has_second_factor {
                (look::tick("reset-factor", "yes", &html! { (ask.say(account::FACTOR_RESET)) }, false))
            }
            (look::tick("disabled", "yes", &html! { (ask.say(account::MAY_NOT_SIGN_IN)) }, user.disabled))
            p.hint { (ask.say(account::ENDS_SESSIONS)) }
            div.actions { button.main { (ask.say(common::SAVE)) } a href="/users" { (ask.say(common::CANCEL)) } }
        }
        form.card method="post" action={ (place) "/remove" } {
            h2 { (ask.say(account::REMOVE_USER)) }
            (look::token(ask))
            (look::typed_word(ask, "remove", name, wrong_word))
            button.danger { (ask.say(account::REMOVE_USER)) }
        }
    };
    look::page_with(ask, status, name, &content)
}

pub(in crate::web) async fn change(ask: Ask) -> Answer {
    let name: UserName = ask.named("name")?;
    let changed = async {
        let role: Role = ask.form.text("role").parse()?;
        let change = Change {
            password: Some(ask.form.raw("password").to_owned()).filter(|password| !password.is_empty()),
            role: Some(role),
            tenants: Some(tenants_of(&ask)),
            reset_second_factor: ask.form.is_set("reset-factor"),
            disabled: Some(ask.form.is_set("disabled")),
        };
        let own = ask.session().ok().filter(|session| session.user.name == name);
        let kept = own.map(|session| session.token_hash.clone()).unwrap_or_default();
        users::change(ask.app(), &name, change, &kept).await
    };
    let changed = changed.await;
    let changed = ask
        .app()
        .audit
        .recorded(&ask.actor()?, "Web/ChangeUser", name.as_str(), changed)
        .await;
    answer(&ask, &name, changed, "/users?done=user-changed").await
}

pub(in crate::web) async fn remove(ask: Ask) -> Answer {
    let name: UserName = ask.named("name")?;
    if ask.form.text("word") != name.as_str() {
        let user = users::get(ask.app(), &name).await?;
        return Ok(one(
            &ask,
            StatusCode::UNPROCESSABLE_ENTITY,
            &user,
            &html! {},
            true,
        ));
    }
    let removed = users::remove(ask.app(), &name).await;
    let removed = ask
        .app()
        .audit
        .recorded(&ask.actor()?, "Web/RemoveUser", name.as_str(), removed)
        .await;
    answer(&ask, &name, removed, "/users?done=user-removed").await
}

async fn answer(ask: &Ask, name: &UserName, done: Result<(), AppError>, place: &str) -> Answer {
    match done {
        Ok(()) => Ok(go(place)),
        Err(AppError::NotFound { .. }) => Err(Failure::NoPage),
        Err(error) => {
            let user = users::get(ask.app(), name).await?;
            Ok(one(
                ask,
                status_of(&error),
                &user,
                &look::problem(ask, &error),
                false,
            ))
        }
    }
}
