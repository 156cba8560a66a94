//! Answers that say no, or nothing that can be read.

use std::time::Duration;

use anyhow::ensure;
use lab::{
    apiserver::{Ending, Fault, Resource, Verb},
    requirement::Need,
    stage::{PATIENCE, logged},
};

use super::{Scene, WEB, reached};

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

        // JSON, and an event, but of no slice.
        let lists = scene.lists(Resource::EndpointSlices);
        let line = r#"{"type":"MODIFIED","object":{"metadata":{"name":7}}}"#;
        scene.server().say_in_watches(Resource::EndpointSlices, line);
        logged(&agent, &["cannot watch endpointslices", "cannot be read"])?;
        scene.lead("web", WEB, 0)?;
        scene.until(WEB, 0)?;
        ensure!(scene.lists(Resource::EndpointSlices) > lists, "what the line said is lost");

        // A streamed list that breaks off.
        agent.stop()?;
        let garbage = Fault::garbage().on(Resource::EndpointSlices).times(1);
        scene.server().inject(garbage.to(Verb::Watch));
        scene.lead("web", WEB, 1)?;
        let _agent = scene.cluster.start(&[])?;
        assert_eq!(reached(WEB), Some(1));
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
