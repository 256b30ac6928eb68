//! Reading the systemd journal.
