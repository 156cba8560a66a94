//! Reads the origins of all sockets on the node, in every network namespace, through an iterator.
//!
//! A socket's origin lives and goes with it, so this finds sockets that were made under an earlier
//! agent too. Nothing here decides what becomes of a socket: [`crate::close`] does.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::{Btf, Ebpf, programs::Iter};
use lb_common::layout::Origin;
use rustc_hash::FxHashMap;

use super::{LoadError, sys};

/// What the kernel calls this kind of iterator.
const KIND: &str = "bpf_sk_storage_map";
/// A multiple of an origin's size: where the kernel has more to hand out than fits (it gathers 8
/// pages, whatever these measure), it goes on within a value, not at the start of one.
const BUFFER: usize = 1024 * size_of::<Origin>();
/// How many reads may find nothing among a million sockets each before a pass is given up.
const BARREN_READS: usize = 1024;

/// Whose origins are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// UDP sockets'. The others are left out in the kernel.
    Udp,
    /// All.
    All,
}

impl Origins {
    /// The name of the program that reads them.
    pub fn program(self) -> &'static str {
        match self {
            Self::Udp => "origins_udp",
            Self::All => "origins",
        }
    }
}

/// A link between the iterator program and `lb_origins`. Kernel 5.9.
#[derive(Debug)]
pub struct OriginIterator {
    link: OwnedFd,
    /// Instructions that the verifier went through (kernel 5.16).
    pub instructions: Option<u32>,
    /// What loading the program took.
    pub took: Duration,
}

impl OriginIterator {
    /// Loads the program from the object and links it to a map of [`Origin`]s.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program, or the link.
    pub(super) fn load(
        ebpf: &mut Ebpf,
        origins: Origins,
        map: BorrowedFd<'_>,
    ) -> Result<Self, LoadError> {
        let name = origins.program();
        let refused = |source| LoadError::Program { name, source };
        let program: &mut Iter = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(LoadError::Missing(name))?;
        let btf = Btf::from_sys_fs().map_err(|error| refused(error.into()))?;
        let start = Instant::now();
        program.load(KIND, &btf).map_err(refused)?;
        let took = start.elapsed();
        let info = program.info().ok();
        let instructions = info.and_then(|info| info.verified_instruction_count());
        let program = program.fd().map_err(refused)?;
        Ok(Self { link: sys::link_iterator(program.as_fd(), map)?, instructions, took })
    }

    /// The origins of all sockets that had one at the start and still have it, each once.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory, or the process no descriptor left.
    pub fn read(&self) -> io::Result<Vec<Origin>> {
        let mut origins = Vec::new();
        if self.pass(|origin| origins.push(origin))? <= 1 {
            return Ok(origins);
        }
        // Between two reads the kernel remembers its place as a number of sockets to skip, so it
        // passes over some if others before them go meanwhile, and repeats some if others come.
        // Those that two passes miss are too few to matter.
        let mut origins: FxHashMap<u64, Origin> =
            origins.into_iter().map(|origin| (origin.socket, origin)).collect();
        self.pass(|origin| {
            origins.insert(origin.socket, origin);
        })?;
        Ok(origins.into_values().collect())
    }

    /// Goes over all sockets once, and returns in how many reads.
    fn pass(&self, mut each: impl FnMut(Origin)) -> io::Result<usize> {
        let iterator = sys::start_iterator(self.link.as_fd())?;
        let mut buffer = vec![0; BUFFER];
        let (mut reads, mut barren) = (0, 0);
        loop {
            match rustix::io::read(&iterator, &mut buffer) {
                Ok(0) => return Ok(reads + barren),
                Ok(len) => {
                    sys::values(&buffer[..len]).for_each(&mut each);
                    reads += 1;
                }
                Err(rustix::io::Errno::INTR) => {}
                // After a million sockets without a result (bpf_seq_read() in
                // kernel/bpf/bpf_iter.c). The next read goes on from there.
                Err(rustix::io::Errno::AGAIN) if barren < BARREN_READS => barren += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
