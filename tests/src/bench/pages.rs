//! The web page of a server that has been there for years: what the server takes to answer.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Better, Row, median};
use crate::command::stdout_of;
use crate::lab::Lab;
use crate::network::{SERVER, write};

/// How long one page may take before it is given up.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// The goal of each page, in milliseconds.
const GOAL: f64 = 100.0;
/// The pages.
const PAGES: &[&str] = &[
    "/",
    "/satellites",
    "/satellites/satellite-0777",
    "/backups",
    "/backups/of/Backup%200777",
    "/warnings",
    "/archives",
    "/restores",
    "/audit",
];

/// Each page by itself, over a connection of its own; that one is not counted.
///
/// # Errors
///
/// If a page does not come.
pub async fn pages(lab: &Lab, runs: usize) -> anyhow::Result<Vec<Row>> {
    lab.lan.up().await?;
    lab.serve().await?;
    let password = lab.data().join("password");
    write(&password, "correct horse battery\n")?;
    let shown = password.display().to_string();
    let add = [
        "user",
        "add",
        "anna",
        "--role",
        "administrator",
        "--password-file",
        &shown,
    ];
    lab.server.cli(&add).await?;
    lab.server.stop().await;
    let mut years = lab.lan.at_server("sqlite3");
    let sql = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../management-module/src/web/tests/years.sql");
    years
        .arg(lab.server.config().with_file_name("state").join("store.db"))
        .arg(format!(".read {}", sql.display()));
    stdout_of(years, LIMIT).await?;
    lab.serve().await?;
    let reader = Reader {
        lab,
        page: format!("https://{SERVER}:7600"),
        cookies: lab.data().join("cookies"),
    };
    reader.sign_in().await?;
    let mut rows = Vec::new();
    for place in PAGES {
        let mut times = Vec::new();
        for _ in 0..runs.max(3) {
            times.push(reader.time(place).await?);
        }
        let name = format!("page {place}, 1,000 satellites and 100,000 runs");
        rows.push(Row::absolute(&name, (median(times), "ms"), (Better::Less, GOAL)));
    }
    lab.server.stop().await;
    Ok(rows)
}

/// Somebody with curl.
struct Reader<'a> {
    lab: &'a Lab,
    page: String,
    cookies: PathBuf,
}

impl Reader<'_> {
    async fn ask(&self, place: &str, more: &[&str]) -> anyhow::Result<String> {
        let mut curl = self.lab.lan.at_server("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure"])
            .arg("--cookie")
            .arg(&self.cookies)
            .arg("--cookie-jar")
            .arg(&self.cookies)
            .args(more)
            .arg(format!("{}{place}", self.page));
        stdout_of(curl, LIMIT).await
    }

    async fn sign_in(&self) -> anyhow::Result<()> {
        let form = self.ask("/sign-in", &[]).await?;
        let token = form
            .split("name=\"token\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .context("the page has no form")?;
        let origin = format!("Origin: {}", self.page);
        let (token, name) = (format!("token={token}"), "name=anna");
        let password = "password=correct horse battery";
        let mut words = vec!["--header", &origin];
        for field in [token.as_str(), name, password] {
            words.extend(["--data-urlencode", field]);
        }
        self.ask("/sign-in", &words).await.map(drop)
    }

    /// Milliseconds from the request to the first byte of the answer.
    async fn time(&self, place: &str) -> anyhow::Result<f64> {
        let told = "%{http_code} %{time_pretransfer} %{time_starttransfer}";
        let out = self.cookies.with_extension("html").display().to_string();
        let said = self.ask(place, &["--output", &out, "--write-out", told]).await?;
        let mut words = said.split_whitespace();
        anyhow::ensure!(words.next() == Some("200"), "{place}: {said}");
        let mut second = || words.next().and_then(|word| word.parse::<f64>().ok());
        let (asked, answered) = second().zip(second()).context("curl tells no times")?;
        Ok((answered - asked) * 1000.0)
    }
}
