//! Bait: a home folder as a developer has it, with credentials that are worth nothing.

use crate::spec::HOME;
use serde::{Deserialize, Serialize};

/// Files and variables that nobody but their owner has a reason to read, each with a secret of this
/// run by which it is known again wherever it turns up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Canaries {
    /// Files of the home folder: their path below it, and their content.
    pub files: Vec<(String, String)>,
    /// Variables of the environment.
    pub variables: Vec<(String, String)>,
    /// Each secret, and the file or variable that it is kept in.
    pub secrets: Vec<(String, String)>,
}

/// Files with one secret, which stands at `{}`.
const FILES: &[(&str, &str)] = &[
    (".npmrc", "//registry.example/:_authToken=npm_{}\n"),
    (".pypirc", "[pypi]\nusername = __token__\npassword = pypi-{}\n"),
    (".netrc", "machine files.example login dev password {}\n"),
    (".git-credentials", "https://dev:{}@git.example\n"),
    (".ssh/id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n"),
    (
        ".ssh/id_ed25519",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
    ),
    (
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {}\n",
    ),
    (
        ".config/gcloud/application_default_credentials.json",
        "{\"type\": \"authorized_user\", \"refresh_token\": \"{}\"}\n",
    ),
    (".azure/accessTokens.json", "[{\"accessToken\": \"{}\"}]\n"),
    (".kube/config", "users:\n- name: dev\n  user:\n    token: {}\n"),
    (".docker/config.json", "{\"auths\": {\"registry.example\": {\"auth\": \"{}\"}}}\n"),
    (".config/gh/hosts.yml", "git.example:\n    oauth_token: gho_{}\n"),
    (".cargo/credentials.toml", "[registry]\ntoken = \"{}\"\n"),
    (".vault-token", "hvs.{}\n"),
    (".bash_history", "export API_KEY={}\n"),
    (".env", "DATABASE_PASSWORD={}\n"),
    (".config/google-chrome/Default/Login Data", "SQLite format 3 {}\n"),
    (
        ".mozilla/firefox/x1.default/logins.json",
        "{\"logins\": [{\"encryptedPassword\": \"{}\"}]}\n",
    ),
    (".bitcoin/wallet.dat", "{}\n"),
    (".ethereum/keystore/UTC--wallet", "{\"crypto\": {\"ciphertext\": \"{}\"}}\n"),
    (".config/solana/id.json", "[\"{}\"]\n"),
    (".config/Exodus/exodus.wallet/seed.seco", "{}\n"),
];

const VARIABLES: &[&str] = &[
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "NPM_TOKEN",
    "TWINE_PASSWORD",
    "CARGO_REGISTRY_TOKEN",
    "OPENAI_API_KEY",
];

impl Canaries {
    /// Bait whose secrets are made from `seed`, which should be random.
    #[must_use]
    pub fn new(seed: &[u8]) -> Self {
        let secret = |name: &str| {
            let text = [seed, name.as_bytes()].concat();
            let hex = countersign_core::Sha256Digest::of(&text).to_hex();
            hex.chars().take(40).collect::<String>()
        };
        let mut out = Self::default();
        for (path, text) in FILES {
            let secret = secret(path);
            out.files.push(((*path).to_owned(), text.replace("{}", &secret)));
            out.secrets.push((format!("~/{path}"), secret));
        }
        for name in VARIABLES {
            let secret = secret(name);
            out.variables.push(((*name).to_owned(), secret.clone()));
            out.secrets.push((format!("${name}"), secret));
        }
        out
    }

    /// The bait that a path of the jail is, as people know it; a folder with bait in it counts.
    #[must_use]
    pub fn named(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(HOME)?.strip_prefix('/')?.trim_end_matches('/');
        let is = |file: &str| {
            let inside = file.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
            // `~/.config` and `~/.cargo` hold much beside bait, and are listed by honest code.
            file == below || (inside && !matches!(below, "" | ".config" | ".cargo"))
        };
        self.files.iter().any(|(file, _)| is(file)).then(|| format!("~/{below}"))
    }

    /// The bait whose secret is in `data`: as it is, in hexadecimal, or in base64.
    #[must_use]
    pub fn in_data(&self, data: &[u8]) -> Vec<String> {
        let holds = |needle: &str| {
            !needle.is_empty() && data.windows(needle.len()).any(|w| w == needle.as_bytes())
        };
        let known = self.secrets.iter().filter(|(_, secret)| {
            holds(secret)
                || holds(&hex::encode(secret))
                || base64_cores(secret).iter().any(|c| holds(c))
        });
        known.map(|(name, _)| name.clone()).collect()
    }
}

/// What of a text stays the same in base64, wherever in a longer text it stands: one for each of the
/// three positions (RFC 4648, section 4).
fn base64_cores(text: &str) -> Vec<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = text.as_bytes();
    (0..3)
        .map(|skip| {
            let whole = bytes.get(skip..).unwrap_or_default().chunks_exact(3);
            let groups = whole.map(|g| g.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)));
            groups
                .flat_map(|n| [18, 12, 6, 0].map(|shift| (n >> shift & 63) as usize))
                .filter_map(|i| ALPHABET.get(i).map(|b| char::from(*b)))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bait_is_known_again_however_it_is_packed() {
        let bait = Canaries::new(b"seed");
        let secret = &bait.secrets.iter().find(|(n, _)| n == "~/.npmrc").unwrap().1;
        assert_eq!(bait.in_data(b"nothing"), Vec::<String>::new());
        assert_eq!(bait.in_data(format!("t={secret}&x").as_bytes()), ["~/.npmrc"]);
        assert_eq!(bait.in_data(hex::encode(secret).as_bytes()), ["~/.npmrc"]);
        // `printf 'ab<secret>' | base64` for each alignment.
        for lead in ["", "a", "ab"] {
            let cores = base64_cores(&format!("{lead}{secret}"));
            assert_eq!(bait.in_data(cores[0].as_bytes()), ["~/.npmrc"], "{lead}");
        }
    }

    #[test]
    fn base64_as_in_the_standard() {
        assert_eq!(base64_cores("foobar")[0], "Zm9vYmFy");
        assert_eq!(base64_cores("xfoobar")[1], "Zm9vYmFy");
    }

    #[test]
    fn bait_is_named_by_its_path_and_its_folder() {
        let bait = Canaries::new(b"seed");
        for (path, want) in [
            ("/home/dev/.npmrc", Some("~/.npmrc")),
            ("/home/dev/.ssh/id_rsa", Some("~/.ssh/id_rsa")),
            ("/home/dev/.ssh", Some("~/.ssh")),
            ("/home/dev/.config", None),
            ("/home/dev", None),
            ("/home/dev/.npm/x", None),
            ("/etc/.npmrc", None),
        ] {
            assert_eq!(bait.named(path).as_deref(), want, "{path}");
        }
    }
}
