//! Says in a sentence what is missing when the web app has not been built.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=app/dist");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBED").is_some() && !Path::new("app/dist/index.html").is_file() {
        println!("cargo::error=the web app is not built: run `cargo xtask ui`, then build again");
    }
}
