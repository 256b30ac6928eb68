//! Goes through the paths of a data set on a central, sorted.
//!
//! **Invariant:** a symbolic link is found and kept, and what it points to is not looked at.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::plan::DataSet;
use super::sftp::{Attributes, Kind, SftpError};
use super::{Central, CentralError, shown};

/// Names of a directory that are sorted at a time; a larger directory comes in several sorted runs.
const RUN: usize = 100_000;
/// Directories in one another, below a configured path.
const DEEPEST: usize = 200;
/// Bytes of a path, with the first slash, that an archive takes.
const LONGEST: usize = 4096;
/// What is handed on at once, so that the round trips of small files lie beside one another.
const TOGETHER: usize = 16;

/// What a data set holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Something that the walk found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Absolute.
    pub(super) path: Bytes,
    pub(super) attributes: Attributes,
}

/// What happens to what the walk finds.
pub(super) trait Visitor: Send {
    /// Takes what lies beside one another and is no directory, or one directory.
    fn found<'a>(&'a mut self, found: Vec<Found>) -> BoxFuture<'a, Result<(), CentralError>>;
    /// Something that a person should know.
    fn notice(&mut self, text: String);
    /// Something belongs to the data set and cannot be had.
    fn left_out(&mut self, text: String);
}

/// Answers how many of the configured paths are there.
pub(super) async fn walk(
    central: &Central,
    visitor: &mut dyn Visitor,
    set: &DataSet,
) -> Result<usize, CentralError> {
    let mut there = 0;
    let name = &set.name;
    for root in &set.paths {
        match central.sftp.look(root).await {
            Ok(attributes) => {
                there += 1;
                if attributes.kind() == Kind::Symlink {
                    let text = "it is a symbolic link: the link is kept, not what it points to";
                    visitor.notice(format!("{name}: {}: {text}", shown(root)));
                }
                let found = Found {
                    path: root.clone(),
                    attributes,
                };
                visit(central, visitor, set, vec![found], 0).await?;
            }
            Err(error) if error.is_cut() => return Err(central.cut(&error)),
            Err(error) => visitor.left_out(format!("{name}: {}: it is left out: {error}", shown(root))),
        }
    }
    Ok(there)
}

/// Hands things of one directory on, and goes into those that are directories.
fn visit<'a>(
    central: &'a Central,
    visitor: &'a mut dyn Visitor,
    set: &'a DataSet,
    all: Vec<Found>,
    depth: usize,
) -> BoxFuture<'a, Result<(), CentralError>> {
    Box::pin(async move {
        let mut together = Vec::new();
        for found in all {
            if set.excludes(&found.path) || stays(set, &found.attributes) {
                continue;
            }
            let label = || format!("{}: {}", set.name, shown(&found.path));
            if found.path.len() > LONGEST {
                visitor.left_out(format!(
                    "{}: its path is too long for an archive, so it is left out",
                    label()
                ));
                continue;
            }
            if found.attributes.kind() != Kind::Directory {
                together.push(found);
                if together.len() >= TOGETHER {
                    visitor.found(std::mem::take(&mut together)).await?;
                }
                continue;
            }
            visitor.found(std::mem::take(&mut together)).await?;
            visitor.found(vec![found.clone()]).await?;
            if depth >= DEEPEST {
                visitor.left_out(format!("{}: too deep, what is in it is left out", label()));
                continue;
            }
            match children(central, visitor, set, &found.path, depth).await {
                Ok(()) => {}
                Err(Stop::Work(error)) => return Err(error),
                Err(Stop::Directory(error)) => visitor.left_out(format!(
                    "{}: what is in it cannot be read and is left out: {error}",
                    label()
                )),
            }
        }
        visitor.found(together).await
    })
}

/// What ends a directory, or everything.
enum Stop {
    Directory(SftpError),
    Work(CentralError),
}

async fn children(
    central: &Central,
    visitor: &mut dyn Visitor,
    set: &DataSet,
    above: &Bytes,
    depth: usize,
) -> Result<(), Stop> {
    let failed = |error: SftpError| match error.is_cut() {
        true => Stop::Work(central.cut(&error)),
        false => Stop::Directory(error),
    };
    let directory = central.sftp.open_directory(above).await.map_err(failed)?;
    let mut whole = false;
    while !whole {
        let mut run: Vec<(Bytes, Attributes)> = Vec::new();
        while run.len() < RUN {
            match central.sftp.list_on(&directory).await.map_err(failed)? {
                Some(names) => run.extend(names),
                None => {
                    whole = true;
                    break;
                }
            }
        }
        run.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let all = run.into_iter().map(|(name, attributes)| Found {
            path: Bytes::from([&above[..], b"/", &name[..]].concat()),
            attributes,
        });
        let visited = visit(central, visitor, set, all.collect(), depth + 1).await;
        visited.map_err(Stop::Work)?;
    }
    central.sftp.close(directory).await.map_err(failed)
}

/// Whether something is no part of what is moved into an archive: too new, or nothing that holds data.
fn stays(set: &DataSet, attributes: &Attributes) -> bool {
    let Some(limit) = set.changed_before else {
        return false;
    };
    match attributes.kind() {
        Kind::Directory => false,
        Kind::File => i64::from(attributes.modified()) >= limit.as_second(),
        _ => true,
    }
}

/// Adds up what is found.
#[derive(Default)]
struct Scale(Measured);

impl Visitor for Scale {
    fn found<'a>(&'a mut self, found: Vec<Found>) -> BoxFuture<'a, Result<(), CentralError>> {
        for one in found.iter().filter(|one| one.attributes.kind() == Kind::File) {
            self.0.files += 1;
            self.0.bytes += one.attributes.size();
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn notice(&mut self, _: String) {}

    fn left_out(&mut self, _: String) {}
}

/// What the data set holds at the moment, without what commands print.
pub(super) async fn measure(central: &Central, set: &DataSet) -> Result<Measured, CentralError> {
    let mut scale = Scale::default();
    walk(central, &mut scale, set).await?;
    Ok(scale.0)
}
