//! Which role may call which method in which state of the satellite: one table, deny by default.
