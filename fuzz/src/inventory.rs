//! What is already there: lock files and SBOMs as inventories.

use crate::ecosystem::index_limits;
use countersign_core::Purl;
use countersign_ecosystem::inventory::{Format, detect, parse_under};

/// What is listed must be a version that can be written and read back, on a line of the document.
fn read(format: Format, data: &[u8]) {
    let Ok(inventory) = parse_under(format, data, &index_limits()) else { return };
    let lines = data.iter().filter(|b| **b == b'\n').count() + 1;
    for listed in &inventory.listed {
        let written = listed.purl.to_string();
        let again: Purl = written.parse().expect("a listed purl is read");
        assert_eq!(again, listed.purl, "`{written}`");
        assert!(listed.purl.version().is_some_and(|v| !v.is_empty()), "`{written}`");
        let line = listed.line.unwrap_or(1) as usize;
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
    }
    for skipped in &inventory.skipped {
        assert!(!skipped.because.is_empty() && !skipped.what.contains('\n'), "{skipped:?}");
    }
}

/// Lock files that have a target of their own, once more as inventories; the first byte chooses.
pub fn inventory(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else { return };
    let formats = [Format::Requirements, Format::UvLock, Format::PackageLock, Format::CargoLock];
    read(formats[usize::from(*choice) % formats.len()], file);
    for name in ["status", "bom.json", "x.json", "requirements.txt"] {
        let _ = detect(name, file);
    }
}

/// A `bun.lock`.
pub fn bun_lock(data: &[u8]) {
    read(Format::BunLock, data);
}

/// A CycloneDX document.
pub fn cyclonedx(data: &[u8]) {
    read(Format::CycloneDx, data);
}

/// dpkg's `status`.
pub fn dpkg_status(data: &[u8]) {
    read(Format::DpkgStatus, data);
}

/// A `pnpm-lock.yaml`.
pub fn pnpm_lock(data: &[u8]) {
    read(Format::PnpmLock, data);
}

/// A `poetry.lock`.
pub fn poetry_lock(data: &[u8]) {
    read(Format::PoetryLock, data);
}

/// A `pylock.toml`.
pub fn pylock(data: &[u8]) {
    read(Format::PyLock, data);
}

/// An SPDX document.
pub fn spdx(data: &[u8]) {
    read(Format::Spdx, data);
}

/// A `yarn.lock`, of yarn 1 or berry.
pub fn yarn_lock(data: &[u8]) {
    read(Format::YarnLock, data);
}

/// A lock file: what it lists, how that is related, and the bills that are written of it.
pub fn lock_relations(data: &[u8]) {
    use countersign_core::Timestamp;
    use countersign_ecosystem::inventory::{Format, parse};
    use countersign_ecosystem::sbom::{Bom, BomFormat, relations};
    let text = crate::text(data);
    for format in [Format::CargoLock, Format::UvLock, Format::PoetryLock, Format::PackageLock] {
        let Ok(inventory) = parse(format, text.as_bytes()) else { continue };
        let related = relations(format, &text, &inventory.listed);
        let lists = [(inventory.listed, related)];
        let bom = Bom::of_list("fuzz", ("fuzz", "0"), Timestamp(0), &lists);
        for (form, read) in
            [(BomFormat::CycloneDx, Format::CycloneDx), (BomFormat::Spdx, Format::Spdx)]
        {
            let again = parse(read, bom.write(form).as_bytes()).expect("what was written is read");
            assert_eq!(again.listed.len(), bom.components.len());
        }
    }
}
