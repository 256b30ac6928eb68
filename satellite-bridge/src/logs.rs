//! Named log sources, read as one compressed stream.
