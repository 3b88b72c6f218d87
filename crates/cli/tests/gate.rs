//! The gate as a client of one's own sees it: what it answers to whom, and what it never gives out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests say why they were skipped, and fail by panicking"
)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of the shared support"
)]

mod support;

use std::time::Duration;
use support::archives::{sha256, wheel, wheel_name};
use support::registries::{OLD, Pypi};
use support::server::{Body, Fault, Reply, Upstream};
use support::{Run, Sandbox, python, scripted_pip, skipped};

/// Runs a script in pip's place. Every word in capitals of `names` is replaced by its address.
fn scripted(index: &Pypi<'_>, names: &[(&str, String)], script: &str) -> Option<(Sandbox, Run)> {
    if skipped("python3 with pip", python()) {
        return None;
    }
    let mut s = Sandbox::new();
    let venv = s.venv(python()?);
    s.env("PIP_INDEX_URL", index.url());
    s.config("[patience]\nconnect-seconds = 2\nread-seconds = 3\n");
    s.deadline = Duration::from_secs(60);
    let text = names
        .iter()
        .fold(script.to_owned(), |t, (name, value)| t.replace(name, &format!("{value:?}")));
    scripted_pip(&venv, &text);
    let run = s.gate(&["pip", "download", "lib"]);
    Some((s, run))
}

fn file() -> String {
    wheel_name("lib", "1.0.0")
}

#[test]
fn twenty_at_once_cause_one_fetch() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let path = index.file_path(&file());
    up.break_with(&path, |r| r.delay(Duration::from_millis(500)));
    let script = "
ask(PAGE)
got = []
def one(): got.append(ask(FILE))
threads = [threading.Thread(target=one) for _ in range(20)]
for t in threads: t.start()
for t in threads: t.join()
assert len(got) == 20 and all(status == 200 for status, _, _ in got), got
assert len({body for _, _, body in got}) == 1
import hashlib
print(hashlib.sha256(got[0][2]).hexdigest())
";
    let names = [("PAGE", format!("{}lib/", index.url())), ("FILE", up.url(&path))];
    let Some((s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0).says(&sha256(&wheel("lib", "1.0.0")));
    assert_eq!(up.count(&path), 1, "one fetch for all");
    assert_eq!(s.ledger().len(), 1, "one decision for all");
}

#[test]
fn twenty_pages_at_once_cause_one_fetch() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    up.break_with(&index.page_path("lib"), |r| r.delay(Duration::from_millis(300)));
    let script = "
got = []
def one(): got.append(ask(PAGE))
threads = [threading.Thread(target=one) for _ in range(20)]
for t in threads: t.start()
for t in threads: t.join()
assert [status for status, _, _ in got] == [200] * 20, got
";
    let Some((_s, run)) = scripted(&index, &[("PAGE", format!("{}lib/", index.url()))], script)
    else {
        return;
    };
    run.expect(0);
    assert_eq!(up.count(&index.page_path("lib")), 1);
}

#[test]
fn a_fetch_goes_on_when_the_asker_leaves() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let path = index.file_path(&file());
    up.break_with(&path, |r| r.delay(Duration::from_millis(700)));
    let script = "
ask(PAGE)
s = socket.create_connection(PROXY)
s.sendall(('GET %s HTTP/1.1\\r\\nHost: x\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n' % (FILE, SECRET)).encode())
time.sleep(0.2)
s.close()
time.sleep(0.2)
assert ask(FILE)[0] == 200
";
    let names = [("PAGE", format!("{}lib/", index.url())), ("FILE", up.url(&path))];
    let Some((_s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0);
    assert_eq!(up.count(&path), 1);
}

#[test]
fn who_does_not_know_the_secret_gets_nothing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let script = "
wrong = base64.b64encode(b'countersign:' + b'0' * 32).decode()
for value in [None, 'Basic ' + wrong, 'Bearer ' + SECRET, 'Basic', 'Basic !!!', 'Basic ' + base64.b64encode(b'countersign:').decode()]:
    status, headers, body = ask(PAGE, {'Proxy-Authorization': value})
    assert status == 407, (value, status)
    assert 'proxy-authenticate' in headers, headers
    status, _, _ = ask(HOST, {'Proxy-Authorization': value}, 'CONNECT')
    assert status == 407, (value, status)
";
    let names = [("PAGE", format!("{}lib/", index.url())), ("HOST", up.host())];
    let Some((_s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0);
    assert!(up.seen().is_empty(), "{:?}", up.seen());
}

#[test]
fn addresses_outside_the_upstreams_are_closed_and_named() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    elsewhere.put("/thing", Reply::file("secret"));
    let script = "
for url, method in [(OTHER, 'GET'), (OTHER, 'HEAD'), (OTHER, 'POST'), (OTHER, 'PUT'), (OTHER, 'DELETE'), (PAGE, 'POST'), (PAGE, 'PUT')]:
    status, headers, body = ask(url, method=method)
    assert status == 403 and headers['countersign-reason'] == 'closed-door', (url, method, status, headers)
    assert b'secret' not in body
status, headers, body = ask(OTHER, {'Accept': 'application/json'})
problem = json.loads(body)
assert headers['content-type'] == 'application/problem+json' and problem['reason'] == 'closed-door', problem
status, headers, body = ask(OTHER, {'Accept': 'text/html'})
assert headers['content-type'].startswith('text/html')
";
    let names =
        [("OTHER", elsewhere.url("/thing?token=hidden")), ("PAGE", format!("{}lib/", index.url()))];
    let Some((s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0).expect_door(&elsewhere.url("/thing"));
    assert!(elsewhere.seen().is_empty() && up.seen().is_empty());
    s.expect_nowhere("hidden", &[&run]);
}

/// Spellings of one place: whatever comes is what was judged, or nothing.
#[test]
fn other_spellings_of_an_address_get_nothing_unjudged() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let evil = wheel("evil", "1.0.0");
    let everywhere = move |_: &support::server::Seen| Reply::file(evil.clone());
    for path in [
        "/evil.whl",
        "/simple/evil-1.0.0-py3-none-any.whl",
        "/files/evil-1.0.0-py3-none-any.whl",
        "/simple/evil/x.whl",
    ] {
        up.put_fn(path, everywhere.clone());
    }
    let script = "
ask(PAGE)
host, evil = ROOT, bytes.fromhex(EVIL)
for path in [
    '/evil.whl', '/simple/../evil.whl', '/simple/%2e%2e/evil.whl', '/simple/..%2fevil.whl', '/simple//evil.whl', '/simple/lib/../../evil.whl',
    '/simple/evil-1.0.0-py3-none-any.whl', '/simple/evil/x.whl', '/files/evil-1.0.0-py3-none-any.whl', '/files//evil-1.0.0-py3-none-any.whl',
    '/files/evil-1.0.0-py3-none-any.whl?lib-1.0.0-py3-none-any.whl', '/files/evil-1.0.0-py3-none-any.whl;x', '/files/lib-1.0.0-py3-none-any.whl/../evil-1.0.0-py3-none-any.whl',
    '/files/evil-1.0.0-py3-none-any.whl#/lib-1.0.0-py3-none-any.whl', '/simple/evil-1.0.0-py3-none-any.whl.metadata', '/simple\\\\evil.whl',
]:
    try:
        status, headers, body = ask(host + path)
    except http.client.HTTPException as e:
        continue
    assert evil not in body and body[:2] != b'PK', (path, status, headers)
    assert status >= 400 or not body.startswith(b'PK'), (path, status)
# The judged file under its own spellings is the judged file.
for path in ['/files/LIB', '/files/LIB#x', '/files/./LIB', '/simple/../files/LIB']:
    status, headers, body = ask(host + path.replace('LIB', 'lib-1.0.0-py3-none-any.whl'))
    assert status != 200 or body.hex() == GOOD, (path, status)
";
    let names = [
        ("PAGE", format!("{}lib/", index.url())),
        ("ROOT", up.url("")),
        ("EVIL", hex::encode(wheel("evil", "1.0.0"))),
        ("GOOD", hex::encode(wheel("lib", "1.0.0"))),
    ];
    let Some((s, run)) = scripted(&index, &names, script) else { return };
    assert_eq!(run.report["client_exit_code"], 0, "{}", run.transcript());
    assert!(!s.blobs().contains(&sha256(&wheel("evil", "1.0.0"))));
}

#[test]
fn a_tunnel_passes_nothing_that_is_not_judged() {
    let (up, elsewhere) = (Upstream::start(), Upstream::start());
    let index = Pypi::new(&up);
    elsewhere.put("/thing", Reply::file("secret"));
    let script = "
s = socket.create_connection(PROXY, timeout=20)
s.sendall(('CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n' % (HOST, HOST, SECRET)).encode())
assert b' 200 ' in s.recv(4096)
s.sendall(('GET /thing HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' % HOST).encode())
try:
    assert b'secret' not in s.recv(4096)
except ConnectionResetError:
    pass
import ssl
s = socket.create_connection(PROXY, timeout=20)
s.sendall(('CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n' % (HOST, HOST, SECRET)).encode())
assert b' 200 ' in s.recv(4096)
context = ssl.create_default_context(cafile=os.environ['PIP_CERT'])
tls = context.wrap_socket(s, server_hostname=HOST.split(':')[0])
tls.sendall(('GET /thing HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' % HOST).encode())
got = b''
while True:
    more = tls.recv(4096)
    if not more: break
    got += more
assert b' 403 ' in got.split(b'\\r\\n')[0] and b'secret' not in got, got
# A request that names another host than its tunnel means two things.
s = socket.create_connection(PROXY, timeout=20)
s.sendall(('CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n' % (HOST, HOST, SECRET)).encode())
s.recv(4096)
tls = context.wrap_socket(s, server_hostname=HOST.split(':')[0])
tls.sendall(('GET /simple/lib/ HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' % OWN).encode())
assert b' 421 ' in tls.recv(4096).split(b'\\r\\n')[0]
";
    let names = [("HOST", elsewhere.host()), ("OWN", up.host())];
    let Some((_s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0).expect_door(&elsewhere.host());
    assert!(elsewhere.seen().is_empty() && up.seen().is_empty());
}

#[test]
fn parts_of_an_artifact_are_parts_of_what_was_judged() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let path = index.file_path(&file());
    let script = "
ask(PAGE)
status, headers, whole = ask(FILE)
assert status == 200 and whole.hex() == GOOD and int(headers['content-length']) == len(whole)
for text, want in [('bytes=0-9', whole[:10]), ('bytes=10-', whole[10:]), ('bytes=-7', whole[-7:]), ('bytes=5-999999', whole[5:])]:
    status, headers, body = ask(FILE, {'Range': text})
    assert status == 206 and body == want, (text, status, len(body))
    assert headers['content-range'].endswith('/%d' % len(whole)), headers
assert ask(FILE, {'Range': 'bytes=%d-' % len(whole)})[0] == 416
status, headers, body = ask(FILE, method='HEAD')
assert status == 200 and body == b'' and int(headers['content-length']) == len(whole)
# A page that did not change is not sent again.
status, headers, body = ask(PAGE)
status, _, again = ask(PAGE, {'If-None-Match': headers['etag']})
assert status == 304 and again == b''
";
    let names = [
        ("PAGE", format!("{}lib/", index.url())),
        ("FILE", up.url(&path)),
        ("GOOD", hex::encode(wheel("lib", "1.0.0"))),
    ];
    let Some((_s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0);
    assert_eq!(up.count(&path), 1);
}

#[test]
fn a_question_about_a_file_gets_no_more_than_the_file() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let path = index.file_path(&file());
    // The first HEAD or Range must cause a whole, judged fetch as well.
    up.break_with(&path, |r| {
        let Body::Bytes(bytes) = &r.body else { return r };
        let mut other = bytes.to_vec();
        *other.last_mut().unwrap() ^= 1;
        Reply::file(other)
    });
    let script = "
ask(PAGE)
for headers, method in [({}, 'HEAD'), ({'Range': 'bytes=0-9'}, 'GET'), ({'Range': 'bytes=-9'}, 'GET'), ({}, 'GET')]:
    status, got, body = ask(FILE, headers, method)
    assert status == 403 and got['countersign-reason'] == 'digest-mismatch', (method, status, got)
    assert b'PK' not in body
";
    let names = [("PAGE", format!("{}lib/", index.url())), ("FILE", up.url(&path))];
    let Some((s, run)) = scripted(&index, &names, script) else { return };
    assert_eq!(run.report["client_exit_code"], 0, "{}", run.transcript());
    assert!(s.blobs().is_empty());
}

#[test]
fn requests_that_are_none_are_turned_down() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let script = "
def raw(text):
    s = socket.create_connection(PROXY, timeout=20)
    s.sendall(text)
    try:
        return s.recv(4096)
    except ConnectionResetError:
        return b''
auth = b'Proxy-Authorization: Basic ' + SECRET.encode() + b'\\r\\n'
assert b' 400 ' in raw(b'GET /simple/lib/ HTTP/1.1\\r\\nHost: x\\r\\n' + auth + b'\\r\\n').split(b'\\r\\n')[0]
for text in [b'\\0' * 100, b'GET\\r\\n\\r\\n', b'GET http://[ HTTP/1.1\\r\\n' + auth + b'\\r\\n', b'CONNECT / HTTP/1.1\\r\\n' + auth + b'\\r\\n',
             b'CONNECT \\xff:443 HTTP/1.1\\r\\n' + auth + b'\\r\\n', b'GET ftp://x/ HTTP/1.1\\r\\nHost: x\\r\\n' + auth + b'\\r\\n',
             b'GET file:///etc/passwd HTTP/1.1\\r\\nHost: x\\r\\n' + auth + b'\\r\\n',
             b'GET http://x/' + b'a' * 200000 + b' HTTP/1.1\\r\\n' + auth + b'\\r\\n']:
    got = raw(text)
    assert b' 200 ' not in got.split(b'\\r\\n')[0] and b'root:' not in got, (text[:60], got)
# It still answers.
assert ask(PAGE)[0] == 404
";
    let Some((_s, run)) = scripted(&index, &[("PAGE", format!("{}lib/", index.url()))], script)
    else {
        return;
    };
    assert_eq!(run.report["client_exit_code"], 0, "{}", run.transcript());
}

#[test]
fn a_slow_upstream_is_waited_for_while_bytes_come() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let path = index.file_path(&file());
    up.break_with(&path, |r| r.delay(Duration::from_secs(2)));
    let script = "ask(PAGE)\nassert ask(FILE)[0] == 200";
    let names = [("PAGE", format!("{}lib/", index.url())), ("FILE", up.url(&path))];
    let Some((_s, run)) = scripted(&index, &names, script) else { return };
    run.expect(0);
    up.break_with(&path, |r| Reply { delay: Duration::ZERO, ..r }.fault(Fault::StallAtOnce));
}
