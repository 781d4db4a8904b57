//! What safe Rust has no words for, and nothing else: memory that two processes share, a process
//! that shares our table of descriptors, and what such a process inherits there.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::Pid;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A file in memory, shared with who has it in memory, too. What is shared while both run are words
/// ([`word`](Self::word)); bytes belong to one process at a time.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    length: usize,
    /// It stays open, and with it the file's lock: other processes have the same descriptor.
    file: ManuallyDrop<File>,
}

impl Memory {
    /// Maps the first `length` bytes of a file, which becomes as long. Before a part of it is
    /// touched, it must be [reserved](Self::reserve).
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(file: File, length: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        file.set_len(length as u64)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses a place where nothing else is. Nobody makes the file shorter
        // while this lives: it is locked, and only its owner may write it.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Memory {
            start: start.cast(),
            length,
            file: ManuallyDrop::new(file),
        })
    }

    /// Sees to it that there is memory behind a part, so that to touch it cannot fail.
    ///
    /// # Errors
    /// There is none.
    pub fn reserve(&self, part: Range<usize>) -> io::Result<()> {
        self.allocate(FallocateFlags::empty(), part)
    }

    /// Gives the memory behind a part back: it is zero, and must be reserved again before it is
    /// touched.
    ///
    /// # Errors
    /// The kernel's.
    pub fn release(&self, part: Range<usize>) -> io::Result<()> {
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        self.allocate(hole, part)
    }

    fn allocate(&self, how: FallocateFlags, part: Range<usize>) -> io::Result<()> {
        let (start, length) = (part.start as i64, part.len() as i64);
        loop {
            match fallocate(&*self.file, how, start, length) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The descriptor of the file.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// A word that both processes may use.
    ///
    /// # Panics
    /// `at` is not inside, or is no multiple of eight.
    pub fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.length, "word {at}");
        #[cfg(test)]
        death::passes();
        // SAFETY: inside the mapping, which is aligned to pages and lives as long as `self`. All
        // bit patterns are words. `bytes_mut` borrows all of `self`, so that in this process no
        // other reference writes it; other processes touch words by atomic operations only.
        unsafe { AtomicU64::from_ptr(self.start.add(at).cast().as_ptr()) }
    }

    /// Bytes that this process alone uses now.
    ///
    /// # Panics
    /// They are not inside.
    pub fn bytes(&self, part: Range<usize>) -> &[u8] {
        assert!(
            part.start <= part.end && part.end <= self.length,
            "{part:?}"
        );
        // SAFETY: inside the mapping, which lives as long as `self`; written only by `bytes_mut`
        // and `copy`, which borrow `self` mutably, and by no other process.
        unsafe { std::slice::from_raw_parts(self.start.add(part.start).as_ptr(), part.len()) }
    }

    /// The same, to be written.
    ///
    /// # Panics
    /// They are not inside.
    pub fn bytes_mut(&mut self, part: Range<usize>) -> &mut [u8] {
        #[cfg(test)]
        death::passes();
        assert!(
            part.start <= part.end && part.end <= self.length,
            "{part:?}"
        );
        // SAFETY: inside the mapping, which lives as long as `self`; borrowed mutably, and no other
        // process uses bytes while this one does.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(part.start).as_ptr(), part.len()) }
    }

    /// Copies bytes to another place that does not overlap.
    ///
    /// # Panics
    /// They are not inside.
    pub fn copy(&mut self, from: Range<usize>, to: usize) {
        self.bytes_mut(0..self.length).copy_within(from, to);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is what `map` mapped, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

/// Has every large block of this process come from the kernel and go back to it at once. Otherwise
/// the heap keeps each table that was exchanged for a larger one, as a hole.
pub fn return_large_blocks() {
    const LARGE: c_int = 128 * 1024;
    // SAFETY: sets a number of the allocator's; it says so if it does not like it, and goes on.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Starts a process that is a copy of this one, as by fork(2), but shares the table of descriptors
/// with it: what either opens or closes is open or closed for both. Gives `None` in the new process.
///
/// # Errors
/// The kernel's. `EBUSY`: this process has more than one thread.
pub fn clone_process() -> nix::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if threads.is_ok_and(|threads| threads > 1) {
        return Err(Errno::EBUSY);
    }
    let flags = libc::c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM the new process has a copy of this one's memory, and goes on with a
    // copy of this stack, as after fork(2). There is only this thread, so that no lock is held by
    // one that the copy lacks.
    let id = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    match Errno::result(id)? {
        0 => Ok(None),
        id => Ok(Some(Pid::from_raw(
            id.try_into().map_err(|_| Errno::ERANGE)?,
        ))),
    }
}

/// Takes over an open descriptor that a former process of the shared table has left. `None` if it is
/// not open. To be called once for each, before anything else is opened.
pub fn inherit(descriptor: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is open, and its former owner is no more: nothing else in this process knows it.
    is_open(descriptor).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Leaves a descriptor open under this number, as a former process of the shared table would have,
/// to be [inherited](inherit).
///
/// # Errors
/// The kernel's. `EBUSY`: something has that number.
pub fn place(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        let _ = descriptor.into_raw_fd();
        return Ok(());
    }
    if is_open(number) {
        return Err(Errno::EBUSY.into());
    }
    // SAFETY: nothing has that number, so that nothing is closed behind anyone's back.
    let result = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
    Errno::result(result)?;
    Ok(())
}

fn is_open(descriptor: RawFd) -> bool {
    if descriptor < 0 {
        return false;
    }
    // SAFETY: only looked at, and not beyond this function.
    let seen = unsafe { BorrowedFd::borrow_raw(descriptor) };
    fcntl(seen, FcntlArg::F_GETFD).is_ok()
}

/// How many bytes a TCP socket has received that were not read (without FIN), and how many it was
/// given that were not acknowledged (with FIN).
///
/// # Errors
/// The kernel's: it is no TCP socket.
pub fn queued(socket: BorrowedFd<'_>) -> nix::Result<(u64, u64)> {
    let ask = |what: libc::Ioctl| -> nix::Result<u64> {
        let mut count: c_int = 0;
        // SAFETY: both requests write one int (tcp(7)), which outlives the call.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut count) };
        Errno::result(result)?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok((ask(libc::FIONREAD)?, ask(libc::TIOCOUTQ)?))
}

/// Tests let a worker die, by a panic, before any access to memory.
#[cfg(test)]
pub mod death {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// What a dying worker panics with.
    #[derive(Debug)]
    pub struct Death;

    /// After so many accesses this thread dies.
    pub fn comes_after(accesses: u64) {
        LEFT.set(accesses);
    }

    /// How many are left.
    pub fn left() -> u64 {
        LEFT.get()
    }

    /// One access.
    pub fn passes() {
        match LEFT.get() {
            0 => {
                LEFT.set(u64::MAX);
                std::panic::resume_unwind(Box::new(Death));
            }
            left => LEFT.set(left - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_written_in_one_mapping_is_read_in_another() {
        let path = std::env::temp_dir().join(format!("sipalg-memory-{}", std::process::id()));
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            Memory::map(options.open(&path).unwrap(), 8192).unwrap()
        };
        let (mut one, other) = (open(), open());
        one.reserve(0..8192).unwrap();
        one.word(8).store(7, Ordering::Release);
        one.bytes_mut(100..103).copy_from_slice(b"abc");
        one.copy(100..103, 5000);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(other.word(8).load(Ordering::Acquire), 7);
        assert_eq!(other.bytes(5000..5003), b"abc");
    }
}
