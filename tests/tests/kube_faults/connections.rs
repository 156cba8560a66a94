//! Connections that break, fall silent, or are not let in.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab::{
    apiserver::{Double, Ending, Resource, Verb},
    probing::Clients,
    requirement::Need,
    stage::{PATIENCE, logged},
};

use super::{MORE, Scene, WEB, reached};

/// The API server's ClusterIP.
const KUBERNETES: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 6443);

/// Leads every connection to `from` on to `to`, until the test ends.
fn forward(from: SocketAddrV4, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(from)?;
    let pass = move |client: TcpStream| -> io::Result<()> {
        let server = TcpStream::connect(to)?;
        let [mut asked, mut asks] = [client.try_clone()?, server.try_clone()?];
        thread::spawn(move || io::copy(&mut asked, &mut asks));
        thread::spawn(move || io::copy(&mut &server, &mut &client));
        Ok(())
    };
    thread::spawn(move || listener.incoming().try_for_each(|client| pass(client?)));
    Ok(())
}

#[test]
fn point_28_an_agent_reaches_the_server_wherever_the_one_before_has_led_its_address() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |options| options.tls = false)?;
        // Where the server was: the Pod answers, and not as an API server.
        scene.lead("kubernetes", KUBERNETES, 1)?;
        scene.cluster.start(&[])?.stop()?;
        assert_eq!(reached(KUBERNETES), Some(1));
        // Where it is now, as kube-proxy knows it.
        lab.assign(*KUBERNETES.ip())?;
        forward(KUBERNETES, scene.server().address())?;
        scene.lead("web", WEB, 1)?;
        let by = format!("http://{KUBERNETES}");
        let _agent = scene.cluster.start(&["--api-server", &by])?;
        scene.until(WEB, 1)
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
        let _agent = scene.cluster.start(&["--api-idle-timeout", "15"])?;
        let lists = scene.lists(Resource::EndpointSlices);
        // Bookmarks keep the watches alive for longer than that.
        let accepted = scene.server().accepted();
        thread::sleep(Duration::from_secs(20));
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
fn a_proxy_that_the_environment_names_is_not_asked() {
    lab::isolated_with(&[Need::Double], |lab| {
        let scene = Scene::new(lab, |_| ())?;
        let proxy = |name| format!("{name}=http://192.0.2.1:3128");
        let by = ["env".into(), proxy("HTTPS_PROXY"), proxy("https_proxy")];
        let _agent = scene.cluster.start_by(&by.each_ref().map(String::as_str), &[])?;
        assert_eq!(reached(WEB), Some(0));
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
