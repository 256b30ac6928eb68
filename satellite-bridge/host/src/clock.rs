//! Time, boot id, whether the clock is set.
