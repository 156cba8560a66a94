//! Services and Pods of one family or both.

use super::*;

/// The same with these ClusterIPs.
fn web_at(cluster_ips: &[&str]) -> Value {
    let mut service = web(json!([{"port": 80}]));
    service["spec"]["clusterIPs"] = json!(cluster_ips);
    service["spec"]["clusterIP"] = json!(cluster_ips[0]);
    service
}

#[test]
fn point_8_a_dual_stack_pod_has_an_endpoint_in_each_family_of_the_service() {
    let ips = json!({"status": {"podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]}});
    let pod = pod("a", "fd00::1", ips);
    let made = |service| made([service, pod.clone()]);
    let (four, six) = ("web [:80] 10.0.0.1 ready serving", "IPv6 web [:80] fd00::1 ready serving");
    assert_eq!(made(web_at(&["10.96.0.1"])), [four]);
    assert_eq!(made(web_at(&["fd00:96::1"])), [six]);
    assert_eq!(made(web_at(&["10.96.0.1", "fd00:96::1"])), [four, six]);
    assert_eq!(made(web_at(&["fd00:96::1", "10.96.0.1"])), [six, four]);
    assert_eq!(made(web_at(&["None"])), NONE);
    let mut said = web_at(&["10.96.0.1", "fd00:96::1"]);
    said["spec"]["ipFamilies"] = json!(["IPv6"]);
    assert_eq!(made(said), [six]);
}

#[test]
fn point_8_a_pod_without_an_address_of_the_family_is_no_endpoint() {
    let both = web_at(&["10.96.0.1", "fd00:96::1"]);
    let pods = [pod("a", "10.0.0.1", json!({})), pod("b", "fd00::2", json!({}))];
    assert_eq!(
        made(pods.into_iter().chain([both])),
        ["web [:80] 10.0.0.1 ready serving", "IPv6 web [:80] fd00::2 ready serving"]
    );
}

#[test]
fn point_8_what_is_given_by_hand_counts_in_its_family() {
    let ips = json!({"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
    let by_pods = [web_at(&["10.96.0.1", "fd00:96::1"]), pod("a", "10.0.0.1", ips)];
    let with = |more: &[&Value]| made(by_pods.iter().chain(more.iter().copied()).cloned());
    let (four, six) = ("web [:80] 10.0.0.1 ready serving", "IPv6 web [:80] fd00::1 ready serving");
    let of_web = || json!({"kubernetes.io/service-name": "web"});
    assert_eq!(with(&[&slice("IPv4", of_web())]), [six]);
    assert_eq!(with(&[&slice("IPv6", of_web())]), [four]);
    let ports = json!([{"port": 8080}]);
    let listed =
        |ip: &str| endpoints(json!({}), json!([{"addresses": [{"ip": ip}], "ports": ports}]));
    assert_eq!(with(&[&listed("10.0.0.2")]), ["web [:8080] 10.0.0.2 ready serving", six]);
    // Those of the first family are none just now.
    assert_eq!(with(&[&listed("fd00::2")]), ["IPv6 web [:8080] fd00::2 ready serving"]);
    assert_eq!(with(&[&endpoints(json!({}), json!([]))]), [six]);
    assert_eq!(with(&[&listed("fd00::2"), &slice("IPv6", of_web())]), NONE);
}
