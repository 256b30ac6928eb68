//! Wire for the workload service.
