//! Backends that are back in a moment, and those that are not.

use std::{thread, time::Instant};

use anyhow::{Result, bail};
use lab::{
    Lab,
    agent::Agent,
    closing::{expect_unharmed, settle, wait_until_closed},
    exchange::Way,
    family::Family,
    pod::Pod,
    requirement::Need,
    socket::Socket,
    stage::Stage,
};

use super::{DNS, MOMENT, PORT, connected, dns, stage, until};

/// A socket whose backend, the first Pod, was away for a moment.
fn left_for_a_moment(stage: &Stage<'_>, pods: &[Pod; 2]) -> Result<Socket> {
    // A slow machine may take longer than the moment.
    for _ in 0..20 {
        let socket = connected(Family::V4, DNS)?;
        assert_eq!(socket.ask(Way::Connected, b"", DNS.v4)?.identity, 1);
        let start = Instant::now();
        stage.apply(&dns([&pods[1]]))?;
        until("the other Pod", |reached| reached == Ok(2))?;
        // No connect can choose it any more, so that nothing but the moment is left to wait for.
        thread::sleep(MOMENT / 4);
        stage.apply(&dns([&pods[0]]))?;
        until("the Pod again", |reached| reached == Ok(1))?;
        if start.elapsed() < MOMENT {
            return Ok(socket);
        }
    }
    bail!("no backend is back in {MOMENT:?}")
}

/// A stage on which an agent leads to the first of two Pods.
fn led_to_the_first(
    lab: &Lab,
    check: impl Fn(&Stage<'_>, &[Pod; 2], Agent) -> Result<()>,
) -> Result<()> {
    let pods = [lab.pod(1)?, lab.pod(2)?];
    let _servers = [pods[0].serve_udp([(PORT, 1)])?, pods[1].serve_udp([(PORT, 2)])?];
    let stage = stage(lab)?;
    stage.apply(&dns([&pods[0]]))?;
    let agent = stage.start(&[])?;
    check(&stage, &pods, agent)
}

/// That backend keeps its socket until it leaves for good. What `next` returns sees that.
fn back_in_a_moment(lab: &Lab, next: impl Fn(&Stage<'_>, Agent) -> Result<Agent>) -> Result<()> {
    led_to_the_first(lab, |stage, pods, agent| {
        let socket = left_for_a_moment(stage, pods)?;
        let _agent = next(stage, agent)?;
        settle(stage, &pods[1])?;
        expect_unharmed(&socket, "a socket whose backend is back")?;
        assert_eq!(socket.ask(Way::Connected, b"", DNS.v4)?.identity, 1);
        stage.apply(&dns([&pods[1]]))?;
        wait_until_closed(&socket, "a socket that remembers the id of the time before")
    })
}

#[test]
fn point_22_a_backend_that_is_back_in_a_moment_keeps_its_sockets_until_it_leaves_for_good() {
    lab::isolated_with(&[Need::Origins], |lab| back_in_a_moment(lab, |_, agent| Ok(agent)));
}

#[test]
fn point_22_and_27_the_same_holds_if_another_agent_sees_it_leave_for_good() {
    lab::isolated_with(&[Need::Origins], |lab| {
        back_in_a_moment(lab, |stage, agent| {
            agent.stop()?;
            stage.start(&[])
        })
    });
}

#[test]
fn point_22_and_27_what_an_agent_that_stops_has_not_closed_yet_is_closed_by_the_next() {
    lab::isolated_with(&[Need::Origins], |lab| {
        led_to_the_first(lab, |stage, pods, agent| {
            let socket = connected(Family::V4, DNS)?;
            let start = Instant::now();
            stage.apply(&dns([&pods[1]]))?;
            until("the other Pod", |reached| reached == Ok(2))?;
            // No connect can choose it any more, so that nothing but the moment is left to wait for.
            thread::sleep(MOMENT / 4);
            agent.kill()?;
            if start.elapsed() < MOMENT {
                expect_unharmed(&socket, "a socket whose backend may be back")?;
            }
            let _agent = stage.start(&[])?;
            wait_until_closed(&socket, "a socket whose backend is not back")
        })
    });
}
