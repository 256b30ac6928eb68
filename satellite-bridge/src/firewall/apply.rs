//! Puts a ruleset in force and looks at what is in force.
//!
//! **Invariant:** nothing here decides; every function that changes the machine takes the [`Lock`].

use satellite_host::fail_point;
use satellite_host::iptables::{Family, IptablesError, PacketFilter};

use super::render::{Chains, HOOKS};
use crate::change::Lock;

/// Our chains as the kernel holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InForce {
    /// As `iptables -S` prints them.
    pub(super) v4: Vec<String>,
    /// As `ip6tables -S` prints them.
    pub(super) v6: Vec<String>,
    /// Whether each is the first rule of its parent.
    pub(super) hooked: bool,
}

/// Asks both packet filters whether they would take `chains`.
///
/// # Errors
///
/// [`IptablesError::Refused`]; nothing was changed, nor is it if all is well.
pub(super) async fn test(filter: &dyn PacketFilter, chains: &Chains) -> Result<(), IptablesError> {
    for family in Family::BOTH {
        filter.test(family, chains.text(family)).await?;
    }
    Ok(())
}

/// Puts `chains` in force, each family in one step, and hooks them first.
///
/// # Errors
///
/// [`IptablesError`]: each family has the old or the new chains, whole, but not always both the same.
pub(super) async fn apply(
    filter: &dyn PacketFilter,
    _permit: &Lock,
    chains: &Chains,
) -> Result<(), IptablesError> {
    for family in Family::BOTH {
        filter.restore(family, chains.text(family)).await?;
        for hook in HOOKS {
            if !filter.is_hooked(family, hook).await? {
                filter.hook(family, hook).await?;
            }
        }
        if family == Family::V4 {
            fail_point("firewall.half-applied");
        }
    }
    Ok(())
}

/// What is in force. A chain that is not there is left out, and nothing is then hooked.
pub(super) async fn observe(filter: &dyn PacketFilter) -> InForce {
    let mut seen = InForce {
        hooked: true,
        ..InForce::default()
    };
    for family in Family::BOTH {
        for hook in HOOKS {
            match filter.list(family, hook.chain).await {
                Ok(lines) => match family {
                    Family::V4 => seen.v4.extend(lines),
                    Family::V6 => seen.v6.extend(lines),
                },
                Err(err) => {
                    tracing::debug!(error = %err, "A chain of ours could not be read");
                    seen.hooked = false;
                }
            }
            seen.hooked &= filter.is_hooked(family, hook).await.unwrap_or(false);
        }
    }
    seen
}
