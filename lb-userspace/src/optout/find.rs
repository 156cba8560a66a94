//! Finds the network namespaces that have certain addresses.
//!
//! This module must never stay in a namespace that it looked into, nor keep one alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use thiserror::Error;

use crate::{
    netns::{NamespaceError, Search, current_cookie, namespaces},
    source::addresses,
};

/// Where addresses are.
pub trait Find {
    /// Looks for `wanted` in all namespaces but the agent's own.
    ///
    /// # Errors
    /// If there is no answer, even for a part of them.
    fn find(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<Found, FindError>;
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// For each address the cookies of the namespaces that have it: more than one where something
    /// beside Kubernetes uses the same addresses.
    pub cookies: BTreeMap<IpAddr, BTreeSet<u64>>,
    /// Processes whose namespaces could not be looked into, for want of a privilege.
    pub denied: usize,
}

/// Namespaces cannot be found.
#[derive(Debug, Error)]
pub enum FindError {
    /// The kernel is too old.
    #[error("this kernel does not tell a network namespace's cookie (SO_NETNS_COOKIE, Linux 5.14)")]
    NoCookies,
    /// They cannot be listed or entered.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
    /// One of them does not tell its addresses.
    #[error("cannot learn the addresses in the network namespace net:[{inode}]")]
    Addresses {
        /// The namespace's inode number.
        inode: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Looks on the node itself: into the namespaces of processes, and those that are mounted.
#[derive(Clone, Copy, Debug)]
pub struct OnThisNode;

impl Find for OnThisNode {
    fn find(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<Found, FindError> {
        let own = current_cookie()?.ok_or(FindError::NoCookies)?;
        let all = namespaces(Search::Usual)?;
        let mut found = Found { cookies: BTreeMap::new(), denied: all.denied };
        for namespace in all.namespaces {
            let cookie = namespace.cookie.ok_or(FindError::NoCookies)?;
            if cookie == own {
                continue;
            }
            let there = namespace
                .run(addresses::assigned)?
                .map_err(|source| FindError::Addresses { inode: namespace.inode, source })?;
            for address in there.into_iter().filter(|address| wanted.contains(address)) {
                found.cookies.entry(address).or_default().insert(cookie);
            }
        }
        Ok(found)
    }
}
