//! A capture of loopback traffic, by tcpdump.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools;

/// Longest wait for tcpdump to write what it captured.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);
/// How often the file is looked at meanwhile.
const SETTLE_STEP: Duration = Duration::from_millis(50);

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

    /// Waits until the file holds everything sent so far. The kernel hands
    /// packets on in blocks, and tcpdump drops an unfinished one when it ends;
    /// a datagram of our own that shows up in the file proves that what came
    /// before it is there too.
    fn settle(&self) -> Result<()> {
        let marker = format!("kith-capture-settled-{}-{}", std::process::id(), self.child.id());
        let heard = UdpSocket::bind(("127.0.0.1", 0))?;
        heard.send_to(marker.as_bytes(), heard.local_addr()?)?;
        let until = Instant::now() + SETTLE_WITHIN;
        while Instant::now() < until {
            let bytes = std::fs::read(&self.file).context("reading the capture")?;
            if bytes.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                return Ok(());
            }
            std::thread::sleep(SETTLE_STEP);
        }
        bail!("tcpdump did not write what it captured within {} s", SETTLE_WITHIN.as_secs())
    }

    /// Ends the capture; its bytes, and how many packets were missed.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, u64)> {
        self.settle()?;
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
