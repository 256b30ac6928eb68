//! The pairing window and the installation that the satellite belongs to.
