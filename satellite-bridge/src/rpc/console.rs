//! Wire for the console service.
