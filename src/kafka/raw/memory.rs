//! Memory that librdkafka takes and gives back a million times a second.

/// Makes the C allocator keep what readers free, since they want it again a moment later: glibc's gives back to the kernel
/// what lies at the top of a thread's heap, and the kernel clears each page anew when it is wanted again. That was a tenth
/// of the CPU time of reading. Other allocators than glibc's decide by themselves.
///
/// To be called before the first client is made.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Up to that much at the top of each heap stays.
        const KEPT_BYTES: i32 = 16 << 20;
        /// Larger than what one fetch brings. Pieces from that size on are the kernel's own, and go back at once.
        const MAPPED_BYTES: i32 = 8 << 20;
        // SAFETY: sets two numbers of the allocator, under its own lock; what it refuses changes nothing.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
}
