//! A provider of OpenID Connect on loopback: Debian's Glewlwyd, with its own page for signing in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::command::{command, finish, stdout_of};
use crate::network::write;
use crate::wait::until;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What the client is called there.
pub const CLIENT: &str = "satellites";
/// Its secret.
pub const SECRET: &str = "the-secret-of-the-client";
/// The password of every person.
pub const PERSON_PASSWORD: &str = "a person's password";

/// A provider; it ends when dropped.
#[derive(Debug)]
pub struct Provider {
    /// What it calls itself.
    pub issuer: String,
    directory: PathBuf,
    root: String,
    _process: Child,
}

impl Provider {
    /// Starts one in `directory` that shows `certificate`, knows one client, and sends people back to `back`.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start(
        directory: &Path,
        (certificate, key): &(PathBuf, PathBuf),
        back: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let at = |name: &str| directory.join(name);
        pages(&at("pages")).await?;
        store(&at("store.db")).await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = format!("https://127.0.0.1:{port}");
        let config = format!(
            "port={port}\nbind_address=\"127.0.0.1\"\nexternal_url=\"{root}\"\nlogin_url=\"login.html\"\napi_prefix=\"api\"\n\
             static_files_path={:?}\nlog_mode=\"console\"\nlog_level=\"WARNING\"\ncookie_secure=1\n\
             session_expiration=3600\nsession_key=\"session\"\nadmin_session_authentication=\"cookie\"\n\
             profile_session_authentication=\"cookie\"\nlogin_api_enabled=true\nmax_post_size=1048576\n\
             admin_scope=\"g_admin\"\nprofile_scope=\"g_profile\"\nuser_module_path=\"/usr/lib/glewlwyd/user\"\n\
             client_module_path=\"/usr/lib/glewlwyd/client\"\nuser_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"\n\
             plugin_module_path=\"/usr/lib/glewlwyd/plugin\"\nuse_secure_connection=true\n\
             secure_connection_pem_file={certificate:?}\nsecure_connection_key_file={key:?}\n\
             hash_algorithm=\"SHA512\"\ndatabase = {{ type=\"sqlite3\"; path={:?}; }};\n\
             static_files_mime_types = (\n\
             {{ extension=\".html\"; mime_type=\"text/html\"; }}, {{ extension=\".css\"; mime_type=\"text/css\"; }},\n\
             {{ extension=\".js\"; mime_type=\"application/javascript\"; }},\n\
             {{ extension=\".json\"; mime_type=\"application/json\"; }} )\n",
            at("pages"),
            at("store.db"),
        );
        write(&at("config"), config)?;
        let log = std::fs::File::create(at("log"))?;
        let mut program = command("/usr/bin/glewlwyd");
        program
            .arg(format!("--config-file={}", at("config").display()))
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = program.spawn().context("cannot start glewlwyd")?;
        let up = until("the provider to listen", LIMIT, async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        });
        up.await
            .with_context(|| std::fs::read_to_string(at("log")).unwrap_or_default())?;
        let provider = Self {
            issuer: format!("{root}/api/oidc"),
            directory: directory.to_owned(),
            root,
            _process: process,
        };
        provider.set_up(back).await?;
        Ok(provider)
    }

    async fn set_up(&self, back: &str) -> anyhow::Result<()> {
        let at = |name: &str| self.directory.join(name);
        let mut make = command("openssl");
        make.args("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out".split(' '))
            .arg(at("sign.key"));
        stdout_of(make, LIMIT).await?;
        let mut public = command("openssl");
        public.args(["pkey", "-pubout", "-in"]).arg(at("sign.key"));
        let public = stdout_of(public, LIMIT).await?;
        self.sign_in("admin", "password").await?;
        let claim = |name: &str, property: &str| json!({ "name": name, "user-property": property, "type": "string", "mandatory": true });
        let plugin = json!({ "module": "oidc", "name": "oidc", "display_name": "OpenID Connect", "parameters": {
            "iss": self.issuer, "jwt-type": "ecdsa", "jwt-key-size": "256",
            "key": std::fs::read_to_string(at("sign.key"))?, "cert": public,
            "access-token-duration": 3600, "refresh-token-duration": 3600, "code-duration": 600,
            "refresh-token-rolling": true, "allow-non-oidc": false, "auth-type-code-enabled": true,
            "auth-type-token-enabled": false, "auth-type-id-token-enabled": true, "auth-type-none-enabled": false,
            "auth-type-password-enabled": false, "auth-type-client-enabled": false, "auth-type-refresh-enabled": false,
            "pkce-allowed": true, "pkce-method-plain-allowed": false, "pkce-required": true,
            "subject-type": "public", "oauth-as-iss-id": true, "scope": [],
            "claims": [claim("groups", "groups"), claim("preferred_username", "username")],
        }});
        self.ask("admin", "POST", "mod/plugin/", &plugin).await?;
        let client = json!({ "client_id": CLIENT, "name": "Satellites", "confidential": true, "enabled": true,
            "password": SECRET, "client_secret": SECRET, "redirect_uri": [back], "authorization_type": ["code"],
            "token_endpoint_auth_method": ["client_secret_basic"], "scope": [] });
        self.ask("admin", "POST", "client/", &client).await
    }

    /// Adds a person of some groups who lets the client know about it.
    ///
    /// # Errors
    ///
    /// If the provider refuses.
    pub async fn add(&self, name: &str, groups: &[&str]) -> anyhow::Result<()> {
        let person = json!({ "username": name, "name": name, "email": format!("{name}@example.org"), "enabled": true,
            "password": PERSON_PASSWORD, "groups": groups, "scope": ["g_profile", "openid"] });
        self.ask("admin", "POST", "user/", &person).await?;
        self.sign_in(name, PERSON_PASSWORD).await?;
        let granted = json!({ "scope": "openid" });
        self.ask(name, "PUT", &format!("auth/grant/{CLIENT}"), &granted)
            .await
    }

    /// Removes a person; another may be added with the name.
    ///
    /// # Errors
    ///
    /// If the provider refuses.
    pub async fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.ask("admin", "DELETE", &format!("user/{name}"), &json!({}))
            .await
    }

    async fn sign_in(&self, name: &str, password: &str) -> anyhow::Result<()> {
        let credentials = json!({ "username": name, "password": password });
        self.ask(name, "POST", "auth/", &credentials).await
    }

    /// Asks as somebody who has signed in.
    async fn ask(&self, who: &str, how: &str, place: &str, what: &Value) -> anyhow::Result<()> {
        let jar = self.directory.join(format!("{who}.cookies"));
        let mut curl = command("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--fail-with-body",
            "--request",
            how,
        ])
        .args([
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            &what.to_string(),
        ])
        .arg("--cookie")
        .arg(&jar)
        .arg("--cookie-jar")
        .arg(&jar)
        .arg(format!("{}/api/{place}", self.root));
        let ended = finish(curl, LIMIT).await?;
        anyhow::ensure!(ended.code == Some(0), "{how} {place} of the provider: {ended:?}");
        Ok(())
    }
}

/// Its pages: Debian's lack the settings that the program for them looks for.
async fn pages(place: &Path) -> anyhow::Result<()> {
    let mut copy = command("sh");
    copy.args([
        "-euc",
        "cp -rL /usr/share/glewlwyd/webapp \"$1\"; rm -r \"$1/config.json\"; cp /etc/glewlwyd/config-2.7.json/config.json \"$1\"",
        "sh",
    ]);
    copy.arg(place);
    stdout_of(copy, LIMIT).await.map(drop)
}

/// Its store, with groups among what it knows of people.
async fn store(place: &Path) -> anyhow::Result<()> {
    let groups = "UPDATE g_user_module_instance SET gumi_parameters = json_set(gumi_parameters, '$.\"data-format\".groups', \
                  json('{\"multiple\":true,\"read\":true,\"write\":true,\"profile-read\":true,\"profile-write\":false}'));";
    let mut fill = command("sqlite3");
    fill.arg("-bail").arg(place).args([
        ".read /usr/share/dbconfig-common/data/glewlwyd/install/sqlite3",
        groups,
    ]);
    stdout_of(fill, LIMIT).await.map(drop)
}
