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
    port: u16,
    process: Option<Process>,
    /// The community link that it printed.
    pub(crate) link: String,
}

impl Relay {
    /// Starts a relay with a fresh folder below `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let mut relay = Self {
            program: program.to_path_buf(),
            data: folder.join("relay"),
            log: folder.join("relay.log"),
            port: free_port()?,
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
        command.arg("--data").arg(&self.data).args(["--name", "Lab relay"]);
        for address in loopback_addresses(self.port) {
            command.args(["--listen", &address]);
        }
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

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}
