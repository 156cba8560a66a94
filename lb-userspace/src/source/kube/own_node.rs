//! The Node object that this agent runs on, and the word to its operator when there is none.
//!
//! This module must never keep the agent from balancing: a node that is missing may still come.

use k8s_openapi::api::core::v1::Node;
use tracing::{error, info};

use super::reflect::{Objects, Reflect};
use crate::source::Event;

pub(super) struct OwnNode {
    name: String,
    objects: Objects<Node>,
    missing: bool,
}

impl OwnNode {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), objects: Objects::new(), missing: false }
    }

    fn look(&mut self) {
        let missing = self.objects.is_empty();
        if missing && !self.missing {
            error!(
                "there is no Node {:?}: --node-name must be the name of this node's Node object, as \
                 `kubectl get nodes` shows it (in a DaemonSet: spec.nodeName, by the downward API). \
                 Services are balanced; until the Node is there, topology hints of zones do not apply, \
                 its addresses are not protected, internalTrafficPolicy: Local finds no endpoint, and \
                 no Pod can opt out, unless objects name this node so nevertheless",
                self.name
            );
        } else if self.missing && !missing {
            info!("the Node {:?} is there", self.name);
        }
        self.missing = missing;
    }
}

impl Reflect<Node> for OwnNode {
    fn apply(&mut self, object: Node, out: &mut dyn FnMut(Event)) {
        self.objects.apply(object, out);
        if self.missing {
            self.look();
        }
    }

    fn delete(&mut self, object: &Node, out: &mut dyn FnMut(Event)) {
        self.objects.delete(object, out);
        self.look();
    }

    fn begin(&mut self) {
        self.objects.begin();
    }

    fn end(&mut self, out: &mut dyn FnMut(Event)) {
        self.objects.end(out);
        self.look();
    }
}
