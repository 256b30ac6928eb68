//! A laboratory with a server, a satellite and a real browser; pictures of what it shows.

use std::ops::Deref;

use e2e::browser::Browser;
use e2e::lab::SATELLITE;
use e2e::network::{SERVER, write};
use e2e::scratch::Scratch;

use super::page::{LONG, PASSWORD, Page};

/// A laboratory with a browser beside its server.
pub(super) struct World {
    pub(super) lab: Scratch,
    page: Page,
}

impl Deref for World {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
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
            page: Page::new(browser, format!("https://{SERVER}:{port}")),
            lab,
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

    pub(super) async fn sign_in(&self) {
        self.sign_in_as("anna").await;
    }
}

/// Runs a command line, of words without spaces, on the server.
pub(super) async fn cli(world: &World, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    world.lab.server.cli(&words).await.unwrap()
}
