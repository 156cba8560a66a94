//! The laboratory itself: isolation from the machine, Pods, and nothing left behind.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use lab::{
    client::{TIMEOUT, connect},
    pod::CLIENT,
};

/// An address of the kind that clusters give to Services.
const CLUSTER_IP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);

#[test]
fn neither_client_nor_pod_has_a_route_out() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let outside = [CLUSTER_IP, SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80)];
        for address in outside {
            let error = connect(address, TIMEOUT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "client, {address}");
            let error = pod.namespace().run(|| connect(address, TIMEOUT)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "pod, {address}");
        }
        Ok(())
    });
}

#[test]
fn each_listener_of_each_pod_says_who_it_is() {
    lab::isolated(|lab| {
        let pods = [lab.pod(1)?, lab.pod(2)?, lab.pod(3)?];
        let ports = 8000..8064;
        let mut servers = Vec::new();
        for (pod, first) in pods.iter().zip([0, 100, 200]) {
            servers.push(pod.serve(ports.clone().zip(first..))?);
        }
        for (pod, first) in pods.iter().zip([0, 100, 200]) {
            for (port, identity) in ports.clone().zip(first..) {
                let connection = connect(pod.socket(port), TIMEOUT)?;
                assert!(connection.took < TIMEOUT);
                assert_eq!(connection.identity()?, identity, "{}", pod.socket(port));
            }
        }
        for server in servers {
            assert_eq!(server.accepted(), vec![1; ports.len()]);
        }
        Ok(())
    });
}

#[test]
fn a_thread_in_a_pod_connects_from_the_pods_address() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let listener = TcpListener::bind((CLIENT, 80))?;
        let address = SocketAddrV4::new(CLIENT, 80);
        let thread = pod.namespace().spawn(move || connect(address, TIMEOUT).map(drop))?;
        assert_eq!(listener.accept()?.1.ip(), pod.address());
        thread.join().unwrap()?;
        Ok(())
    });
}

#[test]
fn a_port_without_listener_refuses() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let error = connect(pod.socket(9), TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        drop(pod.serve([(9, 1)])?);
        let error = connect(pod.socket(9), TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "its listener is gone");
        Ok(())
    });
}

#[test]
fn many_more_connections_than_ports_leave_no_port_taken() {
    lab::isolated(|lab| {
        let pod = lab.pod(1)?;
        let server = pod.serve([(80, 1)])?;
        // They suffice for any number of connections, if none stays in TIME_WAIT.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40099")?;
        for _ in 0..1000 {
            assert_eq!(connect(pod.socket(80), TIMEOUT)?.identity()?, 1);
        }
        assert_eq!(server.accepted(), [1000]);
        Ok(())
    });
}

#[test]
fn the_body_runs_in_its_cgroup_and_sees_only_its_own_links() {
    lab::isolated(|lab| {
        let _pod = lab.pod(1)?;
        let procs = fs::read_to_string(lab.cgroup().join("cgroup.procs"))?;
        assert_eq!(procs.trim(), std::process::id().to_string(), "alone in its cgroup");
        let links = fs::read_to_string("/proc/thread-self/net/dev")?;
        let mut links: Vec<_> =
            links.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        links.sort_unstable();
        assert_eq!(links, ["lo", "pod1"]);
        Ok(())
    });
}

#[test]
fn nothing_remains_of_a_body_that_leaves_a_process_and_files() {
    let observed = lab::observe(Duration::from_secs(60), |lab| {
        fs::write(lab.scratch().join("file"), "")?;
        let process = Command::new("sleep").arg("600").spawn()?;
        println!("left {} in {}", process.id(), lab.scratch().display());
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(observed.passed, "{}", observed.output);
    let line = observed.output.lines().find_map(|line| line.strip_prefix("left ")).unwrap();
    let (pid, scratch) = line.split_once(" in ").unwrap();
    // A zombie has ended; it only waits for init to take notice.
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    assert!(state.is_err() || state.unwrap().contains(" Z "), "the process has ended");
    assert!(!fs::exists(scratch).unwrap(), "the folder is gone");
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn cgroups_inside_of_the_bodys_own_go_with_it() {
    let observed = lab::observe(Duration::from_secs(60), |lab| {
        let inner = lab.cgroup().join("outer/inner");
        fs::create_dir_all(&inner)?;
        fs::write(inner.join("cgroup.procs"), "0")?;
        Command::new("sleep").arg("600").spawn()?;
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(observed.passed, "{}", observed.output);
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn a_body_that_panics_is_reported_and_nothing_remains() {
    let Some(observed) = lab::observe(Duration::from_secs(60), |_| panic!("on purpose")) else {
        return;
    };
    assert!(!observed.passed && !observed.ended.killed);
    assert!(observed.output.contains("on purpose"), "{}", observed.output);
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}

#[test]
fn a_body_that_does_not_end_is_killed_in_time() {
    let start = Instant::now();
    let observed = lab::observe(Duration::from_millis(500), |_| {
        // Nobody connects.
        TcpListener::bind((Ipv4Addr::LOCALHOST, 80))?.accept()?;
        Ok(())
    });
    let Some(observed) = observed else { return };
    assert!(!observed.passed && observed.ended.killed);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}
