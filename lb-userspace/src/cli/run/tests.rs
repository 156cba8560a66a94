//! The flags of `socklb run`, as they are read.

use super::*;
use crate::cli::{Cli, Command};

fn run(flags: &str) -> Result<Box<Run>, String> {
    let arguments = "socklb run --manifests m".split(' ').chain(flags.split_whitespace());
    match Cli::try_read(arguments) {
        Ok(Cli { command: Command::Run(run), .. }) => Ok(run),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn without_flags_everything_is_served_and_nothing_refused() {
    let run = run("").unwrap();
    assert_eq!((run.scope, run.peername), (Scope::All, PeerName::All));
    assert_eq!(run.close_stale, CloseStale::Udp);
    assert_eq!(run.max_affinity, 65_536);
    let off = [run.refuse_unserved, run.nodeport_localhost, run.protect_nodeports];
    assert_eq!(off, [false; 3]);
    assert!(!run.translate_local_addresses && !run.no_pin);
}

#[test]
fn a_cluster_is_the_source_unless_a_folder_is() {
    let cluster = |flags: &str| {
        let arguments = "socklb run".split(' ').chain(flags.split_whitespace());
        Cli::try_read(arguments).map_err(|error| error.to_string())
    };
    let flags = "--kubeconfig k --context c --api-server https://[fd00::1]:6443 --refuse-unserved \
                 --endpoints-api endpoints --health [::1]:80";
    let Ok(Cli { command: Command::Run(run), .. }) = cluster(flags) else { panic!("not taken") };
    assert_eq!(run.api_server.unwrap().host(), Some("[fd00::1]"));
    assert_eq!((run.endpoints_api, run.api_idle_timeout), (EndpointsApi::Endpoints, 90));
    assert!(cluster("").is_ok() && cluster("--context c").is_err());
    for server in ["192.0.2.1:6443", "ftp://192.0.2.1", "https://192.0.2.1/api", "https://"] {
        let error = cluster(&format!("--api-server {server}")).unwrap_err();
        assert!(error.contains("--api-server"), "{error}");
    }
}

#[test]
fn lists_are_separated_by_commas_or_repeated() {
    let run = run("--nodeport-addresses 10.1.2.3/8,fd00::/64 --nodeport-addresses 192.0.2.1 \
         --api-server-address 10.0.0.1 --api-server-address fd00::1 \
         --opt-out app=mesh,tier!=web --opt-out vm --opt-out-namespaces istio-injection=enabled \
         --refuse-unserved --service-cidr 10.96.0.0/12,fd00:96::/112")
    .unwrap();
    let text = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&run.nodeport_addresses), ["10.0.0.0/8", "fd00::/64", "192.0.2.1/32"]);
    assert_eq!(text(&run.service_cidr), ["10.96.0.0/12", "fd00:96::/112"]);
    assert_eq!(run.api_server_address.len(), 2);
    assert_eq!((run.opt_out.len(), run.opt_out_namespaces.len()), (2, 1));
}

#[test]
fn an_empty_name_of_the_node_is_none() {
    assert_eq!(run("--node-name=").unwrap().node_name, None);
    assert_eq!(run("--node-name=n1").unwrap().node_name.as_deref(), Some("n1"));
}

#[test]
fn errors_name_the_flag() {
    let five = "10.1.0.0/16,10.2.0.0/16,10.3.0.0/16,10.4.0.0/16,10.5.0.0/16";
    for (flags, expected) in [
        ("--refuse-unserved", "--service-cidr"),
        ("--kubeconfig k", "--kubeconfig"),
        ("--api-server https://192.0.2.1", "--api-server"),
        ("--health 192.0.2.1:80", "--health"),
        ("--health 127.0.0.1", "--health"),
        ("--service-cidr 10.96.0.0/33", "--service-cidr"),
        (&*format!("--service-cidr {five}"), "--service-cidr: 5 IPv4 networks: at most 4"),
        ("--service-cidr 0.0.0.0/0", "--service-cidr: 0.0.0.0/0 is no network of ClusterIPs"),
        ("--service-cidr 127.0.0.0/8", "--service-cidr: 127.0.0.0/8 is the loopback network"),
        ("--service-cidr ::/0", "a prefix of /32 or longer is needed for IPv6"),
        ("--nodeport-addresses primary", "--nodeport-addresses"),
        ("--api-server-address 0.0.0.0", "--api-server-address"),
        ("--opt-out a=b=c", "--opt-out"),
        ("--opt-out-namespaces !", "--opt-out-namespaces"),
        ("--peername tcp", "--peername"),
        ("--close-stale tcp", "--close-stale"),
        ("--scope pods", "--scope"),
        ("--max-affinity 0", "--max-affinity"),
    ] {
        let error = run(flags).unwrap_err();
        assert!(error.contains(expected), "{flags}: {error}");
    }
    assert!(run(&format!("--service-cidr {five},fd00::/64").replace("10.5.0.0/16,", "")).is_ok());
}
