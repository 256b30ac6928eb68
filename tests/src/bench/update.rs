//! Updating the backup-service by one release: bytes on the wire and seconds, beside what a user would pick instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use rand::{RngCore as _, SeedableRng as _};
use satellite_proto::bundle::{SecretKey, build};

use super::peers::{self, Site};
use super::process::own_cpu;
use super::satellite::Client;
use super::transport::recipe;
use super::{Better, Row, Sample, median};
use crate::command::run;
use crate::network::write;

/// The workload that is updated: the backup-service under another name.
const WORKLOAD: &str = "updated";
/// Bytes of a section that the next release changes, and of a section that it adds.
const CHANGED: usize = 64 * 1024;
/// The cables to the satellite and to the others' servers.
const CABLES: [&str; 2] = ["lan0", "peers0"];

#[derive(Default)]
struct Measured {
    bytes: BTreeMap<&'static str, Vec<f64>>,
    seconds: BTreeMap<&'static str, Vec<f64>>,
}

impl Measured {
    /// Does `work`, and counts what it sends and what it takes.
    async fn add<T>(
        &mut self,
        who: &'static str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let before = on_the_wire()?;
        let (sample, result) = Sample::of(own_cpu, work).await?;
        let bytes = on_the_wire()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "a few MiB")]
        self.bytes.entry(who).or_default().push(bytes as f64 / 1024.0);
        self.seconds.entry(who).or_default().push(sample.wall);
        Ok(result)
    }

    fn row(&self, name: &str, of: &str, (peer, better, bound): (&str, Better, f64)) -> Row {
        let all = if of == "s" { &self.seconds } else { &self.bytes };
        let value = |who: &str| median(all.get(who).cloned().unwrap_or_default());
        let peers = all.keys().filter(|who| **who != "ours");
        let peers = peers.map(|who| ((*who).to_owned(), value(who))).collect();
        Row::against(name, (value("ours"), of), peers, (peer, better, bound))
    }
}

/// The programs of two releases, made smaller as they are for a bundle.
#[derive(Debug)]
struct Releases {
    old: PathBuf,
    /// The next one, if there is a real one.
    new: Option<PathBuf>,
}

impl Releases {
    async fn of(dir: &Path, program: &Path, before: Option<&Path>) -> anyhow::Result<Self> {
        let (old, new) = (dir.join("old"), dir.join("program"));
        let stripped = async |from: &Path, to: &Path| run("strip", &["-o", &shown(to), &shown(from)]).await;
        stripped(before.unwrap_or(program), &old).await?;
        if before.is_none() {
            return Ok(Self { old, new: None });
        }
        stripped(program, &new).await?;
        Ok(Self { old, new: Some(new) })
    }

    async fn next(&self, dir: &Path, seed: u64) -> anyhow::Result<PathBuf> {
        match &self.new {
            Some(new) => Ok(new.clone()),
            None => next_release(dir, &self.old, seed).await,
        }
    }
}

/// What is updated, and from where.
#[derive(Debug)]
pub struct Bench<'a> {
    /// A client of the satellite.
    pub client: &'a Client,
    /// Where the servers of the others run, and scratch space.
    pub site: &'a Site<'a>,
    /// Key that the satellite trusts.
    pub key: &'a SecretKey,
    /// The program of the backup-service.
    pub program: &'a Path,
    /// The same of a release before it; without, the next one is made up.
    pub before: Option<&'a Path>,
    /// How often each thing is measured.
    pub runs: usize,
}

impl Bench<'_> {
    /// Everything: what an update sends, how long a version takes to be healthy, and back.
    ///
    /// # Errors
    ///
    /// If a program or a call fails.
    pub async fn all(&self) -> anyhow::Result<Vec<Row>> {
        let dir = self.site.dir().join("update");
        std::fs::create_dir_all(&dir)?;
        let releases = Releases::of(&dir, self.program, self.before).await?;
        let first = self.pack(&dir, &releases.old, 1)?;
        self.bring(&first).await?;
        let mut rows = self.sent(&dir, &releases).await?;
        rows.extend(self.installed(&dir, &releases).await?);
        Ok(rows)
    }

    /// Sends it `runs` times, each time beside the same release.
    async fn sent(&self, dir: &Path, releases: &Releases) -> anyhow::Result<Vec<Row>> {
        let (sshd, nginx) = (peers::sshd(self.site).await?, peers::nginx(self.site, dir).await?);
        let (copy, patch, sent) = (dir.join("copy"), dir.join("patch"), dir.join("sent"));
        let old = &releases.old;
        let mut measured = Measured::default();
        for number in 0..u64::try_from(self.runs)? {
            let new = releases.next(dir, number).await?;
            let bundle = self.pack(dir, &new, 2)?;
            let name = measured.add("ours", self.client.push(&bundle)).await?;
            self.client.abort(&name).await?;
            std::fs::copy(old, &copy)?;
            measured.add("rsync -z", peers::rsync(&sshd, &new, &copy)).await?;
            let patched = async {
                let from = format!("--patch-from={}", shown(old));
                run("zstd", &["-qf", &from, &shown(&new), "-o", &shown(&patch)]).await?;
                peers::scp(&sshd, &patch, &sent).await?;
                run("zstd", &["-qdf", &from, &shown(&sent), "-o", &shown(&copy)]).await
            };
            measured.add("zstd --patch-from", patched).await?;
            let name = bundle.file_name().context("a name")?.to_string_lossy();
            let fetched = peers::curl(&nginx, &name, &copy);
            measured.add("full download", fetched).await?;
        }
        let what = if releases.new.is_some() {
            "release"
        } else {
            "made-up release"
        };
        let name = format!(
            "backup-service ({} MiB) by one {what}",
            old.metadata()?.len() >> 20
        );
        Ok(vec![
            measured.row(&name, "KiB", ("full download", Better::Less, 0.5)),
            measured.row("… verified and stored", "s", ("rsync -z", Better::Less, 1.0)),
        ])
    }

    /// Brings good versions and bad ones, `runs` times each.
    async fn installed(&self, dir: &Path, releases: &Releases) -> anyhow::Result<Vec<Row>> {
        let bad = dir.join("bad");
        write(&bad, "#!/bin/sh\nexit 3\n")?;
        std::fs::set_permissions(&bad, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let (mut healthy, mut back) = (Vec::new(), Vec::new());
        for number in 0..u64::try_from(self.runs)? {
            let new = releases.next(dir, number).await?;
            let (good, bad) = (
                self.pack(dir, &new, 10 + 2 * number)?,
                self.pack(dir, &bad, 11 + 2 * number)?,
            );
            let start = Instant::now();
            self.bring(&good).await?;
            healthy.push(start.elapsed().as_secs_f64());
            let upload = self.client.push(&bad).await?;
            let start = Instant::now();
            let ended = self.client.installed(&upload).await?;
            back.push(start.elapsed().as_secs_f64());
            let error = ended
                .error
                .context("a version that ends at once is taken for good")?;
            anyhow::ensure!(error.rolled_back, "it was not taken back: {}", error.message);
        }
        Ok(vec![
            Row::record("push to healthy", (median(healthy), "s"), [].into()),
            Row::absolute(
                "a version that ends at once, until the one before is healthy",
                (median(back), "s"),
                (Better::Less, 15.0),
            ),
        ])
    }

    async fn bring(&self, bundle: &Path) -> anyhow::Result<()> {
        let name = self.client.push(bundle).await?;
        self.client.install(&name).await
    }

    /// The bundle of a release.
    fn pack(&self, dir: &Path, program: &Path, release: u64) -> anyhow::Result<PathBuf> {
        let payload = dir.join("payload");
        std::fs::create_dir_all(&payload)?;
        std::fs::copy(program, payload.join("program"))?;
        let mut recipe = recipe(WORKLOAD, "program", "")?;
        recipe.version = format!("1.0.{release}").parse()?;
        recipe.release = release;
        recipe.health.grpc = Some("satellite.backup.v1.ArchiveService".to_owned());
        let bundle = dir.join(format!("{release}.bundle"));
        let out = std::io::BufWriter::new(std::fs::File::create(&bundle)?);
        build(&recipe, &payload, std::slice::from_ref(self.key), out)?;
        Ok(bundle)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The next release: some data of the program are others, and a section is new.
async fn next_release(dir: &Path, old: &Path, seed: u64) -> anyhow::Result<PathBuf> {
    let (section, added, new) = (dir.join("section"), dir.join("added"), dir.join("new"));
    let mut noise = vec![0; CHANGED];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
    write(&added, &noise)?;
    let dump = format!(".rodata={}", shown(&section));
    run(
        "objcopy",
        &["--dump-section", &dump, &shown(old), &shown(&dir.join("same"))],
    )
    .await?;
    let mut data = std::fs::read(&section)?;
    let middle = data.len() / 2;
    let changed = data.get_mut(middle..middle + CHANGED);
    changed
        .context("the program has less data")?
        .copy_from_slice(&noise);
    write(&section, data)?;
    let add = format!(".release={}", shown(&added));
    let words = [
        "--update-section",
        &dump,
        "--add-section",
        &add,
        &shown(old),
        &shown(&new),
    ];
    run("objcopy", &words).await?;
    Ok(new)
}

/// Bytes that went over the cables so far, both ways.
fn on_the_wire() -> anyhow::Result<u64> {
    let table = std::fs::read_to_string("/proc/self/net/dev")?;
    let mut sum = 0;
    for line in table.lines() {
        let Some((name, counts)) = line.split_once(':') else {
            continue;
        };
        if !CABLES.contains(&name.trim()) {
            continue;
        }
        // Received first, sent in the ninth place.
        for count in counts.split_whitespace().step_by(8) {
            sum += count.parse::<u64>()?;
        }
    }
    Ok(sum)
}
