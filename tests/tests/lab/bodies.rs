//! What a test's body runs in, and that nothing of it remains, however it ends.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use lab::stage::eventually;

/// Interfaces that the kernel may put into each new namespace (net.core.fb_tunnels_only_for_init_net).
const FALLBACKS: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

#[test]
fn the_body_runs_in_its_cgroup_and_sees_only_its_own_links() {
    lab::isolated(|lab| {
        let _pod = lab.pod(1)?;
        let procs = fs::read_to_string(lab.cgroup().join("cgroup.procs"))?;
        assert_eq!(procs.trim(), std::process::id().to_string(), "alone in its cgroup");
        let links = fs::read_to_string("/proc/thread-self/net/dev")?;
        let links = links.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
        let mut links: Vec<_> = links.filter(|link| !FALLBACKS.contains(link)).collect();
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
    // It may leave its cgroup some time before it is a zombie, which only waits for init to take notice.
    let has_ended = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok(stat.is_empty() || stat.contains(" Z ") || stat.contains(" X "))
    };
    eventually("the process has ended", has_ended).unwrap();
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
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(!observed.ended.cgroup.exists(), "the cgroup is gone");
}
