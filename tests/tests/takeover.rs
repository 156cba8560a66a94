//! One agent after the other on the same pins, where the first did not come to its end.
//! Numbers in names are those of docs/semantics.md.

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::Result;
use lab::{
    Lab,
    agent::{Agent, binary},
    client::{TIMEOUT, connect},
};

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
const PORT: u16 = 8080;
/// What the log says if ids and origins begin anew.
const ANEW: &str = "not carried over";

/// An agent's arguments for one Pod behind [`VIP`].
struct Stage {
    manifests: PathBuf,
    pins: PathBuf,
}

impl Stage {
    fn new(lab: &Lab, pod: Ipv4Addr) -> Result<Self> {
        let manifests = lab.scratch().join("manifests");
        fs::create_dir(&manifests)?;
        let web = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  clusterIP: {}\n  \
             selector: {{app: web}}\n  ports: [{{port: {}, targetPort: {PORT}}}]\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\n\
             status: {{podIP: {pod}}}\n",
            VIP.ip(),
            VIP.port()
        );
        fs::write(manifests.join("web.yaml"), web)?;
        Ok(Self { manifests, pins: lab.bpffs()?.join("socklb") })
    }

    fn arguments(&self, cgroup: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into(), "--manifests".into()];
        arguments.extend([self.manifests.clone().into(), "--pin".into(), self.pins.clone().into()]);
        arguments.extend(["--cgroup".into(), cgroup.into()]);
        arguments
    }

    /// Starts an agent that balances, and stops it. Returns its log.
    fn start_and_stop(&self, lab: &Lab) -> Result<Vec<String>> {
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let agent = Agent::start(lab, guard, &binary()?, &self.arguments(lab.cgroup()))?;
        Ok(agent.stop()?.1)
    }

    /// Runs an agent that cannot attach anything.
    fn fail(&self) -> Result<Output> {
        let no_cgroup = self.arguments(&self.manifests);
        Ok(Command::new(binary()?).args(no_cgroup).output()?)
    }

    /// Pins that were to replace others.
    fn staged(&self) -> io::Result<Vec<OsString>> {
        let names = fs::read_dir(&self.pins)?.map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<OsString>> = names.collect();
        Ok(names?.into_iter().filter(|name| name.to_string_lossy().ends_with("_new")).collect())
    }
}

#[test]
fn point_27_an_agent_that_cannot_attach_leaves_the_one_before_in_force_and_whole() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 7)])?;
        let stage = Stage::new(lab, pod.address())?;
        stage.start_and_stop(lab)?;
        let output = stage.fail()?;
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains("--cgroup"), "{log}");
        assert_eq!(stage.staged()?, [OsString::new(); 0]);
        assert_eq!(connect(VIP, TIMEOUT)?.identity()?, 7);
        let log = stage.start_and_stop(lab)?;
        assert!(!log.iter().any(|line| line.contains(ANEW)), "{log:?}");
        Ok(())
    });
}

#[test]
fn a_first_agent_that_cannot_attach_leaves_nothing() {
    lab::isolated(|lab| {
        let stage = Stage::new(lab, lab.pod(0)?.address())?;
        assert_eq!(stage.fail()?.status.code(), Some(1));
        assert!(!stage.pins.exists());
        Ok(())
    });
}

#[test]
fn after_a_takeover_that_was_cut_off_ids_begin_anew_and_the_pins_are_whole_again() {
    lab::isolated(|lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve([(PORT, 7)])?;
        let stage = Stage::new(lab, pod.address())?;
        stage.start_and_stop(lab)?;
        // As if the second agent had been killed before it replaced this pin.
        symlink("lb_config", stage.pins.join("lb_config_new"))?;
        let log = stage.start_and_stop(lab)?;
        let told = |line: &&String| line.contains(ANEW) && line.contains("killed");
        assert!(log.iter().find(told).is_some(), "{log:?}");
        assert_eq!(stage.staged()?, [OsString::new(); 0]);
        assert_eq!(connect(VIP, TIMEOUT)?.identity()?, 7);
        let log = stage.start_and_stop(lab)?;
        assert!(!log.iter().any(|line| line.contains(ANEW)), "{log:?}");
        Ok(())
    });
}
