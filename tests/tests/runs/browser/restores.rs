//! Archives brought back from the browser: onto a secondary central, and single files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use e2e::central::Sample;
use e2e::network::write;
use serde_json::Value;

use super::signed_in;
use crate::kills::tree;
use crate::page::{LONG, Page, SOON};
use crate::servers::Line;
use crate::servers::sshd::sshd_after;
use crate::ssh::added;
use crate::world::{World, json, said};

/// What sends the form of a restore.
const RESTORE: &str = "form[action$='/restore'] button.danger";

/// Keeps each state of the bar of a job that is shown, with what is done: step, value, most.
const WATCH: &str = "window.seen = []; const part = document.querySelector('main [data-live]'); \
    const look = () => { const bar = part.querySelector('progress'); \
      if (bar) window.seen.push([part.querySelector('p').textContent, bar.value, bar.max]) }; \
    new MutationObserver(look).observe(part, { subtree: true, childList: true, attributes: true }); look();";

/// Bytes a second at which there is time to look.
const SLOW: u32 = 100_000;

/// What the profile of a sample backs up as files: the database comes back by its own program, the cache not at all.
fn kept(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(root);
    files.retain(|path, _| {
        let is_out = path.ends_with("pbx.sqlite") || path.starts_with(root.join("core/cache"));
        !is_out && path.parent() != Some(root)
    });
    files
}

/// The page of the newest archive, whose name is answered.
async fn newest_archive(world: &World, page: &Page) -> String {
    let archives = json(world, &["backup", "list"]).await;
    let archive = &archives[0];
    page.open(&format!("/archives/{}", archive["id"].as_str().unwrap()))
        .await;
    page.browser.says("SHA-256", SOON).await.unwrap();
    archive["file_name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_restores_onto_a_secondary_central_and_sees_how_far_it_is_until_it_has_ended() {
    let world = World::new().await;
    let root = world.at("central");
    // Another machine with the same paths, at which other files lie.
    let server = sshd_after(&format!(
        "mkdir -p secondary; mount --bind secondary '{}';",
        root.display()
    ));
    let there = server.dir.path().join("secondary");
    let line = Line::to(server.port).await;
    furnished(&world, &there, &server.dir.path().join("user"), line.port).await;
    said(&world, &["backup", "run", "sample"]).await;
    let good = kept(&root);
    let before = tree(&there);

    let page = signed_in(&world).await;
    let browser = &page.browser;
    let archive = newest_archive(&world, &page).await;
    page.unfold(RESTORE).await;
    page.put(&serde_json::json!({ "central": "branch" })).await;
    browser.click("input[name=overwrite]").await.unwrap();
    // The word is the name of the central whose data is at stake.
    browser.fill("#restore-word", "sample").await.unwrap();
    browser.click(RESTORE).await.unwrap();
    browser.says("That is not the word.", SOON).await.unwrap();
    assert_eq!(tree(&there), before);
    page.put(&serde_json::json!({ "central": "branch" })).await;
    browser.click("input[name=overwrite]").await.unwrap();
    browser.fill("#restore-word", "branch").await.unwrap();
    page.pictures("restore-onto-secondary").await;
    line.slow(SLOW);
    browser.click(RESTORE).await.unwrap();
    browser.says("under way", SOON).await.unwrap();
    browser.script(WATCH).await.unwrap();
    browser.says("restoring", LONG).await.unwrap();
    page.there("main progress[value]:not([value='0'])").await;
    page.pictures("restore-running").await;
    line.slow(0);
    browser.says("✓ succeeded", LONG).await.unwrap();
    page.pictures("restore-done").await;
    came_closer(&browser.script("return window.seen").await.unwrap());

    // It is all there now, in place of what was there, and nothing else is touched.
    let after = tree(&there);
    let at = |path: &PathBuf| there.join(path.strip_prefix(&root).unwrap());
    for (path, content) in &good {
        assert!(after.get(&at(path)) == Some(content), "{}", path.display());
    }
    assert!(after[&there.join("core/pbx.sqlite")].len() > 1000);
    assert!(after[&there.join("core/own")] == b"of the branch");
    assert!(kept(&root) == good);
    is_noted(&world, &page, &archive, &before[&there.join("core/both")]).await;
}

/// The secondary central: other files below the same paths, of which one has the name of one of the sample.
async fn furnished(world: &World, there: &Path, key: &Path, port: u16) {
    let sample = Sample::at(world.at("central"), 0);
    let profile = sample.profile();
    let other = profile.replace("\"sample\"", "\"branch\"");
    let other = other.replace("pbx.example.org", "branch.example.org");
    assert_eq!(other.matches("branch").count(), 2);
    write(&world.at("branch.toml"), other).unwrap();
    write(&world.at("central/core/both"), "of the master").unwrap();
    for (name, text) in [
        ("core/both", "of the branch before"),
        ("core/own", "of the branch"),
        // The restore command of the sample fills an empty one.
        ("core/pbx.sqlite", ""),
        ("cdr-voicemail/note", "of the branch"),
        ("announcements/note", "of the branch"),
    ] {
        write(&there.join(name), text).unwrap();
    }
    let key = key.display().to_string();
    let host_key = std::fs::read_to_string(Path::new(&key).with_file_name("host.pub")).unwrap();
    let known = ["--key-file", &key, "--host-key", host_key.trim()];
    let new = added(world, "branch", port, &known).await;
    assert_eq!(new.code, Some(0), "{new:?}");
}

/// The bar was seen to grow while it was being restored, and the page was not loaded anew: it still has what it kept.
fn came_closer(seen: &Value) {
    let states = seen.as_array().unwrap().iter();
    let restoring = states.filter(|state| state[0].as_str().unwrap().contains("restoring"));
    let values: Vec<u64> = restoring.map(|state| state[1].as_u64().unwrap()).collect();
    assert!(values.is_sorted(), "{seen}");
    let mut different = values.clone();
    different.dedup();
    assert!(different.len() >= 3, "{seen}");
}

/// The list of restores tells the outcome, and where what was overwritten is now: it is really in there.
async fn is_noted(world: &World, page: &Page, archive: &str, overwritten: &[u8]) {
    let restores = json(world, &["backup", "restores"]).await;
    let safety = restores[0]["safety_archive"].as_str().unwrap().to_owned();
    page.open("/restores").await;
    for told in ["✓ succeeded", "branch", "branch.example.org", archive, &safety] {
        page.browser.says(told, SOON).await.unwrap();
    }
    page.pictures("restores-with-safety").await;
    page.glance_in("de", "restores-with-safety").await;
    page.browser.click("td a[href^='/archives?find=']").await.unwrap();
    page.browser.click("#archives tbody th a").await.unwrap();
    page.browser
        .says("branch.example.org (branch)", SOON)
        .await
        .unwrap();
    let to = world.at("before").display().to_string();
    let member = format!("core{}", world.at("central/core/both").display());
    let restore = ["backup", "restore", &safety, "--to", &to, "--path", &member];
    said(world, &restore).await;
    assert_eq!(
        std::fs::read(world.at("before").join(&member)).unwrap(),
        overwritten
    );
}

#[tokio::test]
async fn a_person_restores_single_files_and_nothing_but_these_comes_back() {
    let world = World::new().await;
    let root = world.at("central");
    said(&world, &["backup", "run", "sample"]).await;
    let good = kept(&root);
    let page = signed_in(&world).await;
    newest_archive(&world, &page).await;
    page.browser.click("main a[href$='/members']").await.unwrap();
    page.browser.says("Files of the archive", SOON).await.unwrap();
    page.pictures("members").await;
    page.glance_in("de", "members").await;
    finds(&page, "nowhere-to-be-found").await;
    page.browser
        .says("No file has all these words", SOON)
        .await
        .unwrap();
    page.glance("members-none").await;

    // Two voicemails into a directory.
    finds(&page, "VOICEMAIL msg000000").await;
    let sounds = ["wav", "txt"].map(|kind| {
        let name = format!("msg000000.{kind}");
        good.keys().find(|path| path.ends_with(&name)).unwrap().clone()
    });
    for path in &sounds {
        ticks(&page, "cdr-voicemail", path).await;
    }
    let target = world.at("tried");
    page.browser.click("input[value=directory]").await.unwrap();
    page.put(&serde_json::json!({ "directory": target.display().to_string() }))
        .await;
    brings_back(&page, "members-ticked").await;
    let found: BTreeMap<_, _> = tree(&target);
    let below = |path: &PathBuf| target.join(format!("cdr-voicemail{}", path.display()));
    let wanted: BTreeMap<_, _> = sounds
        .iter()
        .map(|path| (below(path), good[path].clone()))
        .collect();
    assert!(found == wanted, "{:?}", found.keys());

    // One of them in its place, after all of its neighbours were spoilt too.
    for path in good.keys() {
        write(path, "spoilt").unwrap();
    }
    newest_archive(&world, &page).await;
    page.browser.click("main a[href$='/members']").await.unwrap();
    finds(&page, "msg000000.wav").await;
    ticks(&page, "cdr-voicemail", &sounds[0]).await;
    page.browser.click("input[name=overwrite]").await.unwrap();
    brings_back(&page, "members-in-place").await;
    for (path, now) in kept(&root) {
        let wanted = if path == sounds[0] {
            &good[&path][..]
        } else {
            b"spoilt"
        };
        assert!(now == wanted, "{}", path.display());
    }
    // What is saved before is what may be overwritten, not all that the central has.
    let restores = json(&world, &["backup", "restores"]).await;
    let saved = restores[0]["safety_archive"].as_str().unwrap();
    let saved = json(&world, &["backup", "show", saved]).await;
    let sets = saved["data_sets"].as_array().unwrap();
    assert!(sets.len() == 1 && sets[0]["name"] == "cdr-voicemail", "{saved}");
    page.open("/restores").await;
    page.browser.says("tried", SOON).await.unwrap();
    let rows = "return document.querySelectorAll('tbody tr').length";
    assert_eq!(page.browser.script(rows).await.unwrap(), 2);
    let good = "return document.querySelectorAll('tbody .badge.good').length";
    assert_eq!(page.browser.script(good).await.unwrap(), 2);
}

/// Looks for files by words in their names.
async fn finds(page: &Page, words: &str) {
    page.browser.fill("#find", words).await.unwrap();
    page.browser.click("form[role=search] button.main").await.unwrap();
    // The address says so when the page is the next one.
    let asked = "return new URL(location).searchParams.get('find')";
    let come = e2e::wait::until("the files that were asked for", SOON, async || {
        (page.browser.script(asked).await.ok()? == words).then_some(())
    });
    come.await.unwrap();
    page.there("main p[role=status]").await;
}

/// Ticks a file in the list: the box beside its name.
async fn ticks(page: &Page, data_set: &str, path: &Path) {
    let name = format!("{data_set}{}", path.display());
    let mark = format!(
        "const found = [...document.querySelectorAll('tbody label')].filter(one => one.textContent.trim() === {}); \
         for (const one of found) one.querySelector('input').id = 'wanted'; return found.length",
        Value::from(name.as_str())
    );
    assert_eq!(page.browser.script(&mark).await.unwrap(), 1, "{name}");
    page.browser.click("#wanted").await.unwrap();
    page.browser
        .script("document.getElementById('wanted').removeAttribute('id')")
        .await
        .unwrap();
}

/// Sends what is ticked, after a look at it, and waits for its end.
async fn brings_back(page: &Page, picture: &str) {
    page.browser.fill("#restore-word", "sample").await.unwrap();
    page.pictures(picture).await;
    page.browser.click(RESTORE).await.unwrap();
    page.browser.says("✓ succeeded", LONG).await.unwrap();
}
