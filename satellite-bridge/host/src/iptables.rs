//! The packet filter of the kernel: reads chains, hooks our own before all others, and swaps their content whole.
//!
//! **Invariant:** a chain that is not named by the caller is never flushed, deleted or changed; the only rule that is
//! ever put into a chain of somebody else is the jump into ours.

#[cfg(feature = "testing")]
mod fake;
mod filter;

use std::time::Duration;

use crate::exec::{Exec, ExecError};

#[cfg(feature = "testing")]
pub use fake::FakeFilter;
pub use filter::{Answer, Kernel, PacketFilter};

/// The table that all of this is about.
const TABLE: &str = "filter";

/// How long one command may take: 10,000 rules are read in well under a second, but the kernel's lock may be held.
const DEADLINE: Duration = Duration::from_secs(30);

/// Which of the two packet filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, `iptables`.
    V4,
    /// IPv6, `ip6tables`.
    V6,
}

impl Family {
    /// Both, in the order in which they are changed.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The command that reads and changes single rules.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn save_command(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }

    fn restore_command(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }
}

/// One of our chains and the built-in chain that jumps into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The built-in chain.
    pub parent: &'static str,
    /// Ours.
    pub chain: &'static str,
}

impl Hook {
    /// The rule in the parent, as `-S` prints it.
    fn line(self) -> String {
        format!("-A {} -j {}", self.parent, self.chain)
    }
}

/// Why the packet filter did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IptablesError {
    /// The text of the chains was refused by the test run. Nothing was changed.
    #[error("{} refused the new chains; nothing was changed", family.command())]
    Refused {
        /// Which packet filter.
        family: Family,
        /// What the command said.
        #[source]
        source: ExecError,
    },
    /// The chains were good but could not be put in place.
    #[error("{} could not put the new chains in place; they are as they were", family.command())]
    Restore {
        /// Which packet filter.
        family: Family,
        /// What the command said.
        #[source]
        source: ExecError,
    },
    /// A chain could not be read or hooked.
    #[error("{} failed on chain {chain}: {said}", family.command())]
    Chain {
        /// Which packet filter.
        family: Family,
        /// The chain.
        chain: String,
        /// What the command said.
        said: String,
    },
    /// It took too long.
    #[error("{} was still busy with chain {chain} after {DEADLINE:?}", family.command())]
    Deadline {
        /// Which packet filter.
        family: Family,
        /// The chain.
        chain: String,
    },
}

/// Asks the packet filter whether it would take `text`, the input of `iptables-restore`. Changes nothing.
///
/// # Errors
///
/// [`IptablesError::Refused`] with the command's complaint.
///
/// # Cancel safety
///
/// Dropping the future kills the command.
pub async fn test(family: Family, text: &str) -> Result<(), IptablesError> {
    Exec::new(family.restore_command())
        .args(["--noflush", "--test"])
        .input(text.as_bytes().to_vec())
        .deadline(DEADLINE)
        .run()
        .await
        .map(drop)
        .map_err(|source| IptablesError::Refused { family, source })
}

/// Puts the chains of `text` in place in one step: packets meet the old ones or the new ones, never a mixture. Chains
/// that `text` does not declare stay as they are.
///
/// # Errors
///
/// [`IptablesError::Restore`]: the chains are as they were.
///
/// # Cancel safety
///
/// Dropping the future kills the command; the chains are then the old or the new ones, whole.
pub async fn restore(family: Family, text: &str) -> Result<(), IptablesError> {
    Exec::new(family.restore_command())
        .args(["--noflush", "--wait"])
        .input(text.as_bytes().to_vec())
        .deadline(DEADLINE)
        .run()
        .await
        .map(drop)
        .map_err(|source| IptablesError::Restore { family, source })
}

/// The rules of `chain` as `iptables -S` prints them, its declaration first.
///
/// # Errors
///
/// [`IptablesError::Chain`] if there is no such chain or it cannot be read.
pub async fn list(family: Family, chain: &'static str) -> Result<Vec<String>, IptablesError> {
    blocking(family, chain, move |tables| read(tables, chain)).await
}

/// A kernel rule with a comment, and what met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its chain.
    pub chain: String,
    /// Its comment.
    pub comment: String,
    /// Packets that met it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All rules of the filter table that have a comment.
///
/// # Errors
///
/// [`IptablesError::Chain`] if they cannot be read.
///
/// # Cancel safety
///
/// Dropping the future kills the command.
pub async fn counters(family: Family) -> Result<Vec<Counted>, IptablesError> {
    let saved = Exec::new(family.save_command())
        .args(["--counters", "--table", TABLE])
        .deadline(DEADLINE)
        .run()
        .await
        .map_err(|error| IptablesError::Chain {
            family,
            chain: TABLE.to_owned(),
            said: error.to_string(),
        })?;
    let text = String::from_utf8_lossy(&saved.stdout).into_owned();
    Ok(text.lines().filter_map(counted).collect())
}

/// `[PACKETS:BYTES] -A CHAIN … --comment COMMENT …`; none for every other line.
fn counted(line: &str) -> Option<Counted> {
    let (numbers, rule) = line.strip_prefix('[')?.split_once("] -A ")?;
    let (packets, bytes) = numbers.split_once(':')?;
    let chain = rule.split(' ').next()?;
    let comment = rule.split_once("--comment ")?.1;
    let comment = match comment.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => comment.split(' ').next()?,
    };
    Some(Counted {
        chain: chain.to_owned(),
        comment: comment.to_owned(),
        packets: packets.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}

/// Whether the jump into our chain is the first rule of its parent and there only once.
///
/// # Errors
///
/// [`IptablesError::Chain`] if the parent cannot be read.
pub async fn is_hooked(family: Family, hook: Hook) -> Result<bool, IptablesError> {
    let rules = list(family, hook.parent).await?;
    Ok(hook_state(&rules, hook)
        == HookState {
            first: true,
            others: 0,
        })
}

/// Makes the jump into our chain the first rule of its parent, and the only one of its kind.
///
/// # Errors
///
/// [`IptablesError::Chain`] if the parent cannot be read or changed. The jump is added before superfluous ones are
/// deleted: there is no moment without one, if there was one.
pub async fn hook(family: Family, hook: Hook) -> Result<(), IptablesError> {
    blocking(family, hook.parent, move |tables| {
        let said = |err: Box<dyn std::error::Error>| err.to_string();
        let rules = read(tables, hook.parent)?;
        let state = hook_state(&rules, hook);
        let jump = format!("-j {}", hook.chain);
        if !state.first {
            tables.insert(TABLE, hook.parent, &jump, 1).map_err(said)?;
        }
        // `-D` by content removes the first match, which is ours at the top: so delete by position, the last first.
        let rules = read(tables, hook.parent)?;
        for position in superfluous(&rules, hook) {
            tables
                .delete(TABLE, hook.parent, &position.to_string())
                .map_err(said)?;
        }
        Ok(())
    })
    .await
}

/// A chain's listing. The crate does not look at the exit status, so a listing without a declaration is a failure.
fn read(tables: &iptables::IPTables, chain: &str) -> Result<Vec<String>, String> {
    let listing = tables.list(TABLE, chain).map_err(|err| err.to_string())?;
    let declared = listing
        .first()
        .is_some_and(|line| line.starts_with("-N ") || line.starts_with("-P "));
    if declared {
        Ok(listing)
    } else {
        Err("it does not exist or cannot be read".to_owned())
    }
}

/// Where the jump is found in its parent.
#[derive(Debug, PartialEq, Eq)]
struct HookState {
    first: bool,
    others: usize,
}

fn hook_state(listing: &[String], hook: Hook) -> HookState {
    let line = hook.line();
    let first = appended(listing).next().is_some_and(|rule| *rule == line);
    let count = appended(listing).filter(|rule| **rule == line).count();
    HookState {
        first,
        others: count.saturating_sub(usize::from(first)),
    }
}

/// Positions, counted from 1, of all jumps but the first rule, the last first.
fn superfluous(listing: &[String], hook: Hook) -> Vec<usize> {
    let line = hook.line();
    let mut positions: Vec<usize> = appended(listing)
        .enumerate()
        .skip(1)
        .filter(|(_, rule)| **rule == line)
        .map(|(index, _)| index.saturating_add(1))
        .collect();
    positions.reverse();
    positions
}

/// The rules of a listing, without the declaration of the chain.
fn appended(listing: &[String]) -> impl Iterator<Item = &String> {
    listing.iter().filter(|line| line.starts_with("-A "))
}

/// Runs what waits for the `iptables` command on a thread that may wait.
async fn blocking<T: Send + 'static>(
    family: Family,
    chain: &str,
    work: impl FnOnce(&iptables::IPTables) -> Result<T, String> + Send + 'static,
) -> Result<T, IptablesError> {
    let task = tokio::task::spawn_blocking(move || {
        // Not `set_numeric`: `-S` is always numeric, and iptables over nf_tables refuses `-n` with it.
        let tables = iptables::new(family == Family::V6).map_err(|err| err.to_string())?;
        work(&tables)
    });
    let failed = |said: String| IptablesError::Chain {
        family,
        chain: chain.to_owned(),
        said: said.trim().to_owned(),
    };
    match tokio::time::timeout(DEADLINE, task).await {
        Ok(Ok(result)) => result.map_err(failed),
        Ok(Err(join)) => Err(failed(join.to_string())),
        Err(_) => Err(IptablesError::Deadline {
            family,
            chain: chain.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: Hook = Hook {
        parent: "INPUT",
        chain: "SATELLITE-INPUT",
    };

    fn listing(rules: &[&str]) -> Vec<String> {
        ["-P INPUT ACCEPT"]
            .iter()
            .chain(rules)
            .map(|rule| (*rule).to_owned())
            .collect()
    }

    #[test]
    fn a_jump_that_is_first_and_alone_is_hooked() {
        let rules = listing(&["-A INPUT -j SATELLITE-INPUT", "-A INPUT -j DROP"]);
        assert_eq!(
            hook_state(&rules, INPUT),
            HookState {
                first: true,
                others: 0
            }
        );
        assert!(superfluous(&rules, INPUT).is_empty());
    }

    #[test]
    fn a_jump_behind_a_foreign_rule_is_not_first() {
        let rules = listing(&["-A INPUT -j DROP", "-A INPUT -j SATELLITE-INPUT"]);
        assert_eq!(
            hook_state(&rules, INPUT),
            HookState {
                first: false,
                others: 1
            }
        );
        assert_eq!(superfluous(&rules, INPUT), [2]);
    }

    #[test]
    fn a_jump_of_another_chain_with_a_similar_name_is_foreign() {
        let rules = listing(&["-A INPUT -j SATELLITE-INPUT-OLD"]);
        assert_eq!(
            hook_state(&rules, INPUT),
            HookState {
                first: false,
                others: 0
            }
        );
    }

    #[test]
    fn counters_are_read_with_their_comments() {
        let line = "[12:3456] -A SATELLITE-INPUT -s 10.0.0.0/8 -p tcp -m comment --comment \"operator/sip\" -j ACCEPT";
        let plain = line.replace('"', "");
        for line in [line, plain.as_str()] {
            let counted = counted(line).unwrap();
            assert_eq!((counted.packets, counted.bytes), (12, 3456));
            assert_eq!(
                (counted.chain.as_str(), counted.comment.as_str()),
                ("SATELLITE-INPUT", "operator/sip")
            );
        }
        for other in [
            "*filter",
            ":INPUT DROP [1:2]",
            "[1:2] -A INPUT -j DROP",
            "COMMIT",
            "",
        ] {
            assert_eq!(counted(other), None, "{other}");
        }
    }

    #[test]
    fn superfluous_jumps_are_deleted_from_the_end() {
        let jump = "-A INPUT -j SATELLITE-INPUT";
        let rules = listing(&[jump, "-A INPUT -p tcp -j DROP", jump, jump]);
        assert_eq!(superfluous(&rules, INPUT), [4, 3]);
    }
}
