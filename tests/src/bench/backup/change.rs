//! What happens to a central between two backups: about a hundredth of its data becomes other data of the same kind.

use std::path::Path;

use anyhow::Context as _;

use crate::central::Sample;
use crate::command::run;
use crate::network::write;

/// Of so many files one changes.
const ONE_OF: usize = 100;

/// Changes every hundredth file of sound and call data, another hundredth with each `round`, and adds as many chats to the
/// database as a hundredth of those that are in it. Answers the bytes that are new.
///
/// # Errors
///
/// If a file cannot be written, or `sqlite3` fails.
pub(super) async fn one_hundredth(sample: &Sample, round: usize) -> anyhow::Result<u64> {
    let (database, round) = (sample.database(), round % ONE_OF);
    let before = database.metadata()?.len();
    let grow = format!(
        "INSERT INTO chats SELECT id + (SELECT max(id) + 1 FROM chats), sent, sender, receiver, text FROM chats \
         WHERE id % {ONE_OF} = {round};"
    );
    run("sqlite3", &["-bail", &database.display().to_string(), &grow]).await?;
    let mut changed = database.metadata()?.len().saturating_sub(before);
    let content = sample.directories().into_iter().filter(|(set, _)| *set != "core");
    for (_, directory) in content {
        changed += turned_round(&directory, round)?;
    }
    Ok(changed)
}

/// Turns files round: they are as long as before and compress as well, and none of their blocks was there before.
fn turned_round(directory: &Path, round: usize) -> anyhow::Result<u64> {
    let mut changed = 0;
    let files = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter();
    let files = files.filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_type().is_file()));
    for entry in files.skip(round).step_by(ONE_OF) {
        let entry = entry?;
        let mut bytes = std::fs::read(entry.path()).with_context(|| entry.path().display().to_string())?;
        bytes.reverse();
        changed += bytes.len() as u64;
        write(entry.path(), bytes)?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn about_a_hundredth_changes_and_nothing_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Sample {
            name: "one".into(),
            root: dir.path().join(name),
            seed: 5,
            bytes: 20_000_000,
        };
        let (one, other) = (at("one"), at("other"));
        one.make(|_, _| ()).await.unwrap();
        other.make(|_, _| ()).await.unwrap();
        let changed = one_hundredth(&other, 3).await.unwrap();
        assert!((20_000..2_000_000).contains(&changed), "{changed} bytes");
        for (name, directory) in other.directories() {
            let before = one.root.join(name);
            let found = crate::compare::compare(&before, &directory, &[]).unwrap();
            let differs = found.differences.iter().any(|text| text.ends_with("other bytes"));
            let same_names = !found.differences.iter().any(|text| text.contains("only in"));
            // So small a central has two or three announcements only: none of them need be the hundredth.
            let differs = differs || name == "announcements";
            assert!(differs && same_names, "{name}: {:?}", found.differences);
        }
    }
}
