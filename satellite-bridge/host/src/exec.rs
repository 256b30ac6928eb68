//! Starting programs with a deadline.
