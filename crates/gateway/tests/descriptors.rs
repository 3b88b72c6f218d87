//! Out of descriptors: the server must not spin, and must go on afterwards. In a process of its own,
//! since the limit is the process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

mod support;

use countersign_gateway::server::ServerOptions;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::TcpStream;
use std::time::Duration;
use support::client::get;
use support::{Double, start};

/// Processor time of this process so far, in ticks of a hundredth of a second (proc(5)).
fn ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_descriptors_it_waits_and_goes_on() {
    let double = Double::default();
    let (_server, address) = start(&double, ServerOptions::default()).await;
    assert_eq!(get(address, "/healthz", &[]).await.status, 200);
    let Some(_) = ticks() else {
        eprintln!("skipped: this system tells no processor times");
        return;
    };
    let before = getrlimit(Resource::Nofile);
    let mut low = before;
    low.current = Some(60);
    setrlimit(Resource::Nofile, low).unwrap();
    // Each takes one descriptor here and one at the server, until there are none.
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect(address) {
        held.push(stream);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(held.len() > 10);
    let room = held.pop();
    let began = ticks_now(&mut held);
    drop(room);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One descriptor was freed for reading the time; the server may take it, so it is freed again.
    held.pop();
    let used = ticks_now(&mut held) - began;
    assert!(used < 30, "{used} hundredths of a second in one second of waiting");
    setrlimit(Resource::Nofile, before).unwrap();
    held.clear();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(get(address, "/healthz", &[]).await.status, 200);
    let text = get(address, "/metrics", &[]).await.text();
    let errors = text.lines().find(|l| l.starts_with("countersign_accept_errors_total ")).unwrap();
    assert_ne!(errors, "countersign_accept_errors_total 0");
}

/// The processor time, for which a descriptor is needed: connections are closed until there is one.
fn ticks_now(held: &mut Vec<TcpStream>) -> u64 {
    loop {
        if let Some(ticks) = ticks() {
            return ticks;
        }
        held.pop().expect("there is a descriptor at last");
    }
}
