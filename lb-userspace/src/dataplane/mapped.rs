//! An array map in this process's memory, shared with the BPF programs (`BPF_F_MMAPABLE`,
//! kernel 5.5): for reading, as any process can, or for writing, as the tables' owner does.
//!
//! Nothing here decides when an element may be written: [`crate::publish`] does.
#![allow(unsafe_code)]

use std::{
    io,
    marker::PhantomData,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering, fence},
};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags};

/// A mapped array of `T`, whose size must be a multiple of 8: the kernel rounds elements up to it.
pub(crate) struct MappedArray<T> {
    base: NonNull<T>,
    len: u32,
    element: PhantomData<T>,
}

// SAFETY: the mapping belongs to no thread, and elements are copied in and out.
unsafe impl<T: Pod + Send> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    const WHOLE_WORDS: () = assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8);

    /// Maps all `len` elements of the array for reading.
    pub(crate) fn new(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        Self::map(map, len, ProtFlags::READ)
    }

    fn map(map: BorrowedFd<'_>, len: u32, protection: ProtFlags) -> io::Result<Self> {
        let () = Self::WHOLE_WORDS;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), bytes::<T>(len), protection, MapFlags::SHARED, map, 0)
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { base, len, element: PhantomData })
    }

    /// The first 8 bytes of an element, in one load that is ordered before every later one, and
    /// after every earlier one.
    ///
    /// # Panics
    ///
    /// If `index` is outside of the array.
    pub(crate) fn word(&self, index: u32) -> u64 {
        fence(Ordering::Acquire);
        // SAFETY: inside the mapping and aligned to 8, as asserted. Volatile, since another process
        // may write it; not atomic, since the mapping may be read-only.
        let word = unsafe { self.element(index).cast::<u64>().as_ptr().read_volatile() };
        fence(Ordering::Acquire);
        word
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
        // SAFETY: exactly what `map` mapped, and no reference into it outlives `self`. It cannot
        // fail for a range that is mapped.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), bytes::<T>(self.len)) };
    }
}

/// A mapped array that this process writes, as its only writer.
pub(crate) struct WritableArray<T>(MappedArray<T>);

impl<T: Pod> WritableArray<T> {
    /// Maps all `len` elements of the array for reading and writing.
    pub(crate) fn new(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        MappedArray::map(map, len, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// One of the 8-byte words of an element, which may be stored while programs read it.
    ///
    /// # Panics
    ///
    /// If `index` is outside of the array, or `word` outside of the element.
    pub(crate) fn word(&self, index: u32, word: usize) -> &AtomicU64 {
        assert!(word < size_of::<T>() / 8, "word {word} of an element");
        // SAFETY: inside the element, aligned to 8 (asserted above), mapped for reading and writing
        // as long as `self`, and stored by nobody but through this.
        unsafe { AtomicU64::from_ptr(self.0.element(index).cast().add(word).as_ptr()) }
    }

    /// A copy of an element.
    ///
    /// # Panics
    ///
    /// If `index` is outside of the array.
    pub(crate) fn read(&self, index: u32) -> T {
        self.0.read(index)
    }

    /// Writes elements. Programs must not be able to reach them.
    ///
    /// # Panics
    ///
    /// If they do not fit into the array.
    pub(crate) fn write(&mut self, first: u32, elements: &[T]) {
        let (end, len) = (first as usize + elements.len(), self.0.len as usize);
        assert!(end <= len, "elements {first}..{end} of {len}");
        // SAFETY: the target lies inside the mapping, as just checked, and the source is ordinary
        // memory of this process, which cannot overlap it.
        unsafe {
            let target = self.0.base.add(first as usize).as_ptr();
            ptr::copy_nonoverlapping(elements.as_ptr(), target, elements.len());
        }
    }
}

const fn bytes<T>(len: u32) -> usize {
    len as usize * size_of::<T>()
}
