//! What each client is told of a gateway, in its own configuration.

use super::lines::{Notation, Piece};
use std::path::PathBuf;
use url::Url;

/// A gateway as clients see it.
pub struct Gateway {
    /// Its address without a slash at the end.
    pub base: String,
    /// Its host, with a port where it has one of its own.
    pub host: String,
    /// Whether it speaks plain HTTP to another machine, which some clients want to be told twice.
    pub plain: bool,
    /// The variable that holds the token, if clients show one.
    pub token_env: Option<String>,
}

/// The folders of the user.
pub struct Home {
    /// The home folder.
    pub home: PathBuf,
    /// The folder of configuration (XDG).
    pub config: PathBuf,
    /// cargo's home.
    pub cargo: PathBuf,
    /// npm's configuration file.
    pub npmrc: PathBuf,
}

impl Home {
    /// The folders that the environment names.
    pub fn from_env() -> Option<Self> {
        let set =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = set("HOME")?;
        Some(Self {
            config: set("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
            cargo: set("CARGO_HOME").unwrap_or_else(|| home.join(".cargo")),
            npmrc: set("npm_config_userconfig")
                .or_else(|| set("NPM_CONFIG_USERCONFIG"))
                .unwrap_or_else(|| home.join(".npmrc")),
            home,
        })
    }
}

impl Gateway {
    /// Reads the address of a gateway.
    ///
    /// # Errors
    /// In words for people.
    pub fn new(url: &Url, token_env: Option<String>) -> Result<Self, String> {
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let Some(host) = host else {
            return Err(format!("`{url}` is no address of a gateway; write https://gate.example"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "an address with a token in it would stand in many files; name a variable that holds the token with --token-env"
                    .to_owned(),
            );
        }
        let name_fits = |n: &String| {
            !n.is_empty()
                && !n.starts_with(|c: char| c.is_ascii_digit())
                && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(bad) = token_env.as_ref().filter(|n| !name_fits(n)) {
            return Err(format!("`{bad}` is no name of a variable"));
        }
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            host: format!("{host}{port}"),
            plain: url.scheme() == "http" && !local,
            token_env,
        })
    }

    /// What the client is told, or why it cannot be told.
    pub fn pieces(&self, client: &str, home: &Home) -> Result<Vec<Piece>, String> {
        match client {
            "pip" => Ok(vec![self.pip(home)]),
            "uv" => Ok(vec![self.uv(home)]),
            // pnpm and yarn 1 read npm's file.
            "npm" | "pnpm" => Ok(vec![self.npm(home)]),
            "yarn" => Ok(vec![self.npm(home), self.yarn(home)]),
            "bun" => Ok(vec![self.bun(home)]),
            "cargo" => Ok(self.cargo(home)),
            "poetry" => Err(format!(
                "poetry takes indexes from each project alone; in the project: poetry source add --priority=primary countersign {}/pypi/simple/",
                self.base
            )),
            other => Err(format!("`{other}` has no configuration that leads to a gateway")),
        }
    }

    fn pip(&self, home: &Home) -> Piece {
        // pip puts no variables into its configuration: with a token the shell's file says it.
        let mut lines = vec![format!("index-url = {}/pypi/simple/", self.base)];
        if self.plain {
            lines.push(format!("trusted-host = {}", self.host));
        }
        Piece {
            client: "pip",
            file: home.config.join("pip/pip.conf"),
            notation: Notation::Ini,
            section: Some("[global]"),
            keys: &["index-url"],
            lines,
        }
    }

    fn uv(&self, home: &Home) -> Piece {
        let lines = vec![
            "name = \"countersign\"".to_owned(),
            format!("url = \"{}/pypi/simple/\"", self.base),
            "default = true".to_owned(),
        ];
        let head = std::iter::once("[[index]]".to_owned());
        Piece {
            client: "uv",
            file: home.config.join("uv/uv.toml"),
            notation: Notation::Toml,
            section: None,
            keys: &["index-url"],
            lines: head.chain(lines).collect(),
        }
    }

    fn npm(&self, home: &Home) -> Piece {
        let mut lines = vec![
            format!("registry={}/npm/", self.base),
            // Lock files name the public registry; their packages come through the gate as well.
            "replace-registry-host=always".to_owned(),
        ];
        if let Some(name) = &self.token_env {
            let path = self.base.split_once("://").map_or("", |(_, rest)| rest);
            lines.push(format!("//{path}/npm/:_authToken=${{{name}}}"));
        }
        Piece {
            client: "npm",
            file: home.npmrc.clone(),
            notation: Notation::Ini,
            section: None,
            keys: &["registry", "replace-registry-host"],
            lines,
        }
    }

    fn yarn(&self, home: &Home) -> Piece {
        let mut lines = vec![format!("npmRegistryServer: \"{}/npm/\"", self.base)];
        if self.base.starts_with("http://") {
            let host = self.host.split(':').next().unwrap_or("");
            lines.push(format!("unsafeHttpWhitelist: [\"{host}\"]"));
        }
        if let Some(name) = &self.token_env {
            lines.push(format!("npmAuthToken: \"${{{name}-}}\""));
        }
        Piece {
            client: "yarn",
            file: home.home.join(".yarnrc.yml"),
            notation: Notation::Yaml,
            section: None,
            keys: &["npmRegistryServer", "unsafeHttpWhitelist", "npmAuthToken"],
            lines,
        }
    }

    fn bun(&self, home: &Home) -> Piece {
        let registry = match &self.token_env {
            Some(name) => {
                format!("registry = {{ url = \"{}/npm/\", token = \"${name}\" }}", self.base)
            }
            None => format!("registry = \"{}/npm/\"", self.base),
        };
        let own = home.config.join(".bunfig.toml");
        Piece {
            client: "bun",
            file: if own.is_file() { own } else { home.home.join(".bunfig.toml") },
            notation: Notation::Toml,
            section: Some("[install]"),
            keys: &["registry"],
            lines: vec![registry],
        }
    }

    fn cargo(&self, home: &Home) -> Vec<Piece> {
        let older = home.cargo.join("config");
        let file = if older.is_file() { older } else { home.cargo.join("config.toml") };
        let piece = |section, keys, lines| Piece {
            client: "cargo",
            file: file.clone(),
            notation: Notation::Toml,
            section: Some(section),
            keys,
            lines,
        };
        let mut registry = vec![format!("index = \"sparse+{}/cargo/\"", self.base)];
        if let Some(name) = &self.token_env {
            registry.push(format!(
                "credential-provider = [\"cargo:token-from-stdout\", \"sh\", \"-c\", \"printf %s \\\"${name}\\\"\"]"
            ));
        }
        vec![
            piece(
                "[source.crates-io]",
                &["replace-with"],
                vec!["replace-with = \"countersign\"".to_owned()],
            ),
            piece("[registries.countersign]", &["index", "credential-provider"], registry),
        ]
    }

    /// What the shells have to set for clients that take a token from the environment alone.
    pub fn variables(&self, clients: &[String]) -> Vec<(String, String)> {
        let Some(token) = &self.token_env else { return Vec::new() };
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("http", &self.base));
        let mut out = Vec::new();
        if clients.iter().any(|c| c == "pip") {
            let url = format!("{scheme}://token:${token}@{rest}/pypi/simple/");
            out.push(("PIP_INDEX_URL".to_owned(), url));
        }
        if clients.iter().any(|c| c == "uv") {
            out.push(("UV_INDEX_COUNTERSIGN_USERNAME".to_owned(), "token".to_owned()));
            out.push(("UV_INDEX_COUNTERSIGN_PASSWORD".to_owned(), format!("${token}")));
        }
        out
    }

    /// What apt is told.
    pub fn apt(&self) -> String {
        format!(
            "// Written by `countersign setup`; `countersign setup --undo` removes it.\nAcquire::http::Proxy \"{}/\";\nAcquire::https::Proxy \"DIRECT\";\n",
            self.base
        )
    }
}
