//! What the gateway logs, and in which form.

use crate::print;
use countersign_engine::config::LogForm;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged unless `--log` says otherwise: the gateway's own doings and the access log
/// (`countersign::access`), and of its libraries only what is wrong.
const DEFAULT: &str = "warn,countersign=info";

/// Starts logging to standard error.
pub fn start(form: LogForm, filter: Option<&str>) {
    let filter = EnvFilter::new(filter.unwrap_or(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match form {
        LogForm::Text => registry.with(lines.with_ansi(print::colours())).init(),
        LogForm::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}
