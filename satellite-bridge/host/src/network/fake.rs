//! A network that remembers what was asked of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Answer, Link, Network, NetworkError};
use crate::exec::ExecError;
use crate::neighbour::Hardware;

/// A network that remembers what was asked of it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeNetwork {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    links: Vec<Link>,
    neighbours: BTreeMap<IpAddr, Hardware>,
    calls: Vec<String>,
    is_broken: bool,
}

impl FakeNetwork {
    /// A machine with these ports.
    #[must_use]
    pub fn with(links: Vec<Link>) -> Self {
        let inner = Inner {
            links,
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// From now on there is a neighbour with this address.
    pub fn add_neighbour(&self, address: IpAddr, hardware: Hardware) {
        self.lock().neighbours.insert(address, hardware);
    }

    /// What was asked to change, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// From now on nothing reloads, or again everything does.
    pub fn break_reload(&self, is_broken: bool) {
        self.lock().is_broken = is_broken;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: String) -> Result<(), NetworkError> {
        let mut inner = self.lock();
        let fails = inner.is_broken && call == "reload";
        inner.calls.push(call);
        if fails {
            return Err(NetworkError::Exec {
                action: "let systemd-networkd read its files",
                source: ExecError::Deadline {
                    program: "networkctl".to_owned(),
                    deadline: std::time::Duration::ZERO,
                },
            });
        }
        Ok(())
    }
}

impl Network for FakeNetwork {
    fn links(&self) -> Answer<'_, Vec<Link>> {
        let links = self.lock().links.clone();
        Box::pin(std::future::ready(Ok(links)))
    }

    fn gateways(&self) -> Answer<'_, Vec<IpAddr>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn owners<'a>(
        &'a self,
        _port: &'a str,
        addresses: &'a [IpAddr],
    ) -> Answer<'a, BTreeMap<IpAddr, Hardware>> {
        let mut found = self.lock().neighbours.clone();
        found.retain(|address, _| addresses.contains(address));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn reload(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(self.note("reload".to_owned())))
    }

    fn remove_link<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(self.note(format!("remove {name}"))))
    }

    fn drop_ipv6_offers<'a>(&'a self, name: &'a str, routes: bool) -> Answer<'a, ()> {
        let what = if routes {
            "addresses and routes"
        } else {
            "addresses"
        };
        Box::pin(std::future::ready(self.note(format!("drop ipv6 {what} {name}"))))
    }

    fn set_mtu<'a>(&'a self, name: &'a str, mtu: u32) -> Answer<'a, ()> {
        Box::pin(std::future::ready(self.note(format!("mtu {name} {mtu}"))))
    }

    fn set_host_name<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(self.note(format!("name {name}"))))
    }
}
