//! A laboratory with a server, a satellite and a real browser; pictures of what it shows.

use std::path::PathBuf;
use std::time::Duration;

use e2e::browser::Browser;
use e2e::lab::SATELLITE;
use e2e::network::{SERVER, write};
use e2e::scratch::Scratch;

pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const SOON: Duration = Duration::from_secs(60);
pub(super) const LONG: Duration = Duration::from_secs(240);
pub(super) const ENTER: &str = "\u{e007}";

/// A laboratory with a browser beside its server.
pub(super) struct World {
    pub(super) lab: Scratch,
    pub(super) browser: Browser,
    page: String,
    /// The program that finds what keeps people from using a page.
    pub(super) axe: String,
}

impl World {
    pub(super) async fn new() -> Self {
        let lab = Scratch::new().await.unwrap();
        lab.release.bundle().await.unwrap();
        lab.boot().await.unwrap();
        lab.serve().await.unwrap();
        lab.add_bundle().await.unwrap();
        let file = lab.data().join("password");
        write(&file, format!("{PASSWORD}\n")).unwrap();
        let file = file.display().to_string();
        let words = [
            "user",
            "add",
            "anna",
            "--role",
            "administrator",
            "--password-file",
            &file,
        ];
        lab.server.cli(&words).await.unwrap();
        let shown = lab
            .server
            .cli(&["web", "show", "--output", "json"])
            .await
            .unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["problem"], "");
        assert_eq!(shown["certificate_fingerprint"].as_str().unwrap().len(), 95);
        let port = shown["address"]
            .as_str()
            .unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned();
        let browser = Browser::start(lab.lan.at_server("chromedriver"));
        // The driver listens in the server's namespace.
        lab.lan.enter().unwrap();
        let browser = browser.await.unwrap();
        Self {
            page: format!("https://{SERVER}:{port}"),
            lab,
            browser,
            axe: axe(),
        }
    }

    /// The same with a satellite that is commissioned, and a person who has signed in.
    pub(super) async fn with_satellite() -> Self {
        let world = Self::new().await;
        world.lab.pair(&[]).await.unwrap();
        world.lab.server.converged(SATELLITE, LONG).await.unwrap();
        world.sign_in().await;
        world
    }

    pub(super) async fn open(&self, place: &str) {
        self.browser.open(&format!("{}{place}", self.page)).await.unwrap();
    }

    pub(super) async fn sign_in(&self) {
        self.sign_in_as("anna").await;
    }

    /// All of these tests have the same password.
    pub(super) async fn sign_in_as(&self, name: &str) {
        self.open("/").await;
        self.browser.fill("#name", name).await.unwrap();
        self.browser.fill("#password", PASSWORD).await.unwrap();
        self.browser.press(ENTER).await.unwrap();
        self.browser.says("Overview", SOON).await.unwrap();
    }

    pub(super) async fn sign_out(&self) {
        self.browser
            .click("form[action='/sign-out'] button")
            .await
            .unwrap();
        self.browser.says("User name", SOON).await.unwrap();
    }

    /// Pictures of the page that is open, wide and narrow, light and dark; nothing in it keeps anybody from using it, and nothing is cut.
    pub(super) async fn pictures(&self, name: &str) {
        let faults = self.looks(name).await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// The same pictures, and what is wrong with them.
    pub(super) async fn looks(&self, name: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (kind, width, is_dark) in [
            ("wide", 1280, false),
            ("wide-dark", 1280, true),
            ("narrow", 390, false),
            ("narrow-dark", 390, true),
        ] {
            self.browser.look(width, 900, is_dark).await.unwrap();
            self.browser
                .picture(&place_of(&format!("{name}-{kind}")))
                .await
                .unwrap();
            let mut found = self.browser.hindrances(&self.axe).await.unwrap();
            found.extend(self.browser.cuts().await.unwrap());
            faults.extend(found.into_iter().map(|fault| format!("{name}, {kind}: {fault}")));
        }
        self.browser.look(1280, 900, false).await.unwrap();
        faults
    }

    /// One picture of a page of which there are many alike, or that does not stay for long.
    pub(super) async fn glance(&self, name: &str) {
        self.browser.picture(&place_of(name)).await.unwrap();
        let faults = self.browser.hindrances(&self.axe).await.unwrap();
        assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
    }
}

/// Where what belongs to the run lies, beside what was built.
fn target() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("target")
}

fn place_of(name: &str) -> PathBuf {
    target().join("screenshots").join(format!("{name}.png"))
}

fn axe() -> String {
    let file = target().join("axe.min.js");
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; `tests/fetch-axe` puts it there", file.display()))
}

/// Runs a command line, of words without spaces, on the server.
pub(super) async fn cli(world: &World, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    world.lab.server.cli(&words).await.unwrap()
}

/// Waits until there is what `css` names.
pub(super) async fn there(world: &World, css: &str) {
    let look = format!(
        "return document.querySelector({}) !== null",
        serde_json::Value::from(css)
    );
    e2e::wait::until(&format!("{css} on the page"), LONG, async || {
        (world.browser.script(&look).await.ok()? == true).then_some(())
    })
    .await
    .unwrap();
}
