//! A real browser without a screen, driven over WebDriver: it sees a page as a person does.
//!
//! **Invariant:** driver and browser live in the namespace that they are given, keep their profile in a directory of
//! their own, and end with the value.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::wait::until;

/// What a single order to the browser may take, on a busy machine.
const ORDER: Duration = Duration::from_secs(60);

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser.
#[derive(Debug)]
pub struct Browser {
    _driver: Child,
    _profile: tempfile::TempDir,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one. `driver` is the command `chromedriver`, in the namespace that the browser shall see.
    ///
    /// # Errors
    ///
    /// If driver or browser do not come up.
    pub async fn start(mut driver: Command) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        driver
            .args(["--port=0", "--log-level=SEVERE"])
            .env("HOME", profile.path());
        let mut child = driver
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromedriver")?;
        let stdout = child.stdout.take().context("chromedriver has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let told = async {
            while let Some(line) = lines.next_line().await? {
                let port = line
                    .split("on port ")
                    .nth(1)
                    .map(|rest| rest.trim_end_matches('.').trim());
                // The first line repeats the port that was asked for: 0.
                if let Some(port) = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0) {
                    return Ok(port);
                }
            }
            anyhow::bail!("chromedriver ended without a port")
        };
        let port: u16 = tokio::time::timeout(ORDER, told)
            .await
            .context("chromedriver says nothing")??;
        // Nobody listens from here on, and nothing may block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut browser = Self {
            _driver: child,
            _profile: profile,
            port,
            session: String::new(),
        };
        let data = browser._profile.path().join("data").display().to_string();
        let options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
            "--no-first-run", "--hide-scrollbars", "--window-size=1280,900", format!("--user-data-dir={data}"),
        ] });
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true, "goog:chromeOptions": options,
        } } });
        let session = browser.call("POST", "/session", &wish).await?;
        browser.session = session["sessionId"].as_str().context("no session")?.to_owned();
        Ok(browser)
    }

    /// Opens an address.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub async fn open(&self, address: &str) -> anyhow::Result<()> {
        for _ in 0..3 {
            self.order("url", &json!({ "url": address })).await?;
            // A network that changes under it, as one does that was just made, leaves the browser's own page for errors.
            let shown = self.script("return document.documentURI").await?;
            if !shown.as_str().unwrap_or_default().starts_with("chrome-error:") {
                return Ok(());
            }
        }
        anyhow::bail!("the browser does not get to {address}")
    }

    /// The address that is shown.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn address(&self) -> anyhow::Result<String> {
        let path = format!("/session/{}/url", self.session);
        let address = self.call("GET", &path, &Value::Null).await?;
        Ok(address.as_str().unwrap_or_default().to_owned())
    }

    /// What the page says, as a person reads it.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.script("return document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says `text`.
    ///
    /// # Errors
    ///
    /// With what it says instead.
    pub async fn says(&self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let mut last = String::new();
        let found = until(&format!("the page to say {text:?}"), limit, async || {
            last = self.text().await.unwrap_or_default();
            last.contains(text).then_some(())
        })
        .await;
        found.with_context(|| format!("it says:\n{last}"))
    }

    /// Clicks what `css` names first.
    ///
    /// # Errors
    ///
    /// If it is not there, or cannot be clicked.
    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        let element = self.find(css).await?;
        self.order(&format!("element/{element}/click"), &json!({}))
            .await
            .map(drop)
    }

    /// Types into what `css` names first, in place of what is there.
    ///
    /// # Errors
    ///
    /// If it is not there, or takes no text.
    pub async fn fill(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find(css).await?;
        self.order(&format!("element/{element}/clear"), &json!({}))
            .await?;
        let order = json!({ "text": text });
        self.order(&format!("element/{element}/value"), &order)
            .await
            .map(drop)
    }

    /// Chooses a file for the field that `css` names first.
    ///
    /// # Errors
    ///
    /// If it is not there, or takes no file.
    pub async fn choose(&self, css: &str, file: &Path) -> anyhow::Result<()> {
        let element = self.find(css).await?;
        let order = json!({ "text": file.display().to_string() });
        self.order(&format!("element/{element}/value"), &order)
            .await
            .map(drop)
    }

    /// Presses keys where the focus is.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn press(&self, keys: &str) -> anyhow::Result<()> {
        let both = |key: char| {
            [
                json!({ "type": "keyDown", "value": key }),
                json!({ "type": "keyUp", "value": key }),
            ]
        };
        let actions: Vec<Value> = keys.chars().flat_map(both).collect();
        let order = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.order("actions", &order).await.map(drop)
    }

    /// Runs a script in the page, for what cannot be seen otherwise.
    ///
    /// # Errors
    ///
    /// If it fails there.
    pub async fn script(&self, text: &str) -> anyhow::Result<Value> {
        self.order("execute/sync", &json!({ "script": text, "args": [] }))
            .await
    }

    /// What keeps some people from using the page that is open, by axe-core, whose text is `axe`: the serious and the critical of
    /// what it knows by the WCAG 2.2, levels A and AA.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub async fn hindrances(&self, axe: &str) -> anyhow::Result<Vec<String>> {
        let run = format!(
            "const done = arguments[arguments.length - 1]; if (!window.axe) {{ {axe} }}\n\
             axe.run(document, {{ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }})\
             .then(found => done(found.violations.filter(one => ['serious', 'critical'].includes(one.impact))\
             .flatMap(one => one.nodes.map(node => `${{one.id}}: ${{node.html}} (${{node.failureSummary}})`))), \
             error => done(String(error)));"
        );
        let found = self
            .order("execute/async", &json!({ "script": run, "args": [] }))
            .await?;
        let found = found.as_array().with_context(|| format!("axe failed: {found}"))?;
        Ok(found
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// What of the page that is open cannot be seen whole: it is wider than the window, or a part of it is cut off.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn cuts(&self) -> anyhow::Result<Vec<String>> {
        let look = "const found = []; const told = one => `${one.tagName} .${one.className}: ${(one.textContent || '').trim().slice(0, 60)}`;\
            if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');\
            for (const one of document.querySelectorAll('body *')) {\
              const style = getComputedStyle(one), box = one.getBoundingClientRect();\
              if (box.width <= 1 || style.visibility == 'hidden' || one.closest('.unseen, .skip, svg, select, thead')) continue;\
              const rolls = ['auto', 'scroll'].includes(style.overflowX);\
              const hides = style.overflowX == 'hidden' || one.matches('button, .button, .badge, .sheet');\
              if (hides && one.scrollWidth > one.clientWidth + 1 && style.textOverflow != 'ellipsis') found.push(`cut off: ${told(one)}`);\
              if (!rolls && !one.closest('.side, .tabs, .scroll, pre, textarea') && box.right > innerWidth + 1) found.push(`sticks out: ${told(one)}`);\
            }\
            return found.slice(0, 5);";
        let found = self.script(look).await?;
        let found = found.as_array().with_context(|| format!("no list: {found}"))?;
        Ok(found
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// Sets the size of the window, and whether the reader likes it dark.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn look(&self, width: u32, height: u32, is_dark: bool) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let scheme = if is_dark { "dark" } else { "light" };
        // Without motion: what is looked at is not on its way from one colour to another.
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        for (cmd, params) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", features),
        ] {
            self.order("goog/cdp/execute", &json!({ "cmd": cmd, "params": params }))
                .await?;
        }
        Ok(())
    }

    /// Keeps a picture of the whole page.
    ///
    /// # Errors
    ///
    /// If there is none, or the file cannot be written.
    pub async fn picture(&self, file: &Path) -> anyhow::Result<()> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let order = json!({ "cmd": "Page.captureScreenshot", "params": params });
        let answer = self.order("goog/cdp/execute", &order).await?;
        let text = answer["data"].as_str().context("no picture")?;
        let bytes = from_base64(text).context("the picture is not whole")?;
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        crate::network::write(file, bytes)
    }

    async fn find(&self, css: &str) -> anyhow::Result<String> {
        let wanted = json!({ "using": "css selector", "value": css });
        let what = format!("{css} on the page");
        let found = until(&what, Duration::from_secs(20), async || {
            let found = self.order("element", &wanted).await.ok()?;
            Some(found[ELEMENT].as_str()?.to_owned())
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(error.context(self.text().await.unwrap_or_default())),
        }
    }

    async fn order(&self, what: &str, order: &Value) -> anyhow::Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        self.call("POST", &path, order).await
    }

    /// One call to the driver, over a connection of its own.
    async fn call(&self, method: &str, path: &str, order: &Value) -> anyhow::Result<Value> {
        let call = async {
            let body = if method == "POST" {
                order.to_string()
            } else {
                String::new()
            };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                self.port,
                body.len()
            );
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
            // The driver leaves the connection open, whatever it is asked: the length says where the answer ends.
            let (mut stream, mut length) = (BufReader::new(stream), 0);
            let mut line = String::new();
            while stream.read_line(&mut line).await? > 0 && !line.trim().is_empty() {
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse()?;
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            anyhow::Ok(body)
        };
        let body = tokio::time::timeout(ORDER, call)
            .await
            .with_context(|| format!("{path} took too long"))??;
        let answer: Value = serde_json::from_slice(&body).context("an unreadable answer of the driver")?;
        let value = answer["value"].clone();
        if let Some(error) = value["error"].as_str() {
            anyhow::bail!(
                "{path}: {error}: {}",
                value["message"].as_str().unwrap_or_default()
            );
        }
        Ok(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Driver and browser are told to end; the driver is killed with its handle if it does not listen.
        let quit = std::net::TcpStream::connect(("127.0.0.1", self.port));
        if let Ok(mut stream) = quit {
            use std::io::{Read as _, Write as _};
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let line = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.write_all(line.as_bytes());
            let _ = stream.read(&mut [0; 512]);
        }
    }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(value(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, expected) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(from_base64(text).unwrap(), expected.as_bytes());
        }
        assert!(from_base64("?").is_none());
    }
}
