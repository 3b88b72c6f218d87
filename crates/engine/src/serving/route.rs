//! What can be asked of the gateway's registries.

use countersign_core::Ecosystem;

/// Which upstreams a registry of the gateway shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum View {
    /// All of the ecosystem, in the configuration's order; a name belongs to the first that has it.
    All,
    /// The upstream of that name alone.
    Named(String),
}

/// The form of a document, where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// The ecosystem's oldest: HTML for PyPI, the full document for npm.
    #[default]
    Plain,
    /// PyPI's JSON (PEP 691).
    PypiJson,
    /// npm's abbreviated document (`application/vnd.npm.install-v1+json`).
    NpmAbbreviated,
}

/// Something that a registry of the gateway may be asked for. Names and paths are decoded once and
/// otherwise as the client wrote them: the engine checks them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// PyPI: the list of projects (PEP 503).
    PypiRoot {
        /// The upstreams.
        view: View,
    },
    /// PyPI: a project's page.
    PypiProject {
        /// The upstreams.
        view: View,
        /// The project, perhaps not normalized.
        project: String,
    },
    /// PyPI: a file.
    PypiFile {
        /// The upstreams.
        view: View,
        /// The project.
        project: String,
        /// The file's name.
        file_name: String,
    },
    /// PyPI: a file's separate metadata (PEP 658).
    PypiMetadata {
        /// The upstreams.
        view: View,
        /// The project.
        project: String,
        /// The name of the file that it is of.
        file_name: String,
    },
    /// PyPI: a file's provenance (PEP 740).
    PypiProvenance {
        /// The upstreams.
        view: View,
        /// The project.
        project: String,
        /// The name of the file that it is of.
        file_name: String,
    },
    /// npm: a package's document.
    NpmPackage {
        /// The upstreams.
        view: View,
        /// The package, with its scope.
        name: String,
        /// One version or tag of it.
        version: Option<String>,
    },
    /// npm: a tarball.
    NpmTarball {
        /// The upstreams.
        view: View,
        /// The package, with its scope.
        name: String,
        /// The file's name.
        file_name: String,
    },
    /// npm: a question of the API, without the leading `-/`.
    NpmApi {
        /// The upstreams.
        view: View,
        /// The rest of the path: `npm/v1/security/advisories/bulk`.
        api: String,
        /// The query of a search; `None` for every other question.
        query: Option<String>,
    },
    /// cargo: the registry's configuration.
    CargoConfig {
        /// The upstreams.
        view: View,
    },
    /// cargo: an index file.
    CargoIndex {
        /// The upstreams.
        view: View,
        /// Its path below the registry's root (`se/rd/serde`).
        path: String,
    },
    /// cargo: a crate.
    CargoDownload {
        /// The upstreams.
        view: View,
        /// The crate.
        name: String,
        /// The version.
        version: String,
    },
    /// Debian: anything below a repository's root.
    Debian {
        /// The upstream's name.
        upstream: String,
        /// The path below its root (`dists/stable/InRelease`).
        path: String,
    },
}

impl Route {
    /// The ecosystem that is asked.
    #[must_use]
    pub fn ecosystem(&self) -> Ecosystem {
        match self {
            Self::PypiRoot { .. }
            | Self::PypiProject { .. }
            | Self::PypiFile { .. }
            | Self::PypiMetadata { .. }
            | Self::PypiProvenance { .. } => Ecosystem::Pypi,
            Self::NpmPackage { .. } | Self::NpmTarball { .. } | Self::NpmApi { .. } => {
                Ecosystem::Npm
            }
            Self::CargoConfig { .. } | Self::CargoIndex { .. } | Self::CargoDownload { .. } => {
                Ecosystem::Cargo
            }
            Self::Debian { .. } => Ecosystem::Debian,
        }
    }
}
