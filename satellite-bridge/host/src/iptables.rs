//! The packet filter of the kernel.
