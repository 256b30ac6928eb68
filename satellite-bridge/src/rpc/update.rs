//! Wire for the update service.
