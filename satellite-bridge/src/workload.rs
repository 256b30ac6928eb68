//! What is installed, started and watched on the satellite.
