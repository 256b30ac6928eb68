//! Passes calls for a workload's own API on to its unix socket.
