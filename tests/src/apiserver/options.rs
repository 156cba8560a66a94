//! What a double of the API server is started with.
//!
//! None of it may change while the double runs: what may are its faults and misdeeds.

use std::time::Duration;

use ipnet::IpNet;

/// The range of IPv4 ClusterIPs, of the double and of the real server.
pub const SERVICE_CIDR4: &str = "10.96.0.0/16";
/// The range of IPv6 ClusterIPs.
pub const SERVICE_CIDR6: &str = "fd00:10:96::/112";

/// What a double is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Serve HTTPS, with a certificate of a CA of its own. Else plain HTTP.
    pub tls: bool,
    /// Where ClusterIPs come from: the primary range, and perhaps one of the other family.
    pub service_cidrs: Vec<IpNet>,
    /// `sendInitialEvents` is known (Kubernetes 1.34). Else it is refused as 1.33 refuses it.
    pub streaming_lists: bool,
    /// How often watches that want bookmarks get one. The real server's minute is seldom what a test
    /// wants.
    pub bookmarks: Duration,
    /// How many changes of each resource are remembered.
    pub history: usize,
    /// The version before the first change.
    pub first_version: u64,
    /// A watch from a forgotten version is refused with HTTP's 410, as an API server without a watch
    /// cache does. Else with an event.
    pub gone_by_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        let cidr = |text: &str| text.parse().expect("a CIDR");
        Self {
            tls: true,
            service_cidrs: vec![cidr(SERVICE_CIDR4), cidr(SERVICE_CIDR6)],
            streaming_lists: true,
            bookmarks: Duration::from_mins(1),
            history: 10_000,
            first_version: 1000,
            gone_by_http: false,
        }
    }
}
