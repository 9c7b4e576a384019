//! Accounts, access keys and the calls of the Security Token Service.
