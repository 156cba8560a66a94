//! What is to be loaded: sizes of tables, and which parts.
//!
//! What may change while programs run is no setting but [`crate::dataplane::Configuration`].

use std::path::PathBuf;

use crate::{dataplane::hooks::Part, publish::Sizes};

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Entries of the tables.
    pub sizes: Sizes,
    /// Clients that session affinity remembers at once.
    pub affinity: u32,
    /// Network namespaces that can be opted out at once.
    pub opt_outs: u32,
    /// Whether TCP sockets remember the Service that they connected to, for `getpeername()` or
    /// for closing them. UDP sockets always do.
    pub note_tcp: bool,
    /// Whether sockets are shown the Service's address.
    pub reverse: bool,
    /// Whether TCP sockets are, too.
    pub reverse_tcp: bool,
    /// Whether node ports are kept free.
    pub protect_node_ports: bool,
    /// The pin directory whose sockets' origins and clients' affinity are carried over, if they are
    /// there and of the same shape.
    pub carried: Option<PathBuf>,
}

impl Settings {
    /// The defaults, without anything carried over.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            affinity: 65_536,
            opt_outs: 4_096,
            note_tcp: true,
            reverse: true,
            reverse_tcp: true,
            protect_node_ports: false,
            carried: None,
        }
    }

    /// Whether these settings need a hook.
    pub(super) fn need(&self, part: Part) -> bool {
        match part {
            Part::Forward => true,
            Part::Reverse => self.reverse,
            Part::Bind => self.protect_node_ports,
        }
    }
}
