//! Gives the shared library its soname: the number changes when programs built against an older header no longer work.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libonceward.so.0");
    println!("cargo::rerun-if-changed=build.rs");
}
