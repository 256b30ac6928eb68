//! The power fails, or the daemon is killed, after any call by which it writes while rules are set, confirmed, undone and
//! reset: what comes into force then are the rules that were kept last, never those that were tried.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use satellite_host::files;
use satellite_host::iptables::FakeFilter;

use super::{Action, Firewall, Ruleset, Settings, Wanted, restore_at_boot};
use crate::change::{Changes, NoTimer};
use crate::writes::{Disk, Left, cuts, record};

const CHILD: &str = "firewall::writes::the_child";
const ROOT: &str = "SATELLITE_TEST_FIREWALL";
/// Says which rules somebody was told last to be kept.
const TOLD: &str = "told";

fn settings(root: &Path) -> Settings {
    Settings {
        state_dir: root.to_owned(),
        port: 7640,
        filter: Arc::new(FakeFilter::default()),
    }
}

fn rules(name: &str) -> Ruleset {
    let (incoming, outgoing) = match name {
        "first" => (Action::Reject, Action::Drop),
        "tried" => (Action::Accept, Action::Accept),
        "second" => (Action::Reject, Action::Reject),
        _ => return Ruleset::shipped(),
    };
    Ruleset::new(Vec::new(), incoming, outgoing).unwrap()
}

async fn check(left: &Left) -> &'static str {
    let point = format!("{:?} after {} calls", left.cut, left.after);
    let dir = tempfile::tempdir().unwrap();
    left.lay_out(dir.path());
    let settings = settings(dir.path());
    restore_at_boot(&settings).await.unwrap();
    assert!(!Changes::new(dir.path()).is_open(), "{point}");
    let firewall = Firewall::start(settings, Arc::new(NoTimer)).await.unwrap();
    let status = firewall.get().await.unwrap();
    assert!(
        status.in_sync && status.open_change.is_none(),
        "{point}: {status:?}"
    );
    let told = std::fs::read_to_string(dir.path().join(TOLD)).unwrap_or_default();
    let possible: &[&str] = match told.as_str() {
        "" => &["shipped", "first"],
        "first" => &["first", "second"],
        "second" => &["second", "shipped"],
        _ => &["shipped"],
    };
    let found = possible.iter().find(|name| rules(name) == status.ruleset);
    let found = found.unwrap_or_else(|| panic!("{point}, told `{told}`: {:?}", status.ruleset));
    // It goes on.
    let wanted = Wanted {
        ruleset: rules("tried"),
        base: Some(status.revision),
        confirm: Duration::from_mins(1),
    };
    let change = firewall.set(wanted).await.unwrap().change.unwrap();
    firewall.confirm(change.id, Instant::now()).await.unwrap();
    found
}

#[tokio::test]
async fn cut_after_any_write_the_rules_that_were_kept_last_come_into_force_and_never_tried_ones() {
    let begun = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::read(dir.path());
    let calls = record(CHILD, &[(ROOT, dir.path().as_os_str())]).await;
    let mut all = Vec::new();
    let changes = cuts(&disk, &calls, |left| all.push(left));
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for left in &all {
        *tally.entry(check(left).await).or_default() += 1;
    }
    println!(
        "cut after each of {changes} calls that write: {} different disks, of which came up {tally:?}; {:.1} s",
        all.len(),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(tally.len(), 3, "{tally:?}");
}

#[tokio::test]
#[ignore = "the child of the test above"]
async fn the_child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let root = Path::new(&root);
    let firewall = Firewall::start(settings(root), Arc::new(NoTimer)).await.unwrap();
    let tell = |name: &str| files::write_atomic(&root.join(TOLD), name.as_bytes(), 0o600).unwrap();
    for name in ["first", "tried", "second"] {
        let wanted = Wanted {
            ruleset: rules(name),
            base: None,
            confirm: Duration::from_mins(1),
        };
        let change = firewall.set(wanted).await.unwrap().change.unwrap();
        if name == "tried" {
            firewall.rollback(change.id).await.unwrap();
        } else {
            firewall.confirm(change.id, Instant::now()).await.unwrap();
            tell(name);
        }
    }
    firewall.reset_now().await.unwrap();
    tell("shipped");
}
