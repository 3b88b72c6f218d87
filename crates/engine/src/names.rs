//! Addresses of hosts, asked for once for all who connect at the same time.
//!
//! A gate that was asked for hundreds of files opens dozens of connections at once. A question to the
//! system's resolver for each of them makes small name servers drop some, and each that is dropped
//! holds a thread for five seconds (resolv.conf(5), `timeout`).

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an answer is used. The system's resolver does not tell how long it holds; a host that
/// moves is found again after this.
const KEPT: Duration = Duration::from_secs(30);
/// Hosts that are remembered.
const MOST: usize = 256;

type Answer = Result<Vec<SocketAddr>, String>;
type Asking = Shared<BoxFuture<'static, Answer>>;

/// The hosts that were asked for lately.
#[derive(Default)]
pub(crate) struct Names(Mutex<HashMap<String, (Instant, Asking)>>);

impl Names {
    /// The question that is under way or was answered a moment ago, or a new one by `ask`.
    fn asking(&self, host: &str, ask: impl FnOnce() -> BoxFuture<'static, Answer>) -> Asking {
        let mut all = self.0.lock();
        if let Some((since, asking)) = all.get(host) {
            let failed = asking.peek().is_some_and(Result::is_err);
            if since.elapsed() < KEPT && !failed {
                return asking.clone();
            }
        }
        if all.len() >= MOST {
            all.retain(|_, (since, _)| since.elapsed() < KEPT);
        }
        let asking = ask().shared();
        if all.len() < MOST {
            all.insert(host.to_owned(), (Instant::now(), asking.clone()));
        }
        asking
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let asking = self.asking(name.as_str(), || {
            // It goes on when the one who asked first has left.
            let task = tokio::spawn(async move {
                let found = tokio::net::lookup_host((host.as_str(), 0)).await;
                found.map(Iterator::collect).map_err(|e| format!("`{host}` is not found: {e}"))
            });
            task.map(|done| done.unwrap_or_else(|e| Err(e.to_string()))).boxed()
        });
        Box::pin(async move {
            let found = asking.await.map_err(std::io::Error::other)?;
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn many_who_connect_ask_once_and_a_failure_is_not_kept() {
        let (names, asked) = (Names::default(), Arc::new(AtomicUsize::new(0)));
        let ask = |answer: Answer| {
            let asked = asked.clone();
            move || {
                async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    answer
                }
                .boxed()
            }
        };
        let failing = |_| names.asking("gone.example", ask(Err("no such host".to_owned())));
        let all = futures_util::future::join_all((0..50).map(failing)).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for _ in 0..3 {
            let found = names.asking("gone.example", ask(Ok(vec![address]))).await;
            assert_eq!(found, Ok(vec![address]));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let other = names.asking("other.example", ask(Ok(Vec::new()))).await;
        assert_eq!((other, asked.load(Ordering::SeqCst)), (Ok(Vec::new()), 3));
    }

    #[tokio::test]
    async fn the_systems_names_are_found() {
        let found = Names::default().resolve("localhost".parse().unwrap()).await;
        let found = found.unwrap_or_else(|e| panic!("{e}"));
        assert!(found.into_iter().all(|a| a.ip().is_loopback()));
    }
}
