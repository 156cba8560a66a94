//! Tables on plain memory, which need no root.
//!
//! What no reader can reach must never be shown: a frontend that is `GONE` is none.

use anyhow::{Result, ensure};
use lb_common::{Range, layout::HOST_ONLY};
use lb_userspace::{
    dataplane::inspect::{BackendView, FrontendView},
    model::{FrontendChange, FrontendKey},
    publish::{
        Ids, Publisher,
        memory::{Manual, Memory},
    },
};

use super::{plane::SIZES, run::Tables};

/// Tables on plain memory, and the publisher that writes to them.
pub struct Plain(Publisher<Memory, Manual>);

impl Default for Plain {
    fn default() -> Self {
        Self(Publisher::new(Memory::new(SIZES), Manual::default(), SIZES, Ids::default()))
    }
}

impl Tables for Plain {
    const NAME: &str = "plain memory";

    fn apply(&mut self, changes: Vec<FrontendChange>) -> Result<()> {
        let mut failures = self.0.apply(changes)?;
        failures.extend(self.0.settle()?);
        ensure!(failures.is_empty(), "not published: {}: {}", failures[0], failures[0].source);
        Ok(())
    }

    fn frontends(&self) -> Result<Vec<FrontendView>> {
        let memory = self.0.store();
        let view = |(key, slot): (&FrontendKey, &u32)| {
            let service = memory.services[*slot as usize];
            let backends = memory.backends_of(key).unwrap_or_default();
            let backends = backends
                .into_iter()
                .map(|backend| BackendView { address: backend.address, id: backend.id });
            (service.range != Range::GONE).then(|| FrontendView {
                name: memory.names.get(&service.id).cloned().unwrap_or_default(),
                address: key.address,
                port: key.port,
                protocol: key.protocol.to_string(),
                slot: *slot,
                id: service.id,
                affinity: service.affinity,
                host_only: service.flags & HOST_ONLY != 0,
                passed: service.range == Range::PASS,
                backends: backends.collect(),
            })
        };
        Ok(memory.listed.iter().filter_map(view).collect())
    }
}
