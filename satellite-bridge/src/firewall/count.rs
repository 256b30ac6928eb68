//! What met each rule.
//!
//! **Invariant:** only our chains are read; a rule that became many in the kernel is one here.

use std::collections::BTreeMap;

use satellite_host::iptables::{Family, IptablesError, PacketFilter};
use satellite_proto::wire::bridge::v1::RuleCounter;

use super::render::HOOKS;

/// Packets and bytes by owner and name, both families together.
pub(super) async fn counters(filter: &dyn PacketFilter) -> Result<Vec<RuleCounter>, IptablesError> {
    let mut sums: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for family in Family::BOTH {
        for counted in filter.counters(family).await? {
            let is_ours = HOOKS.iter().any(|hook| hook.chain == counted.chain);
            let Some((owner, name)) = counted.comment.rsplit_once('/').filter(|_| is_ours) else {
                continue;
            };
            let sum = sums.entry((owner.to_owned(), name.to_owned())).or_default();
            sum.0 = sum.0.saturating_add(counted.packets);
            sum.1 = sum.1.saturating_add(counted.bytes);
        }
    }
    let each = sums
        .into_iter()
        .map(|((owner, name), (packets, bytes))| RuleCounter {
            owner,
            name,
            packets,
            bytes,
        });
    Ok(each.collect())
}
