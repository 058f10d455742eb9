//! The programs that a build and the tests need: found, or installed with apt
//! where that needs no question, or named with the exact line to type.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::env::{Env, find, succeed};

/// A program and the Debian packages that bring it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    programs: &'static [&'static str],
    packages: &'static [&'static str],
}

/// Compiles RocksDB and its bindings.
pub(crate) const CLANG: Tool = Tool {
    name: "clang and libclang",
    programs: &["clang"],
    packages: &["clang", "libclang-dev", "g++", "make"],
};
/// Builds the web app.
pub(crate) const NPM: Tool =
    Tool { name: "Node.js with npm", programs: &["npm"], packages: &["nodejs", "npm"] };
/// Runs the browser tests.
pub(crate) const CHROMIUM: Tool = Tool {
    name: "Chromium",
    programs: &["chromium", "chromium-browser", "google-chrome"],
    packages: &["chromium"],
};
/// Builds networks out of namespaces.
pub(crate) const IP: Tool = Tool { name: "iproute2", programs: &["ip"], packages: &["iproute2"] };
/// Translates addresses between them.
pub(crate) const NFT: Tool = Tool { name: "nftables", programs: &["nft"], packages: &["nftables"] };
/// Shows what is translated.
pub(crate) const CONNTRACK: Tool =
    Tool { name: "conntrack", programs: &["conntrack"], packages: &["conntrack"] };
/// Makes ways long and lossy.
pub(crate) const IPTABLES: Tool = Tool { name: "iptables", programs: &["iptables"], packages: &["iptables"] };
/// Another TURN implementation's clients.
pub(crate) const COTURN: Tool =
    Tool { name: "coturn", programs: &["turnutils_uclient"], packages: &["coturn"] };
/// Writes down what passes, for the canary and for calls.
pub(crate) const TCPDUMP: Tool = Tool { name: "tcpdump", programs: &["tcpdump"], packages: &["tcpdump"] };

/// Makes the film of `cargo xtask bench film`.
pub(crate) const FFMPEG: Tool = Tool { name: "FFmpeg", programs: &["ffmpeg"], packages: &["ffmpeg"] };

impl Tool {
    /// Where it is.
    pub(crate) fn path(self) -> Option<PathBuf> {
        self.programs.iter().find_map(|program| find(program))
    }

    pub(crate) fn present(self) -> bool {
        self.path().is_some() && (self.name != CLANG.name || libclang())
    }
}

/// Whether bindgen will find libclang at run time.
fn libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders: Vec<PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ]
    .iter()
    .map(PathBuf::from)
    .collect();
    if let Ok(entries) = std::fs::read_dir("/usr/lib") {
        let llvm = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("llvm")));
        folders.extend(llvm.map(|p| p.join("lib")));
    }
    if cfg!(target_os = "macos") {
        return true;
    }
    folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .any(|entries| entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("libclang")))
}

/// Makes sure that the tools are there.
pub(crate) fn ensure(env: &Env, tools: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| !tool.present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    let line = format!("sudo apt-get install -y --no-install-recommends {}", packages.join(" "));
    if let Some(mut install) = apt(env, &["install", "-y", "-qq", "--no-install-recommends"], &packages) {
        eprintln!("xtask: installing {}", names.join(", "));
        if let Some(mut update) = apt(env, &["update", "-qq"], &[]) {
            let _ = update.status();
        }
        succeed(&mut install)?;
        let still: Vec<&str> = missing.iter().filter(|tool| !tool.present()).map(|tool| tool.name).collect();
        if still.is_empty() {
            return Ok(());
        }
        bail!("{} cannot be found even after `{line}`", still.join(", "));
    }
    bail!(
        "{} missing. On Debian or Ubuntu: {line}\nOn other systems install them with your package manager.",
        names.join(", ")
    )
}

/// An apt call that asks nothing, if this user may make one.
fn apt(env: &Env, args: &[&str], packages: &[&str]) -> Option<Command> {
    find("apt-get")?;
    let root = Command::new("id").arg("-u").output().ok()?.stdout.starts_with(b"0");
    let mut command = if root {
        Command::new("apt-get")
    } else {
        find("sudo")?;
        if !env.ci && !Command::new("sudo").args(["-n", "true"]).status().ok()?.success() {
            return None;
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    command.args(args).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    command.stdout(std::process::Stdio::null());
    Some(command)
}

/// Whether cargo-nextest is there; without it `cargo test` runs the tests.
pub(crate) fn nextest() -> bool {
    find("cargo-nextest").is_some()
}

/// The cargo-deny program: found, or in CI installed into the tools folder.
pub(crate) fn cargo_deny(env: &Env) -> Result<PathBuf> {
    if let Some(path) = find("cargo-deny") {
        return Ok(path);
    }
    let own = env.tools.join("bin/cargo-deny");
    if own.is_file() {
        return Ok(own);
    }
    if !env.ci {
        bail!("cargo-deny is missing; install it with: cargo install --locked cargo-deny");
    }
    eprintln!("xtask: installing cargo-deny");
    let root = env.tools.display().to_string();
    // Unoptimised: it runs for a second and is built for minutes.
    let mut install =
        env.cargo(&["install", "--locked", "--quiet", "--debug", "cargo-deny", "--root", &root]);
    install.env("CARGO_TARGET_DIR", env.tools.join("build")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    succeed(&mut install)?;
    let _ = std::fs::remove_dir_all(env.tools.join("build"));
    Ok(own)
}
