//! Tells the linker that Node itself brings the functions of its API.

fn main() {
    napi_build::setup();
}
