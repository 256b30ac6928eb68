//! Centrals that are read and restored over SSH: OpenSSH's own server.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests make keys and look at the central's files"
)]

mod client;
mod destinations;
mod over_ssh;
mod servers;
mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use client::list;
use destinations::secret;
use over_ssh::*;
use prost_types::Duration as WireDuration;
use satellite_proto::wire::backup::v1 as pb;
use servers::sshd::USER;
use servers::*;
use support::noise;
use tonic::{Code, Status};

/// What a PBX may have, and worse.
fn tree(data: &Path) {
    let put = |name: &[u8], content: &[u8]| {
        let path = data.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    put(b"etc/pbx.conf", b"[pbx]\n");
    put(b"etc/no utf-8 \xff\xfe\n", b"x");
    put("etc/Müller & Söhne.conf".as_bytes(), b"");
    put(b"large", &noise(3_000_001, 1));
    put(b"exact", &noise(1 << 20, 2));
    for number in 0..60 {
        put(
            format!("many/{number}").as_bytes(),
            &noise(number * 700, number as u64),
        );
    }
    put(b"many/x.tmp", b"not wanted");
    std::fs::create_dir_all(data.join("empty")).unwrap();
    symlink("/nowhere/at all", data.join("link")).unwrap();
    std::fs::hard_link(data.join("large"), data.join("many/large too")).unwrap();
    std::fs::hard_link(data.join("etc/pbx.conf"), data.join("etc/pbx.same")).unwrap();
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(data.join(name), permissions).unwrap();
    };
    mode("exact", 0o4750);
    mode("empty", 0o2770);
    std::os::unix::fs::chown(data.join("exact"), Some(4242), Some(4343)).unwrap();
    mode("exact", 0o4750);
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["etc/pbx.conf", "empty", "etc"] {
        std::fs::File::open(data.join(name))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_central_holds_is_read_over_ssh_and_comes_back_where_it_was() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    tree(&data);
    let set = world.data();
    let measured = world
        .client
        .measure_central(pb::MeasureCentralRequest {
            central: Some(world.central()),
            data_sets: vec![set.clone()],
            changed_before: None,
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(measured.sizes[0].files, 67);

    let pulled = world.pull(set.clone(), "1").await.unwrap();
    assert_eq!(pulled.notices, Vec::<String>::new());
    let archive = pulled.archive.unwrap();
    assert_eq!((archive.left_out, pulled.members), (0, 72));
    // Asked again, it is not read again.
    let again = world.pull(set.clone(), "1").await.unwrap();
    assert_eq!(again.archive.unwrap().id, archive.id);

    std::fs::remove_file(data.join("many/x.tmp")).unwrap();
    // Times of directories that a removal has changed.
    world.push(&archive, set.clone(), true, &[]).await.unwrap();
    let before = scan(&data);
    std::fs::remove_dir_all(&data).unwrap();
    let report = world.push(&archive, set.clone(), false, &[]).await.unwrap();
    assert_eq!((report.refused, report.members), (0, 72), "{report:?}");
    assert_eq!(report.notices, Vec::<String>::new());
    assert_eq!(scan(&data), before);

    // One file, over what is there.
    std::fs::write(data.join("large"), "other").unwrap();
    let path = format!("core{}/large", data.display());
    let report = world.push(&archive, set.clone(), false, &[&path]).await.unwrap();
    assert_eq!((report.refused, report.members), (1, 0), "{report:?}");
    let report = world.push(&archive, set, true, &[&path]).await.unwrap();
    assert_eq!((report.refused, report.members), (0, 1), "{report:?}");
    assert_eq!(std::fs::metadata(data.join("large")).unwrap().len(), 3_000_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_a_central_run_there_while_its_services_are_stopped() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    text(world.at("units/pbx.service"), "");
    text(world.at("data/a"), "a");
    let (units, took) = (
        world.at("units").display().to_string(),
        world.at("took").display().to_string(),
    );
    let set = pb::CentralDataSet {
        commands: vec![
            command(
                "dump.sql",
                &format!("ls {units}; printf \"it's\\n\"; head -c 3000000 /dev/zero"),
                &format!("cat >{took}"),
            ),
            command("second", "printf %s \"$HOME$LANG\"", ""),
        ],
        quiesce: vec!["pbx.service".to_owned(), "idle.service".to_owned()],
        ..world.data()
    };
    let archive = world.pull(set.clone(), "1").await.unwrap().archive.unwrap();
    assert_eq!(world.orders(), "stop pbx.service\nstart pbx.service\n");
    let members = client::read(
        &mut world.archives,
        &archive.id,
        &["core/dump.sql", "core/second"],
    )
    .await
    .unwrap();
    assert!(members[0].1.starts_with(b"it's\n") && members[0].1.len() == 3_000_005);
    assert_eq!(members[1].1, b"/rootC.UTF-8");

    // Back: only where it may replace what is there, and only what the profile names.
    let refused = world
        .push(&archive, set.clone(), false, &["core/dump.sql"])
        .await
        .unwrap();
    assert!(
        refused.refused == 1 && refused.notices[0].contains("--overwrite"),
        "{refused:?}"
    );
    let restored = world
        .push(&archive, set.clone(), true, &["core/dump.sql", "core/second"])
        .await
        .unwrap();
    assert_eq!((restored.members, restored.refused), (1, 1), "{restored:?}");
    assert_eq!(std::fs::read(&took).unwrap(), members[0].1);

    let failing = |run: &str| pb::CentralDataSet {
        commands: vec![command("dump.sql", run, "")],
        ..set.clone()
    };
    let failed = world
        .pull(failing("echo half; echo 'no such database' >&2; exit 3"), "2")
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::FailedPrecondition);
    assert!(
        failed.message().contains("no such database") && failed.message().contains("dump.sql"),
        "{failed}"
    );
    text(world.at("units/pbx.service.stays"), "");
    let failed = world.pull(set, "3").await.unwrap_err();
    assert!(failed.message().contains("does not want to"), "{failed}");
    assert_eq!(list(&mut world.archives).await.len(), 1);
    assert!(world.at("units/pbx.service").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_left_ends_on_the_central_too_and_its_services_run_again() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    text(world.at("units/pbx.service"), "");
    let pid = world.at("pid");
    let endless = command(
        "dump",
        &format!("echo $$ >{}; exec sleep 1000", pid.display()),
        "",
    );
    let slow = pb::CentralCommand {
        deadline: Some(WireDuration { seconds: 1, nanos: 0 }),
        ..endless.clone()
    };
    let set = |command| pb::CentralDataSet {
        commands: vec![command],
        quiesce: vec!["pbx.service".to_owned()],
        ..world.data()
    };
    let runs = |pid: &Path| {
        let pid = std::fs::read_to_string(pid).unwrap_or_default();
        !pid.is_empty() && Path::new("/proc").join(pid.trim()).exists()
    };
    let (slow, endless) = (set(slow), set(endless));
    let late = world.pull(slow, "1").await.unwrap_err();
    assert!(late.message().contains("still running"), "{late}");
    until("the dump to be gone", || !runs(&pid)).await;
    std::fs::remove_file(&pid).unwrap();

    // The line is cut: nobody is there to start the service, so the central does it.
    let line = Line::to(world.server.port).await;
    let central = pb::SshCentral {
        port: line.port.into(),
        ..world.central()
    };
    let asked = request(central, endless.clone(), "2");
    let mut client = world.client.clone();
    let work = tokio::spawn(async move {
        let mut stream = client.pull_archive(asked).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok::<_, Status>(())
    });
    until("the dump to run", || runs(&pid)).await;
    assert!(!world.at("units/pbx.service").exists());
    line.cut();
    let cut = work.await.unwrap().unwrap_err();
    assert!(cut.message().contains("connection"), "{cut}");
    until("the service to run", || world.at("units/pbx.service").exists()).await;
    until("the dump to be gone", || !runs(&pid)).await;
    std::fs::remove_file(&pid).unwrap();

    // The caller leaves.
    let mut stream = world
        .client
        .pull_archive(request(world.central(), endless, "3"))
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap();
    until("the dump to run", || runs(&pid)).await;
    drop(stream);
    until("the dump to be gone", || !runs(&pid)).await;
    until("the service to run", || world.at("units/pbx.service").exists()).await;
    until("nothing to be left", || {
        let files = world.service.files();
        !files.iter().any(|name| name.contains(".sar"))
    })
    .await;
    assert_eq!(list(&mut world.archives).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_whose_key_is_not_the_confirmed_one_hears_nothing() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let set = pb::CentralDataSet {
        commands: vec![
            command("dump", "true", ""),
            pb::CentralCommand {
                run: vec!["no-such-dump".to_owned()],
                ..command("other", "true", "")
            },
        ],
        quiesce: vec!["x.service".to_owned()],
        paths: vec![Bytes::from_static(b"/no/such/place"), Bytes::from_static(b"/etc")],
        ..world.data()
    };
    let known = world.central();
    let read = |name: &str| std::fs::read_to_string(world.at(name)).unwrap().trim().to_owned();
    let stranger = pb::SshCentral {
        host_key: String::new(),
        ..known.clone()
    };
    let changed = pb::SshCentral {
        host_key: read("other.pub"),
        ..known.clone()
    };
    let wrong = pb::SshCentral {
        private_key: secret(&read("other")),
        ..known.clone()
    };
    let nobody = pb::SshCentral {
        port: free_port().into(),
        ..known.clone()
    };
    let mut client = world.client.clone();
    let mut test = async |central: &pb::SshCentral| {
        let asked = pb::TestCentralRequest {
            central: Some(central.clone()),
            data_sets: vec![set.clone()],
        };
        client.test_central(asked).await.unwrap().into_inner()
    };
    let shown = |answer: &pb::TestCentralResponse| answer.host_key.split(' ').nth(1).map(str::to_owned);
    let key = read("host.pub").split(' ').nth(1).map(str::to_owned);
    for (central, says, has_key) in [
        (&stranger, "not confirmed yet", true),
        (&changed, "another key", true),
        (&wrong, "refuses the sign-in", true),
        (&nobody, "does not answer", false),
    ] {
        let answer = test(central).await;
        assert!(answer.problem.contains(says), "{answer:?}");
        assert_eq!(
            shown(&answer).filter(|_| has_key),
            key.clone().filter(|_| has_key),
            "{answer:?}"
        );
        assert!(
            answer.host_key_fingerprint.starts_with("SHA256:") == has_key,
            "{answer:?}"
        );
    }
    let good = test(&known).await;
    assert_eq!(good.problem, "");
    let lacks: Vec<_> = good.lacks.into_iter().map(|lack| lack.what.unwrap()).collect();
    let wanted = [
        pb::central_lack::What::Path(Bytes::from_static(b"/no/such/place")),
        pb::central_lack::What::Program("no-such-dump".to_owned()),
    ];
    assert_eq!(lacks, wanted);

    let without = pb::SshCentral {
        private_key: None,
        ..known
    };
    are_refused(&mut world, [stranger, changed, wrong], without).await;
}

/// None of them is signed in to, and the last one is not even called.
async fn are_refused(world: &mut World, centrals: [pb::SshCentral; 3], without: pb::SshCentral) {
    let before = world.server.log();
    for (number, central) in centrals.into_iter().enumerate() {
        let set = world.data();
        let refused = world
            .pull_from(central, set, &format!("{number}"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    assert!(!world.server.log()[before.len()..].contains("Accepted"));
    let set = world.data();
    let refused = world.pull_from(without, set, "9").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(list(&mut world.archives).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_read_is_told_and_the_archive_is_whole() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    std::fs::write(data.join("large"), noise(6_000_000, 1)).unwrap();
    let (small, large) = (data.join("small"), data.join("large"));
    std::fs::write(&small, "x").unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = std::sync::Arc::clone(&stop);
        move || {
            use std::io::Write as _;
            let mut file = std::fs::File::options().append(true).open(&small).unwrap();
            let mut big = std::fs::File::options().append(true).open(&large).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if file.metadata().unwrap().len() > 400_000 {
                    file.set_len(0).unwrap();
                }
                file.write_all(b"more and more").unwrap();
                big.write_all(b"+").unwrap();
            }
        }
    });
    // It is for the machine to say when the writer meets the reader.
    let (mut large_told, mut small_told, mut number) = (false, false, 0);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let archive = loop {
        let set = world.data();
        number += 1;
        let pulled = world.pull(set, &number.to_string()).await.unwrap();
        let told = |text: &str| pulled.notices.iter().any(|notice| notice.contains(text));
        large_told |= told("it changed while it was read");
        small_told |= told("it changed during each of 3 readings");
        if large_told && small_told {
            break pulled.archive.unwrap();
        }
        let is_late = tokio::time::Instant::now() > deadline;
        assert!(
            !is_late,
            "large: {large_told}, small: {small_told}: {:?}",
            pulled.notices
        );
    };
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    let verified = world
        .archives
        .verify_archive(pb::VerifyArchiveRequest { id: archive.id })
        .await
        .unwrap()
        .into_inner();
    assert!(verified.intact, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_outside_or_through_a_link_and_what_a_cut_restore_left_goes() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::fs::write(data.join("sub/a"), "a").unwrap();
    std::fs::write(data.join("b"), "b").unwrap();
    let set = world.data();
    let archive = world.pull(set.clone(), "1").await.unwrap().archive.unwrap();

    // A link lies in the way.
    let elsewhere = world.at("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::remove_dir_all(data.join("sub")).unwrap();
    symlink(&elsewhere, data.join("sub")).unwrap();
    std::fs::write(data.join(".satellite-restore-0123456789abcdef"), "left").unwrap();
    let report = world.push(&archive, set.clone(), true, &[]).await.unwrap();
    assert_eq!((report.members, report.refused), (2, 2), "{report:?}");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(!data.join(".satellite-restore-0123456789abcdef").exists());

    // The profile names another path today.
    let other = pb::CentralDataSet {
        paths: vec![Bytes::copy_from_slice(world.at("another").as_os_str().as_bytes())],
        ..set.clone()
    };
    let report = world.push(&archive, other, true, &[]).await.unwrap();
    assert_eq!((report.members, report.refused), (0, 4), "{report:?}");
    assert!(!world.at("another").exists());

    // Whoever signs in cannot give files away: that is told, and the file does not run as its owner.
    std::fs::remove_file(data.join("sub")).unwrap();
    std::fs::write(data.join("b"), "b").unwrap();
    std::fs::set_permissions(data.join("b"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    let archive = world.pull(set.clone(), "2").await.unwrap().archive.unwrap();
    std::os::unix::fs::chown(&data, Some(sshd::UID), None).unwrap();
    let user = pb::SshCentral {
        user: USER.to_owned(),
        ..world.central()
    };
    let asked = pb::PushArchiveRequest {
        selection: Some(pb::ReadArchiveRequest {
            id: archive.id.clone(),
            ..pb::ReadArchiveRequest::default()
        }),
        central: Some(user),
        data_sets: vec![set],
        quiesce_for_restore: Vec::new(),
        overwrite: true,
    };
    let mut stream = world.client.push_archive(asked).await.unwrap().into_inner();
    let mut report = None;
    while let Some(answer) = stream.message().await.unwrap() {
        report = answer.report;
    }
    let report = report.unwrap();
    assert!(
        report.notices.iter().any(|notice| notice.contains("owner")),
        "{report:?}"
    );
    let stat = std::fs::metadata(data.join("b")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o755, sshd::UID));
}
