//! A capture of loopback traffic, by tcpdump.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools;

/// A running capture.
#[derive(Debug)]
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
    words: BufReader<std::process::ChildStderr>,
}

impl Capture {
    /// Starts capturing everything on loopback but the TCP ports in `except`.
    /// An error says why this machine cannot.
    pub(crate) fn start(file: &Path, except: &[u16]) -> Result<Self> {
        let program = tools::TCPDUMP.path().context("tcpdump is not installed")?;
        let filter: Vec<String> = except.iter().map(|port| format!("not tcp port {port}")).collect();
        let mut command = Command::new(program);
        command.args(["-i", "lo", "-n", "-U", "-s", "0", "-B", "65536", "-Z", "root", "-w"]).arg(file);
        command.arg(filter.join(" and "));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting tcpdump")?;
        let mut words = BufReader::new(child.stderr.take().context("tcpdump has no standard error")?);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if words.read_line(&mut line)? == 0 {
                let _ = child.wait();
                bail!("tcpdump may not capture here: {}", said.trim());
            }
            if line.contains("listening on") {
                return Ok(Self { child, file: file.to_path_buf(), words });
            }
            said.push_str(&line);
        }
    }

    /// Ends the capture; its bytes, and how many packets were missed.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, u64)> {
        Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status()?;
        let mut dropped = 0;
        let mut line = String::new();
        while self.words.read_line(&mut line)? > 0 {
            if line.contains("dropped by kernel") {
                dropped = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
            line.clear();
        }
        self.child.wait()?;
        let bytes = std::fs::read(&self.file).context("reading the capture")?;
        Ok((bytes, dropped))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
