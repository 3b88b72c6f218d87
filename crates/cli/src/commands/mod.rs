//! One module a subcommand.

pub mod apt_account;
pub mod doctor;
pub mod feed;
pub mod init;
pub mod ledger;
pub mod policy;
pub mod receipt;
pub mod verify;
pub mod waive;
