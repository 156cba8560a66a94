//! Lists: waited for, made anew, in pages, of another kind.

use std::{io::ErrorKind, net::SocketAddrV4, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use lab::{
    apiserver::{Ending, Fault, Resource, Verb},
    client::{TIMEOUT, connect},
    probing::Clients,
    requirement::Need,
    serving::PORT,
    stage::{PATIENCE, eventually, logged},
};

use super::{MORE, Scene, WEB, reached};

#[test]
fn point_26_nothing_is_taken_over_and_nothing_is_ready_before_all_is_listed() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        scene.cluster.start(&[])?.stop()?;
        assert_eq!(reached(WEB), Some(0), "the tables stay in force");
        scene.lead("web", WEB, 1)?;
        scene.server().inject(Fault::answer(503).on(Resource::EndpointSlices));
        let mut starting = scene.cluster.launch(&[])?;
        logged(&starting.agent, &["cannot watch endpointslices", "503"])?;
        ensure!(!starting.wait(Duration::from_secs(1))?, "ready without slices");
        assert_eq!(scene.cluster.probe("/readyz")?.0, 503);
        assert_eq!(scene.cluster.probe("/healthz")?.0, 200);
        assert_eq!(reached(WEB), Some(0), "the tables before stay in force");
        scene.server().heal();
        ensure!(starting.wait(PATIENCE)?, "not ready");
        assert_eq!(reached(WEB), Some(1));
        eventually("readiness", || Ok(scene.cluster.probe("/readyz")?.0 == 200))
    });
}

/// Something vanishes while the agent cannot watch, and the server has forgotten that by then.
fn vanish(scene: &Scene<'_>) -> Result<()> {
    scene.lead("more", MORE, 1)?;
    let _agent = scene.cluster.start(&[])?;
    let clients = Clients::of(WEB);
    assert_eq!(reached(MORE), Some(1));
    let server = scene.server();
    server.close()?;
    server.hang_up(Ending::Reset);
    server.remove::<Service>("default", "more")?;
    server.compact();
    server.open()?;
    scene.until_gone(MORE)?;
    scene.lead("more", MORE, 0)?;
    scene.until(MORE, 0)?;
    clients.end().map(drop)
}

#[test]
fn point_26_what_vanished_while_the_watch_was_lost_goes_after_the_new_list() {
    lab::isolated_with(&[Need::Double], |lab| vanish(&Scene::new(lab, |_| ())?));
}

#[test]
fn point_26_the_same_where_the_server_refuses_the_watch_by_http() {
    lab::isolated_with(&[Need::Double], |lab| {
        vanish(&Scene::new(lab, |options| options.gone_by_http = true)?)
    });
}

#[test]
fn a_watch_that_is_told_that_it_is_too_late_lists_anew() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let _agent = scene.cluster.start(&[])?;
        let lists = scene.lists(Resource::EndpointSlices);
        scene.server().expire_watches(Resource::EndpointSlices);
        scene.lead("web", WEB, 1)?;
        scene.until(WEB, 1)?;
        assert_eq!(scene.lists(Resource::EndpointSlices), lists + 1);
        Ok(())
    });
}

#[test]
fn a_server_that_does_not_stream_lists_is_read_in_pages() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |options| options.streaming_lists = false)?;
        let more = (0..600).map(|number| {
            let vip = SocketAddrV4::new(
                [10, 96, 1 + (number / 250) as u8, (number % 250) as u8].into(),
                80,
            );
            (format!("more-{number}"), vip)
        });
        let more: Vec<_> = more.collect();
        for (name, vip) in &more {
            scene.lead(name, *vip, 1)?;
        }
        scene
            .server()
            .inject(Fault::garbage().on(Resource::EndpointSlices).to(Verb::List).times(1));
        let _agent = scene.cluster.start(&[])?;
        assert_eq!(reached(WEB), Some(0));
        for (name, vip) in more.iter().step_by(100) {
            assert_eq!(reached(*vip), Some(1), "{name}");
        }
        let pages = scene.server().count(Verb::List, Resource::EndpointSlices);
        ensure!(pages >= 4, "{pages} pages of 601 slices, the first of them broken");
        scene.server().remove::<Service>("default", "more-0")?;
        scene.until_gone(more[0].1)
    });
}

#[test]
fn point_7_endpoints_take_the_place_of_slices() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let endpoints = |pod: usize| {
            let address = scene.serving.pods[pod].address();
            serde_json::from_value::<Endpoints>(serde_json::json!({
                "metadata": {"name": "web"},
                "subsets": [{
                    "addresses": [{"ip": address}],
                    "ports": [{"name": "tcp-80", "port": PORT, "protocol": "TCP"}],
                }],
            }))
        };
        scene.server().apply(endpoints(1)?)?;
        let _agent = scene.cluster.start(&["--endpoints-api", "endpoints"])?;
        assert_eq!(reached(WEB), Some(1), "the slice says 0");
        assert_eq!(scene.lists(Resource::EndpointSlices), 0);
        scene.server().apply(endpoints(0)?)?;
        scene.until(WEB, 0)?;
        scene.server().remove::<Endpoints>("default", "web")?;
        eventually("a refusal", || {
            Ok(connect(WEB, TIMEOUT)
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
        })?;
        scene.server().remove::<EndpointSlice>("default", &format!("web-ipv4-{PORT}"))?;
        Ok(())
    });
}
