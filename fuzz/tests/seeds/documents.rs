//! Indexes, lock files, records and policies.

use countersign_core::Timestamp;
use countersign_fuzz::SEPARATOR;
use countersign_scan::advisory::{IndexBuilder, parse_record};
use serde_json::json;

const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The examples of a target whose input is text.
pub fn of(target: &str) -> &'static [&'static str] {
    match target {
        "pypi_project" => &[PYPI_JSON, PYPI_HTML],
        "pypi_release" => &[PYPI_RELEASE],
        "requirements" => &[REQUIREMENTS],
        "uv_lock" => &[UV_LOCK],
        "bun_lock" | "cyclonedx" | "dpkg_status" | "inventory" | "pnpm_lock" | "poetry_lock"
        | "pylock" | "spdx" | "yarn_lock" => super::inventories::of(target),
        "listing" => &[CARGO_INDEX, PACKAGES],
        "packument" => &[PACKUMENT],
        "package_lock" => &[PACKAGE_LOCK, PACKAGE_LOCK_V1],
        "npm_spec" => NPM_SPECS,
        "cargo_index" => &[CARGO_INDEX],
        "cargo_lock" => &[CARGO_LOCK],
        "cargo_config" => CARGO_CONFIGS,
        "deb822" | "packages" => &[PACKAGES],
        "release" => &[RELEASE],
        "sinkhole" => &[
            DNS_QUESTION,
            "POST /in HTTP/1.1\r\nHost: drop.example\r\nContent-Length: 2\r\n\r\nab",
        ],
        "sources" => &[SOURCES],
        "dsc" => &[DSC, DSC_SIGNED],
        "index_targets" => &[INDEX_TARGETS],
        "osv_record" => &[OSV, OSV_SEMVER],
        "feed_lists" => FEED_LISTS,
        "vex" => &[OPENVEX, CSAF],
        "declared" => &[NPM_MANIFEST, CARGO_MANIFEST, PYTHON_METADATA],
        "lock_relations" => &[CARGO_LOCK, UV_LOCK, PACKAGE_LOCK],
        "waiver_file" => &[WAIVERS],
        "policy_load" => &[POLICY, POLICY_SMALL],
        "version_order" => VERSIONS,
        "purl" => PURLS,
        "purl_pattern" => PATTERNS,
        other => panic!("the target `{other}` has no seeds"),
    }
}

const PYPI_JSON: &str = r#"{"meta": {"api-version": "1.3"}, "name": "Example", "versions": ["1.0", "1.1rc1"],
 "project-status": {"status": "quarantined", "reason": "a & b"},
 "files": [
  {"filename": "example-1.0-py3-none-any.whl", "url": "../../files/example-1.0-py3-none-any.whl",
   "hashes": {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
   "requires-python": ">=3.8,<4", "yanked": "broken \"quotes\"", "size": 1234,
   "upload-time": "2026-03-01T12:00:00.123456Z", "gpg-sig": true,
   "core-metadata": {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
   "provenance": "https://files.example/p"},
  {"filename": "example-1.1rc1.tar.gz", "url": "https://files.example/a/example-1.1rc1.tar.gz",
   "hashes": {"md5": "d41d8cd98f00b204e9800998ecf8427e"}, "yanked": false, "dist-info-metadata": true},
  {"filename": "other-1.0.tar.gz", "url": "ftp://files.example/other-1.0.tar.gz", "hashes": {}}]}"#;

const FEED_LISTS: &[&str] = &[
    r#"{"catalogVersion": "1", "dateReleased": "2025-08-25T17:04:19Z", "vulnerabilities": [{"cveID": "CVE-1", "dueDate": "2025-09-15"}]}"#,
    "#model_version:v2025.03.14,score_date:2026-05-18T00:00:00Z\ncve,epss,percentile\nCVE-1,0.94358,0.99957\n",
    r#"{"data": [{"cve": "CVE-1", "epss": "0.972240000", "percentile": "1.0", "date": "2022-02-28"}]}"#,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
    "AV:N/AC:L/Au:N/C:C/I:C/A:C",
];

const OPENVEX: &str = r#"{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://vex.example/1", "statements": [
 {"vulnerability": {"name": "CVE-1", "aliases": ["GHSA-1"]}, "products": [{"@id": "pkg:npm/a@1.0.0"}, "pkg:pypi/b@1"],
  "status": "not_affected", "justification": "component_not_present"}]}"#;

const CSAF: &str = r#"{"document": {"category": "csaf_vex", "csaf_version": "2.0", "tracking": {"id": "EX-1"}},
 "product_tree": {"branches": [{"category": "vendor", "name": "v", "branches": [{"category": "product_version", "name": "1",
  "product": {"name": "a", "product_id": "P1", "product_identification_helper": {"purl": "pkg:npm/a@1.0.0"}}}]}],
  "product_groups": [{"group_id": "G1", "product_ids": ["P1"]}]},
 "vulnerabilities": [{"cve": "CVE-1", "product_status": {"known_not_affected": ["P1"]},
  "flags": [{"label": "vulnerable_code_not_present", "group_ids": ["G1"]}]}]}"#;

const NPM_MANIFEST: &str =
    r#"{"dependencies": {"a": "1.0.0", "c": "npm:@s/d@2.0.0"}, "peerDependencies": {"p": "*"}}"#;

const CARGO_MANIFEST: &str = "[dependencies]\na = \"1\"\nb = { version = \"=1.2.3\", package = \"real\" }\n\
    [target.'cfg(unix)'.build-dependencies.d]\nversion = \"1\"\noptional = true\n";

const PYTHON_METADATA: &str = "Metadata-Version: 2.1\nRequires-Dist: a (>=1.0)\nRequires-Dist: c==1.2 ; extra == 'x'\n\ntext\n";

const WAIVERS: &str = "[[waiver]]\ntarget = \"pkg:npm/a@1.0.0\"\ncovers = [\"GHSA-1\"]\nreason = \"T-7\"\nowner = \"us\"\n\
    until = \"2023-12-01\"\n";

const PYPI_RELEASE: &str = r#"{"info": {"name": "Example", "summary": "an example", "requires_python": ">=3.8",
 "requires_dist": ["other>=1; extra == 'x'"], "home_page": "https://x.example"},
 "urls": [{"filename": "example-1.0.tar.gz", "url": "https://files.example/example-1.0.tar.gz", "digests": {}}]}"#;

const PYPI_HTML: &str = r#"<!DOCTYPE html><html><head>
<meta name="pypi:repository-version" content="1.1"><base href="https://files.example/x/">
</head><body><h1>Links</h1>
<a href="example-1.0-py3-none-any.whl#sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
 data-requires-python="&gt;=3.8" data-yanked="broken &amp; sad" data-core-metadata="true">example-1.0-py3-none-any.whl</a><br/>
<!-- <a href="hidden"> --><A HREF='example-1.1.zip'>example-1.1.zip</A>
</body></html>"#;

const REQUIREMENTS: &str = "# all kinds\n-r other.txt\n-c constraints.txt\n--index-url https://user:secret@registry.example/simple\n\
--extra-index-url=https://more.example\n--find-links ./wheels\n--no-binary :all:\n-e git+https://git.example/a.git@main#egg=a\n\
flask[async,dotenv] >=2.0, !=2.1 ; python_version >= \"3.8\" and sys_platform == 'linux' \\\n  --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n\
name @ https://files.example/name-1.0-py3-none-any.whl\n./local/dir\nfile:///srv/x.whl\nhttps://files.example/x-1.0.tar.gz\n";

const UV_LOCK: &str = r#"version = 1
revision = 3
requires-python = ">=3.12"

[[package]]
name = "example"
version = "1.0"
source = { registry = "https://registry.example/simple" }
dependencies = [{ name = "other", marker = "os_name == 'nt'" }]
sdist = { url = "https://files.example/example-1.0.tar.gz", hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", size = 12 }
wheels = [{ url = "https://files.example/example-1.0-py3-none-any.whl", hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }]

[[package]]
name = "here"
source = { editable = "." }

[[package]]
name = "there"
version = "2"
source = { git = "https://git.example/there?rev=main#0123" }
"#;

const PACKUMENT: &str = r#"{"_id": "@scope/example", "name": "@scope/example", "dist-tags": {"latest": "1.1.0", "next": "2.0.0-rc.1"},
 "versions": {
  "1.0.0": {"name": "@scope/example", "version": "1.0.0", "dist": {"tarball": "https://registry.example/@scope/example/-/example-1.0.0.tgz",
    "shasum": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "signatures": [{"keyid": "SHA256:abc", "sig": "MEUC"}], "attestations": {"url": "https://registry.example/a", "provenance": {}}},
    "scripts": {"postinstall": "node x"}, "deprecated": "use 1.1"},
  "1.1.0": {"name": "@scope/example", "version": "1.1.0", "gypfile": true, "dist": {"tarball": "http://registry.example/b.tgz"},
    "repository": {"type": "git", "url": "git+https://git.example/a/b.git"}},
  "2.0.0-rc.1": {"name": "@scope/example", "version": "2.0.0-rc.1", "hasInstallScript": true, "dist": {}}},
 "time": {"created": "2020-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "1.0.0": "2020-01-02T00:00:00.000Z"}}"#;

/// RFC 1035, section 4.1: one question for an address.
const DNS_QUESTION: &str = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05files\x07example\0\0\x01\0\x01";

const SOURCES: &str = "Package: hello\nBinary: hello\nVersion: 2.10-3\nFormat: 3.0 (quilt)\nFiles:\n d41d8cd98f00b204e9800998ecf8427e 0 hello_2.10-3.dsc\n\
Checksums-Sha256:\n 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 4 hello_2.10-3.dsc\n \
9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 4 hello_2.10.orig.tar.gz\nDirectory: pool/main/h/hello\n\n\
Package: flat\nVersion: 1:1\nDirectory: .\nchecksums-sha256:\n 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 4 flat_1.dsc\n";

const DSC: &str = "Format: 3.0 (quilt)\nSource: hello\nBinary: hello\nArchitecture: any\nVersion: 2.10-3\nFiles:\n d41d8cd98f00b204e9800998ecf8427e 0 hello_2.10.orig.tar.gz\n";

const DSC_SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 1.0\nSource: hello\nVersion: 2.10-3\n- -dash\n\n\
-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n";

const PACKAGE_LOCK: &str = r#"{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
 "": {"name": "app", "dependencies": {"a": "^1.0.0"}},
 "node_modules/a": {"version": "1.0.0", "resolved": "https://registry.example/a/-/a-1.0.0.tgz", "integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==", "dev": true},
 "node_modules/a/node_modules/@s/b": {"name": "@t/c", "version": "2.0.0", "optional": true, "inBundle": true},
 "packages/w": {"version": "0.0.0"}, "node_modules/w": {"resolved": "packages/w", "link": true}}}"#;

const PACKAGE_LOCK_V1: &str = r#"{"name": "app", "lockfileVersion": 1, "dependencies": {
 "a": {"version": "1.0.0", "bundled": true, "dependencies": {"b": {"version": "https://h.example/b.tgz"}}},
 "c": {"version": "npm:d@2.0.0", "integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}}}"#;

const NPM_SPECS: &[&str] = &[
    "@scope/name@^1.2.3 || >=2 <3",
    "alias@npm:@scope/name@latest",
    "git+ssh://git@git.example/a/b.git#semver:^1",
    "a/b#main",
    "https://user:secret@h.example/x.tgz",
    "../folder",
    "@scope/name/-/name-1.0.0-rc.1.tgz",
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==?x sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
];

const CARGO_INDEX: &str = r#"{"name":"example","vers":"1.0.0","deps":[{"name":"serde","req":"^1","features":["derive"],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":"https://other.example/index"}],"cksum":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","features":{},"yanked":false,"pubtime":"2026-01-01T00:00:00Z"}
{"name":"Example","vers":"1.1.0-rc.1+b","deps":[],"cksum":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","features":{},"yanked":true,"v":2}
"#;

const CARGO_LOCK: &str = r#"version = 4

[[package]]
name = "example"
version = "1.0.0"
source = "registry+https://registry.example/index"
checksum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
dependencies = ["other 2.0.0"]

[[package]]
name = "here"
version = "0.1.0"

[metadata]
"checksum old 1.0.0 (registry+https://registry.example/index)" = "<none>"
"#;

const CARGO_CONFIGS: &[&str] = &[
    r#"{"dl": "https://h.example/api/{crate}/{version}/{prefix}/{lowerprefix}/{sha256-checksum}", "api": "https://h.example", "auth-required": true}"#,
    r#"{"dl": "https://h.example:443/crates"}"#,
    "https://h.example/ex/am/example/1.0.0",
    "ex/am/example",
];

const PACKAGES: &str = "Package: example\nSource: example-src (1.0-1)\nVersion: 1:1.0-1+b1\nArchitecture: amd64\nMaintainer: A <a@h.example>\n\
Depends: libc6 (>= 2.36), other | another\nDescription: short\n long line\n .\n more\nFilename: pool/main/e/example/example_1.0-1_amd64.deb\nSize: 1234\n\
SHA256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nMD5sum: d41d8cd98f00b204e9800998ecf8427e\n\n\
# a comment\nPackage: other\nVersion: 2.0~rc1\nArchitecture: all\nFilename: pool/o/other_2.0~rc1_all.deb\nSize: 1\n\
SHA256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n";

/// A Release file, also for those that sign it.
pub const RELEASE: &str = "Origin: Example\nLabel: Example\nSuite: stable\nCodename: bookworm\nVersion: 12.1\n\
Date: Sat, 12 Jul 2025 08:30:01 UTC\nValid-Until: Sat, 19 Jul 2025 08:30:01 UTC\nAcquire-By-Hash: yes\n\
Architectures: amd64 arm64\nComponents: main contrib\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 12 main/binary-amd64/Packages\n\
SHA256:\n 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 12 main/binary-amd64/Packages\n";

const INDEX_TARGETS: &str = "MetaKey: main/binary-amd64/Packages\nShortDesc: Packages\nURI: http://deb.example/debian/dists/bookworm/main/binary-amd64/Packages\n\
Filename: /var/lib/apt/lists/deb.example_Packages.lz4\nOptional: yes\nIdentifier: Packages\nCreated-By: Packages\nTarget-Of: deb\n\
Architecture: amd64\nCodename: bookworm\nSuite: stable\nComponent: main\nRepo-URI: http://deb.example/debian/\nSite: http://deb.example/debian\n\
Signed-By: /usr/share/keyrings/example.gpg\nTrusted: yes\nBy-Hash: force\n";

const OSV: &str = r#"{"schema_version": "1.6.0", "id": "EX-2026-0001", "modified": "2026-01-02T00:00:00Z", "published": "2026-01-01T00:00:00Z",
 "aliases": ["CVE-2026-0001"], "summary": "bad", "details": "very", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
 "affected": [
  {"package": {"ecosystem": "PyPI", "name": "Example", "purl": "pkg:pypi/example"}, "versions": ["1.0", "1.0.post1"],
   "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}, {"introduced": "2.0a1"}, {"last_affected": "2.3"}]}]},
  {"package": {"ecosystem": "Debian:12", "name": "example"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1:1.0-2"}]}],
   "ecosystem_specific": {"urgency": "not yet assigned"}, "database_specific": {"x": [1, {"y": null}]}}]}"#;

const OSV_SEMVER: &str = r#"{"id": "MAL-2026-1", "modified": "2026-01-02T00:00:00Z", "withdrawn": null,
 "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}, {"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}],
 "affected": [{"package": {"ecosystem": "npm", "name": "@scope/example"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "1.0.0-rc.1"}, {"limit": "1.5.0"}]},
  {"type": "GIT", "repo": "https://git.example/a", "events": [{"introduced": "0"}]}]}]}"#;

const POLICY: &str = "// ours\n@id(\"no-left-pad\")\n@verdict(\"hold\")\n@reason(\"denied\")\n@message(\"not here\")\n\
forbid (principal, action == Action::\"install\", resource)\nwhen { resource.name == \"left-pad\" && resource has published }\n\
unless { context.waived.containsAny([\"no-left-pad\", \"denied\"]) };\npermit (principal, action, resource);\n\
\n\0\nextends = \"baseline\"\nmode = \"audit\"\ncool_down_hours = 24\ntolerate_severity = \"low\"\n\
\n\0\n[[case]]\nname = \"one\"\nexpect = \"admit\"\nrules = []\n[[case]]\nname = \"two\"\naction = \"tolerate\"\nfinding = { id = \"X-1\", kind = \"notice\" }\nexpect = \"tolerated\"\n";

const POLICY_SMALL: &str = "permit (principal, action, resource);";

const VERSIONS: &[&str] = &[
    "1.0\n1.0.0",
    "1!2.0.post3.dev4+local.5\nv1.0-beta_2",
    "1.0.0-alpha.1+build.5\n1.0.0-alpha.beta",
    "1:2.30~rc1-1+deb12u1\n2.30-1ubuntu2",
    "99999999999999999999.1\n2004d",
];

const PURLS: &[&str] = &[
    "pkg:pypi/Flask@3.0.0",
    "pkg:npm/%40scope/Name@1.0.0",
    "pkg:npm/JSONStream@1.0.0?x=y%20z",
    "pkg:cargo/serde@1.0.0+build",
    "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=bookworm#sub/path",
];

const PATTERNS: &[&str] = &[
    "pkg:npm/@acme/*",
    "pkg:pypi/a*b*c*@1.*",
    "pkg:deb/debian/lib*@2.36-9*",
    "pkg:cargo/*",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
];

/// Indexes of one and of no record.
pub fn feed_indexes() -> Vec<Vec<u8>> {
    let of = |records: &[&str]| {
        let mut builder = IndexBuilder::new();
        builder.begin_source("fuzz");
        for record in records {
            builder.add_record(&parse_record(record.as_bytes()).expect("a seed is a record"));
        }
        builder.finish(Timestamp(1_700_000_000)).expect("an index")
    };
    vec![of(&[OSV, OSV_SEMVER]), of(&[])]
}

/// A `DER` certificate in shape alone.
const CERTIFICATE: &str = "MIIBszCCATmgAwIBAgIBATAKBggqhkjOPQQDAzAAMB4XDTI1MDEwMTAwMDAwMFoXDTI1MDEwMTAwMTAwMFowADBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAAA";

fn entry() -> serde_json::Value {
    json!({
        "logIndex": "7",
        "logId": {"keyId": "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0="},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": "1750000000",
        "inclusionPromise": {"signedEntryTimestamp": "MEUCIQDx"},
        "inclusionProof": {"logIndex": "7", "rootHash": "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c4=",
            "treeSize": "8", "hashes": ["z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c4="],
            "checkpoint": {"envelope": "log.example\n8\nz4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c4=\n\n\u{2014} log.example AAAAAAAA\n"}},
        "canonicalizedBody": "eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJraW5kIjoiZHNzZSIsInNwZWMiOnt9fQ==",
    })
}

/// npm's attestations and keys in shape alone: what they sign is nobody's.
pub fn npm_attestations() -> Vec<u8> {
    let statement = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbXX0=";
    let bundle = |material: serde_json::Value| {
        json!({"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "verificationMaterial": material,
            "dsseEnvelope": {"payloadType": "application/vnd.in-toto+json", "payload": statement,
                "signatures": [{"sig": "MEUCIQDx", "keyid": "SHA256:abc"}]}})
    };
    let document = json!({"attestations": [
        {"predicateType": "https://github.com/npm/attestation/tree/main/specs/publish/v0.1",
         "bundle": bundle(json!({"publicKey": {"hint": "SHA256:abc"}, "tlogEntries": [entry()]}))},
        {"predicateType": "https://slsa.dev/provenance/v1",
         "bundle": bundle(json!({"x509CertificateChain": {"certificates": [{"rawBytes": CERTIFICATE}]}, "tlogEntries": [entry()],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "MIIB"}]}}))},
    ]});
    let keys = json!({"keys": [{"keyid": "SHA256:abc", "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256",
        "key": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "expires": "2027-01-01T00:00:00.000Z"}]});
    [document.to_string().as_bytes(), SEPARATOR, keys.to_string().as_bytes()].concat()
}

/// A provenance object in shape alone.
pub fn pep740() -> Vec<u8> {
    json!({"version": 1, "attestation_bundles": [{
        "publisher": {"kind": "GitHub", "repository": "own/repo", "workflow": "pub.yml", "environment": "release"},
        "attestations": [{"version": 1,
            "envelope": {"statement": "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==", "signature": "MEUCIQDx"},
            "verification_material": {"certificate": CERTIFICATE, "transparency_entries": [entry()]}}]}]})
    .to_string()
    .into_bytes()
}

/// A bundle in shape alone.
pub fn sigstore_bundle() -> Vec<u8> {
    json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"certificate": {"rawBytes": CERTIFICATE}, "tlogEntries": [entry()],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "MAA="}]}},
        "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": "AAAA"}, "signature": "MEUCIQDx"}})
    .to_string()
    .into_bytes()
}

/// An envelope, a bundle, and both of them a line each, by a key of nobody.
pub fn keyed_attestations() -> Vec<Vec<u8>> {
    // {"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"urn:x"}
    let payload = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJzdWJqZWN0IjpbXSwicHJlZGljYXRlVHlwZSI6InVybjp4In0=";
    let envelope = json!({
        "payload": payload, "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"keyid": "sha256:00", "sig": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw=="}],
    });
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "AAAA"}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    });
    [envelope.to_string(), bundle.to_string(), format!("{envelope}\n{bundle}\n")]
        .map(String::into_bytes)
        .to_vec()
}

/// Signatures and keys of nobody.
pub fn npm_signatures() -> Vec<u8> {
    let list = json!({"signatures": [{"keyid": "SHA256:abc", "sig": "MEUCIQDx"}]});
    let keys = json!({"keys": [{"keyid": "SHA256:abc", "key": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "expires": null}]});
    [list.to_string().as_bytes(), SEPARATOR, keys.to_string().as_bytes()].concat()
}

/// Roots of nobody.
pub fn trusted_root() -> Vec<u8> {
    let log = json!({"baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2021-01-12T11:53:27Z", "end": "2031-01-12T11:53:27Z"}},
        "logId": {"keyId": "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0="}});
    json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [log], "ctlogs": [log],
        "certificateAuthorities": [{"subject": {"organization": "example", "commonName": "ca"}, "uri": "https://ca.example",
            "certChain": {"certificates": [{"rawBytes": CERTIFICATE}]}, "validFor": {"start": "2021-03-07T03:20:29Z"}}],
        "timestampAuthorities": []})
    .to_string()
    .into_bytes()
}

/// The digest that the seeds name, so that others can name it too.
pub fn digest() -> &'static str {
    SHA256
}
