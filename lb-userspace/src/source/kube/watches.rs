//! Which resources are watched, and with which selectors.
//!
//! deploy/daemonset.yaml grants exactly these. This module must never watch what nobody reads.

use std::cell::RefCell;

use futures_util::future::{FutureExt as _, LocalBoxFuture, join_all};
use k8s_openapi::api::{
    core::v1::{Endpoints, Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, runtime::watcher};

use super::{
    Settings, Sink,
    follow::{Watch, follow},
    lean::{Lean, Trim},
    own_node::OwnNode,
    reflect::{Networks, Objects, Reflect},
};

/// Headless Services have no frontend. Those of type ExternalName are few; and a Service that is not
/// served here but has a ClusterIP, whatever its labels, has to be known.
const WITH_CLUSTER_IP: &str = "spec.clusterIP!=None";
/// Slices of headless Services, and such as belong to none, tell nothing here.
const OF_A_SERVICE: &str = "kubernetes.io/service-name,!service.kubernetes.io/headless";
/// The endpoints controller hands this label on.
const NOT_HEADLESS: &str = "!service.kubernetes.io/headless";

/// Follows everything that `settings` asks for, for ever.
pub(super) async fn follow_all(settings: &Settings, client: &Client, sink: Sink<'_>) {
    let mut watches = Watches { client, sink: &RefCell::new(sink), running: Vec::new() };
    let all = watcher::Config::default;
    let services = all().fields(WITH_CLUSTER_IP);
    watches.add("services", services, Objects::<Service>::new());
    match settings.endpoints {
        super::Endpoints::Slices => {
            let config = all().labels(OF_A_SERVICE);
            watches.add("endpointslices", config, Objects::<EndpointSlice>::new());
        }
        super::Endpoints::Endpoints => {
            let config = all().labels(NOT_HEADLESS);
            watches.add("endpoints", config, Objects::<Endpoints>::new());
        }
    }
    if let Some(name) = &settings.node {
        let config = all().fields(&format!("metadata.name={name}"));
        watches.add("nodes", config, OwnNode::new(name));
        let config = all().fields(&format!("spec.nodeName={name}"));
        watches.add("pods", config, Objects::<Pod>::new());
        watches.add("namespaces", all(), Objects::<Namespace>::new());
    }
    if settings.service_networks {
        watches.add("servicecidrs", all(), Networks::default());
    }
    join_all(watches.running).await;
}

struct Watches<'a, 's> {
    client: &'a Client,
    sink: &'a RefCell<Sink<'s>>,
    running: Vec<LocalBoxFuture<'a, ()>>,
}

impl<'a, 's: 'a> Watches<'a, 's> {
    fn add<T: Trim>(
        &mut self,
        what: &'static str,
        config: watcher::Config,
        reflect: impl Reflect<T> + 'a,
    ) {
        let api: Api<Lean<T>> = Api::all(self.client.clone());
        self.sink.borrow_mut().missing.insert(what);
        self.running.push(follow(Watch { api, config, what }, reflect, self.sink).boxed_local());
    }
}
