//! How clients reach a server: its URL, whom they trust, who they are; and the files in which `kubectl`
//! and others look that up.
//!
//! No file may ever be there in part: clients read them again at any time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What a client has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// With scheme and port.
    pub url: String,
    /// The certificate of the CA, PEM. `None` for plain HTTP.
    pub ca: Option<String>,
    /// A bearer token.
    pub token: String,
}

impl Access {
    /// A kubeconfig that holds everything itself.
    pub fn kubeconfig(&self) -> String {
        let authority = self.ca.as_ref().map(|ca| {
            let data = ByteString(ca.clone().into_bytes());
            let data = serde_json::to_string(&data).expect("octets can be written");
            format!(", certificate-authority-data: {data}")
        });
        text(&self.url, &authority.unwrap_or_default(), &format!("token: \"{}\"", self.token))
    }

    /// Writes a kubeconfig that holds everything itself to `folder`/kubeconfig, and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        write(folder, "kubeconfig", &self.kubeconfig())
    }

    /// Writes a kubeconfig that names files for the CA's certificate and the token, and these files,
    /// to `folder`: `kubeconfig`, `ca.crt`, `token`. Each is replaced by renaming, as a kubelet
    /// replaces what it projects.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write_files(&self, folder: &Path) -> Result<PathBuf> {
        let mut authority = String::new();
        if let Some(ca) = &self.ca {
            let path = write(folder, "ca.crt", ca)?;
            authority = format!(", certificate-authority: \"{}\"", path.display());
        }
        let token = write(folder, "token", &self.token)?;
        let user = format!("tokenFile: \"{}\"", token.display());
        write(folder, "kubeconfig", &text(&self.url, &authority, &user))
    }

    /// A client, to be used in the runtime in which it is made. It does not try again by itself when
    /// a server is busy (429, 503, 504), as `kube`'s do: a test wants to see the answer.
    ///
    /// # Errors
    /// When the CA's certificate is none.
    pub async fn client(&self) -> Result<kube::Client> {
        client(Kubeconfig::from_yaml(&self.kubeconfig())?).await
    }
}

/// A client of what the kubeconfig names, as [`Access::client`] makes one.
///
/// # Errors
/// When the kubeconfig names what is not there.
pub async fn client(kubeconfig: Kubeconfig) -> Result<kube::Client> {
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    // The machine's, of HTTPS_PROXY.
    config.proxy_url = None;
    Ok(kube::Client::try_from(config)?)
}

fn text(url: &str, authority: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster: {{server: \"{url}\"\
         {authority}}}\nusers:\n- name: lab\n  user: {{{user}}}\ncontexts:\n- name: lab\n  \
         context: {{cluster: lab, user: lab}}\ncurrent-context: lab\n"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let (new, path) = (folder.join(format!(".{name}.new")), folder.join(name));
    fs::write(&new, text)?;
    fs::rename(new, &path)?;
    Ok(path)
}
