//! `backup download`
//!
//! **Invariant:** a file with the archive's name is whole: it gets its name after its digest was found right and it
//! lies on disk. Until then it is `NAME.part`, and a later call goes on with it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use satellite_proto::bundle::Hasher;
use satellite_proto::wire::backup::v1::Archive;
use satellite_proto::wire::management::v1::DownloadArchiveRequest;
use tonic::Code;

use super::super::job::Progress;
use super::super::{CliError, Global, client, render};

/// What to download and where to.
#[derive(Debug, Args)]
pub(in super::super) struct Download {
    /// Id or file name of the archive.
    archive: String,
    /// File that is written; without it the archive's own name in the current directory.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

/// A file that is being received.
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hash: Hasher,
    length: u64,
}

impl Download {
    pub(super) fn new(archive: String, to: Option<PathBuf>) -> Self {
        Self {
            archive,
            to,
            force: false,
        }
    }

    pub(in super::super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let archive = self.describe(&mut client).await?;
        let target = self.target(&archive)?;
        let mut part = Part::open(&target, archive.size_bytes)?;
        if part.length > 0 {
            render::note(&format!("going on after {}", render::size(part.length)));
        }
        let request = DownloadArchiveRequest {
            archive: archive.id.clone(),
            offset: part.length,
        };
        let mut progress = Progress::default();
        if part.length < archive.size_bytes {
            let mut pieces = client.backup.download_archive(request).await?.into_inner();
            while let Some(piece) = pieces.message().await.map_err(|status| part.cut(&status))? {
                part.append(&piece.data)?;
                progress.set(&archive.file_name, part.length, archive.size_bytes, true);
            }
        }
        progress.finish();
        let done = part.finish(&archive)?;
        render::word(global.output, "file", &done.display().to_string())
    }

    /// What is to be downloaded; asks with a download from the start, of which only the first message is read.
    async fn describe(&self, client: &mut client::Client) -> Result<Archive, CliError> {
        let request = DownloadArchiveRequest {
            archive: self.archive.clone(),
            offset: 0,
        };
        let first = client
            .backup
            .download_archive(request)
            .await?
            .into_inner()
            .message()
            .await?;
        let archive = first.and_then(|first| first.archive);
        archive.ok_or_else(|| CliError::said("the module did not say what the archive is"))
    }

    fn target(&self, archive: &Archive) -> Result<PathBuf, CliError> {
        let target = match &self.to {
            Some(path) => path.clone(),
            None => {
                // The name comes from afar: only its last component is a file name here.
                let name = Path::new(&archive.file_name)
                    .file_name()
                    .filter(|name| *name == archive.file_name.as_str());
                let unusable =
                    || CliError::said(format!("`{}` is no file name: add --to", archive.file_name));
                PathBuf::from(name.ok_or_else(unusable)?)
            }
        };
        if target.symlink_metadata().is_ok() && !self.force {
            return Err(CliError::said(format!(
                "`{}` is there already: add --force or --to",
                target.display()
            )));
        }
        Ok(target)
    }
}

impl Part {
    /// Opens what was received before, or begins. What is longer than the archive is of another one.
    pub(super) fn open(target: &Path, size: u64) -> Result<Self, CliError> {
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let failed = |err| {
            CliError::failed(anyhow::Error::new(err).context(format!("cannot write `{}`", path.display())))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > size {
            file.set_len(0).map_err(failed)?;
        }
        let (mut hash, mut length) = (Hasher::default(), 0);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Self {
            target: target.to_path_buf(),
            path,
            file,
            hash,
            length,
        })
    }

    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), CliError> {
        self.hash.update(data);
        self.length += data.len() as u64;
        self.file.write_all(data).map_err(|err| {
            CliError::failed(
                anyhow::Error::new(err).context(format!("cannot write `{}`", self.path.display())),
            )
        })
    }

    pub(super) fn finish(self, archive: &Archive) -> Result<PathBuf, CliError> {
        if self.length < archive.size_bytes {
            return Err(CliError::Unreachable(anyhow::anyhow!(
                "the transfer ended early; the same command goes on after {}",
                render::size(self.length)
            )));
        }
        if self.length != archive.size_bytes || self.hash.finish().to_string() != archive.sha256 {
            // What is there is of no use to a later try.
            let _gone = std::fs::remove_file(&self.path);
            return Err(CliError::said(format!(
                "what was received of `{}` is not what lies on the satellite and was removed: download it again, \
                 and check it with `backup verify`",
                archive.file_name
            )));
        }
        self.file.sync_all().map_err(CliError::failed)?;
        std::fs::rename(&self.path, &self.target).map_err(CliError::failed)?;
        let parent = self
            .target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|dir| dir.sync_all())
            .map_err(CliError::failed)?;
        Ok(self.target)
    }

    fn cut(&self, status: &tonic::Status) -> CliError {
        let text = format!(
            "the transfer was cut after {} ({}); the same command goes on there",
            render::size(self.length),
            status.message()
        );
        match status.code() {
            Code::NotFound | Code::DataLoss => CliError::said(text),
            _ => CliError::Unreachable(anyhow::Error::msg(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(data: &[u8]) -> Archive {
        let sha256 = satellite_proto::bundle::Digest::of(data).to_string();
        Archive {
            file_name: "a.sar".to_owned(),
            size_bytes: data.len() as u64,
            sha256,
            ..Archive::default()
        }
    }

    #[test]
    fn a_cut_download_goes_on_and_is_whole_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.sar");
        let mut first = Part::open(&target, 6).unwrap();
        first.append(b"abc").unwrap();
        assert!(matches!(
            first.finish(&archive(b"abcdef")),
            Err(CliError::Unreachable(_))
        ));
        let mut second = Part::open(&target, 6).unwrap();
        assert_eq!(second.length, 3);
        second.append(b"def").unwrap();
        second.finish(&archive(b"abcdef")).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"abcdef");
        assert!(!dir.path().join("a.sar.part").exists());
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.sar");
        let mut part = Part::open(&target, 6).unwrap();
        part.append(b"abcdeX").unwrap();
        assert!(matches!(
            part.finish(&archive(b"abcdef")),
            Err(CliError::Failed(_))
        ));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_rest_of_a_longer_archive_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.sar");
        Part::open(&target, 9).unwrap().append(b"123456789").unwrap();
        assert_eq!(Part::open(&target, 6).unwrap().length, 0);
    }
}
