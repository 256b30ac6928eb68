//! A user of a central who may use SFTP and nothing else.

use std::time::{Duration, Instant};

use satellite_proto::wire::backup::v1 as pb;
use tonic::Code;

use super::{World, command, scan};
use crate::servers::can;
use crate::servers::sshd::sshd_after;

/// Much more than it takes, and less than any program is waited for.
const SOON: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_sftp_only_is_backed_up_and_told_at_once_what_needs_a_shell() {
    if !can() {
        return;
    }
    let mut world = World::with(sshd_after("echo 'ForceCommand internal-sftp' >>sshd_config;")).await;
    let (data, set) = (world.at("data"), world.data());
    crate::tree(&data);
    std::fs::remove_file(data.join("many/x.tmp")).unwrap();
    // Which names are one file only a program says.
    for name in ["many/large too", "etc/pbx.same"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    let begun = Instant::now();
    let pulled = world.pull(set.clone(), "1").await.unwrap();
    let again = world.pull(set.clone(), "2").await.unwrap();
    assert_eq!((pulled.notices.len(), again.copied), (0, 0));
    let before = scan(&data);
    std::fs::remove_dir_all(&data).unwrap();
    let archive = again.archive.unwrap();
    let report = world.push(&archive, set.clone(), false, &[]).await.unwrap();
    assert_eq!(report.refused, 0, "{report:?}");
    assert_eq!(scan(&data), before);

    let with_command = pb::CentralDataSet {
        commands: vec![command("dump.sql", "echo x", "")],
        ..set.clone()
    };
    let with_service = pb::CentralDataSet {
        quiesce: vec!["pbx.service".to_owned()],
        ..set.clone()
    };
    for (key, wish) in [("3", with_command.clone()), ("4", with_service)] {
        let refused = world.pull(wish, key).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        let said = refused.message();
        assert!(said.contains("SFTP only"), "{said}");
    }
    let central = world.central();
    let found = world.client.test_central(pb::TestCentralRequest {
        central: Some(central.clone()),
        data_sets: vec![with_command],
    });
    let found = found.await.unwrap().into_inner();
    let shell = pb::central_lack::What::Program("sh".to_owned());
    assert_eq!(found.lacks.len(), 1, "{found:?}");
    assert_eq!(found.lacks[0].what, Some(shell));

    // Nothing is moved away.
    let removal = world.client.remove_archived(pb::RemoveArchivedRequest {
        id: archive.id,
        central: Some(central),
        data_sets: vec![set],
        changed_before: None,
    });
    let mut removal = removal.await.unwrap().into_inner();
    let refused = loop {
        match removal.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was not refused"),
            Err(refused) => break refused,
        }
    };
    assert!(refused.message().contains("SFTP only"), "{refused:?}");
    assert_eq!(scan(&data), before);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}
