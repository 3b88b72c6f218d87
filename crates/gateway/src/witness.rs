//! The HTTP side of a witness (C2SP tlog-witness): `POST /add-checkpoint`, and nothing else.

use countersign_core::Timestamp;
use countersign_engine::witnessing::{WitnessAnswer, WitnessDesk};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Largest request, in bytes: against memory.
const MAX_BODY: usize = 64 << 10;

/// How long a request may take to arrive: against those who hold connections open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at a time.
const CONNECTIONS: usize = 256;

/// The clock that requests are judged by.
pub type Clock = fn() -> Timestamp;

/// Serves a witness until the task is dropped.
pub async fn serve_witness(listener: TcpListener, desk: WitnessDesk, clock: Clock) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let desk = desk.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| answer(desk.clone(), clock, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection ended");
            }
        });
    }
}

async fn answer(
    desk: WitnessDesk,
    clock: Clock,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |status, body: &str| {
        let content_type = "text/plain; charset=utf-8";
        WitnessAnswer { status, content_type, body: body.to_owned() }
    };
    let answer = if request.uri().path() != "/add-checkpoint" {
        plain(404, "this is a witness: POST /add-checkpoint\n")
    } else if request.method() != Method::POST {
        plain(405, "POST a checkpoint\n")
    } else {
        match timeout(PATIENCE, Limited::new(request.into_body(), MAX_BODY).collect()).await {
            Ok(Ok(body)) => desk.add_checkpoint(&body.to_bytes(), clock()).await,
            Ok(Err(_)) => plain(413, "the request is larger than 64 KiB, or was cut off\n"),
            Err(_) => plain(408, "the request takes too long\n"),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
