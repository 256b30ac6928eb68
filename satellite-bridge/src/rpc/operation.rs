//! Wire for the operation service.
