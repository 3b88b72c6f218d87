//! Lock files and SBOMs.

/// The examples of a target.
pub fn of(target: &str) -> &'static [&'static str] {
    match target {
        "bun_lock" => &[BUN],
        "cyclonedx" => &[CYCLONEDX],
        "dpkg_status" => &[DPKG],
        "inventory" => &[REQUIREMENTS, UV, NPM, CARGO],
        "pnpm_lock" => &[PNPM_5, PNPM_9],
        "poetry_lock" => &[POETRY_1, POETRY_2],
        "pylock" => &[PYLOCK],
        "spdx" => &[SPDX],
        "yarn_lock" => &[YARN_1, BERRY],
        other => panic!("the target `{other}` has no seeds"),
    }
}

const BUN: &str = r#"{
  "lockfileVersion": 1,
  // a comment
  "workspaces": { "": { "name": "me", "devDependencies": { "a": "1", }, }, },
  "packages": {
    "@s/n": ["@s/n@1.2.0", "", { "dependencies": { "b": "2", } }, "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="],
    "w": ["w@workspace:packages/w"], /* more */
    "g": ["g@git+https://git.example/g#0", {}, "0"],
  },
}
"#;

const CYCLONEDX: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6",
 "metadata": {"component": {"type": "application", "name": "me", "components": [{"type": "library", "name": "z", "purl": "pkg:cargo/z@1.0.0"}]}},
 "components": [
  {"type": "library", "name": "a", "version": "1.0.0", "purl": "pkg:npm/%40s/a@1.0.0",
   "hashes": [{"alg": "SHA-256", "content": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}],
   "components": [{"type": "library", "name": "b", "purl": "pkg:pypi/B_b@2.0"}]},
  {"type": "operating-system", "name": "debian", "version": "12"},
  {"type": "library", "name": "libc6", "purl": "pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc%402.36-8&distro=debian-11"},
  {"type": "library", "name": "go", "purl": "pkg:golang/x@1"}]}"#;

const DPKG: &str = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.11-1)\n\
Version: 3.0.11-1+b1\nConffiles:\n /etc/x 00\nDescription: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";

const REQUIREMENTS: &str = "\0flask==2.0.0 \\\n  --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n-r more.txt\nrequests>=2\n\
x @ git+https://me:secret@git.example/x\n--find-links ./wheels\n";

const UV: &str = "\u{1}version = 1\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nsource = { registry = \"https://registry.example/simple\" }\n\
sdist = { url = \"https://files.example/a-1.0.tar.gz\" }\n[[package]]\nname = \"b\"\nsource = { virtual = \".\" }\n";

const NPM: &str = "\u{2}{\"lockfileVersion\": 3, \"packages\": {\"\": {},\n\"node_modules/a\": {\"version\": \"1.0.0\", \"resolved\": \
\"https://registry.example/b/-/b-2.0.0.tgz\", \"dev\": true},\n\"node_modules/g\": {\"version\": \"1.0.0\", \"resolved\": \"git+ssh://git@git.example/g.git#0\"}}}";

const CARGO: &str = "\u{3}version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n\
checksum = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n[[package]]\nname = \"me\"\nversion = \"0.1.0\"\n";

const PNPM_5: &str = r#"lockfileVersion: 5.4

specifiers:
  a: ^1

packages:

  /a/1.0.0:
    resolution: {integrity: sha512-AA==}
    engines: {node: '>=6'}
    cpu: [x64, '!arm']
    dev: true
    deprecated: |-
      use: another
      one

  /@s/n/1.2.0_react@17.0.2:
    resolution: {integrity: sha512-AA==, tarball: https://registry.example/n/-/n-1.2.0.tgz}
    dev: false

  file:local:
    resolution: {directory: local, type: directory}
    name: local
"#;

const PNPM_9: &str = r#"---
lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      al:
        specifier: npm:@s/n@1
        version: '@s/n@1.2.0(b@2.0.0)'
    devDependencies:
      a:
        specifier: ^1
        version: 1.0.0

packages:

  '@s/n@1.2.0':
    resolution: {integrity: sha512-AA==}

  ? a@1.0.0
  : resolution: {integrity: sha512-AA==}

  c@https://codeload.github.example/u/c/tar.gz/01:
    resolution: {tarball: https://codeload.github.example/u/c/tar.gz/01}

snapshots:

  '@s/n@1.2.0(b@2.0.0)':
    dependencies:
      b: 2.0.0
  a@1.0.0: {}
"#;

const POETRY_1: &str = "[[package]]\nname = \"a\"\nversion = \"1.0\"\ncategory = \"dev\"\n\n[metadata]\nlock-version = \"1.1\"\n\n\
[metadata.files]\na = [\n    {file = \"a-1.0.tar.gz\", hash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"},\n]\n";

const POETRY_2: &str = "[[package]]\nname = \"A.b\"\nversion = \"1.0\"\ngroups = [\"main\"]\nfiles = [\n    {file = \"a_b-1.0.tar.gz\", \
hash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"},\n]\n\n[package.source]\ntype = \"legacy\"\n\
url = \"https://me:pw@registry.example/simple\"\n\n[[package]]\nname = \"g\"\nversion = \"1\"\n[package.source]\ntype = \"git\"\n\n[metadata]\nlock-version = \"2.1\"\n";

const PYLOCK: &str = "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nversion = \"1.0\"\nindex = \"https://registry.example/simple\"\n\
sdist = { url = \"https://files.example/a-1.0.tar.gz\", hashes = { sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" } }\n\
[[packages]]\nname = \"v\"\nvcs = { type = \"git\" }\n";

const SPDX: &str = r#"{"spdxVersion": "SPDX-2.3", "documentDescribes": ["SPDXRef-me"],
 "packages": [{"SPDXID": "SPDXRef-me", "name": "me"},
  {"SPDXID": "SPDXRef-a", "name": "a", "versionInfo": "1.0.0", "checksums": [{"algorithm": "SHA1", "checksumValue": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}],
   "externalRefs": [{"referenceCategory": "PACKAGE_MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/a@1.0.0"}]}],
 "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-me"}]}"#;

const YARN_1: &str = r#"# yarn lockfile v1


"@s/n@^1.0.0", "@s/n@^1.1.0":
  version "1.2.0"
  resolved "https://registry.example/@s/n/-/n-1.2.0.tgz#da39a3ee5e6b4b0d3255bfef95601890afd80709"
  integrity sha512-AA==
  dependencies:
    b "^2.0.0"

al@npm:b@^2:
  version "2.0.0"

g@u/r:
  version "1.0.0"
"#;

const BERRY: &str = r#"# head

__metadata:
  version: 8
  cacheKey: 10c0

"@s/n@npm:^1.0.0, @s/n@npm:^1.1.0":
  version: 1.2.0
  resolution: "@s/n@npm:1.2.0"
  dependencies:
    b: "npm:^2.0.0"
  checksum: 10c0/00
  languageName: node

? "a@npm:^1"
:
  version: 1.0.0
  resolution: "a@npm:1.0.0::__archiveUrl=https%3A%2F%2Fregistry.example%2Fa%2F-%2Fa-1.0.0.tgz"

"me@workspace:.":
  version: 0.0.0-use.local
  resolution: "me@workspace:."
"#;
