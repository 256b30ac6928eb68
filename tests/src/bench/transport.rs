//! Pushing a bundle, fetching a log and asking for status: ours against a bare TLS stream, scp, and curl from nginx.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use satellite_proto::bundle::{Recipe, SecretKey, build};

use super::peers::{self, Site};
use super::process::{own_cpu, process_cpu};
use super::satellite::Client;
use super::{Better, Row, Sample, median};

/// What is pushed and fetched, in MiB.
const SIZE: u64 = 256;
const MIB: u64 = 1024 * 1024;

/// The workload whose only purpose is a large log file.
pub const LOG_WORKLOAD: &str = "log-source";

/// What the measurements need.
#[derive(Debug)]
pub struct Bench<'a> {
    /// A client of the satellite.
    pub client: &'a Client,
    /// The bridge's process.
    pub bridge: i32,
    /// Where the servers of the others run, and scratch space.
    pub site: &'a Site<'a>,
    /// Key that the satellite trusts.
    pub key: &'a SecretKey,
    /// How often each thing is measured.
    pub runs: usize,
}

#[derive(Default)]
struct Measured {
    wall: BTreeMap<&'static str, Vec<f64>>,
    cpu: BTreeMap<&'static str, Vec<f64>>,
}

impl Measured {
    fn add(&mut self, who: &'static str, sample: Sample) {
        self.wall.entry(who).or_default().push(sample.wall);
        self.cpu.entry(who).or_default().push(sample.cpu);
    }

    /// Throughput in MiB/s against each goal, then CPU seconds for the record.
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB is small")]
    fn rows(&self, what: &str, goals: &[(&str, f64)]) -> Vec<Row> {
        let rate = |who: &str| SIZE as f64 / median(self.wall.get(who).cloned().unwrap_or_default());
        let others = || self.wall.keys().filter(|who| **who != "ours");
        let rates: BTreeMap<String, f64> = others().map(|who| ((*who).to_owned(), rate(who))).collect();
        let cpu = |who: &str| median(self.cpu.get(who).cloned().unwrap_or_default());
        let times: BTreeMap<String, f64> = others().map(|who| ((*who).to_owned(), cpu(who))).collect();
        let mut rows: Vec<Row> = goals
            .iter()
            .map(|(peer, bound)| {
                let name = format!("{what}, against {peer}");
                Row::against(
                    &name,
                    (rate("ours"), "MiB/s"),
                    rates.clone(),
                    (peer, Better::More, *bound),
                )
            })
            .collect();
        rows.push(Row::record(
            &format!("{what}, CPU of both ends"),
            (cpu("ours"), "s"),
            times,
        ));
        rows
    }
}

impl Bench<'_> {
    fn cpu(&self) -> f64 {
        own_cpu() + process_cpu(self.bridge)
    }

    /// Bytes that do not compress.
    fn noise(&self, path: &Path, seed: u64) -> anyhow::Result<()> {
        use rand::{RngCore as _, SeedableRng as _};
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut piece = vec![0; 1 << 20];
        for _ in 0..SIZE {
            random.fill_bytes(&mut piece);
            file.write_all(&piece)?;
        }
        file.flush()?;
        Ok(())
    }

    /// A bundle of `SIZE` MiB that does not compress, another one for each run: a satellite takes no chunk twice.
    fn bundle(&self, run: usize) -> anyhow::Result<PathBuf> {
        let payload = self.site.dir().join("payload");
        std::fs::create_dir_all(&payload)?;
        let program = payload.join("program");
        self.noise(&program, u64::try_from(run)?)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let bundle = self.site.dir().join("large.bundle");
        let out = std::io::BufWriter::new(std::fs::File::create(&bundle)?);
        build(
            &recipe("large", "program", "")?,
            &payload,
            std::slice::from_ref(self.key),
            out,
        )?;
        Ok(bundle)
    }

    /// Everything: pushes, fetches of `log`, and the status of `workload`.
    ///
    /// # Errors
    ///
    /// If a program or a call fails.
    pub async fn all(&self, log: &Path, workload: &str) -> anyhow::Result<Vec<Row>> {
        let mut rows = self.push().await?;
        rows.extend(self.logs(log).await?);
        rows.extend(self.status(workload).await?);
        Ok(rows)
    }

    /// Pushes a bundle.
    ///
    /// # Errors
    ///
    /// If a program or a call fails.
    pub async fn push(&self) -> anyhow::Result<Vec<Row>> {
        let site = self.site;
        let (sshd, nginx) = (peers::sshd(site).await?, peers::nginx(site, site.dir()).await?);
        let sink = peers::raw_sink(site).await?;
        let mut measured = Measured::default();
        for run in 0..self.runs {
            let bundle = self.bundle(run)?;
            let (sample, name) = Sample::of(|| self.cpu(), self.client.push(&bundle)).await?;
            self.client.abort(&name).await?;
            measured.add("ours", sample);
            measured.add("raw TLS", peers::raw_send(&sink, SIZE * MIB).await?);
            measured.add("scp", peers::scp(&sshd, &bundle, &site.dir().join("copy")).await?);
            measured.add(
                "curl",
                peers::curl(&nginx, "large.bundle", &site.dir().join("copy")).await?,
            );
        }
        Ok(measured.rows(
            "push of 256 MiB, verified and stored",
            &[("raw TLS", 0.6), ("scp", 2.0)],
        ))
    }

    /// Fetches a log. `log` is the file that the source `log-source/large.log` reads.
    ///
    /// # Errors
    ///
    /// If a program or a call fails.
    pub async fn logs(&self, log: &Path) -> anyhow::Result<Vec<Row>> {
        write_log(log)?;
        let directory = log.parent().unwrap_or(Path::new("/"));
        let site = self.site;
        let (sshd, nginx) = (peers::sshd(site).await?, peers::nginx(site, directory).await?);
        let sink = peers::raw_sink(site).await?;
        let source = format!("workload/{LOG_WORKLOAD}/large.log");
        let mut measured = Measured::default();
        for _ in 0..self.runs {
            let (sample, bytes) = Sample::of(|| self.cpu(), self.client.fetch_log(&source)).await?;
            anyhow::ensure!(bytes >= SIZE * MIB, "only {bytes} bytes of the log came");
            measured.add("ours", sample);
            measured.add("raw TLS", peers::raw_send(&sink, SIZE * MIB).await?);
            measured.add("scp", peers::scp(&sshd, log, &site.dir().join("copy")).await?);
            measured.add(
                "curl",
                peers::curl(&nginx, "large.log", &site.dir().join("copy")).await?,
            );
        }
        Ok(measured.rows("fetch of 256 MiB of logs", &[("raw TLS", 0.6), ("scp", 2.0)]))
    }

    /// Asks for the status of a workload, eight calls under way at a time.
    ///
    /// # Errors
    ///
    /// If a call fails.
    #[expect(clippy::cast_precision_loss, reason = "a count of calls is small")]
    pub async fn status(&self, workload: &str) -> anyhow::Result<Vec<Row>> {
        const CALLERS: usize = 8;
        const CALLS: usize = 2_000;
        let (mut rates, mut slow) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            let start = Instant::now();
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (client, workload) = (self.client.clone(), workload.to_owned());
                    tokio::spawn(async move {
                        let mut times = Vec::with_capacity(CALLS);
                        for _ in 0..CALLS {
                            let start = Instant::now();
                            client.status(&workload).await?;
                            times.push(start.elapsed().as_secs_f64() * 1e3);
                        }
                        anyhow::Ok(times)
                    })
                })
                .collect();
            let mut times = Vec::new();
            for caller in callers {
                times.extend(caller.await??);
            }
            rates.push(times.len() as f64 / start.elapsed().as_secs_f64());
            times.sort_by(f64::total_cmp);
            slow.push(times[times.len() * 99 / 100]);
        }
        Ok(vec![
            Row::record(
                "status calls, 8 under way",
                (median(rates), "calls/s"),
                BTreeMap::new(),
            ),
            Row::record(
                "status call, 99th percentile",
                (median(slow), "ms"),
                BTreeMap::new(),
            ),
        ])
    }
}

/// A recipe for a workload that the benchmark installs.
///
/// # Errors
///
/// If it is malformed.
pub fn recipe(workload: &str, exec: &str, more: &str) -> anyhow::Result<Recipe> {
    let architecture = std::env::consts::ARCH;
    Ok(Recipe::from_toml(&format!(
        "workload = \"{workload}\"\nversion = \"1.0.0\"\nchannel = \"stable\"\nrelease = 1\n\
         architecture = \"{architecture}\"\nleast_bridge = \"0.1.0\"\n{more}\n\
         [unit]\nexec = \"{exec}\"\nargs = [\"serve\"]\n[health]\nstart_seconds = 60\nsettle_seconds = 0\n"
    ))?)
}

/// Log lines as a service writes them, `SIZE` MiB of them.
fn write_log(path: &Path) -> anyhow::Result<()> {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(7640);
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let (mut written, mut second) = (0, 0_u64);
    while written < SIZE * MIB {
        second += random.random_range(0..3);
        let line = format!(
            "2026-11-22T{:02}:{:02}:{:02}.{:06}Z info call{{id={:08x} from={} to={}}}: Leg answered, codec=PCMA rtt={}us\n",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            random.random_range(0..1_000_000),
            random.random::<u32>(),
            random.random_range(100..999),
            random.random_range(1_000_000..9_999_999),
            random.random_range(200..9000),
        );
        file.write_all(line.as_bytes())?;
        written += u64::try_from(line.len())?;
    }
    file.flush()?;
    Ok(())
}
