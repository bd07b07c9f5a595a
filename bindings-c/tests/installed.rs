//! The library as it is installed: throwaway projects that know only pkg-config, the examples, and what the libraries show.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Built, run, tree};

/// An installation below a prefix of its own.
struct Installed {
    built: Built,
    prefix: PathBuf,
}

impl Installed {
    fn new() -> Self {
        let built = Built::new();
        let prefix = built.root().join("prefix");
        let script = tree().join("scripts/install-c").display().to_string();
        run(&[&script, &Built::libraries().display().to_string(), &prefix.display().to_string()], built.root());
        Installed { built, prefix }
    }

    fn pkg_config(&self, what: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(what).arg("onceward").env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"));
        let done = command.output().expect("pkg-config starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("UTF-8").split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles a source with what pkg-config says, and nothing else.
    fn compile(&self, source: &Path, fixed: bool, more: &[&str]) -> String {
        let program = self.built.root().join(source.file_stem().expect("a file"));
        let program = program.with_extension(if fixed { "static" } else { "shared" }).display().to_string();
        let mut command: Vec<String> = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", &program]
            .map(str::to_owned)
            .to_vec();
        command.push(source.display().to_string());
        if fixed {
            let flags = self.pkg_config(&["--static", "--cflags", "--libs"]);
            let fixed = |flag: String| if flag == "-lonceward" { "-l:libonceward.a".to_owned() } else { flag };
            command.extend(flags.into_iter().map(fixed));
        } else {
            command.extend(self.pkg_config(&["--cflags", "--libs"]));
            command.push(format!("-Wl,-rpath,{}", self.prefix.join("lib").display()));
        }
        command.extend(more.iter().map(|&flag| flag.to_owned()));
        run(&command.iter().map(String::as_str).collect::<Vec<_>>(), self.built.root());
        program
    }
}

#[test]
fn the_examples_build_with_pkg_config_and_book_each_order_once() {
    let installed = Installed::new();
    for fixed in [false, true] {
        let example = |name| installed.compile(&tree().join("examples/c").join(name), fixed, &[]);
        let (sender, worker) = (example("sender.c"), example("worker.c"));
        let folder = installed.built.folder(if fixed { "static" } else { "shared" });
        let sent = run(&[&sender, "app.db", "order-1", "1999", "order-2", "5", "order-1", "1999"], &folder);
        assert!(sent.lines().nth(2).is_some_and(|line| line.ends_with(", sent before")), "{sent}");
        let booked = run(&[&worker, "app.db"], &folder);
        assert_eq!(booked, "order order-1: 1999 cents\norder order-2: 5 cents\n");
        assert_eq!(run(&[&worker, "app.db"], &folder), "", "nothing is booked twice");
    }
}

/// The programs of a throwaway project, which knows the library by `find_package` alone.
const CMAKE_PROJECT: &str = "\
cmake_minimum_required(VERSION 3.16)
project(throwaway C)
find_package(Onceward @VERSION@ REQUIRED)
foreach(name sender worker)
    add_executable(${name}-shared ${name}.c)
    target_link_libraries(${name}-shared PRIVATE Onceward::onceward)
    add_executable(${name}-static ${name}.c)
    target_link_libraries(${name}-static PRIVATE Onceward::onceward_static)
endforeach()
";

/// The installed cmake, or the one that `make setup` puts beside the other tools.
fn cmake() -> String {
    let own = tree().join("build/venv/bin/cmake");
    if own.exists() { own.display().to_string() } else { "cmake".to_owned() }
}

/// Configures a throwaway project that wants at least this version.
fn configured(installed: &Installed, version: &str) -> std::process::Output {
    let folder = installed.built.root().join("throwaway");
    std::fs::create_dir_all(&folder).expect("makes a folder");
    for name in ["sender.c", "worker.c"] {
        std::fs::copy(tree().join("examples/c").join(name), folder.join(name)).expect("copies the example");
    }
    std::fs::write(folder.join("CMakeLists.txt"), CMAKE_PROJECT.replace("@VERSION@", version)).expect("writes");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", installed.prefix.display());
    let mut command = Command::new(cmake());
    command.args(["-S", ".", "-B", version, &prefix]).current_dir(&folder);
    command.output().expect("cmake starts; `make setup` installs it")
}

#[test]
fn the_examples_build_with_cmake_alone_and_book_each_order_once() {
    let installed = Installed::new();
    let version = env!("CARGO_PKG_VERSION");
    let done = configured(&installed, version);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let built = installed.built.root().join("throwaway").join(version);
    run(&[&cmake(), "--build", "."], &built);
    for kind in ["shared", "static"] {
        let example = |name: &str| built.join(format!("{name}-{kind}")).display().to_string();
        let linked = run(&["readelf", "-d", &example("worker")], &built);
        assert_eq!(linked.contains("[libonceward.so.0]"), kind == "shared", "{linked}");
        let folder = installed.built.folder(&format!("cmake-{kind}"));
        run(&[&example("sender"), "app.db", "order-1", "1999"], &folder);
        assert_eq!(run(&[&example("worker"), "app.db"], &folder), "order order-1: 1999 cents\n");
    }
    let newer = configured(&installed, "99.0");
    assert!(!newer.status.success(), "a version that is not installed is refused");
    assert!(String::from_utf8_lossy(&newer.stderr).contains(version), "{newer:?}");
}

#[test]
fn another_language_calls_the_library_as_the_page_shows() {
    let installed = Installed::new();
    let program = tree().join("examples/ffi/orders.py");
    let page = std::fs::read_to_string(tree().join("docs/other-languages.md")).expect("reads the page");
    assert!(
        page.contains(&std::fs::read_to_string(&program).expect("reads the program")),
        "the page shows the program"
    );
    let library = installed.prefix.join("lib/libonceward.so.0").display().to_string();
    let command = ["python3", &program.display().to_string(), &library, "shop.db"];
    let folder = installed.built.folder("ffi");
    let printed = run(&command, &folder);
    let sent = ["order-1: sent", "order-2: sent", "order-1: had been sent before"];
    let taken = ["order-1: 1999 cents", "order-2: 5 cents"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), [&sent[..], &taken[..]].concat());
    let again = run(&command, &folder);
    assert_eq!(again.lines().filter(|line| line.ends_with("had been sent before")).count(), 3, "{again}");
    assert!(!again.contains("cents"), "nothing is taken twice: {again}");
}

#[test]
fn another_sqlite_in_the_same_program_is_not_in_the_way() {
    let installed = Installed::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/beside_sqlite.c");
    for fixed in [false, true] {
        let program = installed.compile(&source, fixed, &["-lsqlite3"]);
        let printed = run(&[&program], &installed.built.folder(if fixed { "static" } else { "shared" }));
        let versions: Vec<_> = printed.lines().next().unwrap_or_default().split(" beside ").collect();
        assert!(versions.len() == 2 && versions[0] != versions[1], "each is its own: {printed}");
    }
}

#[test]
fn only_our_own_names_leave_the_installed_libraries() {
    let installed = Installed::new();
    for (file, dynamic) in [("libonceward.a", false), ("libonceward.so", true)] {
        let path = installed.prefix.join("lib").join(file).display().to_string();
        let kind = if dynamic { "-D" } else { "-g" };
        let listed = run(&["nm", kind, "--defined-only", &path], installed.built.root());
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert!(names.len() > 100, "{file} has its functions: {names:?}");
        let strange: Vec<_> = names.iter().filter(|name| !name.starts_with("onceward_")).collect();
        assert!(strange.is_empty(), "{file}: {strange:?}");
    }
}

#[test]
fn what_is_installed_has_the_version_of_the_library() {
    let installed = Installed::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(installed.pkg_config(&["--modversion"]), [version]);
    let lib = installed.prefix.join("lib");
    let named = run(&["readelf", "-d", &lib.join("libonceward.so").display().to_string()], installed.built.root());
    assert!(named.contains("[libonceward.so.0]"), "{named}");
    let so = lib.join(format!("libonceward.so.{version}"));
    assert_eq!(lib.join("libonceward.so.0").canonicalize().expect("a link"), so.canonicalize().expect("a file"));
    let cmake = std::fs::read_to_string(lib.join("cmake/Onceward/OncewardConfigVersion.cmake")).expect("a file");
    assert!(cmake.contains(&format!("\"{version}\"")), "{cmake}");
}
