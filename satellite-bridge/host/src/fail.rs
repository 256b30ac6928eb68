//! Named points at which a test can kill the daemon, to prove that what is on disk is enough to go on.
//!
//! **Invariant:** a release build has no such points: the function is empty there.

/// The variable that arms a point: `NAME` for its first passage, `NAME:n` for its n-th.
pub const VARIABLE: &str = "SATELLITE_FAIL_POINT";

/// Ends this process by SIGKILL if the environment asks for it at the point `name`.
///
/// Nothing is flushed, no destructor runs: to the disk it looks like a crash.
#[inline]
pub fn fail_point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What the environment asked for, read once.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Armed {
        pub(super) name: String,
        pub(super) passage: u32,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    pub(super) fn pass(name: &str) {
        let armed = ARMED.get_or_init(|| std::env::var(super::VARIABLE).ok().as_deref().and_then(parse));
        let Some(armed) = armed else { return };
        if armed.name != name {
            return;
        }
        let passage = PASSED.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        if passage == armed.passage {
            die();
        }
    }

    pub(super) fn parse(text: &str) -> Option<Armed> {
        if text.is_empty() {
            return None;
        }
        match text.rsplit_once(':') {
            Some((name, passage)) => {
                let passage = passage.parse().ok().filter(|n| *n > 0)?;
                Some(Armed {
                    name: name.to_owned(),
                    passage,
                })
            }
            None => Some(Armed {
                name: text.to_owned(),
                passage: 1,
            }),
        }
    }

    fn die() -> ! {
        use nix::sys::signal::{Signal, kill};
        // A process may always signal itself; should it ever fail, an abort is as sudden.
        let _ = kill(nix::unistd::getpid(), Signal::SIGKILL);
        std::process::abort()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Armed, parse};

    #[test]
    fn a_point_is_named_with_an_optional_count() {
        assert_eq!(parse(""), None);
        assert_eq!(
            parse("install.staged"),
            Some(Armed {
                name: "install.staged".into(),
                passage: 1
            })
        );
        assert_eq!(
            parse("install.staged:3"),
            Some(Armed {
                name: "install.staged".into(),
                passage: 3
            })
        );
        assert_eq!(parse("install.staged:0"), None);
        assert_eq!(parse("install.staged:x"), None);
    }
}
