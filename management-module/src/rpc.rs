//! Wire to one use case to wire.
