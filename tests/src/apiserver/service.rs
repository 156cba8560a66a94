//! What the server makes of a Service: defaults, ClusterIPs, and [node ports](super::node_ports).
//!
//! The order is the real server's: defaults; what an update leaves out is taken from before; then
//! addresses and ports are checked and given out, all of them or none.

use std::net::IpAddr;

use k8s_openapi::{
    api::core::v1::{ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    allocation::{Allocation, Owned, family},
    node_ports,
    object::Key,
    status::{self, Cause, Refusal},
};

const NONE: &str = "None";

/// Sets defaults, and allocates.
///
/// # Errors
/// 422 for addresses and ports that cannot be had. Nothing is allocated then.
pub(super) fn fill(
    service: &mut Service,
    before: Option<&Service>,
    room: &mut Allocation,
) -> Result<(), Refusal> {
    let meta = &service.metadata;
    let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let status = service.status.get_or_insert_default();
    status.load_balancer.get_or_insert_default();
    let spec = service.spec.get_or_insert_default();
    set_defaults(spec);
    if let Some(before) = before.and_then(|before| before.spec.as_ref()) {
        carry_over(spec, before);
    }
    let addresses = addresses(&key, spec, room)?;
    if let Some(before) = before.and_then(|before| before.spec.as_ref()) {
        refuse_another_address(&key, spec, before)?;
    }
    let ports = node_ports::decide(&key, spec, room)?;
    room.own(&key, Owned { addresses, ports });
    Ok(())
}

fn set_defaults(spec: &mut ServiceSpec) {
    spec.type_.get_or_insert_with(|| "ClusterIP".into());
    let affinity = spec.session_affinity.get_or_insert_with(|| NONE.into());
    if affinity == "ClientIP" {
        spec.session_affinity_config.get_or_insert(SessionAffinityConfig {
            client_ip: Some(ClientIPConfig { timeout_seconds: Some(10_800) }),
        });
    } else {
        spec.session_affinity_config = None;
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
        port.target_port.get_or_insert(IntOrString::Int(port.port));
    }
    if is(spec, "ExternalName") {
        return;
    }
    spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".into());
    if has_node_ports(spec) {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".into());
    }
    if is(spec, "LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

pub(super) fn is(spec: &ServiceSpec, kind: &str) -> bool {
    spec.type_.as_deref() == Some(kind)
}

pub(super) fn has_node_ports(spec: &ServiceSpec) -> bool {
    is(spec, "NodePort") || is(spec, "LoadBalancer")
}

/// What an update says nothing of.
fn carry_over(spec: &mut ServiceSpec, before: &ServiceSpec) {
    if !is(spec, "ExternalName") && !is(before, "ExternalName") {
        if spec.cluster_ip.as_deref().unwrap_or_default().is_empty() {
            spec.cluster_ip.clone_from(&before.cluster_ip);
        }
        if spec.cluster_ip == before.cluster_ip && spec.cluster_ips.is_none() {
            spec.cluster_ips.clone_from(&before.cluster_ips);
            spec.ip_family_policy =
                spec.ip_family_policy.take().or(before.ip_family_policy.clone());
        }
        if spec.ip_families.is_none() {
            spec.ip_families.clone_from(&before.ip_families);
        }
    }
    let same = |port: &ServicePort| {
        let same = |it: &&ServicePort| it.port == port.port && it.protocol == port.protocol;
        before.ports.iter().flatten().find(same).and_then(|port| port.node_port)
    };
    let (now, then) = (has_node_ports(spec), has_node_ports(before));
    for port in spec.ports.iter_mut().flatten() {
        match (now, then) {
            (true, true) => port.node_port = port.node_port.filter(|&it| it != 0).or(same(port)),
            // Those that it no longer has are dropped, if only the type was changed.
            (false, true) if port.node_port == same(port) => port.node_port = None,
            _ => {}
        }
    }
    if now && then && spec.health_check_node_port.is_none() {
        spec.health_check_node_port = before.health_check_node_port;
    }
}

pub(super) fn refuse(
    key: &Key,
    field: &'static str,
    reason: &'static str,
    message: String,
) -> Refusal {
    status::invalid("", "Service", &key.1, Cause { field, reason, message })
}

pub(super) fn bad(key: &Key, field: &'static str, message: String) -> Refusal {
    refuse(key, field, "FieldValueInvalid", message)
}

/// Decides families and addresses. Returns the addresses that are to be owned.
fn addresses(
    key: &Key,
    spec: &mut ServiceSpec,
    room: &mut Allocation,
) -> Result<Vec<IpAddr>, Refusal> {
    if is(spec, "ExternalName") {
        (spec.cluster_ip, spec.cluster_ips, spec.ip_families) = (None, None, None);
        spec.ip_family_policy = None;
        return Ok(Vec::new());
    }
    let first = spec.cluster_ip.clone().filter(|address| !address.is_empty());
    let mut given = spec.cluster_ips.clone().unwrap_or_default();
    match (&first, given.first()) {
        (Some(first), None) => given.push(first.clone()),
        (first, Some(other)) if first.as_ref() != Some(other) => {
            let message = format!("Invalid value: {given:?}: first value must match `clusterIP`");
            return Err(bad(key, "spec.clusterIPs", message));
        }
        _ => {}
    }
    let headless = given.first().is_some_and(|address| address == NONE);
    let parsed = if headless { Vec::new() } else { check(key, &given, room)? };
    let families = families(key, spec, headless, &parsed, room)?;
    spec.ip_families = Some(families.iter().map(|&family| family.to_owned()).collect());
    if headless {
        spec.cluster_ips = Some(vec![NONE.into()]);
        return Ok(Vec::new());
    }
    let mut all = parsed;
    for family in families.iter().skip(all.len()) {
        let full = || "failed to allocate a serviceIP: range is full".into();
        let free = room.free_address(family);
        all.push(free.ok_or_else(|| refuse(key, "spec.clusterIPs", "InternalError", full()))?);
    }
    all.truncate(families.len());
    spec.cluster_ip = Some(all[0].to_string());
    spec.cluster_ips = Some(all.iter().map(IpAddr::to_string).collect());
    Ok(all)
}

/// Addresses that the Service names itself.
fn check(key: &Key, given: &[String], room: &Allocation) -> Result<Vec<IpAddr>, Refusal> {
    let refuse =
        |why: String| Err(bad(key, "spec.clusterIPs", format!("Invalid value: {given:?}: {why}")));
    let mut parsed = Vec::with_capacity(given.len());
    for text in given {
        let Ok(address) = text.parse::<IpAddr>() else {
            return refuse("must be a valid IP address".into());
        };
        let Some(cidr) = room.cidr_of(address) else {
            return refuse(format!("{} is not configured on this cluster", family(address)));
        };
        if !cidr.contains(&address) {
            return refuse(format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid \
                 range. The range of valid IPs is {cidr}"
            ));
        }
        if room.is_taken(address, key) {
            return refuse(format!(
                "failed to allocate IP {address}: provided IP is already allocated"
            ));
        }
        parsed.push(address);
    }
    Ok(parsed)
}

/// Decides the families, and with them the policy.
fn families(
    key: &Key,
    spec: &mut ServiceSpec,
    headless: bool,
    given: &[IpAddr],
    room: &Allocation,
) -> Result<Vec<&'static str>, Refusal> {
    let all: Vec<_> = room.families().collect();
    let named = spec.ip_families.iter().flatten();
    let mut families: Vec<_> = if given.is_empty() {
        let known = named.map(|name| all.iter().copied().find(|known| known == name));
        known.collect::<Option<_>>().ok_or_else(|| {
            let message = "Invalid value: not configured on this cluster".into();
            bad(key, "spec.ipFamilies", message)
        })?
    } else {
        given.iter().map(|&address| family(address)).collect()
    };
    let bare = headless && spec.selector.as_ref().is_none_or(|selector| selector.is_empty());
    let policy = spec.ip_family_policy.get_or_insert_with(|| {
        match (families.len(), bare && families.is_empty()) {
            (2, _) | (_, true) => "RequireDualStack".into(),
            _ => "SingleStack".into(),
        }
    });
    if policy == "RequireDualStack" && all.len() < 2 {
        if !bare {
            let message = "Invalid value: \"RequireDualStack\": this cluster is not configured for \
                           dual-stack services";
            return Err(bad(key, "spec.ipFamilyPolicy", message.into()));
        }
        return Ok(all);
    }
    let wanted = if policy == "SingleStack" { 1 } else { all.len() };
    for family in all {
        if families.len() < wanted && !families.contains(&family) {
            families.push(family);
        }
    }
    families.truncate(wanted);
    Ok(families)
}

fn refuse_another_address(
    key: &Key,
    spec: &ServiceSpec,
    before: &ServiceSpec,
) -> Result<(), Refusal> {
    let set = |address: &Option<String>| address.clone().unwrap_or_default();
    let (now, then) = (set(&spec.cluster_ip), set(&before.cluster_ip));
    if now.is_empty() || then.is_empty() || now == then {
        return Ok(());
    }
    let message = format!("Invalid value: [\"{now}\"]: may not change once set");
    Err(bad(key, "spec.clusterIPs[0]", message))
}
