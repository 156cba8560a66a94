//! Where things go in the tables, decided without touching them.
//!
//! [`blocks`] hands out ranges of a table of backends, [`slots`] entries of `lb_services`, [`limbo`]
//! holds what readers may still see, [`placement`] numbers the backends of a block. Everything here
//! is pure: no clock, no system call, and nothing that knows what a map is.

pub mod blocks;
pub mod limbo;
pub mod placement;
pub mod slots;
