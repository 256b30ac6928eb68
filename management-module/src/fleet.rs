//! One task a satellite: its channel, whether it answers, what it runs.
