//! Builds the library that the tests load between a driver process and its disk.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=preload/preload.c");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let library = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("preload.so");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-o"])
        .arg(&library)
        .args(["preload/preload.c", "-ldl", "-lpthread"])
        .status()
        .unwrap_or_else(|error| panic!("the C compiler `{compiler}` does not start: {error}"));
    assert!(status.success(), "`{compiler}` failed on preload/preload.c");
    println!("cargo::rustc-env=ONCEWARD_PRELOAD={}", library.display());
}
