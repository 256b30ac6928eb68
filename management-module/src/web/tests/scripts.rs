//! What people type and what comes from elsewhere is shown as text: every form of every page, every stored value.

use std::collections::BTreeSet;

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::client::{Browser, Page};
use super::shelf::{self, archive};
use super::stored::{Stored, quoted};
use crate::web::routes::{How, ROUTES};

/// What must never reach a page as it is.
pub(super) const SCRIPT: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// How a page shows it.
const AS_TEXT: &str = "&lt;script&gt;alert(1)&lt;/script&gt;";

/// Forms that no page here has, as nobody answers at the satellite or nothing is there that they change; their fields.
const UNSEEN: [(&str, &[&str]); 16] = [
    ("/sign-in/code", &["code", "next"]),
    ("/satellites/alpha/trust", &[]),
    ("/satellites/alpha/workloads/backup-service/start", &[]),
    ("/satellites/alpha/workloads/backup-service/stop", &[]),
    ("/satellites/alpha/workloads/backup-service/update", &[]),
    ("/satellites/alpha/firewall/check", &["rules"]),
    ("/satellites/alpha/firewall/edit", &["rules"]),
    ("/satellites/alpha/firewall/apply", &["rules", "key"]),
    ("/satellites/alpha/firewall/reset", &["word", "key"]),
    (
        "/satellites/alpha/network",
        &["method-4", "address-4", "dns", "host-name", "proxy", "key"],
    ),
    (
        "/satellites/alpha/network/probe",
        &["method-4", "address-4", "dns", "host-name", "proxy"],
    ),
    ("/destinations/dropbox/nothing", &["code"]),
    ("/destinations/nothing/test", &["host-key"]),
    ("/account/second-factor/remove", &["present"]),
    ("/satellites/tokens/nothing/revoke", &[]),
    ("/rollouts/r1/pause", &[]),
];

pub(super) fn is_clean(place: &str, page: &Page) {
    let is_raw = page.text.contains("<script>alert") || page.text.contains("<img src=x");
    assert!(!is_raw, "{place}: {}", page.text);
    assert!(
        page.status < 500 || page.status == 503,
        "{place}: {} {}",
        page.status,
        page.text
    );
}

/// A server on which everything that is not checked has a script in it.
async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::open(&dir).await;
    let script = quoted(SCRIPT);
    stored.satellite("alpha").await;
    stored.bundle("2.0.0", SCRIPT).await;
    stored.central("pbx", SCRIPT, SCRIPT).await;
    let terms =
        r#"{"canary":1,"waves":[100],"at_once":1,"per_site":0,"soak_seconds":0,"stop_at":5,"window":null}"#;
    for statement in [
        format!("UPDATE satellites SET site = {script}"),
        "INSERT INTO desired_workloads (satellite, workload, running) VALUES ('alpha', 'backup-service', TRUE)".to_owned(),
        format!(
            "INSERT INTO update_attempts (satellite, workload, manifest_digest, ended_at, outcome, problem) SELECT 'alpha', \
             'backup-service', manifest_digest, 0, 'failed', {script} FROM bundles"
        ),
        format!("UPDATE centrals SET address = {script}"),
        format!(
            "INSERT INTO run_destinations (run, destination, state, path, size_bytes, sha256, error) VALUES ('run of pbx', \
             {script}, 'failed', {script}, 0, '', {script})"
        ),
        format!("UPDATE restores SET target = {script}, url = {script}, archive_name = {script}, actor = {script}"),
        format!(
            "INSERT INTO accounts (name, source, document, created_at, updated_at) VALUES ('account', 'built-in', \
             json_object('name', 'account', 'tenant', {script}, 'own', json_object('mails', json_array({script}))), 0, 0)"
        ),
        format!(
            "INSERT INTO rollouts (id, workload, version, terms, state, problem, forgiven, created_at, updated_at) VALUES ('r1', \
             'backup-service', '2.0.0', '{terms}', 'halted', {script}, 0, 0, 0)"
        ),
        format!(
            "INSERT INTO rollout_targets (rollout, satellite, place, wave, state, problem) VALUES ('r1', 'alpha', 0, 0, \
             'failed', {script})"
        ),
        format!(
            "INSERT INTO audit (time, actor, action, subject, result) VALUES (0, {script}, {script}, {script}, {script})"
        ),
    ] {
        stored.run(&statement).await;
    }
    shelf::serve(
        &dir,
        vec![archive("id-a", "pbx", SCRIPT, SCRIPT)],
        vec![SCRIPT.to_owned()],
    );
    let world = World::in_directory(dir).await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    world.add_user("carl", wire::WebRole::Customer, &["acme"]).await;
    world
}

/// Pages, and whether something that is stored with a script in it stands on them.
const PAGES: [(&str, bool); 46] = [
    ("/", false),
    ("/account", false),
    ("/account/second-factor", false),
    ("/users", false),
    ("/users/carl", false),
    ("/audit", true),
    ("/satellites", false),
    ("/satellites/pair", false),
    ("/satellites/tokens", false),
    ("/satellites/alpha", true),
    ("/satellites/alpha/logs", false),
    ("/satellites/alpha/firewall", false),
    ("/satellites/alpha/network", false),
    ("/bundles", true),
    ("/rollouts", true),
    ("/rollouts/new", false),
    ("/rollouts/r1", true),
    ("/backups", false),
    ("/backups/of/Nightly%20pbx", true),
    ("/destinations", false),
    ("/destinations/new", false),
    ("/destinations/new?kind=server", false),
    ("/destinations/new?kind=smb", false),
    ("/destinations/new?kind=sftp", false),
    ("/destinations/new?kind=dropbox", false),
    ("/destinations/new?kind=usb", false),
    ("/destinations/new?kind=mail", false),
    ("/destinations/new?kind=s3", false),
    ("/destinations/new?kind=webdav", false),
    ("/restores", true),
    ("/archives", true),
    ("/archives/id-a", true),
    ("/archives/id-a/members", true),
    ("/archives/id-a/members?find=<script>alert(1)</script>", true),
    ("/warnings", true),
    ("/warnings/new", false),
    ("/warnings/of/account", true),
    ("/centrals", true),
    ("/centrals/new", false),
    ("/centrals/new?of=pbx", true),
    ("/centrals/pbx", true),
    ("/sign-in", false),
    ("/archives?find=<script>alert(1)</script>&page=x", true),
    ("/backups/new?of=<script>alert(1)</script>", false),
    ("/satellites/alpha/logs?source=<script>alert(1)</script>", false),
    (
        "/rollouts/new?workload=<script>alert(1)</script>&version=\"><img",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_what_is_stored_are_shown_as_text() {
    let world = world().await;
    let mut anna = world.signed_in("anna").await;
    for (place, has_one) in PAGES {
        let place = place.replace(['<', '"'], "%3C").replace('>', "%3E");
        let page = anna.get(&place).await;
        is_clean(&place, &page);
        assert!(!has_one || page.text.contains(AS_TEXT), "{place}: {}", page.text);
    }
    // A destination of each kind that takes it.
    for (kind, field, others) in [
        ("server", "path", vec![]),
        ("usb", "label", vec![]),
        (
            "smb",
            "share",
            vec![("server", "nas.example"), ("user", "u"), ("password", "p")],
        ),
        (
            "sftp",
            "path",
            vec![("server", "nas.example"), ("user", "u"), ("password", "p")],
        ),
        (
            "s3",
            "prefix",
            vec![
                ("endpoint", "https://s3.example"),
                ("bucket", "b"),
                ("access-key", "a"),
                ("secret-key", "p"),
            ],
        ),
        ("webdav", "url", vec![("user", "u"), ("password", "p")]),
    ] {
        let typed = format!("/{SCRIPT}");
        anna.get(&format!("/destinations/new?kind={kind}")).await;
        let mut fields = vec![("kind", kind), ("name", kind), (field, typed.as_str())];
        fields.extend(others);
        is_clean(kind, &anna.post("/destinations/new", &fields).await);
    }
    let page = anna.get("/destinations").await;
    is_clean("/destinations", &page);
    assert!(page.text.contains(AS_TEXT), "{}", page.text);
    world.end().await;
}

/// A form of a page: where it goes, and its fields with what they hold, and whether a person types into them.
#[derive(Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String, bool)>,
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
    Some(
        value
            .replace("&amp;", "&")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">"),
    )
}

fn forms(page: &Page) -> Vec<Form> {
    let posts = page
        .text
        .split("<form")
        .skip(1)
        .map(|rest| rest.split("</form>").next().unwrap());
    let posts = posts.filter(|form| form.split('>').next().unwrap().contains("method=\"post\""));
    let form = |text: &str| {
        let tags = text.split('<').map(|tag| tag.split('>').next().unwrap());
        let fields = tags.filter_map(|tag| {
            let is_typed = match tag.split(' ').next().unwrap() {
                "textarea" | "select" => true,
                "button" => false,
                "input" => !["hidden", "radio"].contains(&attribute(tag, "type")?.as_str()),
                _ => return None,
            };
            Some((
                attribute(tag, "name")?,
                attribute(tag, "value").unwrap_or_default(),
                is_typed,
            ))
        });
        Form {
            action: attribute(text.split('>').next().unwrap(), "action").unwrap(),
            fields: fields.filter(|(name, ..)| name != "token").collect(),
        }
    };
    posts.map(form).collect()
}

/// Whether `place` is one of the route's.
fn is_of(place: &str, route: &str) -> bool {
    let (place, route): (Vec<&str>, Vec<&str>) = (place.split('/').collect(), route.split('/').collect());
    let fits = |(piece, wanted): (&&str, &&str)| wanted.starts_with('{') || piece == wanted;
    place.len() == route.len() && place.iter().zip(&route).all(fits)
}

/// Sends each form of the page at `place`: first with a script wherever one types, then with one in every field.
async fn fill(browser: &mut Browser, place: &str, sent: &mut BTreeSet<String>) {
    for form in forms(&browser.get(place).await) {
        let action = form.action.split('?').next().unwrap().to_owned();
        // What signs out ends the test; what is only a button has nothing to type, and one of a kind is enough.
        if action == "/sign-out" || !sent.insert(format!("{action} at {place}")) {
            continue;
        }
        for everywhere in [false, true] {
            browser.get(place).await;
            let value = |(name, value, is_typed): &(String, String, bool)| {
                let is_script = *is_typed || everywhere;
                (
                    name.clone(),
                    if is_script {
                        SCRIPT.to_owned()
                    } else {
                        value.clone()
                    },
                )
            };
            let fields: Vec<(String, String)> = form.fields.iter().map(value).collect();
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let page = browser.post(&form.action, &fields).await;
            is_clean(&format!("{} of {place} {fields:?}", form.action), &page);
            if page.status == 303 && page.location.starts_with('/') {
                is_clean(&page.location, &browser.get(&page.location).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_every_field_of_every_form_are_shown_as_text() {
    let world = world().await;
    let mut anna = world.signed_in("anna").await;
    let mut sent = BTreeSet::new();
    anna.get("/destinations/new?kind=server").await;
    let disk = [("kind", "server"), ("name", "disk"), ("path", "/srv/disk")];
    assert_eq!(anna.post("/destinations/new", &disk).await.status, 303);
    // Each has a draft of its own, which a form of it may end.
    for step in 1..=4 {
        let draft = anna.get("/backups/new").await.location;
        let place = format!("{}/{step}", draft.rsplit_once('/').unwrap().0);
        fill(&mut anna, &place, &mut sent).await;
    }
    for (place, _) in PAGES.iter().filter(|(place, _)| !place.contains('<')) {
        fill(&mut anna, place, &mut sent).await;
    }
    fill(&mut world.browser(), "/sign-in", &mut sent).await;
    for (place, names) in UNSEEN {
        anna.get("/account").await;
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, SCRIPT)).collect();
        is_clean(place, &anna.post(place, &fields).await);
        sent.insert(format!("{place} at nothing"));
    }
    let sent: Vec<&str> = sent.iter().map(|form| form.split(' ').next().unwrap()).collect();
    for route in ROUTES
        .iter()
        .filter(|route| route.how == How::Post && route.path != "/sign-out")
    {
        assert!(
            sent.iter().any(|place| is_of(place, route.path)),
            "no page has a form for {route:?}: {sent:#?}"
        );
    }
    world.end().await;
}
