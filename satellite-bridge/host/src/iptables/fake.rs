//! A packet filter that filters nothing and remembers the chains that it was given.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Answer, Counted, Family, Hook, IptablesError, PacketFilter};

/// The fake. Clones are the same packet filter.
#[derive(Debug, Clone, Default)]
pub struct FakeFilter {
    inner: Arc<Mutex<BTreeMap<Family, Chains>>>,
}

#[derive(Debug, Default)]
struct Chains {
    rules: BTreeMap<String, Vec<String>>,
    /// Our chains that are hooked.
    hooked: Vec<&'static str>,
}

impl FakeFilter {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Family, Chains>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacketFilter for FakeFilter {
    fn test<'a>(&'a self, _family: Family, _text: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn restore<'a>(&'a self, family: Family, text: &'a str) -> Answer<'a, ()> {
        let mut all = self.lock();
        let chains = all.entry(family).or_default();
        for line in text.lines() {
            // `:CHAIN - [0:0]` empties a chain, `-A CHAIN …` adds to it.
            if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
                chains.rules.insert(chain.to_owned(), Vec::new());
            } else if let Some(chain) = line.strip_prefix("-A ").and_then(|rest| rest.split(' ').next()) {
                let rules = chains.rules.entry(chain.to_owned()).or_default();
                rules.push(line.to_owned());
            }
        }
        Box::pin(ready(Ok(())))
    }

    fn list(&self, family: Family, chain: &'static str) -> Answer<'_, Vec<String>> {
        let mut all = self.lock();
        let listed = match all.entry(family).or_default().rules.get(chain) {
            Some(rules) => {
                let declared = std::iter::once(format!("-N {chain}"));
                Ok(declared.chain(rules.iter().cloned()).collect())
            }
            None => Err(IptablesError::Chain {
                family,
                chain: chain.to_owned(),
                said: "there is no such chain".to_owned(),
            }),
        };
        Box::pin(ready(listed))
    }

    fn is_hooked(&self, family: Family, hook: Hook) -> Answer<'_, bool> {
        let is_hooked = self
            .lock()
            .entry(family)
            .or_default()
            .hooked
            .contains(&hook.chain);
        Box::pin(ready(Ok(is_hooked)))
    }

    fn hook(&self, family: Family, hook: Hook) -> Answer<'_, ()> {
        self.lock().entry(family).or_default().hooked.push(hook.chain);
        Box::pin(ready(Ok(())))
    }

    fn counters(&self, _family: Family) -> Answer<'_, Vec<Counted>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}
