//! `bundle …`

mod ceremony;
pub(super) mod document;
mod permit;
mod trust;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use clap::{Args, Subcommand};
use satellite_proto::bundle::{self, BundleReader, KeyPair, Recipe, SecretKey, TrustAnchors};
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::management::v1::{AddBundleRequest, Bundle as Stored, ListBundlesRequest};
use serde::Serialize;

use super::job::Progress;
use super::texts::Text;
use super::{CliError, Global, client, prompt, read_text, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Bundle {
    /// Makes a release key.
    Keygen(Keygen),
    /// Packs and signs a bundle.
    Build(Build),
    /// Checks a bundle whole and shows what is in it.
    Inspect(Inspect),
    /// Takes a bundle into the module's store.
    Add(Add),
    /// Lists the bundles in the store.
    List,
    /// Makes and signs sets of root keys: who decides who releases.
    #[command(subcommand)]
    Root(ceremony::RootCommand),
    /// Makes and signs sets of release keys: who releases.
    #[command(subcommand)]
    Keys(ceremony::KeysCommand),
    /// Brings signed sets of keys to satellites, and shows whom they trust.
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Permits satellites to go back to an older release, once.
    AllowDowngrade(permit::AllowDowngrade),
}

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// File that receives the secret key; it must not be there yet.
    #[arg(value_name = "SECRET_KEY_FILE")]
    secret: PathBuf,
    /// File that receives the public key; without it the other file's name with `.pub`.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Also write a list of trusted keys (trust.toml) that has this one only.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Do not protect the secret key: for development only.
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    /// File that holds the password; without it the password is asked.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// File that says what the workload is (TOML).
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Directory of the files to be installed.
    #[arg(long, value_name = "DIRECTORY")]
    payload: PathBuf,
    /// File of a secret key, can be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// File that holds the password of the keys; without it it is asked, if one is needed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The bundle.
    file: PathBuf,
    /// List of trusted keys; without it the configuration's.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Signed set of root or release keys that follows from that list, can be repeated.
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The bundle.
    file: PathBuf,
    /// No satellite takes it for the newest by itself: `update rollout` or `update push --version` brings it.
    #[arg(long)]
    hold: bool,
}

#[derive(Debug, Serialize)]
struct InspectView {
    workload: String,
    version: String,
    channel: String,
    release: u64,
    architecture: String,
    least_bridge: String,
    manifest_digest: String,
    key_ids: Vec<String>,
    files: usize,
    chunks: usize,
    payload_bytes: u64,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct View {
    workload: String,
    version: String,
    release: u64,
    channel: String,
    architecture: String,
    size_bytes: u64,
    payload_bytes: u64,
    manifest_digest: String,
    key_ids: Vec<String>,
    add_time: String,
    held: bool,
}

impl From<Stored> for View {
    fn from(bundle: Stored) -> Self {
        Self {
            add_time: render::time(bundle.add_time.as_ref()),
            workload: bundle.workload,
            version: bundle.version,
            release: bundle.release,
            channel: bundle.channel,
            architecture: bundle.architecture,
            size_bytes: bundle.size_bytes,
            payload_bytes: bundle.payload_bytes,
            manifest_digest: bundle.manifest_digest,
            key_ids: bundle.key_ids,
            held: bundle.held,
        }
    }
}

impl Bundle {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Keygen(command) => command.run(global),
            Self::Build(command) => command.run(global),
            Self::Inspect(command) => command.run(global),
            Self::Add(command) => command.run(global).await,
            Self::List => list(global).await,
            Self::Root(command) => command.run(global),
            Self::Keys(command) => command.run(global),
            Self::Trust(command) => command.run(global).await,
            Self::AllowDowngrade(command) => command.run(global),
        }
    }
}

impl Keygen {
    fn run(self, global: &Global) -> Result<(), CliError> {
        let public = self
            .public
            .clone()
            .unwrap_or_else(|| with_suffix(&self.secret, ".pub"));
        for path in [Some(&self.secret), Some(&public), self.trust.as_ref()]
            .into_iter()
            .flatten()
        {
            if path.symlink_metadata().is_ok() {
                return Err(CliError::said(format!(
                    "`{}` is there already and is not replaced",
                    path.display()
                )));
            }
        }
        let password = match &self.password_file {
            _ if self.no_password => None,
            Some(path) => Some(first_line(path)?),
            None => Some(prompt::password("Password of the new key", true)?),
        };
        let pair = KeyPair::generate(password).map_err(CliError::failed)?;
        create(&self.secret, 0o600, pair.secret_file.as_bytes())?;
        create(&public, 0o644, pair.public_file.as_bytes())?;
        if let Some(trust) = &self.trust {
            let text = format!("threshold = 1\nkeys = [\"{}\"]\n", pair.public_key);
            create(trust, 0o644, text.as_bytes())?;
        }
        render::word(global.output, "public_key", &pair.public_key)
    }
}

impl Build {
    fn run(self, global: &Global) -> Result<(), CliError> {
        let recipe =
            Recipe::from_toml(&read_text(&self.recipe)?).map_err(|err| CliError::Usage(err.to_string()))?;
        let password = self.password_file.as_deref().map(first_line).transpose()?;
        let signers = self.key.iter().map(|path| signer(path, password.as_deref()));
        let signers = signers.collect::<Result<Vec<_>, _>>()?;
        let part = with_suffix(&self.out, ".part");
        let mut file = File::create(&part)
            .with_context(|| format!("cannot write `{}`", part.display()))
            .map_err(CliError::Failed)?;
        let built = bundle::build(&recipe, &self.payload, &signers, &mut file);
        let digest = match built {
            Ok(digest) => digest,
            Err(err) => {
                let _gone = std::fs::remove_file(&part);
                return Err(CliError::failed(err));
            }
        };
        file.sync_all().map_err(CliError::failed)?;
        std::fs::rename(&part, &self.out).map_err(CliError::failed)?;
        render::note(&format!(
            "{} {} is packed and signed",
            recipe.workload, recipe.version
        ));
        render::word(global.output, "manifest_digest", &digest.to_string())
    }
}

/// Opens a secret key; the password is asked only if the key has one.
fn signer(path: &Path, password: Option<&str>) -> Result<SecretKey, CliError> {
    let text = read_text(path)?;
    if let Ok(key) = SecretKey::from_file_text(&text, None) {
        return Ok(key);
    }
    let password = match password {
        Some(password) => password.to_owned(),
        None => prompt::password(&format!("Password of `{}`", path.display()), false)?,
    };
    SecretKey::from_file_text(&text, Some(password)).map_err(CliError::failed)
}

impl Inspect {
    fn run(self, global: &Global) -> Result<(), CliError> {
        let trust = match self.trust {
            Some(path) => path,
            None => global.load_config()?.trust_anchors,
        };
        let anchors = document::release_keys(&trust, &self.keys)?;
        let view = inspect(&self.file, &anchors).map_err(CliError::Failed)?;
        render::one(global.output, &view, |view| {
            vec![
                (texts::WORKLOAD, view.workload.clone()),
                (texts::VERSION, view.version.clone()),
                (
                    texts::RELEASE,
                    render::of(&view.release.to_string(), &view.channel),
                ),
                (texts::ARCHITECTURE, view.architecture.clone()),
                (texts::LEAST_BRIDGE, view.least_bridge.clone()),
                (texts::SIGNED_BY, view.key_ids.join(", ")),
                (texts::MANIFEST, view.manifest_digest.clone()),
                (texts::FILES, view.files.to_string()),
                (texts::CHUNKS, view.chunks.to_string()),
                (texts::INSTALLED, render::size(view.payload_bytes)),
                (texts::SIZE, render::size(view.size_bytes)),
            ]
        })
    }
}

/// Reads the bundle whole: signatures, manifest, and each chunk.
fn inspect(path: &Path, anchors: &TrustAnchors) -> anyhow::Result<InspectView> {
    let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let size_bytes = file.metadata()?.len();
    let reader = BundleReader::open(std::io::BufReader::new(file))?;
    let manifest = bundle::verify(reader.manifest_bytes(), reader.signatures(), anchors)?;
    let valid = anchors.valid(reader.manifest_bytes(), reader.signatures());
    let key_ids = valid.into_iter().filter_map(bundle::key_id).collect();
    let manifest_digest = bundle::digest_of_manifest(reader.manifest_bytes()).to_string();
    let mut chunks = 0;
    for chunk in reader.chunks(&manifest) {
        let (entry, frame) = chunk?;
        bundle::unpack_chunk(&entry, &frame)?;
        chunks += 1;
    }
    Ok(InspectView {
        payload_bytes: manifest.payload_bytes(),
        workload: manifest.workload.to_string(),
        version: manifest.version.to_string(),
        least_bridge: manifest.least_bridge.to_string(),
        channel: manifest.channel,
        release: manifest.release,
        architecture: manifest.architecture,
        manifest_digest,
        key_ids,
        files: manifest.files.len(),
        chunks,
        size_bytes,
    })
}

impl Add {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut file = File::open(&self.file)
            .with_context(|| format!("cannot read `{}`", self.file.display()))
            .map_err(CliError::Failed)?;
        let total = file.metadata().map_err(CliError::failed)?.len();
        let mut client = client::connect(global).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let hold = self.hold;
        let reading = tokio::task::spawn_blocking(move || {
            let mut progress = Progress::default();
            let mut done = 0;
            loop {
                let data = piece(&mut file)?;
                done += data.len() as u64;
                if data.is_empty() || sender.blocking_send(AddBundleRequest { data, hold }).is_err() {
                    progress.finish();
                    return std::io::Result::Ok(());
                }
                progress.set("sending the bundle", done, total, true);
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answer = client.bundle.add_bundle(stream).await;
        reading
            .await
            .map_err(CliError::failed)?
            .map_err(CliError::failed)?;
        let answer = answer?.into_inner();
        let view = View::from(answer.bundle.unwrap_or_default());
        let known = if answer.known {
            " (it was there before)"
        } else {
            ""
        };
        render::note(&format!(
            "{} {} is in the store{known}",
            view.workload, view.version
        ));
        render::one(global.output, &view, View::properties)
    }
}

fn piece(file: &mut File) -> std::io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(MAX_PIECE);
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}

async fn list(global: &Global) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let bundles = client
        .bundle
        .list_bundles(ListBundlesRequest {})
        .await?
        .into_inner()
        .bundles;
    let views: Vec<_> = bundles.into_iter().map(View::from).collect();
    let heading = [
        texts::WORKLOAD,
        texts::VERSION,
        texts::RELEASE,
        texts::CHANNEL,
        texts::SIZE,
        texts::SIGNED_BY,
        texts::ADDED,
        texts::HELD,
    ];
    render::list(global.output, &views, &heading, |view| {
        let (release, size) = (view.release.to_string(), render::size(view.size_bytes));
        let (workload, version) = (view.workload.clone(), view.version.clone());
        vec![
            workload,
            version,
            release,
            view.channel.clone(),
            size,
            view.key_ids.join(", "),
            view.add_time.clone(),
            texts::yes_no(view.held).to_owned(),
        ]
    })
}

impl View {
    fn properties(&self) -> Vec<(Text, String)> {
        vec![
            (texts::WORKLOAD, self.workload.clone()),
            (texts::VERSION, self.version.clone()),
            (
                texts::RELEASE,
                render::of(&self.release.to_string(), &self.channel),
            ),
            (texts::SIGNED_BY, self.key_ids.join(", ")),
            (texts::MANIFEST, self.manifest_digest.clone()),
        ]
    }
}

fn first_line(path: &Path) -> Result<String, CliError> {
    Ok(read_text(path)?.lines().next().unwrap_or_default().to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a file that was not there, and brings it to disk.
fn create(path: &Path, mode: u32, data: &[u8]) -> Result<(), CliError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let written = made.and_then(|mut file| {
        file.write_all(data)?;
        file.sync_all()
    });
    written
        .with_context(|| format!("cannot write `{}`", path.display()))
        .map_err(CliError::Failed)
}
