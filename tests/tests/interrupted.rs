//! One agent after the other on the same pins, where the first did not come to its end.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab::{
    Lab,
    agent::{Agent, binary},
    client::{TIMEOUT, connect},
    closing::{LIMIT, expect_closed, expect_open, udp},
    requirement::Need,
};
use socket2::Domain;

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
const DNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 11), 53);
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
             apiVersion: v1\nkind: Service\nmetadata: {{name: dns}}\nspec:\n  clusterIP: {}\n  \
             selector: {{app: web}}\n  ports: [{{port: {}, targetPort: {PORT}, protocol: UDP}}]\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\n\
             status: {{podIP: {pod}}}\n",
            VIP.ip(),
            VIP.port(),
            DNS.ip(),
            DNS.port()
        );
        fs::write(manifests.join("web.yaml"), web)?;
        Ok(Self { manifests, pins: lab.bpffs()?.join("socklb") })
    }

    fn arguments(&self, cgroup: &Path) -> Vec<OsString> {
        let verb = ["run", "--log", "debug", "--manifests"];
        let mut arguments: Vec<OsString> = verb.map(Into::into).into();
        arguments.extend([self.manifests.clone().into(), "--pin".into(), self.pins.clone().into()]);
        arguments.extend(["--cgroup".into(), cgroup.into()]);
        arguments
    }

    /// Starts an agent that balances, with these flags too.
    fn start(&self, lab: &Lab, more: &[&str]) -> Result<Agent> {
        let guard = Path::new(env!("CARGO_BIN_EXE_socklb-lab"));
        let mut arguments = self.arguments(lab.cgroup());
        arguments.extend(more.iter().map(Into::into));
        Agent::start(lab, guard, &binary()?, &arguments)
    }

    /// Starts an agent that balances, and stops it. Returns its log.
    fn start_and_stop(&self, lab: &Lab) -> Result<Vec<String>> {
        Ok(self.start(lab, &[])?.stop()?.1)
    }

    /// The same, but stops it when it has looked for sockets that are older than it is.
    fn start_and_look(&self, lab: &Lab, more: &[&str]) -> Result<()> {
        let agent = self.start(lab, more)?;
        let (start, mut log) = (Instant::now(), Vec::new());
        while !log.iter().any(|line: &String| line.contains("looked for stale sockets")) {
            ensure!(start.elapsed() < LIMIT, "not seen in {LIMIT:?}: {log:?}");
            log.extend(agent.new_lines());
            thread::sleep(Duration::from_millis(5));
        }
        agent.stop()?;
        Ok(())
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
        assert!(stage.staged()?.is_empty());
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
        assert!(stage.staged()?.is_empty());
        assert_eq!(connect(VIP, TIMEOUT)?.identity()?, 7);
        let log = stage.start_and_stop(lab)?;
        assert!(!log.iter().any(|line| line.contains(ANEW)), "{log:?}");
        Ok(())
    });
}

#[test]
fn point_22_a_new_agent_closes_what_went_while_there_was_none_and_nothing_else() {
    lab::isolated_with(&[Need::Origins], |lab| {
        let pod = lab.pod(0)?;
        let _server = pod.serve_udp([(PORT, 7)])?;
        let stage = Stage::new(lab, pod.address())?;
        stage.start_and_stop(lab)?;
        let through_service = udp(Domain::IPV4, DNS.into())?;
        let to_the_pod = udp(Domain::IPV4, pod.socket(PORT).into())?;
        // Whatever is made anew, ids are not.
        for more in [&[][..], &["--max-affinity", "100"], &["--peername", "none"]] {
            stage.start_and_look(lab, more)?;
            expect_open(&through_service, "a socket whose backend serves")?;
        }
        let file = stage.manifests.join("web.yaml");
        let text = fs::read_to_string(&file)?.replace(&pod.address().to_string(), "10.244.0.99");
        fs::write(&file, text)?;
        stage.start_and_look(lab, &[])?;
        expect_closed(&through_service, "a socket whose backend went")?;
        expect_open(&to_the_pod, "a socket that was connected to the Pod itself")?;
        Ok(())
    });
}
