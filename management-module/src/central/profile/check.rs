//! The file as written, and what is asked of it.
//!
//! **Invariant:** pure: no file system, no clock. That a path exists is not asked here.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::{DataSet, DumpCommand, Fault, Profile, ProfileError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    name: Spanned<String>,
    address: Spanned<String>,
    #[serde(default = "default_tenant")]
    tenant: String,
    data_set: Spanned<Vec<FileDataSet>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileDataSet {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    can_be_large: bool,
    #[serde(default)]
    paths: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    excludes: Vec<Spanned<String>>,
    #[serde(default)]
    command: Vec<FileCommand>,
    #[serde(default)]
    quiesce: Vec<Spanned<String>>,
    #[serde(default)]
    quiesce_for_restore: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileCommand {
    name: Spanned<String>,
    run: Spanned<Vec<String>>,
    #[serde(default)]
    restore: Vec<String>,
    #[serde(default = "default_deadline", with = "humantime_serde")]
    deadline: Duration,
    #[serde(default)]
    estimate: Option<Spanned<String>>,
}

fn default_tenant() -> String {
    "default".to_owned()
}

fn default_deadline() -> Duration {
    Duration::from_secs(2 * 60 * 60)
}

struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add<T>(&mut self, place: &Spanned<T>, text: impl Into<String>) {
        self.at(place.span().start, text);
    }

    fn at(&mut self, offset: usize, text: impl Into<String>) {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.found.push(Fault {
            line,
            text: text.into(),
        });
    }
}

pub(super) fn parse(text: &str) -> Result<Profile, ProfileError> {
    let mut faults = Faults {
        text,
        found: Vec::new(),
    };
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(err) => {
            faults.at(err.span().map_or(0, |span| span.start), err.message());
            return Err(ProfileError { faults: faults.found });
        }
    };
    if !is_name(file.name.get_ref()) {
        faults.add(&file.name, not_a_name("name", file.name.get_ref()));
    }
    if file.address.get_ref().trim().is_empty() {
        faults.add(
            &file.address,
            "`address` is empty: write the host name or IP address of the central",
        );
    }
    if file.data_set.get_ref().is_empty() {
        faults.add(&file.data_set, "there is no `[[data-set]]`");
    }
    let mut data_sets: Vec<DataSet> = Vec::new();
    for written in file.data_set.into_inner() {
        let twice = data_sets.iter().any(|set| set.name == *written.name.get_ref());
        if twice {
            faults.add(
                &written.name,
                format!("data set `{}` is there twice", written.name.get_ref()),
            );
        }
        data_sets.push(data_set(written, &mut faults));
    }
    if !faults.found.is_empty() {
        faults.found.sort_by_key(|fault| fault.line);
        return Err(ProfileError { faults: faults.found });
    }
    Ok(Profile {
        name: file.name.into_inner(),
        address: file.address.into_inner(),
        tenant: file.tenant,
        data_sets,
    })
}

fn data_set(written: FileDataSet, faults: &mut Faults<'_>) -> DataSet {
    if !is_name(written.name.get_ref()) {
        faults.add(&written.name, not_a_name("data set", written.name.get_ref()));
    }
    if written.paths.is_empty() && written.command.is_empty() {
        faults.add(
            &written.name,
            "the data set has neither `paths` nor a `[[data-set.command]]`",
        );
    }
    let paths = paths(&written.paths, faults);
    let excludes = excludes(&written.excludes, faults);
    let mut commands: Vec<DumpCommand> = Vec::new();
    for command in written.command {
        let clashes = commands.iter().any(|other| other.name == *command.name.get_ref())
            || paths.iter().any(|path| {
                path.iter()
                    .nth(1)
                    .is_some_and(|first| first == command.name.get_ref().as_str())
            });
        if clashes {
            let name = command.name.get_ref();
            faults.add(
                &command.name,
                format!("`{name}` would lie where something else of the data set lies"),
            );
        }
        commands.push(dump_command(command, faults));
    }
    for unit in written.quiesce.iter().chain(&written.quiesce_for_restore) {
        if !is_unit(unit.get_ref()) {
            faults.add(
                unit,
                format!(
                    "`{}` is not the name of a systemd unit such as `x.service`",
                    unit.get_ref()
                ),
            );
        }
    }
    DataSet {
        name: written.name.into_inner(),
        description: written.description,
        can_be_large: written.can_be_large,
        paths,
        excludes,
        patterns: words(written.excludes),
        commands,
        quiesce: words(written.quiesce),
        quiesce_for_restore: words(written.quiesce_for_restore),
        changed_before: None,
    }
}

fn words(written: Vec<Spanned<String>>) -> Vec<String> {
    written.into_iter().map(Spanned::into_inner).collect()
}

fn paths(written: &[Spanned<PathBuf>], faults: &mut Faults<'_>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for place in written {
        let path = place.get_ref();
        let clean: PathBuf = path.components().collect();
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            faults.add(
                place,
                format!("`{}` is not an absolute path without `..`", path.display()),
            );
        } else if clean == Path::new("/") {
            faults.add(place, "`/` is too much: name the directories that hold the data");
        } else if let Some(other) = paths
            .iter()
            .find(|other| clean.starts_with(other) || other.starts_with(&clean))
        {
            faults.add(
                place,
                format!(
                    "`{}` and `{}` lie in one another",
                    path.display(),
                    other.display()
                ),
            );
        } else {
            paths.push(clean);
        }
    }
    paths
}

fn excludes(written: &[Spanned<String>], faults: &mut Faults<'_>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for place in written {
        match GlobBuilder::new(place.get_ref()).literal_separator(true).build() {
            Ok(glob) => {
                set.add(glob);
            }
            Err(err) => faults.add(
                place,
                format!("`{}` is not a pattern: {}", place.get_ref(), err.kind()),
            ),
        }
    }
    set.build().unwrap_or_else(|err| {
        faults.at(0, format!("the excludes are too many or too large: {err}"));
        GlobSet::empty()
    })
}

fn dump_command(written: FileCommand, faults: &mut Faults<'_>) -> DumpCommand {
    let name = written.name.get_ref();
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !printable {
        faults.add(
            &written.name,
            format!("`{name}` is not a file name: 1 to 200 printable characters, no `/`, no dot in front"),
        );
    }
    if written.run.get_ref().first().is_none_or(String::is_empty) {
        faults.add(
            &written.run,
            "`run` is empty: write the program and its arguments, each by itself",
        );
    }
    if written.restore.first().is_some_and(String::is_empty) {
        faults.add(&written.name, "`restore` begins with an empty program");
    }
    let has_nul = written
        .run
        .get_ref()
        .iter()
        .chain(&written.restore)
        .any(|word| word.contains('\0'));
    if has_nul {
        faults.add(&written.run, "an argument holds a NUL character");
    }
    if written.deadline.is_zero() {
        faults.add(&written.name, "`deadline` is zero: write for example `2h`");
    }
    let estimate = written.estimate.map_or(0, |text| {
        size(text.get_ref()).unwrap_or_else(|| {
            faults.add(
                &text,
                format!(
                    "`{}` is not a size: write for example `500 MiB` or `2 GiB`",
                    text.get_ref()
                ),
            );
            0
        })
    });
    DumpCommand {
        estimate,
        name: written.name.into_inner(),
        run: written.run.into_inner(),
        restore: written.restore,
        deadline: written.deadline,
    }
}

/// Bytes, from a whole number and a unit.
fn size(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let shift = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn is_name(text: &str) -> bool {
    let fits = (1..=63).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn not_a_name(what: &str, text: &str) -> String {
    format!("{what} `{text}` is not a name: 1 to 63 of a-z, 0-9 and hyphen")
}

fn is_unit(text: &str) -> bool {
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:\\".contains(&byte));
    let typed = text
        .rsplit_once('.')
        .is_some_and(|(name, kind)| !name.is_empty() && !kind.is_empty());
    clean && typed && !text.starts_with('-')
}
