//! `aya::Pod` for the shared types. Nothing else may stand here.
#![allow(unsafe_code)]

use crate::layout::{
    Affinity, AffinityKey, Backend4, Backend6, Config, FrontendKey4, FrontendKey6, FrontendValue,
    Origin, Service, UdpOrigins,
};

macro_rules! pod {
    ($($type:ty),*) => {$(
        // SAFETY: `#[repr(C)]`, without padding (asserted in `layout`), and valid for every bit
        // pattern.
        unsafe impl aya::Pod for $type {}
    )*};
}

pod!(Affinity, AffinityKey, Backend4, Backend6, Config, FrontendKey4, FrontendKey6, FrontendValue);
pod!(Origin, Service, UdpOrigins);
