//! Copies at services over HTTPS, S3 and WebDAV: through the command line there and back, and the backup-service killed at each
//! step of an upload.

use std::path::Path;

use crate::points;
use crate::servers::apache::{USER, apache};
use crate::servers::swift::{SECRET_KEY, swift};
use crate::servers::{PASSWORD, Server};
use crate::world::{World, json, newest, said};
use e2e::network::write;

/// Both services, and the world that copies to them.
struct Services {
    world: World,
    swift: Server,
    apache: Server,
}

impl Services {
    async fn new() -> Self {
        let (swift, apache) = (swift(0, true), apache());
        let world = World::new().await;
        // An upload of several parts.
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(9_000_000).collect();
        write(&world.at("central/core/large.bin"), noise).unwrap();
        for (name, text) in [("secret", SECRET_KEY), ("password", PASSWORD)] {
            write(&world.at(name), text).unwrap();
        }
        let path = |path: &Path| path.display().to_string();
        let (secret, password) = (path(&world.at("secret")), path(&world.at("password")));
        let (trusted, known) = (
            path(&swift.dir.path().join("cert.pem")),
            path(&apache.dir.path().join("cert.pem")),
        );
        let endpoint = format!("https://127.0.0.1:{}", swift.port);
        let url = format!("https://127.0.0.1:{}/", apache.port);
        let s3 = [
            "destination",
            "add",
            "bucket",
            "s3",
            "--endpoint",
            &endpoint,
            "--region",
            "eu-test-1",
        ];
        let more = [
            "--bucket",
            "backup",
            "--access-key",
            "pbx:anna",
            "--secret-key-file",
            &secret,
            "--authority",
            &trusted,
        ];
        said(&world, &[&s3[..], &more[..]].concat()).await;
        let webdav = [
            "destination",
            "add",
            "cloud",
            "webdav",
            "--url",
            &url,
            "--user",
            USER,
        ];
        let more = ["--password-file", &password, "--authority", &known];
        said(&world, &[&webdav[..], &more[..]].concat()).await;
        Self { world, swift, apache }
    }

    /// Files that each service keeps: of Swift objects, their parts and marks of uploads.
    fn kept(&self, destination: &str) -> usize {
        let (at, is_content): (_, fn(&Path) -> bool) = match destination {
            "bucket" => (self.swift.dir.path().join("disk/one/objects"), |path| {
                path.extension().is_some_and(|extension| extension == "data")
            }),
            _ => (self.apache.dir.path().join("store/starface-backup"), |path| {
                !path.iter().any(|part| part == ".DAV")
            }),
        };
        let entries = walkdir::WalkDir::new(at).into_iter().flatten();
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.filter(|entry| is_content(entry.path())).count()
    }

    async fn copies(&self, destination: &str) -> Vec<(String, String)> {
        let copies = json(&self.world, &["destination", "copies", destination]).await;
        let text = |copy: &serde_json::Value, field: &str| copy[field].as_str().unwrap().to_owned();
        let copies = copies.as_array().unwrap().iter();
        copies
            .map(|copy| (text(copy, "file_name"), text(copy, "path")))
            .collect()
    }
}

/// Half a minute, for ten kills and a dozen uploads of several parts.
#[tokio::test]
async fn copies_go_to_services_and_back_and_survive_a_kill_at_each_step_of_an_upload() {
    let mut services = Services::new().await;
    let mut each = Vec::new();
    for destination in ["bucket", "cloud"] {
        there_and_back(&services, destination).await;
        each.push((destination, services.kept(destination)));
    }
    let points = points("backup-service/src/lib.rs");
    let points: Vec<_> = points.iter().filter(|point| point.starts_with("copy.")).collect();
    for (destination, of_one) in each {
        let edit = [
            "backup",
            "config",
            "edit",
            "Nightly",
            "--destination",
            destination,
        ];
        said(&services.world, &edit).await;
        for point in &points {
            services.world.restart_service(Some(point)).await;
            services
                .world
                .cli_while_the_service_dies(&["backup", "run", "Nightly"])
                .await;
            let run = newest(&services.world).await;
            assert_eq!(
                run["state"], "succeeded",
                "killed at {point} on the way to {destination}: {run}"
            );
        }
        said(&services.world, &["backup", "run", "Nightly"]).await;
        // What is listed is whole, and there is nothing else.
        let copies = services.copies(destination).await;
        assert_eq!(copies.len(), points.len() + 2);
        for (name, path) in &copies {
            said(&services.world, &["backup", "delete", name, "--yes"]).await;
            said(&services.world, &["destination", "fetch", destination, path]).await;
        }
        assert_eq!(services.kept(destination), copies.len() * of_one, "{destination}");
    }
}

/// Added, tried, copied to, listed, fetched, restored.
async fn there_and_back(services: &Services, destination: &str) {
    let world = &services.world;
    said(world, &["destination", "test", destination]).await;
    assert_eq!(services.kept(destination), 0, "a test leaves nothing");
    let create = format!(
        "backup config create Nightly --central sample --data-set core --destination {destination} --replace \
         --then save-and-run"
    );
    said(world, &create.split_whitespace().collect::<Vec<_>>()).await;
    let run = newest(world).await;
    let name = run["archive_name"].as_str().unwrap();
    let copies = services.copies(destination).await;
    let [(listed, path)] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    assert_eq!(listed, name);
    let (before, after) = (world.at("before.sar"), world.at("after.sar"));
    for (to, is_last) in [(&before, false), (&after, true)] {
        // The copy that was fetched is the archive that was made.
        let to = to.display().to_string();
        said(world, &["backup", "download", name, "--to", &to]).await;
        if !is_last {
            said(world, &["backup", "delete", name, "--yes"]).await;
            said(world, &["destination", "fetch", destination, path]).await;
        }
    }
    assert!(std::fs::read(&before).unwrap() == std::fs::read(&after).unwrap());
    for path in [before, after] {
        std::fs::remove_file(path).unwrap();
    }
    said(world, &["backup", "restore", name, "--test"]).await;
}
