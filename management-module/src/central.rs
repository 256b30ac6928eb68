//! Reads and restores the data of a central on this machine.
//!
//! **Invariant:** what is read and what may be run comes from the central's profile and nowhere else; what an archive
//! says is doubted. Nothing here talks to a satellite or to the store.

pub mod command;
pub mod profile;
pub mod quiesce;
pub mod read;
pub mod remove;
pub mod restore;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};

use self::profile::Profile;

/// Something that a profile names and this machine does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A path of a data set.
    Path(PathBuf),
    /// A program of a command.
    Program(String),
}

/// What a profile names and this machine does not have, each with its data set.
#[must_use]
pub fn missing(profile: &Profile) -> Vec<(String, Missing)> {
    let mut missing = Vec::new();
    for set in &profile.data_sets {
        let paths = set.paths.iter().filter(|path| path.symlink_metadata().is_err());
        missing.extend(paths.map(|path| (set.name.clone(), Missing::Path(path.clone()))));
        let commands = set
            .commands
            .iter()
            .flat_map(|command| [&command.run, &command.restore]);
        let programs = commands.filter_map(|words| words.first());
        for program in programs.filter(|program| !is_there(program)) {
            let one = (set.name.clone(), Missing::Program(program.clone()));
            if !missing.contains(&one) {
                missing.push(one);
            }
        }
    }
    missing
}

/// Whether a program would be found, as a command of a profile is.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    command::PATH
        .split(':')
        .any(|directory| Path::new(directory).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_named() {
        let text = "name = \"p\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\n\
                    paths = [\"/etc\", \"/no/such/place\"]\n[[data-set.command]]\nname = \"dump\"\n\
                    run = [\"no-such-dump\", \"x\"]\nrestore = [\"sh\"]\n";
        let missing = missing(&Profile::parse(text).unwrap());
        let core = |what| ("core".to_owned(), what);
        let wanted = [
            core(Missing::Path("/no/such/place".into())),
            core(Missing::Program("no-such-dump".into())),
        ];
        assert_eq!(missing, wanted);
    }
}
