//! nginx, as an HTTP server and as a client that looks names up by itself.
//!
//! Must never write outside of its folder: all its paths are relative to that.

use std::{fs, net::SocketAddr};

use anyhow::Result;

use super::{Process, Programs, Transport, dns};
use crate::pod::Pod;

/// Answers HTTP requests on `port` of all the Pod's addresses with the text `identity`.
///
/// # Errors
/// When nginx does not start; with its log.
pub fn serve(programs: &Programs<'_>, pod: &Pod, port: u16, identity: &str) -> Result<Process> {
    let server = format!("return 200 '{identity}';");
    start(programs, Some(pod), &pod.addresses(port), &server)
}

/// Forwards HTTP requests on `listen`, an address of the client's, to `port` of [`dns::WEB`], whose
/// address it asks of the DNS server `resolver` again each second. It keeps the socket to that
/// server open.
///
/// # Errors
/// When nginx does not start; with its log.
pub fn forward(
    programs: &Programs<'_>,
    listen: SocketAddr,
    resolver: SocketAddr,
    port: u16,
) -> Result<Process> {
    let web = dns::WEB;
    let server = format!(
        "resolver {resolver} valid=1s; resolver_timeout 2s; \
         location / {{ set $web {web}; proxy_pass http://$web:{port}; }}"
    );
    start(programs, None, &[listen], &server)
}

fn start(
    programs: &Programs<'_>,
    pod: Option<&Pod>,
    addresses: &[SocketAddr],
    server: &str,
) -> Result<Process> {
    let folder = programs.folder("nginx")?;
    let listen: String =
        addresses.iter().map(|address| format!("    listen {address};\n")).collect();
    // Relative paths are below the folder. One process, which dies with its guard.
    let configuration = format!(
        "daemon off;\nmaster_process off;\nuser root root;\npid nginx.pid;\nlock_file nginx.lock;\n\
         error_log stderr notice;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  \
         uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
         server {{\n{listen}    {server}\n  }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let open: Vec<_> = addresses.iter().map(|&address| (Transport::Tcp, address)).collect();
    let mut program = programs.program("nginx")?;
    if let Some(pod) = pod {
        program = program.inside(pod);
    }
    program.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&file).start(&open)
}
