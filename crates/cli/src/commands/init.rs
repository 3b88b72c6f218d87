//! `countersign init`.

use crate::context::{Context, Failed};
use crate::print;

/// Makes the store and the ledger's key.
pub async fn init(context: &Context, origin: Option<&str>) -> Result<u8, Failed> {
    let key = context.init(origin).await?;
    countersign_engine::store::Store::open(
        &context.state,
        countersign_engine::store::OpenMode::Create,
    )
    .await?;
    print::line(&format!("store:      {}", context.state.display()));
    print::line(&format!("ledger key: {}", context.state.join("keys/ledger.pem").display()));
    print::line(&format!("public key: {key}"));
    print::line("Give the public key to whoever is to check receipts.");
    Ok(0)
}
