//! Wire for the satellite service.
