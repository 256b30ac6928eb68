//! What a person arranges: places for archives, which central is the master, who is warned, who may sign in, and changes
//! that count down until the server has confirmed them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::command::{command, stdout_of};
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::network::{SERVER, write};

use super::dropbox_server::Server as Dropbox;
use super::page::{ENTER, LONG, PASSWORD, SOON};
use super::world::{World, cli};

/// The only app that the server knows that stands for Dropbox.
const APP_KEY: &str = "the-app";

#[tokio::test]
async fn a_person_arranges_places_centrals_accounts_and_users_from_a_browser() {
    let world = World::with_satellite().await;
    Box::pin(sees_the_way_back(&world)).await;
    Box::pin(keeps_places(&world)).await;
    Box::pin(chooses_the_master(&world)).await;
    Box::pin(looks_after_accounts(&world)).await;
    Box::pin(looks_after_users(&world)).await;
    Box::pin(a_customer_looks_after_the_own(&world)).await;
    Box::pin(signs_in_with_two_factors(&world)).await;
}

/// New connections of the server to the satellite come to nothing, and those that there are stay.
async fn cut(world: &World, is_cut: bool) {
    let how = if is_cut { "-I" } else { "-D" };
    let mut iptables = world.lab.lan.at_server("iptables");
    iptables.args([
        "-w", how, "OUTPUT", "-p", "tcp", "--dport", "7640", "--syn", "-j", "DROP",
    ]);
    stdout_of(iptables, SOON).await.unwrap();
}

/// What the server cannot confirm counts down on the page, until it can.
async fn sees_the_way_back(world: &World) {
    let browser = &world.browser;
    let place = format!("/satellites/{SATELLITE}/firewall");
    world.open(&place).await;
    let rule = "[[rule]]\nname = \"web\"\ndirection = \"in\"\naction = \"accept\"\nprotocol = \"tcp\"\nports = [8081]\n";
    browser.fill("#rules", rule).await.unwrap();
    browser.click("form[action$='/check'] button").await.unwrap();
    browser.says("+ name = \"web\"", SOON).await.unwrap();
    confirms_late(
        world,
        "form[action$='/apply'] button.main",
        &place,
        "firewall-open",
    )
    .await;
    let rules = world.lab.satellite().exec(&["iptables", "-S"]).await.unwrap();
    assert!(rules.contains("8081"), "{rules}");

    let place = format!("/satellites/{SATELLITE}/network");
    world.open(&place).await;
    browser.fill("#ntp", "192.0.2.123").await.unwrap();
    confirms_late(world, "main form button.main", &place, "network-open").await;
    let time = "return document.getElementById('ntp').value";
    assert_eq!(browser.script(time).await.unwrap(), "192.0.2.123");
}

/// Applies a change, sees it count down, and lets it be confirmed.
async fn confirms_late(world: &World, apply: &str, place: &str, picture: &str) {
    let browser = &world.browser;
    cut(world, true).await;
    browser.click(apply).await.unwrap();
    browser
        .says("This goes on when you leave the page.", SOON)
        .await
        .unwrap();
    let job = browser.address().await.unwrap();
    world.open(place).await;
    browser
        .says("A change waits to be confirmed.", SOON)
        .await
        .unwrap();
    world.there("[role=timer]").await;
    let left = "return document.querySelector('[role=timer]').textContent";
    let first = browser.script(left).await.unwrap();
    e2e::wait::until("the seconds to go by", SOON, async || {
        (browser.script(left).await.ok()? != first).then_some(())
    })
    .await
    .unwrap();
    world.glance(picture).await;
    cut(world, false).await;
    browser.open(&job).await.unwrap();
    browser.says("✓ succeeded", LONG).await.unwrap();
    world.open(place).await;
    let text = browser.text().await.unwrap();
    assert!(!text.contains("A change waits to be confirmed."), "{text}");
}

/// A destination of each kind, as it is typed into its form.
async fn keeps_places(world: &World) {
    let browser = &world.browser;
    let server = SERVER.to_string();
    let server = server.as_str();
    // A port at which nobody listens: a test of it ends at once.
    let places: [(&str, &[(&str, &str)]); 4] = [
        (
            "smb",
            &[
                ("server", server),
                ("share", "backup"),
                ("user", "anna"),
                ("password", "secret word"),
            ],
        ),
        (
            "sftp",
            &[
                ("server", server),
                ("port", "9"),
                ("user", "anna"),
                ("password", "secret word"),
                ("path", "backup"),
            ],
        ),
        ("usb", &[("label", "BACKUP")]),
        (
            "mail",
            &[
                ("server", server),
                ("port", "9"),
                ("from", "backup@example.com"),
                ("to", "office@example.com"),
            ],
        ),
    ];
    for (kind, fields) in places {
        world.open(&format!("/destinations/new?kind={kind}")).await;
        browser.fill("#name", &format!("place-{kind}")).await.unwrap();
        for (name, value) in fields {
            browser.fill(&format!("#{name}"), value).await.unwrap();
        }
        world.glance(&format!("destination-{kind}")).await;
        browser.click("main form button.main").await.unwrap();
        browser.says("It is saved.", SOON).await.unwrap();
        browser.says(&format!("place-{kind}"), SOON).await.unwrap();
    }
    let shown = browser.text().await.unwrap();
    assert!(!shown.contains("secret word"), "{shown}");
    browser
        .click("form[action='/destinations/place-sftp/test'] button")
        .await
        .unwrap();
    world.there("main .note.bad").await;
    world.pictures("destination-test-bad").await;
    browser
        .click("form[action='/destinations/place-usb/remove'] button")
        .await
        .unwrap();
    browser.says("It is removed.", SOON).await.unwrap();

    connects_with_dropbox(world).await;
}

async fn connects_with_dropbox(world: &World) {
    let browser = &world.browser;
    // The satellite has no way to Dropbox here: the page says so and asks for the code again.
    world.open("/destinations/new?kind=dropbox").await;
    browser.fill("#name", "cloud").await.unwrap();
    browser.fill("#app-key", APP_KEY).await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("Confirm code", LONG).await.unwrap();
    let link = "return document.querySelector('main a.button').href";
    let link = browser.script(link).await.unwrap();
    let link = link.as_str().unwrap();
    assert!(
        link.starts_with("https://www.dropbox.com/") && link.contains(APP_KEY),
        "{link}"
    );
    world.glance("destination-dropbox").await;
    browser.fill("#code", "not-a-code").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    world.there("main [role=alert]").await;
    world.glance("destination-dropbox-bad").await;

    // With a server in Dropbox's place: the same connection, a wrong code, the right one, and a file goes there and back.
    let server = stands_in_for_dropbox(world).await;
    let code = server.consent(link);
    browser.fill("#code", "another code").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("Dropbox refuses the sign-in", LONG).await.unwrap();
    browser.fill("#code", &code).await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("It is saved.", LONG).await.unwrap();
    browser.says("cloud", SOON).await.unwrap();
    browser
        .click("form[action='/destinations/cloud/test'] button")
        .await
        .unwrap();
    browser
        .says("a file was written, read back and removed", LONG)
        .await
        .unwrap();
    world.glance("destination-dropbox-connected").await;
    assert!(server.with(|state| state.refreshes >= 2 && state.files.is_empty()));
    let shown = cli(world, "destination list --output json").await;
    assert!(
        shown.contains("\"cloud\"") && !shown.contains("refresh/token"),
        "{shown}"
    );
}

/// A server that the satellite's service asks instead of Dropbox, as far as programs ask: nothing here reaches the internet.
async fn stands_in_for_dropbox(world: &World) -> Dropbox {
    let server = Dropbox::start_at(&format!("{SERVER}:0")).await;
    let unit = format!("satellite-workload-{WORKLOAD}.service");
    let start = world
        .lab
        .satellite()
        .exec(&["systemctl", "cat", &unit])
        .await
        .unwrap();
    let start = start.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    let place = format!("/run/systemd/system/{unit}.d");
    let script = format!(
        "mkdir -p {place} && echo 'dropbox = \"{}\"' >/run/dropbox.toml && \
         printf '%s\\n' '[Service]' ExecStart= '{start} --config /run/dropbox.toml' >{place}/dropbox.conf && \
         systemctl daemon-reload && systemctl restart {unit}",
        server.url
    );
    world.lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
    server
}

async fn chooses_the_master(world: &World) {
    let browser = &world.browser;
    for name in ["first", "second"] {
        let profile = format!(
            "name = \"{name}\"\naddress = \"{name}.example.org\"\ntenant = \"acme\"\n\n[[data-set]]\nname = \"core\"\n\
             description = \"Settings\"\npaths = [\"/etc/hostname\"]\n"
        );
        let file = world.lab.data().join(format!("{name}.toml"));
        write(&file, profile).unwrap();
        cli(
            world,
            &format!("central add {} --satellite {SATELLITE}", file.display()),
        )
        .await;
    }
    world.open("/centrals/first").await;
    browser.says("Master", SOON).await.unwrap();
    world.open("/centrals/second").await;
    browser.says("Secondary", SOON).await.unwrap();
    world.pictures("central-secondary").await;
    browser.click("form[action$='/master'] button").await.unwrap();
    browser.says("It is saved.", SOON).await.unwrap();
    world.open("/centrals/first").await;
    browser.says("Secondary", SOON).await.unwrap();
    world.open("/centrals").await;
    browser.says("Master", SOON).await.unwrap();
    world.pictures("centrals").await;
}

async fn looks_after_accounts(world: &World) {
    let browser = &world.browser;
    world.open("/warnings/new").await;
    browser.fill("#name", "acme").await.unwrap();
    browser.fill("#space", "much").await.unwrap();
    browser.fill("#mails", "office@example.com").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    world.there("#space[aria-invalid]").await;
    world.pictures("account-of-warnings-new").await;
    browser.fill("#space", "10").await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("office@example.com", SOON).await.unwrap();
    world.open("/warnings/of/acme").await;
    browser.fill("#percent", "75").await.unwrap();
    browser.click("form[action$='/limits'] button").await.unwrap();
    browser.says("It is saved.", SOON).await.unwrap();
    let percent = "return document.getElementById('percent').value";
    assert_eq!(browser.script(percent).await.unwrap(), "75");
    world.pictures("account-of-warnings").await;
    let told = cli(world, "account list --output json").await;
    assert!(told.contains("office@example.com"), "{told}");
}

async fn looks_after_users(world: &World) {
    let browser = &world.browser;
    world.open("/users").await;
    browser.fill("#name", "vera").await.unwrap();
    browser.fill("#password", "Password1234").await.unwrap();
    browser.click("form[action='/users'] button.main").await.unwrap();
    browser.says("too easy to guess", SOON).await.unwrap();
    world.glance("user-password-common").await;
    browser.fill("#password", "another long password").await.unwrap();
    browser.click("form[action='/users'] button.main").await.unwrap();
    browser.says("It is saved.", SOON).await.unwrap();
    world.open("/users/vera").await;
    browser.says("vera", SOON).await.unwrap();
    world.pictures("user").await;
}

/// A customer sees the own centrals and account and sets when they warn, and nothing of the machines.
async fn a_customer_looks_after_the_own(world: &World) {
    let browser = &world.browser;
    let password = world.lab.data().join("password").display().to_string();
    let add = format!("user add carla --role customer --tenant acme --password-file {password}");
    cli(world, &add).await;
    world.sign_out().await;
    world.sign_in_as("carla").await;
    let text = browser.text().await.unwrap();
    assert!(
        !text.contains("satellites answer") && !text.contains("Audit log"),
        "{text}"
    );
    world.pictures("customer-overview").await;
    world.open("/satellites").await;
    browser
        .says("Your role does not allow this.", SOON)
        .await
        .unwrap();
    world.open("/centrals").await;
    browser.says("first", SOON).await.unwrap();
    world.open("/warnings/of/acme").await;
    browser.fill("#percent", "60").await.unwrap();
    browser.click("form[action$='/limits'] button").await.unwrap();
    browser.says("It is saved.", SOON).await.unwrap();
    let percent = "return document.getElementById('percent').value";
    assert_eq!(browser.script(percent).await.unwrap(), "60");
    world.pictures("customer-account").await;
    world.sign_out().await;
    world.sign_in().await;
}

/// The code of an authenticator app for a step of thirty seconds, by another implementation.
async fn code(secret: &str, step: u64) -> String {
    let script = "import base64,hashlib,hmac,struct,sys\ns=sys.argv[1]\nk=base64.b32decode(s+'='*(-len(s)%8))\n\
                  d=hmac.new(k,struct.pack('>Q',int(sys.argv[2])),hashlib.sha1).digest()\no=d[-1]&15\n\
                  print('%06d'%((struct.unpack('>I',d[o:o+4])[0]&0x7fffffff)%1000000))";
    let mut python = command("/usr/bin/python3");
    python.args(["-c", script, secret, &step.to_string()]);
    stdout_of(python, SOON).await.unwrap().trim().to_owned()
}

fn step() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
        / 30
}

async fn signs_in_with_two_factors(world: &World) {
    let browser = &world.browser;
    world.open("/account/second-factor").await;
    let secret = "return document.querySelector('.secret').textContent.trim()";
    let secret = browser.script(secret).await.unwrap();
    let secret = secret.as_str().unwrap();
    world.pictures("second-factor").await;
    let used = step();
    browser.fill("#code", &code(secret, used).await).await.unwrap();
    browser.fill("#present", PASSWORD).await.unwrap();
    browser.click("main form button.main").await.unwrap();
    browser.says("The second factor is on.", SOON).await.unwrap();
    world.sign_out().await;
    browser.fill("#name", "anna").await.unwrap();
    browser.fill("#password", PASSWORD).await.unwrap();
    browser.press(ENTER).await.unwrap();
    browser.fill("#code", "000000").await.unwrap();
    world.pictures("sign-in-code").await;
    // Each code counts once: the next one.
    let next = step().max(used + 1);
    browser.fill("#code", &code(secret, next).await).await.unwrap();
    browser.press(ENTER).await.unwrap();
    browser.says("Overview", SOON).await.unwrap();
}
