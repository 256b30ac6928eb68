//! The console menu.
