//! `socklb check` as whoever installs socklb runs it.
#![forbid(unsafe_code)]

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Names of what is there, and of what is not, in a list of the report.
fn names(list: &Value) -> Result<(Vec<&str>, Vec<&str>)> {
    let (mut there, mut not) = (Vec::new(), Vec::new());
    for item in list.as_array().context("a list")? {
        let name = item["name"].as_str().context("a name")?;
        let supported = item["supported"].as_bool().context("a truth value")?;
        let why = [&item["reason"], &item["consequence"]].iter().any(|why| why.is_string());
        ensure!(why != supported, "only what is missing says why: {item}");
        if supported { &mut there } else { &mut not }.push(name);
    }
    Ok((there, not))
}

#[test]
fn check_loads_the_programs_and_says_what_is_there() {
    lab::isolated(|_| {
        let output = Command::new(lab::agent::binary()?).args(["check", "--json"]).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        ensure!(output.status.success(), "{report}");
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        assert_eq!(report["kernel"].as_str(), Some(release.trim()));

        let (loaded, _) = names(&report["programs"])?;
        assert!(loaded.contains(&"connect4"), "{report}");
        for program in report["programs"].as_array().into_iter().flatten() {
            assert_eq!(program["load_us"].is_u64(), program["supported"] == true, "{program}");
        }
        let (there, not) = names(&report["features"])?;
        for feature in ["privileges", "BTF", "cgroup v2", "namespaces"] {
            assert!(there.contains(&feature), "the laboratory needs {feature} too: {report}");
        }
        assert_eq!(not.iter().filter(|&&name| name == "SCTP").count(), 1, "no kernel serves it");
        Ok(())
    });
}

#[test]
fn check_says_that_a_container_is_not_the_node_and_which_ports_may_meet() {
    lab::isolated(|_| {
        let check = |range: &str| {
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)?;
            // As a container has it: a PID namespace, in which it is the first process, and a cgroup
            // namespace, of which its own cgroup is the root.
            let output = Command::new("unshare")
                .args(["--pid", "--fork", "--mount-proc", "--cgroup"])
                .arg(lab::agent::binary()?)
                .args(["check", "--json"])
                .output()
                .context("cannot start unshare, which util-linux has")?;
            let report: Value = serde_json::from_slice(&output.stdout)?;
            let (there, not) = names(&report["features"])?;
            for feature in ["namespaces", "cgroup root"] {
                assert!(not.contains(&feature), "{report}");
            }
            anyhow::Ok((there.contains(&"node ports"), not.contains(&"node ports")))
        };
        assert_eq!(check("32768 60999")?, (true, false));
        assert_eq!(check("32767 60999")?, (false, true));
        std::fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "30000-32767")?;
        assert_eq!(check("1024 60999")?, (true, false));
        Ok(())
    });
}

#[test]
fn check_fails_where_nothing_could_be_balanced() {
    lab::isolated(|_| {
        // Root without any privilege: what a container without capabilities is.
        let output = Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(lab::agent::binary()?)
            .args(["check", "--json"])
            .output()
            .context("cannot start setpriv, which util-linux has")?;
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("no connection can be balanced here"), "{errors}");
        let report: Value =
            serde_json::from_slice(&output.stdout).context("a report all the same")?;
        let (_, not) = names(&report["features"])?;
        for feature in ["privileges", "namespaces", "SOCK_DESTROY"] {
            assert!(not.contains(&feature), "{report}");
        }
        let (_, refused) = names(&report["programs"])?;
        assert!(refused.contains(&"connect4"), "{report}");
        Ok(())
    });
}
