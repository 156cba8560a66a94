//! Where the API server is, and as whom the agent speaks to it.
//!
//! Files are read anew each time: certificates and tokens are replaced while the agent runs. The server
//! is asked directly: what is meant for the machine's other programs, such as a proxy that the
//! environment names, does not count. This module must never connect.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use kube::{
    Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use thiserror::Error;

/// How long a connection may take to be made, with its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The way to the API server.
#[derive(Clone, Debug)]
pub struct Access {
    /// A kubeconfig file; without one, the service account of the Pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// A context of that file, if not its current one.
    pub context: Option<String>,
    /// Where the server is, if not where either of them says: scheme, host and port.
    pub server: Option<Uri>,
    /// A connection on which nothing has arrived for this long is taken for dead. The server sends
    /// a bookmark about every minute to an idle watch.
    pub idle: Duration,
}

/// Why the API server cannot be asked.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The kubeconfig file is missing, broken, or lacks something.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<KubeconfigError>,
    },
    /// The cluster can be reached through a proxy only.
    #[error(
        "the kubeconfig {} says `proxy-url`: the agent asks the API server directly, and supports no \
         proxy",
        path.display()
    )]
    Proxy {
        /// The file.
        path: PathBuf,
    },
    /// There is no service account here.
    #[error(
        "no source of objects: not in a Pod with a service account. Name a cluster with \
         --kubeconfig, or a folder with --manifests"
    )]
    NotInCluster(#[source] InClusterError),
    /// Certificates, keys or tokens do not make a client.
    #[error("cannot make a client for {server}")]
    Client {
        /// The server's address.
        server: String,
        /// What is wrong.
        source: Box<kube::Error>,
    },
}

impl Access {
    /// What a client is made of, as the files say now.
    ///
    /// # Errors
    /// When one of them is missing or broken.
    pub(super) async fn config(&self) -> Result<Config, AccessError> {
        let mut config = match &self.kubeconfig {
            Some(path) => self.of_kubeconfig(path).await?,
            None => Config::incluster().map_err(AccessError::NotInCluster)?,
        };
        if let Some(server) = &self.server {
            config.cluster_url = server.clone();
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        config.read_timeout = Some(self.idle);
        // Whoever sends a request knows for how long it is worth repeating.
        config.default_retry = false;
        Ok(config)
    }

    async fn of_kubeconfig(&self, path: &Path) -> Result<Config, AccessError> {
        let error = |source| AccessError::Kubeconfig { path: path.to_owned(), source };
        let kubeconfig = Kubeconfig::read_from(path).map_err(|source| error(Box::new(source)))?;
        if names_proxy(&kubeconfig, self.context.as_deref()) {
            return Err(AccessError::Proxy { path: path.to_owned() });
        }
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|source| error(Box::new(source)))?;
        // HTTPS_PROXY's.
        config.proxy_url = None;
        Ok(config)
    }
}

/// Whether the cluster of the context, or of the current one, names a proxy.
fn names_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let find = || {
        let name = context.or(kubeconfig.current_context.as_deref())?;
        let context = kubeconfig.contexts.iter().find(|it| it.name == name)?.context.as_ref()?;
        let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster)?;
        cluster.cluster.as_ref()?.proxy_url.as_deref()
    };
    find().is_some_and(|url| !url.is_empty())
}

/// The server's address, if it is one and not a name.
pub fn address(server: &Uri) -> Option<IpAddr> {
    let host = server.host()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where the configuration comes from, for the log.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kubeconfig {
            Some(path) => write!(f, "{}", path.display()),
            None => f.write_str("the service account"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::Future};

    use super::*;
    use crate::chain::chain;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn access(kubeconfig: PathBuf, server: Option<&'static str>) -> Access {
        Access {
            kubeconfig: Some(kubeconfig),
            context: None,
            server: server.map(Uri::from_static),
            idle: Duration::from_secs(90),
        }
    }

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
clusters: [{name: lab, cluster: {server: 'https://127.0.0.1:6443'}}]
users: [{name: lab, user: {token: secret}}]
";

    /// Two clusters, of which one is reached through a proxy.
    const FAR: &str = "
apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab}}, {name: far, context: {cluster: far}}]
clusters:
- {name: lab, cluster: {server: 'https://127.0.0.1:6443'}}
- {name: far, cluster: {server: 'https://192.0.2.1:6443', proxy-url: 'http://192.0.2.2:3128'}}
";

    #[test]
    fn the_flag_replaces_where_the_file_says_that_the_server_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        fs::write(&path, KUBECONFIG).unwrap();
        let config = wait(access(path.clone(), None).config()).unwrap();
        assert_eq!(config.cluster_url, "https://127.0.0.1:6443/");
        let config = wait(access(path, Some("https://192.0.2.1:443")).config()).unwrap();
        assert_eq!(config.cluster_url, "https://192.0.2.1:443/");
        assert_eq!(config.read_timeout, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_file_that_is_missing_or_broken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let error = wait(access(path.clone(), None).config()).unwrap_err();
        assert!(chain(&error).contains(&*path.to_string_lossy()), "{}", chain(&error));
        fs::write(&path, KUBECONFIG.replace("current-context: lab", "current-context: x")).unwrap();
        let error = wait(access(path.clone(), None).config()).unwrap_err();
        assert!(chain(&error).contains(&*path.to_string_lossy()), "{}", chain(&error));
    }

    #[test]
    fn a_proxy_that_the_contexts_cluster_names_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        fs::write(&path, FAR).unwrap();
        // Another cluster's does not count.
        assert_eq!(wait(access(path.clone(), None).config()).unwrap().proxy_url, None);
        let far = Access { context: Some("far".into()), ..access(path.clone(), None) };
        let error = chain(&wait(far.config()).unwrap_err());
        assert!(error.contains("proxy-url") && error.contains(&*path.to_string_lossy()), "{error}");
    }

    #[test]
    fn point_18a_the_servers_address_is_known_where_it_is_one() {
        for (server, wanted) in [
            ("https://192.0.2.1:6443", Some("192.0.2.1")),
            ("https://[2001:db8::1]:6443", Some("2001:db8::1")),
            ("https://api.example:6443", None),
        ] {
            let found = address(&Uri::from_static(server));
            assert_eq!(found, wanted.map(|text| text.parse().unwrap()), "{server}");
        }
    }
}
