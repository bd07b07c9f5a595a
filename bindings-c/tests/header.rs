//! The header in the tree is the one that the source makes.

use std::path::Path;

/// Run the tests with this variable set to write the header anew.
const WRITE: &str = "ONCEWARD_WRITE_HEADER";

#[test]
fn the_header_is_made_from_the_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("reads the settings");
    config.after_includes = Some(version_macros());
    let bindings = cbindgen::Builder::new().with_crate(folder).with_config(config).generate().expect("makes a header");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("a header is UTF-8");
    let path = folder.join("../include/onceward.h");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).expect("writes the header");
    }
    let kept = std::fs::read_to_string(&path).expect("reads the header");
    assert!(kept == made, "include/onceward.h is not what the source makes: run this test with {WRITE}=1");
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
