//! The server that a test runs on: the double, or a real one where the run says so.
//!
//! The double must never stand in for a real server that was asked for: the run would prove
//! nothing.

use std::{env, path::Path};

use anyhow::Result;

use super::{ASSETS, Access, Double, Options, Real, assets};
use crate::{Lab, programs::Programs};

/// If it is `real`, tests run on a real server. `cargo xtask test --apiserver` sets it.
pub const VARIABLE: &str = "SOCKLB_APISERVER";

/// Whether tests run on a real server.
pub(crate) fn is_real() -> bool {
    env::var_os(VARIABLE).is_some_and(|value| value == "real")
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub enum ApiServer {
    /// The lab's own.
    Double(Box<Double>),
    /// etcd and kube-apiserver.
    Real(Box<Real>),
}

impl ApiServer {
    /// Starts the server that this run is for. `guard` is the path of `socklb-lab`. What needs more
    /// than [`access`](Self::access) starts a [`Double`], and says so by
    /// [`Need::Double`](crate::requirement::Need::Double).
    ///
    /// # Errors
    /// Those of [`Double::start`], or of [`assets`] and [`Real::start`].
    pub fn start(lab: &Lab, guard: &Path) -> Result<Self> {
        if is_real() {
            return Ok(Self::Real(Box::new(Real::start(&Programs::new(lab, guard), &assets()?)?)));
        }
        Ok(Self::Double(Box::new(Double::start(Options::default())?)))
    }

    /// Starts a real server if KUBEBUILDER_ASSETS names one, else the double.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub fn of_the_environment(lab: &Lab, guard: &Path) -> Result<Self> {
        if env::var_os(ASSETS).is_some() {
            return Ok(Self::Real(Box::new(Real::start(&Programs::new(lab, guard), &assets()?)?)));
        }
        Ok(Self::Double(Box::new(Double::start(Options::default())?)))
    }

    /// How clients reach it.
    pub fn access(&self) -> Access {
        match self {
            Self::Double(double) => double.access(),
            Self::Real(real) => real.access(),
        }
    }
}
