//! How a central is reached: typed, shown, checked, its key confirmed. Secrets come in and never go out.

use maud::{Markup, html};
use satellite_proto::wire::backup::v1 as pb;

use super::place;
use crate::app::AppError;
use crate::app::backup::{Checked, Reach};
use crate::store::Central;
use crate::web::ask::Ask;
use crate::web::look::{self, Field, Tone};
use crate::web::text::{Text, backup, common, plan};

/// What may be chosen, by the word of the form.
const WAYS: [(&str, Text); 3] = [
    ("", backup::REACHED_AS_BEFORE),
    ("ssh", backup::REACHED_SSH),
    ("local", backup::REACHED_HERE),
];

/// How a central is reached, for a person.
pub(super) fn said(ask: &Ask, central: &Central) -> String {
    match &central.ssh {
        None => ask.say(backup::REACHED_HERE).to_owned(),
        Some(login) => {
            let ssh = &login.settings;
            let port = if ssh.port == 0 { 22 } else { ssh.port };
            format!("ssh://{}@{}:{port}", ssh.user, ssh.server)
        }
    }
}

/// Whether nobody has confirmed yet who it is.
pub(super) fn is_stranger(central: &Central) -> bool {
    let login = central.ssh.as_ref();
    login.is_some_and(|login| login.settings.host_key.is_empty())
}

/// The fields of it; with what is known of `known` where nothing was typed.
pub(super) fn fields(ask: &Ask, known: Option<&Central>) -> Markup {
    let settings = known.and_then(|central| central.ssh.as_ref().map(|login| login.settings.clone()));
    let is_typed = ask.form.is_set("way");
    let (way, settings) = match settings {
        Some(settings) if !is_typed => ("ssh", settings),
        _ => (ask.form.text("way"), pb::SshCentral::default()),
    };
    let port = match settings.port {
        0 => String::new(),
        port => port.to_string(),
    };
    let value = |typed: &str, known: &str| match is_typed {
        true => ask.form.text(typed).to_owned(),
        false => known.to_owned(),
    };
    let (server, port, user) = (
        value("server", &settings.server),
        value("port", &port),
        value("user", &settings.user),
    );
    let host_key = value("host-key", "");
    let ways: Vec<_> = WAYS
        .map(|(word, text)| (word.to_owned(), ask.say(text).to_owned()))
        .into();
    html! {
        (look::select("way", ask.say(backup::REACHED), way, &ways))
        details open[way == "ssh"] {
            summary { (ask.say(backup::SSH)) }
            (Field { name: "server", label: ask.say(backup::SSH_SERVER), value: &server,
                hint: ask.say(backup::SSH_SERVER_HINT), ..Field::default() }.show())
            (Field { name: "port", label: ask.say(plan::PORT), kind: "number", value: &port,
                hint: ask.say(backup::SSH_PORT_HINT), ..Field::default() }.show())
            (Field { name: "user", label: ask.say(plan::USER), value: &user,
                hint: ask.say(backup::SSH_USER_HINT), ..Field::default() }.show())
            // A secret that was typed does not come back.
            (Field { name: "password", label: ask.say(plan::PASSWORD), kind: "password", complete: "new-password",
                hint: ask.say(backup::SSH_SECRET_HINT), ..Field::default() }.show())
            div.field {
                label for="private-key" { (ask.say(plan::PRIVATE_KEY)) }
                textarea.code #private-key name="private-key" rows="5" spellcheck="false" {}
            }
            (Field { name: "passphrase", label: ask.say(plan::PASSPHRASE), kind: "password",
                complete: "new-password", ..Field::default() }.show())
            (Field { name: "host-key", label: ask.say(backup::SSH_HOST_KEY), value: &host_key,
                hint: ask.say(backup::SSH_HOST_KEY_HINT), ..Field::default() }.show())
        }
    }
}

/// What was typed into them.
pub(super) fn typed(ask: &Ask) -> Result<Reach, AppError> {
    match ask.form.text("way") {
        "" => return Ok(Reach::AsBefore),
        "local" => return Ok(Reach::Local),
        "ssh" => {}
        other => {
            return Err(AppError::Invalid(format!(
                "a central is not reached by {other:?}"
            )));
        }
    }
    let port = match ask.form.text("port") {
        "" => 0,
        text => text
            .parse::<u16>()
            .map_err(|_| AppError::Invalid(format!("{text:?} is no port: type a number from 1 to 65535")))?,
    };
    let text = |name: &str| ask.form.text(name).to_owned();
    let secret = |value: String| (!value.is_empty()).then_some(pb::Secret { value });
    Ok(Reach::Ssh(Box::new(pb::SshCentral {
        server: text("server"),
        port: port.into(),
        user: text("user"),
        password: secret(ask.form.raw("password").to_owned()),
        private_key: secret(ask.form.raw("private-key").replace("\r\n", "\n")),
        passphrase: secret(ask.form.raw("passphrase").to_owned()),
        host_key: text("host-key"),
    })))
}

/// What a check has found, and the question whether its key is the right one.
pub(super) fn found(ask: &Ask, central: &Central, found: &Checked) -> Markup {
    let is_fine = found.problem.is_empty() && found.lacks.is_empty();
    let heading = match (found.problem.is_empty(), is_fine) {
        (false, _) => backup::CENTRAL_NOT_REACHED,
        (true, false) => backup::CENTRAL_LACKS,
        (true, true) => backup::CENTRAL_FINE,
    };
    let key = found.host_key_fingerprint.as_str();
    html! {
        div class=(if is_fine { "note good" } else { "note bad" }) role="status" {
            p { b { (central.name) ": " (ask.say(heading)) } }
            @if !found.problem.is_empty() { p { (look::said(ask, &found.problem)) } }
            @if !found.lacks.is_empty() { ul { @for lack in &found.lacks { li {
                (look::badge(Tone::Bad, &lack.data_set)) " " (lack_said(ask, lack))
            } } } }
            @if !key.is_empty() && !found.is_confirmed {
                form method="post" action={ (place(central)) "/check" } {
                    (look::token(ask))
                    input type="hidden" name="host-key" value=(key);
                    p { (ask.say(if is_stranger(central) { plan::HOST_KEY } else { backup::OTHER_KEY })) " " code { (key) } }
                    button { (ask.say(plan::HOST_KEY_ACCEPT)) }
                }
            }
        }
    }
}

fn lack_said(ask: &Ask, lack: &pb::CentralLack) -> String {
    match &lack.what {
        Some(pb::central_lack::What::Path(path)) => {
            ask.fill(backup::PATH_NOT_THERE, &[&String::from_utf8_lossy(path)])
        }
        Some(pb::central_lack::What::Program(program)) => ask.fill(backup::PROGRAM_NOT_THERE, &[program]),
        None => ask.say(common::FAILED).to_owned(),
    }
}
