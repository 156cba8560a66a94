//! The agent as users run it: the binary, a folder of manifests, pins, and the other verbs.
//! Numbers in names are those of docs/semantics.md.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, ErrorKind},
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use lab::{
    Lab,
    agent::binary,
    client::{TIMEOUT, connect, is_refusal},
    pod::Pod,
    requirement,
    server::Server,
    stage::{Stage, eventually, logged},
};

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
const PORT: u16 = 8080;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
";

fn stage(lab: &Lab) -> Result<Stage<'_>> {
    let stage = Stage::new(lab, Path::new(env!("CARGO_BIN_EXE_socklb-lab")))?;
    stage.write("service", SERVICE)?;
    Ok(stage)
}

/// Puts a Pod into the manifests.
fn add(stage: &Stage<'_>, pod: &Pod) -> Result<()> {
    let address = pod.address();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-{address}, labels: {{app: web}}}}\n\
         status: {{podIP: {address}}}\n"
    );
    stage.write(&address.to_string(), &text)
}

fn serve(pods: &[Pod]) -> Result<Vec<Server>> {
    (0..).zip(pods).map(|(identity, pod)| pod.serve([(PORT, identity)])).collect()
}

fn identity() -> io::Result<u16> {
    connect(VIP, TIMEOUT)?.identity()
}

/// Waits until connects do as wanted.
fn until(what: &str, wanted: impl Fn(io::Result<u16>) -> bool) -> Result<()> {
    eventually(what, || Ok(wanted(identity())))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn manifests_are_followed_while_they_change() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?, lab.pod(1)?];
        let _servers = serve(&pods)?;
        add(&stage, &pods[0])?;
        let agent = stage.start(&[])?;
        assert_eq!(identity()?, 0);
        add(&stage, &pods[1])?;
        until("the second Pod", |reached| matches!(reached, Ok(1)))?;
        stage.remove(&pods[0].address().to_string())?;
        stage.remove(&pods[1].address().to_string())?;
        until("no Pod", |reached| reached.is_err_and(|error| is_refusal(&error)))?;
        stage.remove("service")?;
        until("no Service", |reached| {
            reached.is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable)
        })?;
        let (status, _) = agent.stop()?;
        assert!(status.success());
        Ok(())
    });
}

#[test]
fn a_broken_file_is_reported_by_place_and_keeps_what_was_loaded_from_it() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?];
        let _servers = serve(&pods)?;
        add(&stage, &pods[0])?;
        let agent = stage.start(&[])?;
        let broken = format!("{SERVICE}---\napiVersion: v1\nkind: Service\nspec: [\n");
        fs::write(stage.file("service"), broken)?;
        let line = logged(&agent, &["service.yaml"])?;
        assert!(line.contains("document 2") && line.contains("line 1"), "{line}");
        assert_eq!(identity()?, 0);
        Ok(())
    });
}

#[test]
fn a_second_agent_fails_and_names_the_remedy() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let _agent = stage.start(&[])?;
        let output = Command::new(binary()?).args(stage.arguments(&[])).output()?;
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains("another agent") && error.contains("--pin"), "{error}");
        let output = stage.socklb(&["cleanup"])?;
        assert!(!output.status.success(), "a running agent's pins are not removed");
        Ok(())
    });
}

#[test]
fn point_26_a_broken_manifest_at_the_start_leaves_the_tables_before_in_force() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?];
        let _servers = serve(&pods)?;
        add(&stage, &pods[0])?;
        stage.start(&[])?.stop()?;
        stage.write(&pods[0].address().to_string(), "kind: Pod\nmetadata: [\n")?;
        let mut agent =
            Command::new(binary()?).args(stage.arguments(&[])).stderr(Stdio::piped()).spawn()?;
        let log = BufReader::new(agent.stderr.take().context("just piped")?);
        let mut lines = log.lines().map_while(Result::ok);
        let mut until = |text: &str| lines.any(|line| line.contains(text));
        assert!(until("nothing is published before it is corrected"));
        assert_eq!(identity()?, 0, "the tables of the agent before");
        add(&stage, &pods[0])?;
        assert!(until("attached"));
        assert_eq!(identity()?, 0);
        agent.kill()?;
        agent.wait()?;
        Ok(())
    });
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        fs::remove_dir_all(stage.manifests())?;
        let output = Command::new(binary()?).args(stage.arguments(&[])).output()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("--manifests"), "{}", text(&output.stderr));
        assert!(!stage.pins().exists());
        Ok(())
    });
}

#[test]
fn services_are_printed_from_the_tables() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        add(&stage, &lab.pod(0)?)?;
        add(&stage, &lab.pod(1)?)?;
        stage.start(&[])?.stop()?;
        // The agent is gone: this is what the tables hold.
        let output = stage.socklb(&["services", "-o", "json"])?;
        let services: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let service = &services[0];
        assert_eq!(service["name"], "default/web:http/TCP");
        assert_eq!((&service["address"], &service["port"]), (&"10.96.0.10".into(), &80.into()));
        let backends: Vec<_> = (0..2).map(|at| &service["backends"][at]["address"]).collect();
        assert_eq!(backends, ["10.244.0.10:8080", "10.244.0.11:8080"]);
        let table = text(&stage.socklb(&["services"])?.stdout);
        assert!(table.contains("default/web:http/TCP") && table.contains("10.244.0.11:8080"));
        Ok(())
    });
}

#[test]
fn bpftool_shows_named_fields() {
    // A wrapper of that name may be there without the program for this kernel.
    let version = Command::new("bpftool").arg("version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        requirement::note_skip(
            "bpftool_shows_named_fields",
            "bpftool is not installed, or not whole",
        )
        .expect("skips are noted");
        return;
    }
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        add(&stage, &lab.pod(0)?)?;
        stage.start(&[])?.stop()?;
        let bpftool =
            |arguments: &[&str], name: &str, rest: &[&str]| -> Result<serde_json::Value> {
                let output = Command::new("bpftool")
                    .arg("--json")
                    .args(arguments)
                    .arg("pinned")
                    .arg(stage.pins().join(name))
                    .args(rest)
                    .output()?;
                Ok(serde_json::from_slice(&output.stdout)?)
            };
        let frontends = bpftool(&["map", "dump"], "lb_frontends4", &[])?;
        let frontend = &frontends[0]["formatted"];
        assert_eq!(frontend["key"]["address"], serde_json::json!([10, 96, 0, 10]));
        assert_eq!((&frontend["key"]["port"], &frontend["value"]["slot"]), (&80.into(), &0.into()));
        let first = ["key", "0", "0", "0", "0"];
        let service = bpftool(&["map", "lookup"], "lb_services", &first)?;
        assert_eq!(service["formatted"]["value"]["range"]["count"], 1);
        let backend = bpftool(&["map", "lookup"], "lb_backends4", &first)?;
        assert_eq!(backend["formatted"]["value"]["port"], PORT);
        Ok(())
    });
}

#[test]
fn a_full_table_names_its_flag_and_leaves_the_rest_alone() {
    lab::isolated(|lab| {
        let stage = stage(lab)?;
        let pods = [lab.pod(0)?];
        let _servers = serve(&pods)?;
        add(&stage, &pods[0])?;
        let many = (1..=9).map(|host| format!("{{addresses: [10.244.1.{host}]}}"));
        let slice = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: many}}\n\
             spec: {{clusterIP: 10.96.0.11, ports: [{{port: 80}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata: {{name: many-1, labels: {{kubernetes.io/service-name: many}}}}\n\
             ports: [{{name: '', port: 80}}]\nendpoints: [{}]\n",
            many.collect::<Vec<_>>().join(", ")
        );
        stage.write("many", &slice)?;
        let agent = stage.start(&["--max-backends", "8"])?;
        assert_eq!(identity()?, 0);
        let (_, log) = agent.stop()?;
        let named =
            |line: &String| line.contains("default/many") && line.contains("--max-backends");
        assert!(log.iter().any(named), "{log:?}");
        Ok(())
    });
}
