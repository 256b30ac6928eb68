//! Wire for the pairing service.
