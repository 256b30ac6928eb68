//! Wire for the log service.
