//! One module a subcommand.

pub mod apt_account;
pub mod audit;
pub mod diff;
pub mod doctor;
pub mod feed;
pub mod image;
pub mod init;
pub mod ledger;
pub mod policy;
pub mod provenance;
pub mod recall;
pub mod receipt;
pub mod receipts;
pub mod replay;
pub mod serve;
pub mod setup;
pub mod token;
pub mod trust_args;
pub mod verify;
pub mod verify_bundle;
pub mod version_order;
pub mod waive;
pub mod witness;
