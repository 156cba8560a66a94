//! From flags to what the model, the programs and the tables are told.
//!
//! Nothing here touches the kernel.

use std::{net::IpAddr, time::Duration};

use anyhow::{Result, bail};
use tracing::warn;

use crate::{
    cli::{CloseStale, EndpointsApi, PeerName, Run, Scope},
    dataplane::{Configuration, ServiceNetworks, Settings},
    model,
    optout::Rules,
    publish::Sizes,
    source::kube,
};

/// Network namespaces that can be opted out at once: more than a node has Pods.
const OPT_OUTS: u32 = 4_096;

/// What the model is told.
pub(super) fn model(options: &Run) -> model::Options {
    model::Options {
        node: options.node_name.clone(),
        node_port_addresses: options.nodeport_addresses.clone(),
        node_port_localhost: options.nodeport_localhost,
        translate_local: options.translate_local_addresses,
        protected: protected(options),
        track: match options.close_stale {
            CloseStale::None => model::Tracked::None,
            CloseStale::Udp => model::Tracked::Udp,
            CloseStale::All => model::Tracked::UdpAndTcp,
        },
    }
}

/// The API server's addresses, as far as the command line says.
fn protected(options: &Run) -> Vec<IpAddr> {
    let server = options.api_server.as_ref().and_then(kube::address);
    options.api_server_address.iter().copied().chain(server).collect()
}

/// What is watched, if a cluster is the source.
pub(super) fn cluster(options: &Run) -> kube::Settings {
    kube::Settings {
        access: kube::Access {
            kubeconfig: options.kubeconfig.clone(),
            context: options.context.clone(),
            server: options.api_server.clone(),
            idle: Duration::from_secs(options.api_idle_timeout),
        },
        node: options.node_name.clone(),
        endpoints: match options.endpoints_api {
            EndpointsApi::Endpointslices => kube::Endpoints::Slices,
            EndpointsApi::Endpoints => kube::Endpoints::Endpoints,
        },
        service_networks: options.refuse_unserved && options.service_cidr.is_empty(),
    }
}

/// What is to be loaded.
pub(super) fn object(options: &Run) -> Settings {
    Settings {
        sizes: Sizes::new(options.max_frontends, options.max_backends),
        affinity: options.max_affinity,
        opt_outs: OPT_OUTS,
        note_tcp: options.peername == PeerName::All || options.close_stale == CloseStale::All,
        reverse: options.peername != PeerName::None,
        reverse_tcp: options.peername == PeerName::All,
        protect_node_ports: options.protect_nodeports,
        carried: None,
    }
}

/// Who opts out.
pub(super) fn rules(options: &Run) -> Rules {
    Rules {
        node: options.node_name.clone(),
        pods: options.opt_out.clone(),
        namespaces: options.opt_out_namespaces.clone(),
    }
}

/// What `lb_config` says. `host` is the cookie of the host's network namespace, if the kernel tells
/// it.
pub(super) fn configuration(options: &Run, host: Option<u64>) -> Result<Configuration> {
    const NEEDS: &str = "needs SO_NETNS_COOKIE (Linux 5.14)";
    if host.is_none() {
        if options.scope == Scope::Host {
            bail!("--scope host {NEEDS}: run it with --scope all, or on a newer kernel");
        }
        let without = [
            ("--nodeport-localhost", options.nodeport_localhost),
            ("--protect-nodeports", options.protect_nodeports),
        ];
        for (flag, _) in without.into_iter().filter(|(_, given)| *given) {
            warn!("{flag} {NEEDS}, which this kernel lacks: it has no effect");
        }
    }
    if !options.refuse_unserved && !options.service_cidr.is_empty() {
        warn!("--service-cidr has no effect without --refuse-unserved");
    }
    let networks = ServiceNetworks::new(&options.service_cidr)?;
    Ok(Configuration {
        host: host.unwrap_or_default(),
        host_scope: options.scope == Scope::Host,
        protect_node_ports: options.protect_nodeports,
        // Without networks by the flag, those of the API server come later.
        refuse: options.refuse_unserved && !options.service_cidr.is_empty(),
        networks,
    })
}
