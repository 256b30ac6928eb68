//! Single files of an archive on the page: found, ticked, brought back.

use satellite_proto::wire::management::v1 as wire;

use super::World;
use super::shelf::{self, CONTENT, archive};
use super::stored::Stored;

/// What a form calls the second file, whose name is no UTF-8: its bytes in hexadecimal digits.
const VOICE: &str = "636f72652f766f69636520ff2e776176";

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_words_ticked_and_restored_alone() {
    let dir = tempfile::tempdir().unwrap();
    Stored::open(&dir).await.central("pbx", "acme", "").await;
    shelf::serve(&dir, vec![archive("id-a", "pbx", "acme", "")], Vec::new());
    let target = dir.path().join("target");
    let world = World::in_directory(dir).await;
    world.add_user("otto", wire::WebRole::Operator, &[]).await;
    world.add_user("carl", wire::WebRole::Customer, &["acme"]).await;
    let mut otto = world.signed_in("otto").await;
    let page = otto.get("/archives/id-a").await;
    assert!(
        page.text.contains("href=\"/archives/id-a/members\""),
        "{}",
        page.text
    );
    let page = otto.get("/archives/id-a/members?find=a+%22b").await;
    assert_eq!(page.status, 200, "{}", page.text);
    for told in [
        "core/etc/pbx.conf",
        &format!("value=\"{VOICE}\""),
        "The first 2 of 1,200.",
        "value=\"a &quot;b\"",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let directory = target.display().to_string();
    let fields = |path: &'static str, word: &'static str| {
        let mut fields = vec![
            ("find", "voice"),
            ("where", "directory"),
            ("directory", directory.as_str()),
            ("word", word),
        ];
        fields.extend([("key", path), ("path", path)]);
        fields
    };
    // Another word, nothing that is ticked, or what is no path: nothing is begun, and what was ticked stays ticked.
    let page = otto.post("/archives/id-a/restore", &fields(VOICE, "x")).await;
    assert_eq!(page.status, 422, "{}", page.text);
    assert!(
        page.text.contains(&format!("value=\"{VOICE}\" checked")),
        "{}",
        page.text
    );
    assert!(page.text.contains("That is not the word.") && page.text.contains("value=\"voice\""));
    for path in ["", "core/etc/pbx.conf"] {
        let page = otto.post("/archives/id-a/restore", &fields(path, "pbx")).await;
        assert_eq!(page.status, 422, "{}", page.text);
        assert!(page.text.contains("Tick at least one file."), "{}", page.text);
    }
    assert!(!target.exists());
    let page = otto.post("/archives/id-a/restore", &fields(VOICE, "pbx")).await;
    assert_eq!(page.status, 303, "{}", page.text);
    let job = page.location.split('?').next().unwrap().to_owned();
    let ended = async {
        loop {
            let page = otto.get(&job).await;
            if !page.text.contains("under way") {
                return page.text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(30), ended)
        .await
        .unwrap();
    assert!(text.contains("succeeded"), "{text}");
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"core/voice \xff.wav");
    assert_eq!(std::fs::read_to_string(target.join(name)).unwrap(), CONTENT);
    assert!(!target.join("core/etc").exists());
    // A customer restores nothing, and is shown no names of files either.
    let mut carl = world.signed_in("carl").await;
    assert!(!carl.get("/archives/id-a").await.text.contains("/members"));
    assert_eq!(carl.get("/archives/id-a/members").await.status, 403);
    world.end().await;
}
