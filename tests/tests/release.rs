//! Who releases, and that releases go forward: the whole ceremony of keys as people do it, with this program and with
//! minisign's own, and a satellite that follows from its image's root keys.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::command::run;
use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::variant::{RELEASE, Variant};
use e2e::wait::until;

const CONVERGED: Duration = Duration::from_mins(2);
const WORKLOAD: &str = "backup-service";

/// A directory in which key holders work.
struct Office<'a> {
    lab: &'a Scratch,
    dir: PathBuf,
}

impl<'a> Office<'a> {
    fn new(lab: &'a Scratch) -> Self {
        let dir = lab.data().join("office");
        std::fs::create_dir_all(&dir).unwrap();
        Self { lab, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Runs a command whose words beginning with `@` are files of the office.
    async fn cli(&self, line: &str) -> String {
        let words = self.words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.lab.server.cli(&words).await.unwrap()
    }

    /// The same for one that must fail; answers its complaint.
    async fn refused(&self, line: &str) -> String {
        let words = self.words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let ended = self.lab.server.try_cli(&words).await.unwrap();
        assert_ne!(ended.code, Some(0), "{line}: {}", ended.stdout);
        ended.stderr
    }

    fn words(&self, line: &str) -> Vec<String> {
        let word = |word: &str| match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.to_owned(),
        };
        line.split_whitespace().map(word).collect()
    }

    async fn key(&self, name: &str) {
        self.cli(&format!("bundle keygen --no-password @{name}")).await;
    }

    async fn bundle(&self, version: &str, release: u64, key: &str) -> PathBuf {
        let key = self.dir.join(key);
        let variant = Variant {
            release,
            key: Some(&key),
            ..Variant::good(version)
        };
        variant.pack(&self.lab.release, &self.dir).await.unwrap()
    }

    /// Waits until the satellite follows what was published.
    async fn followed(&self, words: &[&str]) {
        let followed = until("the satellite to follow", CONVERGED, async || {
            let shown = ["bundle", "trust", "show", SATELLITE, "--output", "json"];
            let shown = self.lab.server.cli(&shown).await.ok()?;
            words.iter().all(|word| shown.contains(word)).then_some(())
        });
        followed.await.unwrap();
    }
}

/// Waits until the server has seen that the satellite is as it should be, with this version.
async fn has(lab: &Scratch, version: &str) {
    until(version, CONVERGED, async || {
        let left = lab.server.converged(SATELLITE, CONVERGED).await.ok()?;
        (left.observed?.workloads[0].version == version).then_some(())
    })
    .await
    .unwrap();
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The first sets of root and release keys, signed by two of three holders.
async fn found(office: &Office<'_>) {
    // Before there is a server the command line needs no configuration: the holders work by themselves.
    for key in ["root-a", "root-b", "release-1", "release-2", "root-d"] {
        office.key(key).await;
    }
    let (public, secret) = (office.path("root-c.pub"), office.path("root-c"));
    run("minisign", &["-G", "-W", "-p", &public, "-s", &secret])
        .await
        .unwrap();
    office
        .cli(
            "bundle root init --key @root-a.pub --key @root-b.pub --key @root-c.pub --threshold 2 --out @root-1.json \
             --anchor @trust.toml",
        )
        .await;
    office
        .cli("bundle keys init --key @release-1.pub --out @keys-1.json")
        .await;
    office.cli("bundle keys sign @keys-1.json --key @root-a").await;
    // One holder uses minisign's own tool, and it understands what ours wrote.
    let keys = office.path("keys-1.json");
    run("minisign", &["-S", "-s", &secret, "-m", &keys])
        .await
        .unwrap();
    run("minisign", &["-V", "-p", &public, "-m", &keys])
        .await
        .unwrap();
    let ours = std::fs::read_dir(&office.dir).unwrap().find_map(|entry| {
        let path = shown(&entry.unwrap().path());
        (path.starts_with(&keys) && path.ends_with(".minisig") && path.len() > keys.len() + 10)
            .then_some(path)
    });
    let own = office.path("root-a.pub");
    run("minisign", &["-V", "-p", &own, "-m", &keys, "-x", &ours.unwrap()])
        .await
        .unwrap();
}

#[tokio::test]
async fn root_keys_say_who_releases_and_satellites_follow_from_their_image() {
    let lab = Scratch::new().await.unwrap();
    let office = Office::new(&lab);
    found(&office).await;

    // The satellite's image and the server have the root keys as their anchor.
    lab.boot().await.unwrap();
    let anchor = std::fs::read_to_string(office.dir.join("trust.toml")).unwrap();
    let script = format!("mkdir -p /etc/satellite && cat >/etc/satellite/trust.toml <<'END'\n{anchor}END");
    lab.satellite().exec(&["sh", "-c", &script]).await.unwrap();
    lab.server.start(&office.dir.join("trust.toml")).await.unwrap();
    let first = office.bundle("1.0.0", 1, "release-1").await;
    let add = format!("bundle add {}", shown(&first));
    assert!(office.refused(&add).await.contains("no release keys"));
    office.cli("bundle trust publish @keys-1.json").await;
    office.cli(&add).await;
    lab.pair(&[]).await.unwrap();
    has(&lab, "1.0.0").await;
    office
        .followed(&["\"rooted\": true", "\"keys_sequence\": 1"])
        .await;
    revoke(&lab, &office).await;
    exchange(&office).await;
    // What was followed is there after a restart, and starts from the image.
    lab.satellite()
        .exec(&["systemctl", "restart", "satellite-bridge"])
        .await
        .unwrap();
    office
        .followed(&["\"root_sequence\": 2", "\"problem\": \"\""])
        .await;
}

async fn revoke(lab: &Scratch, office: &Office<'_>) {
    // A release key is revoked, another one comes: too few signatures change nothing.
    office
        .cli("bundle keys add @keys-1.json --key @release-2.pub --out @keys-2.json")
        .await;
    office
        .cli("bundle keys revoke @keys-2.json --key @release-1.pub --out @keys-3.json")
        .await;
    office.cli("bundle keys sign @keys-3.json --key @root-b").await;
    let few = office.refused("bundle trust publish @keys-3.json").await;
    assert!(few.contains("1 of the 2 signatures"), "{few}");
    office.cli("bundle keys sign @keys-3.json --key @root-c").await;
    office.cli("bundle trust publish @keys-3.json").await;
    office.followed(&["\"keys_sequence\": 3"]).await;
    let old = office.bundle("1.1.0", 2, "release-1").await;
    assert!(
        office
            .refused(&format!("bundle add {}", shown(&old)))
            .await
            .contains("signatures by trusted release keys")
    );
    let new = office.bundle("1.2.0", 2, "release-2").await;
    office.cli(&format!("bundle add {}", shown(&new))).await;
    office.cli(&format!("update push {WORKLOAD}")).await;
    has(lab, "1.2.0").await;
}

async fn exchange(office: &Office<'_>) {
    // The root keys themselves are exchanged, by the old threshold and the new one.
    office
        .cli("bundle root replace @root-1.json --key @root-b.pub --key @root-d.pub --threshold 2 --out @root-2.json")
        .await;
    office
        .cli("bundle root sign @root-2.json --key @root-b --key @root-d")
        .await;
    let few = office.refused("bundle trust publish @root-2.json").await;
    assert!(few.contains("1 of the 2 signatures"), "{few}");
    office.cli("bundle root sign @root-2.json --key @root-a").await;
    office
        .cli("bundle keys renew @keys-3.json --out @keys-4.json")
        .await;
    office
        .cli("bundle keys sign @keys-4.json --key @root-b --key @root-d")
        .await;
    office.cli("bundle trust publish @root-2.json @keys-4.json").await;
    office
        .followed(&["\"root_sequence\": 2", "\"keys_sequence\": 4"])
        .await;
}

#[tokio::test]
async fn a_satellite_goes_back_only_by_a_signed_permit_and_once() {
    let lab = Scratch::new().await.unwrap();
    let office = Office::new(&lab);
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    let secret = lab.release.secret();
    std::fs::copy(&secret, office.dir.join("release")).unwrap();
    let old = office.bundle("1.0.0", RELEASE, "release").await;
    let new = office.bundle("2.0.0", RELEASE + 1, "release").await;
    for bundle in [&old, &new] {
        office.cli(&format!("bundle add {}", shown(bundle))).await;
    }
    lab.pair(&[]).await.unwrap();
    has(&lab, "2.0.0").await;
    let back = format!("update push {WORKLOAD} --version 1.0.0");
    let refused = office.refused(&back).await;
    assert!(refused.contains("needs a permit"), "{refused}");
    assert_eq!(version_now(&lab).await, "2.0.0");

    let allow = format!(
        "bundle allow-downgrade {} --key @release --reason test --out @permit.json",
        shown(&old)
    );
    office.cli(&allow).await;
    office.cli(&format!("{back} --permit @permit.json")).await;
    has(&lab, "1.0.0").await;
    office.cli(&format!("update push {WORKLOAD}")).await;
    has(&lab, "2.0.0").await;
    let used = office.refused(&format!("{back} --permit @permit.json")).await;
    assert!(used.contains("holds once"), "{used}");
    assert_eq!(version_now(&lab).await, "2.0.0");
}

async fn version_now(lab: &Scratch) -> String {
    let satellite = lab.server.satellite(SATELLITE).await.unwrap();
    satellite.observed.unwrap().workloads[0].version.clone()
}
