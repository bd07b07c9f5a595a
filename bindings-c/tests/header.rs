//! The header in the tree is the one that the source makes, says what statuses its functions give, and is of the binary interface
//! that the library is named after.

use std::path::Path;

/// Run the tests with this variable set to write the header anew.
const WRITE: &str = "ONCEWARD_WRITE_HEADER";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("reads {}: {error}", path.display()))
}

fn header() -> String {
    read(folder().join("../include/onceward.h"))
}

#[test]
fn the_header_is_made_from_the_source() {
    let mut config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).expect("reads the settings");
    config.after_includes = Some(version_macros());
    let bindings =
        cbindgen::Builder::new().with_crate(folder()).with_config(config).generate().expect("makes a header");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("a header is UTF-8");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(folder().join("../include/onceward.h"), &made).expect("writes the header");
    }
    assert!(header() == made, "include/onceward.h is not what the source makes: run this test with {WRITE}=1");
}

/// The version of the source that the header is made from, as text and as numbers that a preprocessor can compare.
fn version_macros() -> String {
    let [major, minor, patch] =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    format!(
        "\n/*\n The version of the library that this header is of. onceward_version() is the one that the program runs with.\n \
         */\n#define ONCEWARD_VERSION \"{}\"\n#define ONCEWARD_VERSION_MAJOR {major}\n#define ONCEWARD_VERSION_MINOR {minor}\n\
         #define ONCEWARD_VERSION_PATCH {patch}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Functions that return a number which is no status of their own.
const NO_STATUS: [&str; 2] = ["onceward_delivery_is_settled", "onceward_error_status"];
/// What is said of a function that has no status of its own. The top of the header says what it means.
const COMMON: &str = "Gives the common statuses.";

/// The statuses that the header has, but for the one that says that all is well.
fn statuses(header: &str) -> Vec<&str> {
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' '));
    let names = [
        "INVALID",
        "NOT_FOUND",
        "CONFLICT",
        "LEASE_LOST",
        "BUSY",
        "FULL",
        "CLOSED",
        "DETACHED",
        "CORRUPT",
        "STORAGE",
        "UNSUPPORTED",
        "DENIED",
        "SQL",
        "EXPIRED",
        "IN_DOUBT",
        "FAILED",
        "EMPTY",
        "DUPLICATE",
        "SOME_LOST",
    ];
    let is_status = |name: &str| name.strip_prefix("ONCEWARD_").is_some_and(|name| names.contains(&name));
    let found: Vec<&str> = defined.map(|(name, _)| name).filter(|name| is_status(name)).collect();
    assert_eq!(found.len(), names.len(), "the header has them all: {found:?}");
    found
}

/// A function that returns a number of 32 bits.
#[derive(Debug)]
struct Function<'a> {
    name: &'a str,
    /// The words that stand before it.
    words: &'a str,
    arguments: &'a str,
}

fn functions(header: &str) -> Vec<Function<'_>> {
    let parts = header.split("\nint32_t ").collect::<Vec<_>>();
    let found = parts.windows(2).filter_map(|pair| {
        let (name, after) = pair[1].split_once('(')?;
        let words = pair[0].trim_end().strip_suffix("*/").and_then(|before| before.rsplit_once("/*"));
        let arguments = after.split(')').next()?;
        name.starts_with("onceward_").then(|| Function { name, words: words.map_or("", |(_, words)| words), arguments })
    });
    let found: Vec<_> = found.collect();
    assert!(found.len() > 80, "the functions are found: {found:?}");
    found
}

fn names_a_status(words: &str, statuses: &[&str]) -> bool {
    words.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| statuses.contains(&word))
}

#[test]
fn every_function_that_returns_a_status_says_which() {
    let header = header();
    let top = header.split("*/").next().expect("it has a top").replace("\n * ", " ");
    let statuses = statuses(&header);
    assert!(top.contains("The common statuses are"), "the top says which are common: {top}");
    let functions = functions(&header);
    let says = |function: &Function<'_>| function.words.contains(COMMON) || names_a_status(function.words, &statuses);
    let (without, with): (Vec<_>, Vec<_>) = functions.iter().partition(|function| NO_STATUS.contains(&function.name));
    let missing: Vec<&str> = with.iter().filter(|function| !says(function)).map(|function| function.name).collect();
    assert!(missing.is_empty(), "these say neither a status nor \"{COMMON}\": {missing:?}");
    assert_eq!(without.len(), NO_STATUS.len(), "they are in the header: {without:?}");
    assert!(!without.into_iter().any(says), "these say a status after all: {NO_STATUS:?}");
}

/// Functions that need no store to be open, or a callback to run in.
const WITHOUT_A_STORE: [&str; 2] = ["onceward_store_open", "onceward_outcome_set"];

#[test]
fn every_function_is_tried_with_null_and_with_a_store_that_is_gone() {
    let header = header();
    let programs =
        |names: &[&str]| names.iter().map(|name| read(folder().join("tests/c").join(name))).collect::<String>();
    let calls = |text: &str, name: &str| text.contains(&format!("{name}("));
    let (hostile, arguments) = (programs(&["hostile.c"]), programs(&["arguments.c"]));
    let gone = programs(&["everything.h", "closed.c", "forked.c"]);
    for Function { name, arguments: given, .. } in functions(&header) {
        if NO_STATUS.contains(&name) {
            continue;
        }
        assert!(calls(&hostile, name), "hostile.c calls {name} with a handle that is NULL");
        let takes_more = given.matches('*').count() > 1 && name != "onceward_outcome_set";
        assert!(!takes_more || calls(&arguments, name), "arguments.c calls {name} with the others that are NULL");
        assert!(WITHOUT_A_STORE.contains(&name) || calls(&gone, name), "{name} is called after the store is gone");
    }
}

/// Programs find the library by this name, so it has to change together with the number.
#[test]
fn the_library_is_named_after_the_version_of_its_binary_interface() {
    let header = header();
    let version = header.lines().find_map(|line| line.strip_prefix("#define ONCEWARD_ABI_VERSION "));
    let version: u32 = version.expect("the header has it").parse().expect("it is a number");
    let wanted = format!("libonceward.so.{version}");
    for (path, places) in [("build.rs", 1), ("../scripts/install-c", 2)] {
        let text = read(folder().join(path));
        let named: Vec<&str> = text
            .match_indices("libonceward.so.")
            .map(|(at, _)| text[at..].split(|letter: char| !letter.is_alphanumeric() && letter != '.').next())
            .map(|name| name.expect("a split has a first part"))
            // The file itself has the version of the library in its name.
            .filter(|name| *name != "libonceward.so.")
            .collect();
        assert_eq!(named, vec![wanted.as_str(); places], "{path} and ONCEWARD_ABI_VERSION, which is {version}");
    }
}
