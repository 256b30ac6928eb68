//! Putting a new bridge or a new slot beside the one that runs, and letting it be started.
//!
//! **Invariant:** nothing here touches what runs now; until the trial is recorded the next start is that again.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use satellite_host::exec::{Exec, ExecError};
use satellite_host::{clock, fail_point, files};
use satellite_proto::bundle::{BRIDGE_FILE, Digest, Hasher, Manifest};
use satellite_proto::wire::bridge::v1::Operation;
use tonic::Code;
use tracing::{Instrument, error, info, info_span, warn};

use super::record::{Change, Part, Step};
use super::slots::Outcome;
use super::{Base, Inner, SLOT_UNIT, program, record_file};
use crate::journal;
use crate::operations::{Begun, OperationHandle};
use crate::workload::record::{Fault, chain};
use crate::workload::{
    Home, Staged, WorkloadError, assemble, check_space, fault_of, forget_upload, tidy_versions,
};

/// How long a slot may take to be written and read back.
const WRITING: Duration = Duration::from_mins(20);
/// How long the new bridge may take to say its version.
const SAYING: Duration = Duration::from_secs(20);
/// Between two tries to start a program that is open for writing.
const BUSY: Duration = Duration::from_millis(20);
/// Steps that a person is shown.
const STEPS: u64 = 5;

/// How a try to put the new one in place ended.
enum Placed {
    /// It is what runs already.
    Runs,
    /// It is started when this process, or the machine, is started anew.
    Waits,
}

impl Base {
    /// Installs a bundle of the base. The operation ends after the satellite was started anew.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Busy`], [`WorkloadError::Operation`].
    pub(crate) fn install(&self, staged: Staged, key: &str) -> Result<Operation, WorkloadError> {
        let inner = self.inner.clone();
        let name = staged.manifest.workload.clone();
        let handle = {
            let mut busy = inner.busy();
            if busy.is_some() || inner.workloads.busy() || inner.open.is_open() {
                return Err(WorkloadError::Busy(name));
            }
            let begun = inner.operations.begin("install", name.as_str(), key);
            match begun.map_err(WorkloadError::Operation)? {
                Begun::Existing(operation) => return Ok(operation),
                Begun::New(handle) => {
                    *busy = Some(staged.digest);
                    handle
                }
            }
        };
        let operation = handle.snapshot();
        let span = info_span!("base", part = name.as_str(), version = %staged.manifest.version);
        run(async move { inner.bring(&handle, &staged).instrument(span).await });
        Ok(operation)
    }
}

/// Does work on a thread where it may wait for the disk.
pub(super) fn run(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || runtime.block_on(work));
    tokio::spawn(async move {
        if let Err(err) = thread.await
            && err.is_panic()
        {
            error!("Work on the base stopped by a fault in the bridge");
        }
    });
}

impl Inner {
    async fn bring(&self, handle: &OperationHandle, staged: &Staged) {
        match self.place(handle, staged).await {
            Ok(Placed::Waits) => {}
            Ok(Placed::Runs) => {
                self.forget_upload(staged.digest);
                let mut busy = self.busy();
                handle.succeed();
                *busy = None;
            }
            Err(fault) => self.abandon(Some(handle), fault).await,
        }
    }

    async fn place(&self, handle: &OperationHandle, staged: &Staged) -> Result<Placed, Fault> {
        if self.is_there(staged)? {
            self.adopt(staged)?;
            return Ok(Placed::Runs);
        }
        let mut change = Change {
            operation: handle.id(),
            part: self.ground.part,
            target: staged.digest,
            version: staged.manifest.version.to_string(),
            slot: Part::slot_of(&staged.manifest),
            before: self.ground.version.clone(),
            limit_seconds: staged.manifest.health.start_seconds,
            boot_id: self.ground.boot_id.clone(),
            permit: staged.permit,
            step: Step::Accepted,
            starts: 0,
            watched_in: String::new(),
            since: None,
            fault: None,
        };
        let home = self.home();
        let made = files::create_dir(&home.versions(), 0o711);
        made.map_err(|err| Fault::of("nothing was changed", &err))?;
        self.note(&change)?;
        fail_point("base.accepted");
        match self.ground.part {
            Part::Bridge => self.place_program(handle, staged, &home).await?,
            Part::System => self.place_slot(handle, staged, &home).await?,
        }
        if handle.cancel_token().is_cancelled() {
            return Err(Fault::cancelled());
        }
        handle.progress(4, STEPS, "steps", "starting the new one");
        change.step = Step::Trial;
        change.since = Some(clock::now());
        self.note(&change)?;
        fail_point("base.trial-recorded");
        info!("New version is in place and is started");
        self.start_anew().await?;
        Ok(Placed::Waits)
    }

    /// Ends this process, or restarts the machine: the new one is started then.
    pub(super) async fn start_anew(&self) -> Result<(), Fault> {
        match self.ground.part {
            Part::Bridge => {
                self.restart.cancel();
                Ok(())
            }
            Part::System => {
                let begun = self.units.reboot().await;
                begun.map_err(|err| Fault::of("the machine does not restart", &err))
            }
        }
    }

    /// Whether the bundle's content is what runs at this moment, however it came there.
    fn is_there(&self, staged: &Staged) -> Result<bool, Fault> {
        match self.ground.part {
            Part::System => Ok(Part::slot_of(&staged.manifest) == self.ground.slot),
            Part::Bridge => {
                let wanted = staged.manifest.files.first().map(|file| file.digest);
                let own = digest_of(&self.ground.program);
                let own = own.map_err(|err| Fault::of("the program that runs cannot be read", &err))?;
                Ok(wanted == Some(own))
            }
        }
    }

    /// Records what runs under the bundle's name.
    fn adopt(&self, staged: &Staged) -> Result<(), Fault> {
        let doing = "what runs cannot be recorded";
        let home = self.home();
        let written = files::create_dir(&home.versions(), 0o711)
            .and_then(|()| files::write_atomic(&home.manifest_file(staged.digest), &staged.bytes, 0o644));
        written.map_err(|err| Fault::of(doing, &err))?;
        let at_version = self.ground.program == program(&home, staged.digest);
        let is_shipped = !self.ground.program.starts_with(self.places.base_dir());
        if self.ground.part == Part::System || at_version || is_shipped {
            self.confirm_release(&staged.manifest, staged.permit)?;
            let linked = files::link_atomic(&Home::link_target(staged.digest), &home.current());
            linked.map_err(|err| Fault::of(doing, &err))?;
        }
        Ok(())
    }

    async fn place_program(
        &self,
        handle: &OperationHandle,
        staged: &Staged,
        home: &Home,
    ) -> Result<(), Fault> {
        let (part, version) = (home.part(staged.digest), home.version(staged.digest));
        let manifest = &staged.manifest;
        let total = manifest.payload_bytes();
        check_space(&self.places.state_dir, total)?;
        let stop = handle.cancel_token();
        let written = assemble::assemble(manifest, &staged.store, &part, |done| {
            handle.progress(done, total, "bytes", "writing the program");
            !stop.is_cancelled()
        });
        written.map_err(|err| fault_of(&err))?;
        fail_point("base.staged");
        handle.progress(2, STEPS, "steps", "checking the program");
        let doing = "the program cannot be put in place";
        assemble::verify(manifest, &part).map_err(|err| Fault::of(doing, &err))?;
        files::write_atomic(&home.manifest_file(staged.digest), &staged.bytes, 0o644)
            .and_then(|()| files::remove_tree(&version).map(drop))
            .and_then(|()| files::rename(&part, &version))
            .map_err(|err| Fault::of(doing, &err))?;
        fail_point("base.verified");
        let new = program(home, staged.digest);
        says_its_version(&new).await.map_err(|err| {
            let text = format!("the new bridge does not run on this machine: {}", chain(&err));
            Fault::new(Code::FailedPrecondition, text)
        })
    }

    async fn place_slot(&self, handle: &OperationHandle, staged: &Staged, home: &Home) -> Result<(), Fault> {
        let written = files::write_atomic(&home.manifest_file(staged.digest), &staged.bytes, 0o644);
        written.map_err(|err| Fault::of("the manifest cannot be written", &err))?;
        handle.progress(1, STEPS, "steps", "writing the other slot");
        let written = self.run_slot_unit().await;
        if written
            .as_ref()
            .is_err_and(|fault| fault.code == Code::Aborted as i32)
        {
            // Who writes the slot only reads chunks: the next push is to bring those that are damaged.
            assemble::discard_damaged(&staged.manifest, &staged.store).map_err(|err| fault_of(&err))?;
        }
        written
    }

    /// Lets the unit that may write to the disk do what the record asks for, and answers how it went.
    pub(super) async fn run_slot_unit(&self) -> Result<(), Fault> {
        let file = Outcome::file(&self.places);
        files::remove(&file).map_err(|err| Fault::of("the slot is not written", &err))?;
        let started = self.units.start(SLOT_UNIT, WRITING).await;
        let _forgotten = self.units.reset_failed(SLOT_UNIT).await;
        let outcome = journal::read::<Outcome>(&file).ok().flatten();
        match (started, outcome) {
            (_, Some(Outcome { fault: Some(fault) })) => Err(fault),
            (Ok(()), Some(_)) => Ok(()),
            (Ok(()), None) => Err(Fault::new(
                Code::Internal,
                "what became of the slot is not known: see the satellite's log",
            )),
            (Err(err), _) => Err(Fault::new(
                Code::Unavailable,
                format!("the slot is not written: {}", chain(&err)),
            )),
        }
    }

    pub(super) fn note(&self, change: &Change) -> Result<(), Fault> {
        self.write(change)
            .map_err(|err| Fault::of("the change cannot be recorded", &err))
    }

    pub(super) fn confirm_release(&self, manifest: &Manifest, permit: Option<u64>) -> Result<(), Fault> {
        let release = (manifest.channel.as_str(), manifest.release);
        let Some(name) = self.ground.part.workload() else {
            return Ok(());
        };
        let confirmed = self.workloads.floors().confirm(&name, release, permit);
        confirmed.map_err(|err| Fault::of("the release cannot be recorded", &err))
    }

    /// Takes away what a change that came to nothing has left, says why, and gives the turn back.
    pub(super) async fn abandon(&self, handle: Option<&OperationHandle>, mut fault: Fault) {
        let mut is_clean = true;
        if self.ground.part == Part::System
            && let Ok(Some(mut change)) = super::change_under_way(&self.places)
        {
            // What the loader would start next must not be a slot that nobody watches.
            change.give_up(fault.clone());
            let disarmed = match self.note(&change) {
                Ok(()) => self.run_slot_unit().await,
                Err(fault) => Err(fault),
            };
            if let Err(problem) = disarmed {
                error!(problem = problem.message, "New slot may still be started");
                fault.message = format!(
                    "{}; the new slot may still be started: {}",
                    fault.message, problem.message
                );
                is_clean = false;
            }
        }
        self.tidy();
        let mut busy = self.busy();
        if let Some(handle) = handle {
            if fault.code == Code::Cancelled as i32 {
                handle.cancelled();
            } else {
                handle.fail(
                    Code::from_i32(fault.code),
                    fault.message,
                    fault.log_tail,
                    is_clean,
                );
            }
        }
        if is_clean {
            self.forget_record();
        }
        *busy = None;
    }

    /// The change is over. Nobody may begin the next one before whoever asked for this one was told.
    pub(super) fn forget_record(&self) {
        if let Err(err) = journal::remove(&record_file(&self.places)) {
            warn!(error = %chain(&err), "Record of a change stays until the next start");
        }
    }

    /// Removes every version but those that may be started.
    pub(super) fn tidy(&self) {
        let home = self.home();
        let kept = [home.pointed(&home.current()), home.pointed(&home.previous())];
        if let Err(err) = tidy_versions(&home, &kept) {
            warn!(error = %chain(&err), "What a change left is removed later");
        }
    }

    /// The upload has done its work; its chunks stay as long as the version is installed.
    pub(super) fn forget_upload(&self, digest: Digest) {
        forget_upload(&self.places, self.workloads.chunks(), digest);
    }
}

/// Whether a program runs here. One that was just written may be open for an instant in a process that was started meanwhile
/// and has not become another program yet: that is not held against it.
pub(super) async fn says_its_version(program: &Path) -> Result<(), ExecError> {
    let until = tokio::time::Instant::now() + SAYING;
    loop {
        let said = Exec::new(program).arg("--version").deadline(SAYING).run().await;
        match said {
            Err(ExecError::Start { source, .. })
                if source.kind() == ErrorKind::ExecutableFileBusy && tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(BUSY).await;
            }
            said => return said.map(drop),
        }
    }
}

/// The digest of a program's file.
pub(super) fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Whether the program of a version is the one that its manifest names.
pub(super) fn is_whole(home: &Home, digest: Digest) -> bool {
    let Some(manifest) = home.manifest(digest) else {
        return false;
    };
    let wanted = manifest.files.iter().find(|file| file.path == BRIDGE_FILE);
    let found = digest_of(&program(home, digest));
    wanted.is_some_and(|wanted| found.is_ok_and(|found| found == wanted.digest))
}
