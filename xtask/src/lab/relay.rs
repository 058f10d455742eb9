//! A relay process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::Process;
use super::{PATIENCE, free_port, loopback_addresses};

/// How long a relay may take to end by itself.
const END: Duration = Duration::from_secs(15);

/// A relay and how to start it again.
#[derive(Debug)]
pub(crate) struct Relay {
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    /// As it names itself.
    pub(crate) name: String,
    listen: Vec<String>,
    more: Vec<String>,
    process: Option<Process>,
    /// The community link that it printed.
    pub(crate) link: String,
}

impl Relay {
    /// Starts a relay with a fresh folder below `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::start_at(program, folder, "relay", loopback_addresses(free_port()?).to_vec(), &[])
    }

    /// The same under a name of its own, at these addresses, with more flags.
    pub(crate) fn start_at(
        program: &Path,
        folder: &Path,
        name: &str,
        listen: Vec<String>,
        more: &[&str],
    ) -> Result<Self> {
        let mut relay = Self {
            program: program.to_path_buf(),
            data: folder.join(name),
            log: folder.join(format!("{name}.log")),
            name: format!("Lab {name}"),
            listen,
            more: more.iter().map(ToString::to_string).collect(),
            process: None,
            link: String::new(),
        };
        std::fs::create_dir_all(&relay.data)?;
        relay.restart()?;
        Ok(relay)
    }

    /// Starts it again on the same folder and port.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process = None;
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).args(["--name", &self.name]);
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        command.args(&self.more);
        let mut process = Process::start("the relay", &mut command, &self.log, "")?;
        let rest = process.wait_line("kith-relay:", PATIENCE).context("starting the relay")?;
        let rest = rest.split_whitespace().next().unwrap_or_default();
        self.link = format!("kith-relay:{rest}");
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(END).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}
