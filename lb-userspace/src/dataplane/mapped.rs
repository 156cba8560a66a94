//! An array map in this process's memory, shared with the BPF programs (`BPF_F_MMAPABLE`,
//! kernel 5.5).
//!
//! Nothing here decides when an element may be written: [`crate::publish`] does.
#![allow(unsafe_code)]

use std::{
    io,
    marker::PhantomData,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::atomic::AtomicU64,
};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags};

/// A mapped array of `T`, whose size must be a multiple of 8: the kernel rounds elements up to it.
pub(crate) struct MappedArray<T> {
    base: NonNull<T>,
    len: u32,
    element: PhantomData<T>,
}

// SAFETY: the mapping belongs to no thread. What other threads and the kernel may read at the same
// time as a `&self` method reads or stores goes through atomics, or is not written meanwhile.
unsafe impl<T: Pod + Send> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    const WHOLE_WORDS: () = assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8);

    /// Maps all `len` elements of the array, for reading only or also for writing.
    pub(crate) fn new(map: BorrowedFd<'_>, len: u32, write: bool) -> io::Result<Self> {
        let () = Self::WHOLE_WORDS;
        let protection = if write { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), bytes::<T>(len), protection, MapFlags::SHARED, map, 0)
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { base, len, element: PhantomData })
    }

    /// One of the 8-byte words of an element, which may be stored while programs read it.
    ///
    /// # Panics
    ///
    /// If `index` is outside of the array, or `word` outside of the element.
    pub(crate) fn word(&self, index: u32, word: usize) -> &AtomicU64 {
        assert!(word < size_of::<T>() / 8, "word {word} of an element");
        // SAFETY: inside the element, aligned to 8 (asserted above), mapped as long as `self`, and
        // stored by nobody but through this.
        unsafe { AtomicU64::from_ptr(self.element(index).cast().add(word).as_ptr()) }
    }

    /// A copy of an element.
    ///
    /// # Panics
    ///
    /// If `index` is outside of the array.
    pub(crate) fn read(&self, index: u32) -> T {
        // SAFETY: inside the mapping and aligned; any bytes are a valid T, which is Pod. Volatile,
        // since another process may write it.
        unsafe { self.element(index).as_ptr().read_volatile() }
    }

    /// Writes elements. Programs must not be able to reach them.
    ///
    /// # Panics
    ///
    /// If they do not fit into the array.
    pub(crate) fn write(&mut self, first: u32, elements: &[T]) {
        let end = first as usize + elements.len();
        assert!(end <= self.len as usize, "elements {first}..{end} of {}", self.len);
        // SAFETY: the target lies inside the mapping, as just checked, and the source is ordinary
        // memory of this process, which cannot overlap it.
        unsafe {
            let target = self.base.add(first as usize).as_ptr();
            ptr::copy_nonoverlapping(elements.as_ptr(), target, elements.len());
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    fn element(&self, index: u32) -> NonNull<T> {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.base.add(index as usize) }
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, and no reference into it outlives `self`. It cannot
        // fail for a range that is mapped.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), bytes::<T>(self.len)) };
    }
}

const fn bytes<T>(len: u32) -> usize {
    len as usize * size_of::<T>()
}
