//! Which names of one list are near those of another, to measure false alarms: `cargo run --example names --
//! POPULAR NAMES`, both with a package URL a line.

#![allow(clippy::print_stdout, clippy::expect_used)]

use countersign_core::Purl;
use countersign_scan::names::Popular;

fn main() {
    let mut files = std::env::args().skip(1);
    let mut read = || {
        let file = files.next().expect("two files are named");
        std::fs::read_to_string(file).expect("the file can be read")
    };
    let (popular, names) = (Popular::parse(&read()).expect("a list of names"), read());
    let (mut asked, mut near) = (0, 0);
    for line in names.lines().filter(|l| !l.is_empty()) {
        let purl: Purl = line.parse().expect("a package URL");
        asked += 1;
        if let Some(finding) = popular.finding(&purl) {
            near += 1;
            println!("{purl}: {}", finding.title);
        }
    }
    println!("{asked} names, {} popular ones: {near} near", popular.count());
}
