//! What a Service gets, and what it cannot have: addresses, and node ports.

use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use lab::apiserver::{SERVICE_CIDR4, SERVICE_CIDR6};
use serde_json::{Value, json};

use super::{object, refused, with};

fn within(address: &Value, cidr: &str) -> bool {
    let cidr: IpNet = cidr.parse().expect("a CIDR");
    let address = address.as_str().and_then(|address| address.parse::<IpAddr>().ok());
    address.is_some_and(|address| cidr.contains(&address))
}

#[test]
fn a_service_gets_defaults_addresses_and_ports() {
    with(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let spec = async |spec: Value| -> Result<Value> {
            let meta = json!({"generateName": "web-"});
            let object = object(json!({"metadata": meta, "spec": spec}))?;
            let made = api.create(&PostParams::default(), &object).await?;
            Ok(serde_json::to_value(made.spec)?)
        };
        let port = json!([{"port": 80}]);
        let mut plain = spec(json!({"ports": port})).await?;
        let own = plain["clusterIP"].take();
        assert!(within(&own, SERVICE_CIDR4), "{own}");
        assert_eq!(
            plain,
            json!({
                "clusterIP": null, "clusterIPs": [own],
                "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            })
        );
        let both = spec(json!({"ports": port, "ipFamilyPolicy": "PreferDualStack"})).await?;
        assert_eq!(both["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(both["clusterIPs"][0], both["clusterIP"]);
        assert!(within(&both["clusterIPs"][0], SERVICE_CIDR4), "{both}");
        assert!(within(&both["clusterIPs"][1], SERVICE_CIDR6), "{both}");
        let six = spec(json!({"ports": port, "ipFamilies": ["IPv6"]})).await?;
        assert!(within(&six["clusterIP"], SERVICE_CIDR6), "{six}");
        let chosen = spec(json!({"ports": port, "clusterIP": "10.96.7.7"})).await?;
        assert_eq!(chosen["clusterIPs"], json!(["10.96.7.7"]));
        let headless = spec(json!({"clusterIP": "None", "selector": {"app": "web"}})).await?;
        assert_eq!(headless["clusterIPs"], json!(["None"]));
        assert_eq!(headless["ipFamilies"], json!(["IPv4"]));
        let bare = spec(json!({"clusterIP": "None"})).await?;
        assert_eq!(bare["ipFamilies"], json!(["IPv4", "IPv6"]));
        let external = spec(json!({"type": "ExternalName", "externalName": "x.test"})).await?;
        assert_eq!(external["clusterIP"], Value::Null);
        let balanced = spec(json!({
            "ports": port, "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP",
        }))
        .await?;
        let node_port =
            |value: &Value| value.as_i64().is_some_and(|it| (30_000..32_768).contains(&it));
        assert!(node_port(&balanced["ports"][0]["nodePort"]), "{balanced}");
        assert!(node_port(&balanced["healthCheckNodePort"]), "{balanced}");
        assert_eq!(balanced["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
        Ok(())
    });
}

#[test]
fn addresses_and_ports_that_cannot_be_had_are_refused() {
    with(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let create = async |name: &str, spec: Value| {
            let object = object(json!({"metadata": {"name": name}, "spec": spec}));
            let object = object.expect("a Service");
            api.create(&PostParams::default(), &object).await
        };
        let port = json!([{"port": 80, "nodePort": 30_080}]);
        let taken = json!({"ports": port, "clusterIP": "10.96.0.9", "type": "NodePort"});
        create("first", taken.clone()).await?;
        for (spec, words) in [
            (json!({"ports": [{"port": 1}], "clusterIP": "10.97.0.1"}), "not in the valid range"),
            (json!({"ports": [{"port": 1}], "clusterIP": "10.96.0.9"}), "already allocated"),
            (json!({"ports": port, "type": "NodePort"}), "already allocated"),
            (json!({"ports": [{"port": 1, "nodePort": 80}], "type": "NodePort"}), "valid ports"),
            (json!({"ports": port}), "may not be used"),
        ] {
            let status = refused(create("second", spec).await, 422, "Invalid")?;
            assert!(status.message.contains(words), "{}", status.message);
        }
        let mut other = api.get("first").await?;
        let spec = other.spec.as_mut().context("a spec")?;
        (spec.cluster_ip, spec.cluster_ips) = (Some("10.96.0.10".into()), None);
        let outcome = api.replace("first", &PostParams::default(), &other).await;
        assert!(refused(outcome, 422, "Invalid")?.message.contains("may not change"));
        // Both are free again when the Service is gone.
        api.delete("first", &DeleteParams::default()).await?;
        create("second", taken).await?;
        Ok(())
    });
}
