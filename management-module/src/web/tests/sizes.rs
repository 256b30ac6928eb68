//! A central that cannot be looked at is shown, and can be backed up, all the same.

use prost::Message as _;
use satellite_proto::wire::backup::v1::SshCentral;
use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::stored::Stored;

#[tokio::test(flavor = "multi_thread")]
async fn a_central_that_does_not_answer_is_shown_without_sizes_and_one_that_does_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::open(&dir).await;
    stored.central("near", "default", "").await;
    stored.central("far", "default", "").await;
    let way = SshCentral {
        server: "far.example.com".to_owned(),
        user: "root".to_owned(),
        host_key: "ssh-ed25519 AAAA".to_owned(),
        ..SshCentral::default()
    };
    let way = data_encoding::HEXUPPER.encode(&way.encode_to_vec());
    // What opens the way is not of this vault.
    stored
        .run(&format!(
            "UPDATE centrals SET ssh = x'{way}', ssh_sealed = x'00' WHERE name = 'far'"
        ))
        .await;
    let world = World::in_directory(dir).await;
    world.add_user("otto", wire::WebRole::Operator, &[]).await;
    let mut otto = world.signed_in("otto").await;
    let bytes = std::fs::metadata("/etc/hostname").unwrap().len();
    for (name, is_known) in [("near", true), ("far", false)] {
        let page = otto.get(&format!("/centrals/{name}")).await;
        assert_eq!(page.status, 200, "{name}: {}", page.text);
        assert!(page.text.contains("value=\"core\""), "{name}: {}", page.text);
        let size = format!("core <span class=\"soft\">{bytes}\u{a0}B");
        assert_eq!(page.text.contains(&size), is_known, "{name}: {}", page.text);
        assert_eq!(
            page.text.contains("role=\"alert\""),
            !is_known,
            "{name}: {}",
            page.text
        );
    }
}
