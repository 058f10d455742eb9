//! Where things are and with which flags cargo runs. Every cargo call goes
//! through here, so that all steps share one set of flags and nothing is
//! built twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Linker flag used when mold is installed.
const MOLD: &str = "-Clink-arg=-fuse-ld=mold";

/// The workspace and how it is built.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// RUSTFLAGS of every cargo call.
    pub(crate) rustflags: String,
    /// Tools that xtask installed for itself.
    pub(crate) tools: PathBuf,
    /// No person is watching.
    pub(crate) ci: bool,
    /// Tests are built, too.
    pub(crate) tests: bool,
}

/// What the RocksDB build leaves behind.
const ROCKSDB_LIBRARY: &str = "librocksdb.a";

/// The test target that is built soonest.
const SMALL_TEST: &str = "group";

/// What the product consists of.
const PROGRAMS: [&str; 2] = ["kith", "kith-bootstrap"];

/// Features of the one build that soak and controls share. What they add is off
/// until an environment variable of the node switches it on.
pub(crate) const CONTROLS: &[&str] = &["test-trace", "test-early-send", "test-unsealed"];

/// Built programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    /// The node.
    pub(crate) kith: PathBuf,
    /// The relay.
    pub(crate) bootstrap: PathBuf,
}

/// Cargo profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The optimised development profile.
    Dev,
    /// What is shipped.
    Release,
}

impl Profile {
    /// Cargo's name for its folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

impl Env {
    /// Reads the environment.
    pub(crate) fn discover() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask must lie inside the workspace")?
            .to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || root.join("target"),
            |dir| {
                let dir = PathBuf::from(dir);
                if dir.is_absolute() { dir } else { root.join(dir) }
            },
        );
        let tools = std::env::var_os("KITH_TOOLS_DIR").map_or_else(|| target.join("tools"), PathBuf::from);
        let rustflags = std::env::var("RUSTFLAGS")
            .unwrap_or_else(|_| if find("mold").is_some() { MOLD.to_owned() } else { String::new() });
        let ci = std::env::var("CI").is_ok_and(|v| !v.is_empty() && v != "false");
        Ok(Self { root, target, rustflags, tools, ci, tests: false })
    }

    /// A cargo call in the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        if self.rustflags.is_empty() {
            command.env_remove("RUSTFLAGS");
        } else {
            command.env("RUSTFLAGS", &self.rustflags);
        }
        // RocksDB is compiled once for all sets of features and profiles.
        let library = self.rocksdb_folder();
        if library.join(ROCKSDB_LIBRARY).is_file() {
            command.env("ROCKSDB_LIB_DIR", library).env("ROCKSDB_STATIC", "1");
        }
        // What `cargo run` set for xtask itself is not meant for the others: build
        // scripts that look at it (ring's) would run anew each time that cargo
        // is called with and without xtask, and half of the crates after them.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*text);
            }
        }
        command
    }

    /// Where the compiled RocksDB of this lock file lies.
    fn rocksdb_folder(&self) -> PathBuf {
        let version = std::fs::read_to_string(self.root.join("Cargo.lock"))
            .ok()
            .and_then(|lock| {
                let at = lock.find("name = \"librocksdb-sys\"")?;
                let line = lock.get(at..)?.lines().nth(1)?.to_owned();
                Some(line.split('"').nth(1)?.to_owned())
            })
            .unwrap_or_default();
        self.target.join(format!("rocksdb-{version}"))
    }

    /// Compiles RocksDB, the largest part of a first build, unless it is there.
    /// Cargo would compile it anew for each set of features that its build
    /// tools happen to get, and for each profile.
    pub(crate) fn rocksdb(&self) -> Result<()> {
        let folder = self.rocksdb_folder();
        if folder.join(ROCKSDB_LIBRARY).is_file() {
            return Ok(());
        }
        let target = self.target.join("rocksdb-build");
        let mut command =
            self.cargo(&["build", "--quiet", "--lib", "--package", "kith-store", "--features", "rocksdb"]);
        command.args(["--config", "profile.dev.package.librocksdb-sys.opt-level=2"]);
        command.env("CARGO_TARGET_DIR", &target);
        command.env_remove("ROCKSDB_LIB_DIR").env_remove("ROCKSDB_STATIC");
        succeed(&mut command)?;
        let built = std::fs::read_dir(target.join("debug/build"))?
            .filter_map(|entry| Some(entry.ok()?.path().join("out").join(ROCKSDB_LIBRARY)))
            .find(|file| file.is_file())
            .context("cargo built RocksDB, but its library is nowhere")?;
        std::fs::create_dir_all(&folder)?;
        let fresh = folder.join("fresh");
        std::fs::copy(&built, &fresh)?;
        std::fs::rename(&fresh, folder.join(ROCKSDB_LIBRARY))?;
        std::fs::remove_dir_all(&target)?;
        Ok(())
    }

    /// Folder of copied binaries: they stay when cargo links another variant
    /// of the same name.
    fn shelf(&self) -> PathBuf {
        self.target.join("xtask-bin")
    }

    /// Builds a helper of the tests, an example of some crate, with the features
    /// that tests give to all.
    pub(crate) fn example(&self, name: &str) -> Result<PathBuf> {
        self.rocksdb()?;
        let args = ["build", "--quiet", "--workspace", "--example", name, "--test", SMALL_TEST];
        succeed(&mut self.cargo(&args))?;
        Ok(self.target.join(Profile::Dev.folder()).join("examples").join(name))
    }

    /// Builds the product's two programs and returns copies of them that later
    /// builds with other features leave alone. The whole workspace in one call,
    /// as the tests build it: for a part of it cargo would choose other features
    /// for shared build tools and build RocksDB again. `features` are those of
    /// `kith`.
    pub(crate) fn binaries(&self, features: &[&str], profile: Profile) -> Result<Binaries> {
        self.rocksdb()?;
        let mut command = self.cargo(&["build", "--quiet", "--workspace", "--bins"]);
        for feature in features {
            command.arg("--features").arg(format!("kith/{feature}"));
        }
        if profile == Profile::Release {
            command.arg("--release");
        } else if self.tests {
            // What tests depend on adds features to crates that the programs
            // use: asked for a test as well, cargo gives them to both, and
            // builds nothing twice.
            command.args(["--test", SMALL_TEST]);
        }
        succeed(&mut command)?;
        let [kith, bootstrap] = PROGRAMS.map(|name| {
            let built = self.target.join(profile.folder()).join(name);
            let variant: String = features.iter().map(|feature| format!("+{feature}")).collect();
            let copy = self.shelf().join(format!("{name}-{}{variant}", profile.folder()));
            (built, copy)
        });
        std::fs::create_dir_all(self.shelf())?;
        for (built, copy) in [&kith, &bootstrap] {
            // Rename over the old copy: it may still be running somewhere.
            let fresh = copy.with_extension("fresh");
            std::fs::copy(built, &fresh).with_context(|| format!("copying {}", built.display()))?;
            std::fs::rename(&fresh, copy)?;
        }
        Ok(Binaries { kith: kith.1, bootstrap: bootstrap.1 })
    }
}

/// What a run measures: what cargo builds now, or what was built before.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The two programs.
    pub(crate) programs: Binaries,
    /// Where they were built before, if they were.
    pub(crate) folder: Option<PathBuf>,
}

impl Env {
    /// The programs in the folder after `--programs`; without it they are built.
    pub(crate) fn measured(&self, args: &[String], profile: Profile) -> Result<Measured> {
        let Some(at) = args.iter().position(|a| a == "--programs") else {
            return Ok(Measured { programs: self.binaries(&[], profile)?, folder: None });
        };
        let folder = PathBuf::from(args.get(at + 1).context("--programs needs a folder")?).canonicalize()?;
        let [kith, bootstrap] = PROGRAMS.map(|name| folder.join(name));
        for program in [&kith, &bootstrap] {
            if !program.is_file() {
                bail!("there is no program {}", program.display());
            }
        }
        Ok(Measured { programs: Binaries { kith, bootstrap }, folder: Some(folder) })
    }
}

/// The path of a program, if installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Runs a command; its failure is an error that shows the command.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// A command's standard output; its failure is an error with what it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("could not start {}", shown(command)))?;
    if !out.status.success() {
        bail!("`{}` failed ({}):\n{}", shown(command), out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Refuses arguments that are not in `known`.
pub(crate) fn no_more(args: &[String], known: &[&str]) -> Result<()> {
    for arg in args {
        if !known.contains(&arg.as_str()) {
            bail!("unknown argument {arg:?}; `cargo xtask help` lists what there is");
        }
    }
    Ok(())
}

/// The number after `flag`, or `default`.
pub(crate) fn number(args: &[String], flag: &str, default: u64) -> Result<u64> {
    let Some(at) = args.iter().position(|a| a == flag) else {
        return Ok(default);
    };
    let text = args.get(at + 1).with_context(|| format!("{flag} needs a number"))?;
    text.parse().with_context(|| format!("{flag} needs a number, not {text:?}"))
}

/// Refuses anything but the given flags with a value and plain flags.
pub(crate) fn only_flags(args: &[String], numbers: &[&str], plain: &[&str]) -> Result<()> {
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if numbers.contains(&arg.as_str()) {
            let _ = rest.next();
        } else if !plain.contains(&arg.as_str()) {
            bail!("unknown argument {arg:?}; `cargo xtask help` lists what there is");
        }
    }
    Ok(())
}
