//! `countersign setup`: shims and configuration, written and taken back, with the shells themselves.

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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Run, Sandbox, files_below, finish, which, write_program};

/// A home with programs that say who they are in the place of the package managers.
struct House {
    s: Sandbox,
    real: PathBuf,
}

impl House {
    fn new() -> Self {
        let s = Sandbox::new();
        let real = s.at("real");
        std::fs::create_dir(&real).unwrap();
        for name in ["pip", "pip3.11", "cargo", "npm", "uv", "yarn", "apt-get"] {
            write_program(&real.join(name), &format!("#!/bin/sh\necho real {name} \"$@\"\n"));
        }
        let mut house = Self { s, real };
        let real = house.real.clone();
        house.s.path_first(&real);
        house
    }

    fn home(&self) -> PathBuf {
        self.s.at("home")
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let file = self.home().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    fn get(&self, name: &str) -> String {
        std::fs::read_to_string(self.home().join(name)).unwrap_or_default()
    }

    /// Everything in the home folder, with modes.
    fn all(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
        use std::os::unix::fs::PermissionsExt as _;
        let one = |p: PathBuf| {
            let mode = p.metadata().unwrap().permissions().mode();
            (p.clone(), (std::fs::read(&p).unwrap(), mode))
        };
        files_below(&self.home()).into_iter().map(one).collect()
    }

    fn folders(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, out: &mut Vec<PathBuf>) {
            for e in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if e.path().is_dir() {
                    out.push(e.path());
                    below(&e.path(), out);
                }
            }
        }
        let mut out = Vec::new();
        below(&self.home(), &mut out);
        out.sort();
        out
    }

    fn setup(&self, args: &[&str]) -> Run {
        let mut words = vec!["setup"];
        words.extend(args);
        self.s.countersign(&words)
    }

    /// Runs a script in a shell as the user's own would.
    fn shell(&self, program: &str, args: &[&str]) -> Run {
        let command = self.s.command(&which(program).unwrap(), args);
        finish(command, b"", Duration::from_secs(30))
    }
}

const GATE: &str = "http://127.0.0.1:9";

#[test]
fn configuration_for_every_client_comes_and_goes_without_a_trace() {
    let house = House::new();
    house.put(".npmrc", "//r.example/:_authToken=secret\nsave-exact=true");
    house.put(".config/pip/pip.conf", "[install]\nno-cache = true\n\n[global]\ntimeout = 9\n");
    house.put(".cargo/config.toml", "[build]\njobs = 2\n");
    let npmrc = house.home().join(".npmrc");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&npmrc, private).unwrap();
    let (before, folders) = (house.all(), house.folders());
    let clients: Vec<&str> = ["pip", "uv", "npm", "pnpm", "yarn", "bun", "cargo"]
        .iter()
        .flat_map(|c| ["--client", c])
        .collect();
    let mut args = vec!["--gateway", GATE, "--token-env", "GATE_TOKEN"];
    args.extend(&clients);
    let dry = house.setup(&[&args[..], &["--dry-run"]].concat());
    dry.expect(0).says("would write").says("registry=http://127.0.0.1:9/npm/");
    assert_eq!(house.all(), before, "a dry run changed something");
    house.setup(&args).expect(0);
    assert!(house.get(".npmrc").contains("\nregistry=http://127.0.0.1:9/npm/\n"));
    assert!(house.get(".npmrc").contains("//127.0.0.1:9/npm/:_authToken=${GATE_TOKEN}\n"));
    assert!(house.get(".npmrc").contains("replace-registry-host=always"));
    let pip = house.get(".config/pip/pip.conf");
    assert!(
        pip.find("[global]").unwrap()
            < pip.find("index-url = http://127.0.0.1:9/pypi/simple/").unwrap()
    );
    assert!(house.get(".config/uv/uv.toml").contains("default = true"));
    assert!(house.get(".yarnrc.yml").contains("npmRegistryServer: \"http://127.0.0.1:9/npm/\""));
    assert!(house.get(".bunfig.toml").contains("[install]"));
    let cargo: toml::Table = house.get(".cargo/config.toml").parse().unwrap();
    assert_eq!(cargo["source"]["crates-io"]["replace-with"].as_str(), Some("countersign"));
    assert_eq!(
        cargo["registries"]["countersign"]["index"].as_str(),
        Some("sparse+http://127.0.0.1:9/cargo/")
    );
    let done = house.all();
    house.setup(&args).expect(0);
    assert_eq!(house.all(), done, "the second time changed something");
    house.setup(&["--undo"]).expect(0).says("restored");
    assert_eq!(house.all(), before, "not everything was restored");
    assert_eq!(house.folders(), folders, "folders were left");
    assert!(!house.s.state().join("setup").exists(), "notes were left");
    house.setup(&["--undo"]).expect(0).says("nothing is set up");
}

#[test]
fn what_the_user_has_set_is_kept_and_named_or_replaced_and_brought_back() {
    let house = House::new();
    let npmrc = "registry = https://mine.example/\n@a:registry=https://a.example/\n";
    house.put(".npmrc", npmrc);
    house.put(".config/pip/pip.conf", "[global]\nindex_url: https://mine.example/simple\n");
    house.put(".config/uv/uv.toml", "[[index]]\nurl = \"https://mine.example\"\ndefault = true\n");
    house.put(".cargo/config.toml", "not toml = = \n");
    let before = house.all();
    let args = [
        "--gateway",
        GATE,
        "--client",
        "npm",
        "--client",
        "pip",
        "--client",
        "uv",
        "--client",
        "cargo",
    ];
    let run = house.setup(&args);
    run.expect(1).says(".npmrc:1: `registry` is your own").says("pip.conf:2: `index-url`");
    run.says("an index of your own is the default one").says("is no TOML");
    assert!(!run.stdout.contains("mine.example"), "a setting was shown:\n{}", run.stdout);
    assert_eq!(house.all(), before, "something of the user's was changed");
    house.setup(&["--gateway", GATE, "--client", "npm", "--client", "pip", "--replace"]).expect(0);
    let text = house.get(".npmrc");
    assert!(!text.lines().any(|l| l.starts_with("registry = ")), "{text}");
    assert!(text.lines().any(|l| l == "registry=http://127.0.0.1:9/npm/"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("@a:registry")), "{text}");
    house.setup(&["--undo"]).expect(0);
    assert_eq!(house.all(), before);
}

#[test]
fn what_the_user_changes_afterwards_stays() {
    let house = House::new();
    house.put(".npmrc", "save-exact=true\n");
    house.setup(&["--gateway", GATE, "--client", "npm"]).expect(0);
    let text = house.get(".npmrc").replace("registry=http", "registry=https");
    house.put(".npmrc", &format!("fund=false\n{text}audit=false\n"));
    house.setup(&["--undo"]).expect(0);
    assert_eq!(house.get(".npmrc"), "fund=false\nsave-exact=true\naudit=false\n");
    // A block whose end is gone is left to the user.
    house.setup(&["--gateway", GATE, "--client", "npm"]).expect(0);
    let torn = house.get(".npmrc").replace("# <<< countersign setup <<<\n", "");
    house.put(".npmrc", &torn);
    house.setup(&["--undo"]).expect(1).says("the block has no end");
    assert_eq!(house.get(".npmrc"), torn);
}

#[test]
fn addresses_and_names_that_cannot_be_are_refused() {
    let house = House::new();
    for (args, want) in [
        (&["--gateway", "ftp://gate.example"][..], "no address of a gateway"),
        (&["--gateway", "https://me:token@gate.example"], "--token-env"),
        (&["--gateway", GATE, "--token-env", "A B"], "no name of a variable"),
        (&["--gateway", GATE, "--client", "conda"], "no client"),
        (&["--client", "conda"], "no client"),
    ] {
        house.setup(args).expect(2).says(want);
    }
    house.setup(&["--gateway", GATE, "--client", "poetry"]).expect(1).says("poetry source add");
    assert!(house.all().is_empty());
}

#[test]
fn apt_is_told_only_when_it_is_named() {
    let house = House::new();
    let etc = house.s.at("etc");
    std::fs::create_dir(&etc).unwrap();
    let shown = etc.display().to_string();
    house.setup(&["--gateway", GATE, "--etc", &shown]);
    assert!(files_below(&etc).is_empty());
    house.setup(&["--gateway", GATE, "--etc", &shown, "--client", "apt"]).expect(0);
    let text = std::fs::read_to_string(etc.join("apt/apt.conf.d/90countersign")).unwrap();
    assert!(text.contains("Acquire::http::Proxy \"http://127.0.0.1:9/\";"), "{text}");
    house.setup(&["--undo"]).expect(0);
    assert!(!etc.join("apt").exists());
}

#[test]
fn shims_come_first_lead_through_the_gate_and_let_the_rest_past() {
    let house = House::new();
    let bashrc = "case $- in *i*) ;; *) return ;; esac\nPS1='$ '";
    house.put(".bashrc", bashrc);
    // Debian's /etc/profile sets the path anew.
    house.put(".profile", &format!("PATH={}:$PATH\n. ~/.bashrc\n", house.real.display()));
    let before = house.all();
    house.setup(&["--shell", "bash"]).expect(0).says("Not caught");
    let shims = house.s.state().join("shims");
    assert!(shims.join("pip3.11").is_file());
    // In a login shell, in an interactive one, and in a script that either starts.
    for args in [
        &["-lc", "cargo fmt --check; env cargo fmt; sh -c 'cargo fmt'"][..],
        &["-ic", "cargo fmt --check; env cargo fmt; sh -c 'cargo fmt'"],
    ] {
        let run = house.shell("bash", args);
        assert_eq!(
            run.stdout,
            "real cargo fmt --check\nreal cargo fmt\nreal cargo fmt\n",
            "{}",
            run.transcript()
        );
        let which = house.shell("bash", &[args[0], "command -v pip"]);
        assert_eq!(which.stdout.trim(), shims.join("pip").display().to_string());
    }
    // What installs goes to the gate, which asks the real program where it fetches from.
    let run = house.shell("bash", &["-ic", "npm install left-pad; cargo fetch"]);
    assert!(run.stderr.contains("countersign:"), "{}", run.transcript());
    assert!(!run.stdout.contains("real npm install left-pad"), "{}", run.transcript());
    // An option first could take anything that follows as its value.
    let run = house.shell("bash", &["-ic", "npm --prefix run install x"]);
    assert!(!run.stdout.contains("real npm --prefix run install"), "{}", run.transcript());
    house.setup(&["--shell", "bash"]).expect(0).says("same");
    house.setup(&["--undo"]).expect(0);
    assert_eq!(house.all(), before);
    assert!(!shims.exists());
}

#[test]
fn an_activated_environment_comes_behind_the_shims_with_the_next_prompt() {
    let house = House::new();
    house.setup(&["--shell", "bash"]).expect(0);
    let own = house.s.at("venv/bin");
    std::fs::create_dir_all(&own).unwrap();
    write_program(&own.join("pip"), "#!/bin/sh\necho venv pip \"$@\"\n");
    let script = format!(
        "export PATH={}:$PATH; false; eval \"$PROMPT_COMMAND\"; echo $?; command -v pip; pip list",
        own.display()
    );
    let run = house.shell("bash", &["-ic", &script]);
    let want = format!("1\n{}\nvenv pip list\n", house.s.state().join("shims/pip").display());
    assert_eq!(run.stdout, want, "{}", run.transcript());
}

#[test]
fn zsh_and_fish_find_the_shims_too() {
    let house = House::new();
    for shell in ["zsh", "fish"] {
        let program = which(shell);
        if support::skipped(shell, program.as_ref()) {
            continue;
        }
        let before = house.all();
        house.setup(&["--shell", shell]).expect(0);
        let shim = house.s.state().join("shims/pip").display().to_string();
        for mode in ["-c", "-ic"] {
            let run = house.shell(shell, &[mode, "command -v pip; cargo fmt; env cargo fmt"]);
            let want = format!("{shim}\nreal cargo fmt\nreal cargo fmt\n");
            assert_eq!(run.stdout, want, "{shell} {mode}\n{}", run.transcript());
        }
        house.setup(&["--undo"]).expect(0);
        let left: Vec<PathBuf> = house.all().into_keys().collect();
        let was: Vec<PathBuf> = before.into_keys().collect();
        // What the shell itself writes when it runs is not setup's.
        let ours = |p: &&PathBuf| {
            !was.contains(p) && std::fs::read_to_string(p).is_ok_and(|t| t.contains("countersign"))
        };
        assert_eq!(left.iter().filter(ours).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}

#[test]
fn a_shim_never_runs_itself_and_says_when_the_gate_is_gone() {
    let house = House::new();
    house.setup(&["--shell", "bash"]).expect(0);
    let shims = house.s.state().join("shims");
    // The shims' folder by another name.
    let link = house.s.at("link");
    std::os::unix::fs::symlink(&shims, &link).unwrap();
    let path = format!("{}:{}:{}", shims.display(), link.display(), house.real.display());
    let mut command = house.s.command(&shims.join("cargo"), &["fmt"]);
    command.env("PATH", &path);
    let run = finish(command, b"", Duration::from_secs(30));
    assert_eq!(run.stdout, "real cargo fmt\n", "{}", run.transcript());
    let mut command = house.s.command(&shims.join("cargo"), &["fmt"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", shims.display()));
    std::fs::remove_file(house.real.join("cargo")).unwrap();
    let run = finish(command, b"", Duration::from_secs(30));
    assert!(run.code == 127 || run.stdout.is_empty(), "{}", run.transcript());
    // Without the gate nothing that installs runs.
    let text = std::fs::read_to_string(shims.join("npm")).unwrap();
    let gate = env!("CARGO_BIN_EXE_countersign");
    write_program(&shims.join("npm"), &text.replace(gate, "/nowhere/countersign"));
    let run =
        finish(house.s.command(&shims.join("npm"), &["install"]), b"", Duration::from_secs(30));
    assert_eq!(run.code, 94, "{}", run.transcript());
    assert!(run.stderr.contains("does not run without the gate"), "{}", run.transcript());
}

#[test]
fn a_shim_costs_next_to_nothing() {
    let house = House::new();
    house.setup(&["--shell", "bash"]).expect(0);
    let median = |program: PathBuf| {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let started = Instant::now();
                let out = house.s.command(&program, &["fmt"]).output().unwrap();
                assert_eq!(out.stdout, b"real cargo fmt\n");
                started.elapsed()
            })
            .collect();
        times.sort();
        times[10]
    };
    let direct = median(house.real.join("cargo"));
    let through = median(house.s.state().join("shims/cargo"));
    eprintln!("direct {direct:?}, through the shim {through:?}");
    // Generous, for machines that do much else; it is about a millisecond.
    assert!(through < direct + Duration::from_millis(40), "{direct:?} {through:?}");
}

#[test]
fn doctor_names_who_goes_round_the_gate() {
    let mut house = House::new();
    house.s.env("PIP_INDEX_URL", "https://mine.example/simple");
    house.s.write("requirements.txt", "flask\n--extra-index-url https://other.example/simple\n");
    house.s.write(".npmrc", "registry=https://other.example/\n");
    let run = house.s.countersign(&["doctor"]);
    run.says("goes round the gate unless").says("`PIP_INDEX_URL`");
    run.says("requirements.txt:2 names a registry").says(".npmrc:1 names a registry");
    house.setup(&["--shell", "bash"]).expect(0);
    let run = house.s.countersign(&["doctor"]);
    run.says("comes before its shim in the path");
    let shims = house.s.state().join("shims");
    house.s.path_first(&shims);
    house.s.countersign(&["doctor"]).says("its shim comes first in the path");
    house.setup(&["--gateway", GATE, "--client", "npm"]).expect(0);
    house.setup(&["--undo"]).expect(0);
    house.setup(&["--gateway", GATE, "--client", "npm"]).expect(0);
    house.s.countersign(&["doctor"]).says(".npmrc names the gateway");
}
