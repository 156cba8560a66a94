//! The node ports of a Service, and the port for its health checks.
//!
//! Nothing may be owned here: the caller takes the ports when all else is decided, all or none.

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{
    allocation::{Allocation, NodePort},
    object::Key,
    service::{bad, has_node_ports, is, refuse},
    status::Refusal,
};

/// Decides the ports. Returns those that are to be owned.
///
/// # Errors
/// 422 for ports that cannot be had.
pub(super) fn decide(
    key: &Key,
    spec: &mut ServiceSpec,
    room: &mut Allocation,
) -> Result<Vec<NodePort>, Refusal> {
    if !has_node_ports(spec) {
        if spec.ports.iter().flatten().any(|port| port.node_port.is_some_and(|port| port != 0)) {
            let message = "Forbidden: may not be used when `type` is 'ClusterIP'".into();
            return Err(refuse(key, "spec.ports[0].nodePort", "FieldValueForbidden", message));
        }
        spec.health_check_node_port = None;
        return Ok(Vec::new());
    }
    let automatic = spec.allocate_load_balancer_node_ports != Some(false);
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let health = is(spec, "LoadBalancer") && local;
    let mut wanted: Vec<(&mut Option<i32>, String)> = Vec::new();
    for port in spec.ports.iter_mut().flatten() {
        let protocol = port.protocol.clone().unwrap_or_default();
        wanted.push((&mut port.node_port, protocol));
    }
    if health {
        wanted.push((&mut spec.health_check_node_port, "TCP".into()));
    } else {
        spec.health_check_node_port = None;
    }
    let mut owned = Vec::new();
    for (port, protocol) in &wanted {
        let Some(number) = port.filter(|&number| number != 0) else { continue };
        let range = || {
            format!(
                "Invalid value: {number}: provided port is not in the valid range. The range of valid ports is 30000-32767"
            )
        };
        let number = u16::try_from(number).ok().filter(|&it| Allocation::is_node_port(it));
        let number = number.ok_or_else(|| bad(key, "spec.ports[0].nodePort", range()))?;
        let named = (number, protocol.clone());
        if room.is_port_taken(&named, key) || owned.contains(&named) {
            let message = format!("Invalid value: {number}: provided port is already allocated");
            return Err(bad(key, "spec.ports[0].nodePort", message));
        }
        owned.push(named);
    }
    let count = wanted.len();
    for (index, (port, protocol)) in wanted.into_iter().enumerate() {
        let is_health = health && index + 1 == count;
        if port.is_some_and(|number| number != 0) || !(automatic || is_health) {
            continue;
        }
        let Some(number) = room.free_port(&protocol, &owned) else {
            let message = "failed to allocate a nodePort: range is full".into();
            return Err(refuse(key, "spec.ports[0].nodePort", "InternalError", message));
        };
        *port = Some(number.into());
        owned.push((number, protocol));
    }
    Ok(owned)
}
