//! The real server: etcd and kube-apiserver, from the folder that `KUBEBUILDER_ASSETS` names, as
//! `setup-envtest` fills it.
//!
//! Both listen on 127.0.0.1 of the experiment's namespace, at their usual ports, keep everything in a
//! folder of the experiment's, and end with the value that stands for them. There is no controller: what
//! is stored stays as it is.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rcgen::KeyPair;

use super::{
    access::Access,
    options::{SERVICE_CIDR4, SERVICE_CIDR6},
    tls::Identity,
};
use crate::programs::{Process, Programs, Transport};

/// Names the folder with the programs.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// What has to be in there.
pub const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
const SECURE: u16 = 6443;
/// How long the server may take until it is ready. It fills an empty etcd first.
const STARTING: Duration = Duration::from_secs(90);
/// How often it is asked.
const TICK: Duration = Duration::from_millis(100);

/// The folder that [`ASSETS`] names.
///
/// # Errors
/// Those of [`check`].
pub fn assets() -> Result<PathBuf> {
    check(env::var_os(ASSETS))
}

/// The folder, if it has all that is needed.
///
/// # Errors
/// When there is none, or a program is not in there; with what is to be done.
pub fn check(folder: Option<OsString>) -> Result<PathBuf> {
    let folder = folder.filter(|folder| !folder.is_empty());
    let remedy = "a folder with etcd, kube-apiserver and kubectl, such as `setup-envtest use -p path` \
                  prints";
    let folder = folder.with_context(|| format!("{ASSETS} is not set: it names {remedy}"))?;
    let folder = PathBuf::from(folder);
    for program in PROGRAMS {
        let path = folder.join(program);
        let mode = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
        let runs = mode.is_some_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
        ensure!(runs, "{} is no program: {ASSETS} names {remedy}", path.display());
    }
    Ok(folder)
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Real {
    access: Access,
    // In this order: a server whose etcd is gone does not end soon.
    server: Process,
    etcd: Process,
}

impl Real {
    /// Starts the server from the programs in `assets`, in the calling thread's network namespace, and
    /// returns when it is ready. It ends with that *thread* at the latest.
    ///
    /// # Errors
    /// When a program does not start, ends, or is not ready in a minute and a
    /// half, with what it wrote.
    pub fn start(programs: &Programs<'_>, assets: &Path) -> Result<Self> {
        let folder = programs.folder("apiserver")?;
        let access = prepare(&folder)?;
        let kubeconfig = access.write(&folder)?;
        let etcd = programs
            .program_at("etcd", assets.join("etcd"))
            .args(etcd_arguments(&folder))
            .start(&[(Transport::Tcp, local(ETCD_CLIENTS))])?;
        let server = programs
            .program_at("kube-apiserver", assets.join("kube-apiserver"))
            .args(server_arguments(&folder))
            .start(&[])?;
        let mut real = Self { access, server, etcd };
        let kubectl = assets.join("kubectl");
        match real.wait_until_ready(programs, &kubectl, &kubeconfig) {
            Ok(()) => Ok(real),
            Err(error) => {
                let log = real.server.stop()?.1;
                bail!("kube-apiserver: {error:#}; it wrote:\n{}", log.join("\n"))
            }
        }
    }

    /// How clients reach it.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    fn wait_until_ready(
        &mut self,
        programs: &Programs<'_>,
        kubectl: &Path,
        kubeconfig: &Path,
    ) -> Result<()> {
        let deadline = Instant::now() + STARTING;
        loop {
            for (name, process) in [("etcd", &mut self.etcd), ("it", &mut self.server)] {
                if let Some(status) = process.ended()? {
                    bail!("{name} ended before it was ready, {status}");
                }
            }
            let asked = programs
                .program_at("kubectl", kubectl.to_owned())
                .arg("--kubeconfig")
                .arg(kubeconfig)
                .args(["--request-timeout=5s", "get", "--raw", "/readyz"])
                .run()?;
            if asked.status.success() {
                return Ok(());
            }
            let late = Instant::now() > deadline;
            ensure!(
                !late,
                "it is not ready in {STARTING:?}; kubectl says: {}",
                asked.errors.trim()
            );
            thread::sleep(TICK);
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Writes keys, certificates and the one user's token.
fn prepare(folder: &Path) -> Result<Access> {
    let identity = Identity::new()?;
    let signer = KeyPair::generate()?;
    let token: String = (0..32).map(|_| fastrand::alphanumeric()).collect();
    for (name, text) in [
        ("server.crt", &identity.certificate),
        ("server.key", &identity.key),
        ("accounts.key", &signer.serialize_pem()),
        ("accounts.pub", &signer.public_key_pem()),
        // Whoever is in this group may do everything.
        ("tokens.csv", &format!("{token},lab,lab,\"system:masters\"\n")),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(Access { url: format!("https://{}", local(SECURE)), ca: Some(identity.ca), token })
}

/// `--name=` and a path below `folder`.
fn file(folder: &Path, flag: &str, name: &str) -> OsString {
    let mut argument = OsString::from(format!("--{flag}="));
    argument.push(folder.join(name));
    argument
}

fn etcd_arguments(folder: &Path) -> Vec<OsString> {
    let clients = format!("http://{}", local(ETCD_CLIENTS));
    let peers = format!("http://{}", local(ETCD_PEERS));
    let mut arguments = vec![file(folder, "data-dir", "etcd")];
    arguments.extend(
        [
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // What is lost in a crash is not missed.
            "--unsafe-no-fsync".into(),
        ]
        .map(OsString::from),
    );
    arguments
}

fn server_arguments(folder: &Path) -> Vec<OsString> {
    let mut arguments = vec![
        file(folder, "cert-dir", "certificates"),
        file(folder, "tls-cert-file", "server.crt"),
        file(folder, "tls-private-key-file", "server.key"),
        file(folder, "service-account-key-file", "accounts.pub"),
        file(folder, "service-account-signing-key-file", "accounts.key"),
        file(folder, "token-auth-file", "tokens.csv"),
    ];
    arguments.extend(
        [
            format!("--etcd-servers=http://{}", local(ETCD_CLIENTS)),
            "--bind-address=127.0.0.1".into(),
            // Without one it looks for a default route, which there must not be.
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={SECURE}"),
            format!("--service-cluster-ip-range={SERVICE_CIDR4},{SERVICE_CIDR6}"),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            // No controller makes the accounts that it would ask for.
            "--disable-admission-plugins=ServiceAccount".into(),
            "--authorization-mode=RBAC".into(),
            "--allow-privileged=true".into(),
            // A loopback address is none that endpoints may have.
            "--endpoint-reconciler-type=none".into(),
        ]
        .map(OsString::from),
    );
    arguments
}
