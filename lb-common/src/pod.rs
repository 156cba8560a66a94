//! `aya::Pod` for the shared types. Nothing else may stand here.
#![allow(unsafe_code)]

use crate::layout::{Backend4, FrontendKey4, FrontendValue, Origin, Service};

// SAFETY: `#[repr(C)]`, without padding (asserted in `layout`), and valid for every bit pattern.
unsafe impl aya::Pod for FrontendKey4 {}
// SAFETY: as above.
unsafe impl aya::Pod for FrontendValue {}
// SAFETY: as above.
unsafe impl aya::Pod for Service {}
// SAFETY: as above.
unsafe impl aya::Pod for Backend4 {}
// SAFETY: as above.
unsafe impl aya::Pod for Origin {}
