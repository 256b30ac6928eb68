//! The seam between our decisions and the machine's packet filter.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Counted, Family, Hook, IptablesError, counters, hook, is_hooked, list, restore, test};

/// An answer of the packet filter that is still to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, IptablesError>> + Send + 'a>>;

/// A packet filter. [`Kernel`] is the machine's own.
pub trait PacketFilter: fmt::Debug + Send + Sync + 'static {
    /// As [`test()`].
    fn test<'a>(&'a self, family: Family, text: &'a str) -> Answer<'a, ()>;

    /// As [`restore`].
    fn restore<'a>(&'a self, family: Family, text: &'a str) -> Answer<'a, ()>;

    /// As [`list`].
    fn list(&self, family: Family, chain: &'static str) -> Answer<'_, Vec<String>>;

    /// As [`is_hooked`].
    fn is_hooked(&self, family: Family, hook: Hook) -> Answer<'_, bool>;

    /// As [`hook`].
    fn hook(&self, family: Family, hook: Hook) -> Answer<'_, ()>;

    /// As [`counters`].
    fn counters(&self, family: Family) -> Answer<'_, Vec<Counted>>;
}

/// The packet filter of the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl PacketFilter for Kernel {
    fn test<'a>(&'a self, family: Family, text: &'a str) -> Answer<'a, ()> {
        Box::pin(test(family, text))
    }

    fn restore<'a>(&'a self, family: Family, text: &'a str) -> Answer<'a, ()> {
        Box::pin(restore(family, text))
    }

    fn list(&self, family: Family, chain: &'static str) -> Answer<'_, Vec<String>> {
        Box::pin(list(family, chain))
    }

    fn is_hooked(&self, family: Family, asked: Hook) -> Answer<'_, bool> {
        Box::pin(is_hooked(family, asked))
    }

    fn hook(&self, family: Family, wanted: Hook) -> Answer<'_, ()> {
        Box::pin(hook(family, wanted))
    }

    fn counters(&self, family: Family) -> Answer<'_, Vec<Counted>> {
        Box::pin(counters(family))
    }
}
