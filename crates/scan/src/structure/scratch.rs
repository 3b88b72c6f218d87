use super::*;
use std::fs;
#[test]
fn scratch() {
    let Ok(dirs) = std::env::var("SCRATCH") else { return };
    for spec in dirs.split(';') {
        let (eco, dir) = spec.split_once('=').unwrap();
        let eco = match eco {
            "pypi" => Ecosystem::Pypi,
            "npm" => Ecosystem::Npm,
            "cargo" => Ecosystem::Cargo,
            _ => Ecosystem::Debian,
        };
        let mut n = 0;
        let mut passed = 0;
        let mut bytes = 0;
        let mut undeclared = 0;
        let t = std::time::Instant::now();
        for e in fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            let name = p.file_name().unwrap().to_str().unwrap().to_owned();
            if ArchiveKind::of_file_name(&name).is_none() {
                continue;
            }
            let expected = match eco {
                Ecosystem::Cargo => {
                    let s = name.strip_suffix(".crate").unwrap();
                    let i = s
                        .match_indices('-')
                        .find(|(i, _)| {
                            s[i + 1..].starts_with(|c: char| c.is_ascii_digit())
                                && s[i + 1..].contains('.')
                        })
                        .unwrap()
                        .0;
                    Some((s[..i].to_owned(), s[i + 1..].to_owned()))
                }
                Ecosystem::Pypi => {
                    let s = name
                        .trim_end_matches(".tar.gz")
                        .trim_end_matches(".zip")
                        .trim_end_matches(".tar.bz2");
                    if name.ends_with(".whl") {
                        let mut it = s.split('-');
                        Some((it.next().unwrap().to_owned(), it.next().unwrap().to_owned()))
                    } else {
                        s.rsplit_once('-').map(|(a, b)| (a.to_owned(), b.to_owned()))
                    }
                }
                Ecosystem::Debian => {
                    countersign_ecosystem::debian::deb_file_name(&name).map(|x| (x.0, x.1))
                }
                Ecosystem::Npm => None,
            }
            .map(|(name, version)| Expected { name, version });
            let f = fs::File::open(&p).unwrap();
            bytes += f.metadata().unwrap().len();
            let r = scan_archive(&name, eco, expected.as_ref(), f, &Limits::default());
            if let Ok(out) = std::env::var("DUMP") {
                let mut t = String::new();
                for m in &r.manifest {
                    t.push_str(&format!("{} {} {}\n", m.sha256, m.size, m.path));
                }
                fs::write(format!("{out}/{name}.manifest"), t).unwrap();
            }
            n += 1;
            if r.check == Check::passed(CHECK) {
                passed += 1
            }
            if r.declared.is_none() {
                undeclared += 1
            }
            for f in &r.findings {
                if f.kind == FindingKind::Structure || std::env::var("HOOKS").is_ok() {
                    eprintln!("{name}: {:?} {} {} {:?}", f.severity, f.id, f.title, f.path);
                }
            }
        }
        eprintln!(
            "== {dir}: {passed}/{n} passed, {undeclared} undeclared, {bytes} bytes, {:?}",
            t.elapsed()
        );
    }
}

fn rss() -> String {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
        .collect::<Vec<_>>()
        .join(" ")
}
#[test]
fn big() {
    let Ok(p) = std::env::var("BIG") else { return };
    eprintln!("{}", rss());
    let t = std::time::Instant::now();
    let r = scan_archive(
        "big-1.0-py3-none-any.whl",
        Ecosystem::Pypi,
        None,
        fs::File::open(&p).unwrap(),
        &Limits::default(),
    );
    eprintln!("{:?} {:?} {}", r.check, t.elapsed(), rss());
}
#[test]
fn packages() {
    use countersign_ecosystem::debian::*;
    let Ok(p) = std::env::var("PKGS") else { return };
    for p in p.split(';') {
        let t = std::time::Instant::now();
        let r = decompress_index(p, fs::File::open(p).unwrap()).unwrap();
        let n = parse_packages(
            std::io::BufReader::with_capacity(128 << 10, r),
            PackagesLimits::default(),
        )
        .map(|r| r.unwrap())
        .count();
        eprintln!("{p}: {n} {:?}", t.elapsed());
        let t = std::time::Instant::now();
        let r = decompress_index(p, fs::File::open(p).unwrap()).unwrap();
        let n = find_in_packages(
            std::io::BufReader::with_capacity(128 << 10, r),
            &["pool/main/h/hello/hello_2.10-3_amd64.deb"],
            PackagesLimits::default(),
        )
        .unwrap();
        eprintln!("{n:?} {:?}", t.elapsed());
        let mut b = Vec::new();
        decompress_index(p, fs::File::open(p).unwrap()).unwrap().read_to_end(&mut b).unwrap();
        let t = std::time::Instant::now();
        let n = parse_packages(&b[..], PackagesLimits::default()).map(|r| r.unwrap()).count();
        eprintln!("{n} {} bytes plain {:?}", b.len(), t.elapsed());
    }
}
#[test]
fn release() {
    let Ok(p) = std::env::var("RELS") else { return };
    for p in p.split(';') {
        let t = fs::read_to_string(p).unwrap();
        let t = t.split_once("\n\n").unwrap().1.split("-----BEGIN PGP SIG").next().unwrap();
        let r = countersign_ecosystem::debian::parse_release(t).unwrap();
        eprintln!(
            "{p}: {:?} {:?} {:?} {} {} {}",
            r.origin,
            r.date,
            r.valid_until,
            r.sha256.len(),
            r.weak_only,
            r.acquire_by_hash
        );
    }
    let t = countersign_ecosystem::debian::parse_index_targets(
        &fs::read_to_string("/tmp/structpk/targets.txt").unwrap(),
    )
    .unwrap();
    eprintln!("{} {:?}", t.len(), t[0]);
}
