//! npm's packages: unpacked as they are, then npm runs their scripts, then they are loaded.

use super::{Plan, REGISTRY, script, step, tar_gz};
use crate::spec::Step;
use crate::toolchain::Toolchain;

const ENVIRONMENT: [(&str, &str); 6] = [
    ("npm_config_cache", "/tmp/npm"),
    ("npm_config_update_notifier", "false"),
    ("npm_config_fund", "false"),
    ("npm_config_audit", "false"),
    ("npm_config_fetch_retries", "0"),
    ("npm_config_foreground_scripts", "true"),
];

/// Puts each archive where npm would, under the name that its manifest gives.
const UNPACK: &str = r#"const fs = require('fs'), path = require('path');
const { execFileSync } = require('child_process');
const names = [];
process.argv.slice(2).forEach((archive, n) => {
  const at = `/box/unpacked/${n}`;
  fs.mkdirSync(at, { recursive: true });
  execFileSync('tar', ['-xzf', archive, '-C', at, '--strip-components=1', '--no-same-owner']);
  const { name } = JSON.parse(fs.readFileSync(path.join(at, 'package.json'), 'utf8').replace(/^\uFEFF/, ''));
  if (!/^(@[\w.~-]+\/)?[\w~-][\w.~-]*$/.test(name)) throw new Error('no package name: ' + name);
  const to = path.join('/box/app/node_modules', name);
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.renameSync(at, to);
  names.push(name);
});
const dependencies = Object.fromEntries(names.map((name) => [name, '*']));
const manifest = { name: 'app', version: '1.0.0', private: true, dependencies };
fs.writeFileSync('/box/app/package.json', JSON.stringify(manifest));
fs.writeFileSync('/box/name', names[0]);
"#;

/// Loads the package as a program would that has it as a dependency.
const IMPORT: &str = r#"const fs = require('fs'), path = require('path');
const name = fs.readFileSync('/box/name', 'utf8');
const manifest = JSON.parse(fs.readFileSync(path.join('/box/app/node_modules', name, 'package.json'), 'utf8'));
const load = require('module').createRequire('/box/app/index.js');
const typesOnly = !manifest.main && !manifest.exports && !manifest.module &&
  !fs.existsSync(path.join('/box/app/node_modules', name, 'index.js'));
const fail = (error) => {
  console.log(`${name} cannot be loaded: ${String(error && error.message).split('\n')[0]}`);
  process.exit(1);
};
if (!typesOnly) {
  try {
    load(name);
  } catch (error) {
    const esm = ['ERR_REQUIRE_ESM', 'ERR_PACKAGE_PATH_NOT_EXPORTED', 'ERR_REQUIRE_ASYNC_MODULE'];
    if (!esm.includes(error && error.code)) fail(error);
    else {
      fs.writeFileSync('/box/app/load.mjs', `await import(${JSON.stringify(name)});`);
      import('/box/app/load.mjs').catch(fail);
    }
  }
}
setTimeout(() => process.exit(), 3000).unref();
"#;

pub(super) fn plan(tools: &Toolchain, target: &str, companions: &[String]) -> Plan {
    let npm = tools.program.display().to_string();
    let mut unpack = vec!["node", "/box/in/unpack.js", target];
    unpack.extend(companions.iter().map(String::as_str));
    let mut install = step("install", &[&npm, "rebuild"], &ENVIRONMENT, true);
    install.folder = "/box/app".to_owned();
    Plan {
        steps: vec![
            step("unpack", &unpack, &ENVIRONMENT, false),
            install,
            step("import", &["node", "/box/in/import.js"], &ENVIRONMENT, true),
        ],
        placed: vec![script("/box/in/unpack.js", UNPACK), script("/box/in/import.js", IMPORT)],
    }
}

pub(super) fn registry(tools: &Toolchain) -> Step {
    let npm = tools.program.display().to_string();
    step(REGISTRY, &[&npm, "view", "countersign-baseline"], &ENVIRONMENT, true)
}

pub(super) fn empty() -> std::io::Result<(String, Vec<u8>)> {
    let manifest = r#"{"name": "countersign-baseline", "version": "1.0.0", "scripts":
        {"preinstall": "node -e 0", "install": "node -e 0", "postinstall": "node -e 0"}}"#;
    let files = [("package/package.json", manifest, 0o644), ("package/index.js", "", 0o644)];
    Ok(("countersign-baseline-1.0.0.tgz".to_owned(), tar_gz(&files)?))
}
