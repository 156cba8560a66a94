//! The agent against an API server that fails in every way that one can. Numbers in names are those of
//! docs/semantics.md.

use std::{
    io::ErrorKind,
    net::SocketAddrV4,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use lab::{
    Lab,
    apiserver::{ApiServer, Double, Ending, Fault, Options, Resource, Verb},
    client::{TIMEOUT, connect},
    cluster::Cluster,
    manifest,
    probing::Clients,
    requirement::Need,
    serving::{PORT, Serving},
    stage::{PATIENCE, eventually, logged},
};

const WEB: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 96, 0, 10), 80);
const MORE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 96, 0, 11), 80);

/// Two Pods, and a cluster in which the Service `web` leads to the first.
struct Scene<'lab> {
    cluster: Cluster<'lab>,
    serving: Serving,
}

impl<'lab> Scene<'lab> {
    fn new(lab: &'lab Lab, differ: impl FnOnce(&mut Options)) -> Result<Self> {
        let mut options = Options { bookmarks: Duration::from_millis(500), ..Options::default() };
        differ(&mut options);
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let scene = {
            let server = ApiServer::Double(Double::start(options)?.into());
            Self { cluster: Cluster::new(lab, guard, server)?, serving: Serving::start(lab, 2)? }
        };
        scene.lead("web", WEB, 0)?;
        Ok(scene)
    }

    fn server(&self) -> &Double {
        self.cluster.double()
    }

    /// Stores a Service that leads to one of the Pods.
    fn lead(&self, name: &str, vip: SocketAddrV4, pod: usize) -> Result<()> {
        let pod = self.serving.pods[pod].socket(PORT);
        self.cluster.apply(&manifest::Service::tcp(name, vip).to([pod]))
    }

    /// Waits until the Service leads to this Pod.
    fn until(&self, vip: SocketAddrV4, pod: u16) -> Result<()> {
        eventually(&format!("{vip} leads to Pod {pod}"), || Ok(reached(vip) == Some(pod)))
    }

    /// Waits until the address is no Service's.
    fn until_gone(&self, vip: SocketAddrV4) -> Result<()> {
        eventually(&format!("{vip} is gone"), || {
            Ok(connect(vip, TIMEOUT)
                .is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable))
        })
    }

    /// How often a resource was listed, in either way.
    fn lists(&self, resource: Resource) -> usize {
        self.server()
            .asked()
            .iter()
            .filter(|asked| {
                let streamed = asked.parameters.get("sendInitialEvents") == Some("true");
                let first_page = asked.parameters.get("continue").is_none();
                asked.resource == resource && (streamed || asked.verb == Verb::List && first_page)
            })
            .count()
    }
}

fn reached(vip: SocketAddrV4) -> Option<u16> {
    connect(vip, TIMEOUT).ok()?.identity().ok()
}

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

#[test]
fn a_broken_connection_costs_no_list() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let _agent = scene.cluster.start(&[])?;
        let lists = Resource::ALL.map(|resource| scene.lists(resource));
        let server = scene.server();
        let mut pod = 0;
        for breach in [
            (|server: &Double| server.hang_up(Ending::Orderly)) as fn(&Double),
            |server| server.hang_up(Ending::Reset),
            |server| server.cut_watches(Resource::EndpointSlices, Ending::Orderly),
            |server| server.cut_watches(Resource::EndpointSlices, Ending::Reset),
            |server| server.end_watches(Resource::EndpointSlices),
        ] {
            breach(server);
            pod = 1 - pod;
            scene.lead("web", WEB, pod.into())?;
            scene.until(WEB, pod)?;
        }
        assert_eq!(Resource::ALL.map(|resource| scene.lists(resource)), lists);
        Ok(())
    });
}

#[test]
fn a_watch_that_is_ended_at_once_is_not_asked_for_without_a_pause() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let _agent = scene.cluster.start(&[])?;
        scene.server().forget_asked();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            scene.server().end_watches(Resource::Services);
            thread::sleep(Duration::from_millis(5));
        }
        let asked = scene.server().count(Verb::Watch, Resource::Services);
        let at_most = 2 * start.elapsed().as_secs() as usize + 2;
        ensure!((1..=at_most).contains(&asked), "asked {asked} times in {:?}", start.elapsed());
        Ok(())
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
fn point_27_a_server_that_comes_back_with_other_content_is_followed_without_a_failed_connect() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        scene.lead("more", MORE, 1)?;
        let _agent = scene.cluster.start(&[])?;
        let clients = Clients::of(WEB);
        let server = scene.server();
        // Of versions that went back no client can know.
        for (round, version) in [(1, 50_000), (2, 100_000)] {
            server.close()?;
            server.hang_up(Ending::Orderly);
            server.reset(version)?;
            scene.lead("web", WEB, round % 2)?;
            if round == 2 {
                scene.lead("more", MORE, 0)?;
            }
            thread::sleep(Duration::from_millis(300));
            server.open()?;
            scene.until(WEB, (round % 2) as u16)?;
            if round == 1 {
                scene.until_gone(MORE)?;
            } else {
                scene.until(MORE, 0)?;
            }
        }
        clients.end().map(drop)
    });
}

#[test]
fn a_connection_that_went_silent_is_given_up() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let _agent = scene.cluster.start(&["--api-idle-timeout", "2"])?;
        let lists = scene.lists(Resource::EndpointSlices);
        // Bookmarks keep the watches alive for longer than that.
        let accepted = scene.server().accepted();
        thread::sleep(Duration::from_secs(4));
        assert_eq!(scene.server().accepted(), accepted);
        scene.server().silence();
        scene.server().speak();
        scene.lead("web", WEB, 1)?;
        scene.until(WEB, 1)?;
        assert_eq!(scene.lists(Resource::EndpointSlices), lists, "the watch went on");
        Ok(())
    });
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let server = scene.server();
        let busy = |fault: Fault| fault.on(Resource::EndpointSlices).times(1);
        server.inject(busy(Fault::busy(429, 2)));
        let _agent = scene.cluster.start(&[])?;
        assert_eq!(reached(WEB), Some(0));
        let asked = server.asked();
        let times: Vec<_> = asked
            .iter()
            .filter(|asked| asked.resource == Resource::EndpointSlices)
            .map(|asked| asked.at)
            .collect();
        let pause = times[1].duration_since(times[0]);
        ensure!(pause >= Duration::from_secs(2), "back after {pause:?}");
        Ok(())
    });
}

#[test]
fn errors_of_the_server_are_outlasted() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let agent = scene.cluster.start(&[])?;
        let server = scene.server();
        let mut pod = 0;
        for code in [429, 500, 502, 503, 504] {
            server.inject(Fault::answer(code));
            server.hang_up(Ending::Orderly);
            logged(&agent, &["cannot watch endpointslices", &code.to_string()])?;
            server.heal();
            pod = 1 - pod;
            scene.lead("web", WEB, pod.into())?;
            scene.until(WEB, pod)?;
        }
        let failed =
            scene.cluster.metric("socklb_watch_errors_total{resource=\"endpointslices\"}")?;
        ensure!(failed >= 5.0, "{failed} errors counted");
        Ok(())
    });
}

#[test]
fn what_cannot_be_read_is_read_anew() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let agent = scene.cluster.start(&[])?;
        let lists = scene.lists(Resource::EndpointSlices);
        scene.server().garble_watches(Resource::EndpointSlices);
        logged(&agent, &["cannot watch endpointslices"])?;
        scene.lead("web", WEB, 1)?;
        scene.until(WEB, 1)?;
        ensure!(scene.lists(Resource::EndpointSlices) > lists, "what the line said is lost");

        // Pages, and one of them broken.
        agent.stop()?;
        let garbage = Fault::garbage().on(Resource::EndpointSlices).times(1);
        scene.server().inject(garbage.to(Verb::Watch));
        scene.lead("web", WEB, 0)?;
        let _agent = scene.cluster.start(&[])?;
        assert_eq!(reached(WEB), Some(0));
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
fn a_new_token_and_a_new_authority_are_found_without_a_list() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let agent = scene.cluster.start(&[])?;
        let server = scene.server();
        let lists = Resource::ALL.map(|resource| scene.lists(resource));
        server.rotate_token();
        server.hang_up(Ending::Orderly);
        logged(&agent, &["cannot watch endpointslices", "401", "token"])?;
        scene.cluster.renew_access()?;
        scene.lead("web", WEB, 1)?;
        scene.until(WEB, 1)?;

        server.rotate_ca()?;
        server.hang_up(Ending::Orderly);
        logged(&agent, &["cannot watch endpointslices", "certificate"])?;
        scene.cluster.renew_access()?;
        scene.lead("web", WEB, 0)?;
        scene.until(WEB, 0)?;
        assert_eq!(Resource::ALL.map(|resource| scene.lists(resource)), lists);
        Ok(())
    });
}

#[test]
fn what_the_agent_may_not_read_is_named_with_the_remedy() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        scene.server().inject(Fault::answer(403).on(Resource::Namespaces));
        let mut starting = scene.cluster.launch(&[])?;
        let line = logged(&starting.agent, &["cannot watch namespaces", "403"])?;
        ensure!(line.contains("ClusterRole"), "{line}");
        scene.server().heal();
        ensure!(starting.wait(PATIENCE)?, "not ready");
        Ok(())
    });
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        scene.server().close()?;
        let mut starting = scene.cluster.launch(&[])?;
        logged(&starting.agent, &["cannot watch services", "refused"])?;
        scene.server().open()?;
        ensure!(starting.wait(PATIENCE)?, "not ready");
        assert_eq!(reached(WEB), Some(0));
        Ok(())
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
