//! The laboratory: satellites in containers, centrals with data, and what waits for them.
