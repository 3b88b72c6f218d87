//! Signatures by the real holders of keys: OpenSSL's files, ssh-agent, SoftHSM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use countersign_signer::{
    Agent, Algorithm, Signer, SignerError, TokenKey, TokenUri, decrypt, encrypt, generate,
    generate_on_token, sign,
};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::EcdsaP256];

/// Whether a program is there.
fn have(program: &str) -> bool {
    let found =
        Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: there is no {program}");
    }
    found.is_ok()
}

fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn openssl_reads_what_is_written_here_and_the_other_way_round() {
    if !have("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for algorithm in BOTH {
        let key = generate(algorithm).unwrap();
        std::fs::write(at("own.pem"), encrypt(&key, "horse").unwrap()).unwrap();
        let public = run(Command::new("openssl")
            .args(["pkey", "-pubout", "-passin", "pass:horse", "-in"])
            .arg(at("own.pem")));
        assert_eq!(public, key.public().to_pem());

        let kind: &[&str] = match algorithm {
            Algorithm::Ed25519 => &["-algorithm", "ed25519"],
            Algorithm::EcdsaP256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        };
        run(Command::new("openssl")
            .arg("genpkey")
            .args(kind)
            .args(["-aes256", "-pass", "pass:horse", "-out"])
            .arg(at("theirs.pem")));
        let theirs = decrypt(&std::fs::read_to_string(at("theirs.pem")).unwrap(), "horse").unwrap();
        assert_eq!(theirs.public().algorithm(), algorithm);
        sign(&theirs, b"message").unwrap();
    }
}

/// ssh-agent, ended with the test.
struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ssh_agent(dir: &Path) -> SshAgent {
    let socket = dir.join("agent");
    let child = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let agent = SshAgent { child, socket };
    for _ in 0..200 {
        if agent.socket.exists() {
            return agent;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("ssh-agent did not start");
}

#[test]
fn ssh_agent_signs() {
    if !have("ssh-agent") || !have("ssh-add") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let agent = ssh_agent(dir.path());
    let asked = Agent::at(&agent.socket);
    assert!(asked.keys().unwrap().is_empty());
    for (kind, comment) in [("ed25519", "one"), ("ecdsa", "two"), ("rsa", "three")] {
        let file = dir.path().join(kind);
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"])
            .arg(&file));
        run(Command::new("ssh-add").arg("-q").arg(&file).env("SSH_AUTH_SOCK", &agent.socket));
    }
    let keys = asked.keys().unwrap();
    let comments: Vec<&str> = keys.iter().map(|k| k.comment()).collect();
    assert_eq!(comments, ["one", "two"], "the RSA key is passed over");
    for (key, algorithm) in keys.iter().zip(BOTH) {
        assert_eq!(key.public().algorithm(), algorithm);
        let signature = sign(key, b"message").unwrap();
        assert!(!key.public().verify(b"massage", &signature));
        assert_eq!(asked.key(&key.public().id()).unwrap().fingerprint(), key.fingerprint());
    }
    let shown = run(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", &agent.socket));
    assert!(shown.contains(&keys[0].fingerprint()), "{shown}");

    run(Command::new("ssh-add").args(["-q", "-D"]).env("SSH_AUTH_SOCK", &agent.socket));
    let e = sign(&keys[0], b"message").unwrap_err().to_string();
    assert!(e.contains("refused to sign"), "{e}");
    let e = asked.key(&keys[0].public().id()).unwrap_err().to_string();
    assert!(e.contains("ssh-add"), "{e}");
}

#[test]
fn an_agent_that_is_not_there_is_said_to_be() {
    let e = Agent::at(Path::new("/nowhere/agent")).keys().unwrap_err().to_string();
    assert!(e.contains("/nowhere/agent") && e.contains("is ssh-agent running"), "{e}");
}

const SOFTHSM: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
];

/// One test for all of SoftHSM: the module is one for the process, and reads its folder once.
#[test]
fn softhsm_signs() {
    let module = SOFTHSM.iter().find(|m| Path::new(m).is_file());
    let Some(module) = module.filter(|_| have("softhsm2-util")) else {
        eprintln!("skipped: there is no SoftHSM (package softhsm2)");
        return;
    };
    if std::env::var_os("SOFTHSM2_CONF").is_none() {
        // The module reads a variable of the process, so the test runs again with it set.
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let conf = dir.path().join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        std::fs::write(&conf, text).unwrap();
        run(Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                "build",
                "--pin",
                "4321",
                "--so-pin",
                "12345",
            ])
            .env("SOFTHSM2_CONF", &conf));
        run(Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "softhsm_signs", "--nocapture"])
            .env("SOFTHSM2_CONF", &conf));
        return;
    }
    let uri = |object: &str, token: &str| -> TokenUri {
        format!("pkcs11:token={token};object={object}?module-path={module}").parse().unwrap()
    };
    for algorithm in BOTH {
        let named = uri(algorithm.name(), "build");
        let made = generate_on_token(&named, "4321", algorithm).unwrap();
        sign(&made, b"message").unwrap();
        let public = made.public().clone();
        drop(made);
        let again = TokenKey::open(&named, "4321").unwrap();
        assert_eq!(again.public(), &public);
        let signature = sign(&again, b"message").unwrap();
        assert!(public.verify(b"message", &signature) && !public.verify(b"massage", &signature));
        drop(again);
        assert!(generate_on_token(&named, "4321", algorithm).is_err(), "it is there already");
    }
    let wrong = TokenKey::open(&uri("ed25519", "build"), "1234").unwrap_err();
    assert!(matches!(wrong, SignerError::WrongPassphrase), "{wrong}");
    let e = TokenKey::open(&uri("other", "build"), "4321").unwrap_err().to_string();
    assert!(e.contains("no private key"), "{e}");
    let e = TokenKey::open(&uri("ed25519", "other"), "4321").unwrap_err().to_string();
    assert!(e.contains("no such token"), "{e}");
}

#[test]
fn a_module_that_is_none_is_said_to_be() {
    let uri: TokenUri = "pkcs11:object=a?module-path=/nowhere/module.so".parse().unwrap();
    let e = TokenKey::open(&uri, "1").unwrap_err().to_string();
    assert!(e.contains("/nowhere/module.so"), "{e}");
}
