//! The module's page in a browser: opened, signed in to, and looked at; pictures of what it shows.

use std::path::PathBuf;
use std::time::Duration;

use e2e::browser::Browser;
use e2e::wait::until;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const LONG: Duration = Duration::from_secs(240);
pub(crate) const ENTER: &str = "\u{e007}";

/// The page of one module, as a person has it before them.
pub(crate) struct Page {
    pub(crate) browser: Browser,
    /// The program that finds what keeps people from using a page.
    pub(crate) axe: String,
    address: String,
}

impl Page {
    /// The one at `address`, as `https://HOST:PORT`.
    pub(crate) fn new(browser: Browser, address: String) -> Self {
        Self {
            browser,
            axe: axe(),
            address,
        }
    }

    pub(crate) async fn open(&self, place: &str) {
        self.browser
            .open(&format!("{}{place}", self.address))
            .await
            .unwrap();
    }

    /// All users of these tests have the same password.
    pub(crate) async fn sign_in_as(&self, name: &str) {
        self.open("/").await;
        self.browser.fill("#name", name).await.unwrap();
        self.browser.fill("#password", PASSWORD).await.unwrap();
        self.browser.press(ENTER).await.unwrap();
        self.browser.says("Overview", SOON).await.unwrap();
    }

    pub(crate) async fn sign_out(&self) {
        self.browser
            .click("form[action='/sign-out'] button")
            .await
            .unwrap();
        self.browser.says("User name", SOON).await.unwrap();
    }

    /// Chooses a language by its code, at the foot of the overview.
    pub(crate) async fn speak(&self, code: &str) {
        self.open("/").await;
        self.choose(code).await;
    }

    async fn choose(&self, code: &str) {
        let choice = format!("button[name=language][value={code}]");
        self.browser.click(&choice).await.unwrap();
        self.there(&format!("html[lang={code}]")).await;
    }

    /// Puts text into fields by their ids. Typed key by key it would take minutes.
    pub(crate) async fn put(&self, fields: &serde_json::Value) {
        let script = format!(
            "for (const [id, text] of Object.entries({fields})) {{ const field = document.getElementById(id); \
             field.value = text; field.dispatchEvent(new Event('change', {{ bubbles: true }})) }}"
        );
        self.browser.script(&script).await.unwrap();
    }

    /// Opens the part of the page that holds what `css` names.
    pub(crate) async fn unfold(&self, css: &str) {
        let css = serde_json::Value::from(css);
        let script = format!("document.querySelector({css}).closest('details').open = true");
        self.browser.script(&script).await.unwrap();
    }

    /// Waits until there is what `css` names.
    pub(crate) async fn there(&self, css: &str) {
        let look = format!(
            "return document.querySelector({}) !== null",
            serde_json::Value::from(css)
        );
        let what = format!("{css} on the page");
        let found = until(&what, LONG, async || {
            (self.browser.script(&look).await.ok()? == true).then_some(())
        });
        found.await.unwrap();
    }

    /// Pictures of the page that is open, wide and narrow, light and dark; nothing in it keeps anybody from using it, and nothing is cut.
    pub(crate) async fn pictures(&self, name: &str) {
        let faults = self.looks(name).await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// The same pictures, and what is wrong with them.
    pub(crate) async fn looks(&self, name: &str) -> Vec<String> {
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

    /// The page that is open once more in another language, narrow and dark; one that a form has answered is no longer there.
    pub(crate) async fn glance_in(&self, code: &str, name: &str) {
        self.choose(code).await;
        self.browser.look(390, 900, true).await.unwrap();
        self.glance(&format!("{name}-narrow-dark-{code}")).await;
        let cuts = self.browser.cuts().await.unwrap();
        assert!(cuts.is_empty(), "{name} in {code}: {}", cuts.join("\n"));
        self.browser.look(1280, 900, false).await.unwrap();
        self.choose("en").await;
    }

    /// One picture of a page of which there are many alike, or that does not stay for long.
    pub(crate) async fn glance(&self, name: &str) {
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
