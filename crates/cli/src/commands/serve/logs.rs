//! What the gateway logs, in which form, and where its traces go.

use crate::print;
use countersign_engine::config::LogForm;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};
use url::Url;

/// What is logged unless `--log` says otherwise: the gateway's own doings, the access log, and of
/// its libraries only what is wrong. Spans cost something on each request, and are there for traces.
const DEFAULT: &str = "warn,countersign=info,access=info,countersign::request=warn";

/// How long the last traces may take to be sent when the gateway ends.
const LAST: Duration = Duration::from_secs(3);

/// The traces that are being sent, if any are.
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what is left.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let work = move || provider.shutdown_with_timeout(LAST);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Starts logging to standard error, and sending traces to `otlp` or to where the environment says
/// (`OTEL_EXPORTER_OTLP_ENDPOINT`).
///
/// # Errors
/// When the address of the collector cannot be used.
pub fn start(form: LogForm, filter: Option<&str>, otlp: Option<&Url>) -> Result<Traces, String> {
    let filter = EnvFilter::new(filter.unwrap_or(DEFAULT));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match form {
        LogForm::Text => lines.with_ansi(print::colours()).with_filter(filter).boxed(),
        LogForm::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let provider = match collector(otlp)? {
        None => None,
        Some(address) => Some(traces::provider(&address)?),
    };
    let spans = provider.as_ref().map(|p| {
        use opentelemetry::trace::TracerProvider as _;
        let own = Targets::new().with_target("countersign", LevelFilter::DEBUG);
        tracing_opentelemetry::layer().with_tracer(p.tracer("countersign")).with_filter(own)
    });
    tracing_subscriber::registry().with(lines).with(spans).init();
    Ok(Traces(provider))
}

/// The base address of the collector, if there is one. The configuration comes first.
fn collector(otlp: Option<&Url>) -> Result<Option<Url>, String> {
    if let Some(url) = otlp {
        return Ok(Some(url.clone()));
    }
    let set = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|v| !v.is_empty());
    let Some(text) = set else { return Ok(None) };
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(url)),
        _ => Err(format!(
            "`OTEL_EXPORTER_OTLP_ENDPOINT` is `{}`, which is no http or https address",
            countersign_engine::shown_address(&text)
        )),
    }
}

/// Traces by OTLP over HTTP, in protobuf.
mod traces {
    use bytes::Bytes;
    use countersign_engine::Poster;
    use http::{Request, Response};
    use opentelemetry_http::{HttpClient, HttpError};
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use std::fmt;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::time::Duration;
    use url::Url;

    /// How long the collector may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// What sends spans in batches, from a thread of its own.
    pub(super) fn provider(base: &Url) -> Result<SdkTracerProvider, String> {
        let endpoint = format!("{}/v1/traces", base.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new()?)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|e| format!("traces cannot be sent to {base}: {e}"))?;
        let who = Resource::builder()
            .with_service_name("countersign")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(who).build())
    }

    /// The gate's own HTTP client. The exporter's thread has no runtime: requests run in this one.
    struct Client {
        poster: Arc<Poster>,
        runtime: tokio::runtime::Handle,
    }

    impl Client {
        fn new() -> Result<Self, String> {
            let poster = Arc::new(Poster::new()?);
            Ok(Self { poster, runtime: tokio::runtime::Handle::current() })
        }

        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            let (parts, body) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string())?;
            let poster = self.poster.clone();
            // Timers are this runtime's as well.
            let posting = async move {
                tokio::time::timeout(PATIENCE, poster.post(&url, parts.headers, body)).await
            };
            let (status, body) = self.runtime.spawn(posting).await???;
            Ok(Response::builder().status(status).body(body)?)
        }
    }

    impl fmt::Debug for Client {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Client")
        }
    }

    impl HttpClient for Client {
        fn send_bytes<'life, 'all>(
            &'life self,
            request: Request<Bytes>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'all>>
        where
            'life: 'all,
            Self: 'all,
        {
            Box::pin(self.send(request))
        }
    }
}
