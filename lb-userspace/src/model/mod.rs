//! temp
use std::{net::SocketAddrV4, sync::Arc};
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// x
    pub name: Arc<str>,
    /// x
    pub backends: Vec<SocketAddrV4>,
}
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendChange {
    /// x
    pub key: lb_common::FrontendKey4,
    /// x
    pub state: Option<Frontend>,
}
