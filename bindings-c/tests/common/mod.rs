//! Building the library as a user gets it, and compiling programs against it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Runs a command, which must succeed, and returns what it printed.
pub(crate) fn run(command: &[&str], folder: &Path) -> String {
    let done = Command::new(command[0]).args(&command[1..]).current_dir(folder).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}\n{errors}", done.status);
    out.into_owned()
}

/// The root of the tree.
pub(crate) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tree is there")
}

/// The built library, and a folder for what a test makes.
pub(crate) struct Built {
    folder: tempfile::TempDir,
}

impl Built {
    /// Where cargo puts the library; built once for each test program.
    pub(crate) fn libraries() -> &'static Path {
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        BUILT.get_or_init(|| {
            run(&[env!("CARGO"), "build", "--quiet", "--package", "onceward-c"], &tree());
            let test = std::env::current_exe().expect("the test is a file");
            let target = test.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
            target.expect("the test lies below the target").with_file_name("debug")
        })
    }

    /// Builds the library, if need be.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let lib = folder.path().join("lib");
        std::fs::create_dir(&lib).expect("makes a folder");
        let built = Self::libraries();
        for (from, to) in [
            ("libonceward_c.so", "libonceward.so.0"),
            ("libonceward_c.so", "libonceward.so"),
            ("libonceward_c.a", "libonceward.a"),
        ] {
            std::os::unix::fs::symlink(built.join(from), lib.join(to)).expect("links the library");
        }
        Built { folder }
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A new, empty folder to run a program in.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root().join(format!("{name}.run"));
        std::fs::create_dir(&folder).expect("makes a folder");
        folder
    }

    /// The shared library.
    pub(crate) fn so(&self) -> PathBuf {
        self.root().join("lib/libonceward.so")
    }

    /// How to link with the shared library.
    pub(crate) fn shared(&self) -> Vec<String> {
        let lib = self.root().join("lib").display().to_string();
        vec![format!("-L{lib}"), format!("-Wl,-rpath,{lib}"), "-lonceward".to_owned(), "-lpthread".to_owned()]
    }

    /// How to link with the static library.
    pub(crate) fn fixed(&self) -> Vec<String> {
        let lib = self.root().join("lib/libonceward.a").display().to_string();
        // The language was set by hand for the source; the archive has none.
        vec!["-x".into(), "none".into(), lib, "-lpthread".into(), "-ldl".into(), "-lm".into()]
    }

    /// Compiles a program of `tests/c`.
    pub(crate) fn compile(&self, compiler: &[&str], name: &str, link: &[String]) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
        let program = self.root().join(name);
        let header = format!("-I{}", tree().join("include").display());
        let (source, out) = (source.display().to_string(), program.display().to_string());
        let mut command = compiler.to_vec();
        command.extend([
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-D_POSIX_C_SOURCE=200809L",
            &header,
            "-o",
            &out,
            &source,
        ]);
        command.extend(link.iter().map(String::as_str));
        run(&command, self.root());
        program
    }
}
