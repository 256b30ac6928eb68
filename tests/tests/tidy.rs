//! House rules that a machine can keep: module texts, size, direction of dependencies, paths in the documentation.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "tidy/literals.rs"]
mod literals;
#[path = "tidy/said.rs"]
mod said;

use std::path::{Path, PathBuf};

/// Longest source file, in lines without the tests at its end.
const LINES: usize = 500;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(kind: &str) -> Vec<PathBuf> {
    let skipped = ["target", ".git"];
    let walk = walkdir::WalkDir::new(top()).into_iter().filter_entry(|entry| {
        !(entry.depth() == 1 && skipped.contains(&entry.file_name().to_str().unwrap_or_default()))
    });
    let paths = walk.map(|entry| entry.unwrap().into_path());
    let found: Vec<PathBuf> = paths
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == kind))
        .collect();
    assert!(!found.is_empty(), "no .{kind} files below {}", top().display());
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).display().to_string()
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_short() {
    let mut faults = Vec::new();
    for path in files("rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            faults.push(format!("{}: does not start with //!", shown(&path)));
        }
        let own = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = own.lines().count();
        if lines > LINES {
            faults.push(format!("{}: {lines} lines, at most {LINES}", shown(&path)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_crate_depends_on_one_that_it_must_not_know() {
    let allowed: [(&str, &[&str]); 6] = [
        ("proto", &[]),
        ("satellite-bridge/host", &[]),
        ("satellite-bridge", &["satellite-proto", "satellite-host"]),
        ("management-module", &["satellite-proto", "satellite-host"]),
        ("backup-service", &["satellite-proto", "satellite-host"]),
        ("tests", &["satellite-proto"]),
    ];
    let ours = [
        "satellite-proto",
        "satellite-host",
        "satellite-bridge",
        "management-module",
        "backup-service",
        "e2e",
    ];
    for (crate_dir, may) in allowed {
        let text = std::fs::read_to_string(top().join(crate_dir).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(found) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for name in found.keys().filter(|name| ours.contains(&name.as_str())) {
                assert!(
                    may.contains(&name.as_str()),
                    "{crate_dir} must not depend on {name} ({section})"
                );
            }
        }
    }
}

#[test]
fn no_module_is_a_mod_rs() {
    let found: Vec<String> = files("rs")
        .iter()
        .map(|path| shown(path))
        // What integration tests share has to be a mod.rs, or cargo takes it for a test.
        .filter(|path| path.ends_with("/mod.rs") && !path.contains("/tests/"))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// In backticks or as a link's target, with a slash in it, beginning with a directory of ours.
#[test]
fn every_path_that_the_documentation_names_is_there() {
    let mut faults = Vec::new();
    for path in files("md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for named in named_paths(&text) {
            let from_top = top().join(&named);
            let beside = path.parent().unwrap().join(&named);
            if !from_top.exists() && !beside.exists() {
                faults.push(format!("{} names `{named}`", shown(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn named_paths(text: &str) -> Vec<String> {
    let ours: Vec<String> = std::fs::read_dir(top())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    let in_backticks = text
        .lines()
        .filter(|line| !line.starts_with("    "))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let plain = |named: &&str| {
        named
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-@".contains(&byte))
            && !named.contains("//")
    };
    in_backticks
        .filter(|named| {
            named
                .split_once('/')
                .is_some_and(|(first, _)| ours.iter().any(|name| name == first))
        })
        .chain(linked.filter(|named| !named.starts_with('#')))
        .filter(plain)
        .map(str::to_owned)
        .collect()
}

#[test]
fn paths_are_found_in_backticks_and_links() {
    let text = "See `docs/CONTRIBUTING.md`, [this](image/README.md), `cargo test`, `/var/lib/x`, `a/b`.";
    assert_eq!(named_paths(text), ["docs/CONTRIBUTING.md", "image/README.md"]);
}

/// In the table of invariants: a name in backticks that is a sentence.
#[test]
fn every_test_that_the_documentation_names_is_there() {
    let sources: Vec<String> = files("rs")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut faults = Vec::new();
    let mut count = 0;
    for document in ["docs/ARCHITECTURE.md", "docs/threat-model.md"] {
        let text = std::fs::read_to_string(top().join(document)).unwrap();
        let in_backticks = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let is_sentence = |word: &&str| {
            word.matches('_').count() >= 3
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        };
        for name in in_backticks.filter(is_sentence) {
            count += 1;
            let call = format!("fn {name}(");
            if !sources.iter().any(|source| source.contains(&call)) {
                faults.push(format!("{document} names `{name}`"));
            }
        }
    }
    assert!(count > 40, "only {count} tests were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
