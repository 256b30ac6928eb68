//! Every page in every language, wide and narrow, light and dark: `make pictures`.

use e2e::central::Sample;
use e2e::lab::SATELLITE;
use e2e::network::write;

use super::page::SOON;
use super::world::{World, cli};

/// Pages by the name of their picture; `ARCHIVE` and `JOB` are put in.
const PAGES: &[(&str, &str)] = &[
    ("overview", "/"),
    ("satellites", "/satellites"),
    ("satellite", "/satellites/s1"),
    ("satellite-logs", "/satellites/s1/logs?source=system&priority=3"),
    ("satellite-firewall", "/satellites/s1/firewall"),
    ("satellite-network", "/satellites/s1/network"),
    ("pair", "/satellites/pair"),
    ("tokens", "/satellites/tokens"),
    ("software", "/bundles"),
    ("rollouts", "/rollouts"),
    ("rollout-new", "/rollouts/new"),
    ("backups", "/backups"),
    ("backup", "/backups/of/Nightly"),
    ("backup-failing", "/backups/of/Telefonanlagenkonfiguration"),
    ("backup-archiving", "/backups/of/Langzeitarchiv"),
    ("job", "/jobs/JOB"),
    ("wizard", "/backups/new"),
    ("archives", "/archives"),
    ("archive", "/archives/ARCHIVE"),
    ("archive-members", "/archives/ARCHIVE/members"),
    ("restores", "/restores"),
    ("centrals", "/centrals"),
    ("central", "/centrals/sample"),
    ("central-new", "/centrals/new"),
    ("central-ssh", "/centrals/filiale"),
    ("central-change", "/centrals/new?of=filiale"),
    ("destinations", "/destinations"),
    ("destination-kinds", "/destinations/new"),
    ("destination-smb", "/destinations/new?kind=smb"),
    ("destination-sftp", "/destinations/new?kind=sftp"),
    ("destination-s3", "/destinations/new?kind=s3"),
    ("destination-webdav", "/destinations/new?kind=webdav"),
    ("destination-dropbox", "/destinations/new?kind=dropbox"),
    ("destination-usb", "/destinations/new?kind=usb"),
    ("destination-mail", "/destinations/new?kind=mail"),
    ("warnings", "/warnings"),
    ("warnings-account", "/warnings/of/Treuhandgesellschaft"),
    ("warnings-new", "/warnings/new"),
    ("users", "/users"),
    ("user", "/users/anna"),
    ("audit", "/audit"),
    ("account", "/account"),
    ("second-factor", "/account/second-factor"),
    ("not-there", "/satellites/nobody"),
];

#[tokio::test]
#[ignore = "some hundred pictures: make pictures"]
async fn every_page_in_every_language_wide_and_narrow_light_and_dark_has_nothing_cut() {
    let world = World::with_satellite().await;
    Box::pin(lived_in(&world)).await;
    let archive = world.lab.server.archives().await.unwrap();
    let archive = archive[0].archive.as_ref().unwrap().id.clone();
    let restores = cli(&world, "backup restores --output json").await;
    let restores: serde_json::Value = serde_json::from_str(&restores).unwrap();
    let job = restores[0]["id"].as_str().unwrap();
    let mut faults = Vec::new();
    for code in ["en", "de", "fr", "it"] {
        world.browser.look(1280, 900, false).await.unwrap();
        world.speak(code).await;
        for (name, place) in PAGES {
            world
                .open(&place.replace("ARCHIVE", &archive).replace("JOB", job))
                .await;
            faults.extend(world.looks(&format!("{code}/{name}")).await);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A central with archives, restores and errors, accounts that are warned, a user of each role.
async fn lived_in(world: &World) {
    let lab = &world.lab;
    let sample = Sample::at(lab.data().join("central"), 4_000_000);
    sample.make(|_, _| ()).await.unwrap();
    let file = lab.data().join("central.toml");
    write(&file, sample.profile()).unwrap();
    cli(
        world,
        &format!("central add {} --satellite {SATELLITE}", file.display()),
    )
    .await;
    let gone = sample
        .profile()
        .replace("\"sample\"", "\"zweigstelle\"")
        .replace("central/", "gone/");
    write(&file, gone).unwrap();
    cli(
        world,
        &format!("central add {} --satellite {SATELLITE}", file.display()),
    )
    .await;
    let disk = lab.data().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    cli(world, &format!("destination add disk server {}", disk.display())).await;
    let start = "--every daily --start 2026-11-22T02:00 --time-zone Europe/Zurich --then save --report-to office@example.com";
    for (name, central) in [
        ("Nightly", "sample"),
        ("Telefonanlagenkonfiguration", "zweigstelle"),
    ] {
        cli(
            world,
            &format!("backup config create {name} --central {central} --destination disk {start}"),
        )
        .await;
    }
    for _ in 0..3 {
        cli(world, "backup run Nightly").await;
    }
    // The data of this one is not there.
    let failing = ["backup", "run", "Telefonanlagenkonfiguration"];
    let _fails = lab.server.try_cli(&failing).await;
    let archive = lab.server.archives().await.unwrap();
    let archive = &archive[0].archive.as_ref().unwrap().id;
    for restore in [
        "--test",
        // With a backup before of what is there.
        "--in-place --overwrite --yes --data-set announcements",
    ] {
        cli(world, &format!("backup restore {archive} {restore}")).await;
    }
    let password = lab.data().join("password");
    let other = sample.profile().replace("\"sample\"", "\"filiale\"");
    write(&file, other).unwrap();
    let add = format!(
        "central add {} --satellite {SATELLITE} --kind ssh --host 10.77.0.1 --port 9 --user root --password-file {}",
        file.display(),
        password.display()
    );
    cli(world, &add).await;
    let archiving = "backup config create Langzeitarchiv --central sample --data-set cdr-voicemail --destination disk \
                     --archive-older-than 3650 --then save-and-run";
    cli(world, archiving).await;
    for account in [
        "account add Treuhandgesellschaft --tenant default --language de --failed 1 --quota 1000000 --mail anna@example.com",
        "account add Handelsregisteramt --tenant default --language fr --missed 1 --mail kanzlei@example.com",
    ] {
        cli(world, account).await;
    }
    for (name, role) in [("otto", "operator"), ("vera", "viewer")] {
        let add = format!(
            "user add {name} --role {role} --password-file {}",
            password.display()
        );
        cli(world, &add).await;
    }
    cli(world, "satellite token create --server 10.77.0.1 --name annex").await;
    world.open("/warnings").await;
    world.browser.says("Treuhandgesellschaft", SOON).await.unwrap();
}
