//! The shells' start-up files: the shims' folder first on the path, and stays there.

use super::gateway::Home;
use super::lines::{Notation, Piece};
use super::shims::quoted;
use std::path::{Path, PathBuf};

/// A shell that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// Its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// What the start-up files lead to.
pub struct Startup<'a> {
    /// The folder of the shims, if there are any.
    pub shims: Option<&'a Path>,
    /// Variables to set; a value may name other variables (`$TOKEN`).
    pub variables: &'a [(String, String)],
    /// The variable without which none of them is set.
    pub when: Option<&'a str>,
    /// Where the text for bash and zsh lies.
    pub file: &'a Path,
}

/// Blocks in the start-up files of a shell; fish has a file of its own instead.
pub fn pieces(shell: Shell, home: &Home, startup: &Startup<'_>) -> Vec<Piece> {
    let line = format!("[ ! -r {0} ] || . {0}", quoted(&startup.file.display().to_string()));
    let piece = |file: PathBuf| Piece {
        client: shell.name(),
        file,
        notation: Notation::Shell,
        section: None,
        keys: &[],
        lines: vec![line.clone()],
    };
    match shell {
        // A login shell reads the first of the three that is there, and no more.
        Shell::Bash => {
            let login = [".bash_profile", ".bash_login", ".profile"].map(|n| home.home.join(n));
            let first = login.iter().find(|f| f.is_file()).unwrap_or(&login[2]);
            vec![piece(home.home.join(".bashrc")), piece(first.clone())]
        }
        Shell::Zsh => {
            let folder = std::env::var_os("ZDOTDIR").map(PathBuf::from);
            let folder = folder.filter(|d| d.is_absolute()).unwrap_or_else(|| home.home.clone());
            vec![piece(folder.join(".zshenv")), piece(folder.join(".zshrc"))]
        }
        Shell::Fish => Vec::new(),
    }
}

/// fish's own file.
pub fn fish_file(home: &Home) -> PathBuf {
    home.config.join("fish/conf.d/countersign.fish")
}

const HEAD: &str = "# Written by `countersign setup`; `countersign setup --undo` removes it.\n";

/// The text for bash and zsh.
pub fn posix(startup: &Startup<'_>) -> String {
    let mut out = HEAD.to_owned();
    if let Some(folder) = startup.shims {
        let dir = quoted(&folder.display().to_string());
        // An activated environment, or a tool that puts its own folder first, comes behind the
        // shims again with the next prompt: they look for the real program in the rest of the path.
        out.push_str(&format!(
            r#"__countersign_first() {{
    __countersign_status=$?
    case $PATH in
    {dir}:*) ;;
    *)
        PATH=":$PATH:"
        while case $PATH in *:{dir}:*) true ;; *) false ;; esac; do
            PATH="${{PATH%%:{dir}:*}}:${{PATH#*:{dir}:}}"
        done
        PATH={dir}$PATH
        PATH="${{PATH%:}}"
        export PATH
        ;;
    esac
    return $__countersign_status
}}
__countersign_first
case $- in
*i*)
    if [ -n "${{BASH_VERSION-}}" ]; then
        case ";${{PROMPT_COMMAND-}};" in
        *";__countersign_first;"*) ;;
        *) PROMPT_COMMAND="__countersign_first${{PROMPT_COMMAND:+;$PROMPT_COMMAND}}" ;;
        esac
    elif [ -n "${{ZSH_VERSION-}}" ]; then
        autoload -Uz add-zsh-hook
        add-zsh-hook precmd __countersign_first
    fi
    ;;
esac
"#
        ));
    }
    if let Some(when) = startup.when.filter(|_| !startup.variables.is_empty()) {
        out.push_str(&format!("if [ -n \"${{{when}-}}\" ]; then\n"));
        for (name, value) in startup.variables {
            out.push_str(&format!("    export {name}=\"{value}\"\n"));
        }
        out.push_str("fi\n");
    }
    out
}

/// The text for fish.
pub fn fish(startup: &Startup<'_>) -> String {
    let mut out = HEAD.to_owned();
    if let Some(folder) = startup.shims {
        let text = folder.display().to_string().replace('\\', r"\\").replace('\'', r"\'");
        out.push_str(&format!(
            r"function __countersign_first --on-event fish_prompt
    if test (count $PATH) -eq 0; or test $PATH[1] != '{text}'
        set -gx PATH '{text}' (string match -v -- '{text}' $PATH)
    end
end
__countersign_first
"
        ));
    }
    if let Some(when) = startup.when.filter(|_| !startup.variables.is_empty()) {
        out.push_str(&format!("if set -q {when}\n"));
        for (name, value) in startup.variables {
            out.push_str(&format!("    set -gx {name} \"{value}\"\n"));
        }
        out.push_str("end\n");
    }
    out
}
