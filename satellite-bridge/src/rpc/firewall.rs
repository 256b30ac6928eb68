//! Wire for the firewall service.
