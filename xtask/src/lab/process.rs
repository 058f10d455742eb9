//! One child process: its standard output read line by line, its log in a
//! file, killed with whoever owns it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::env::shown;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

impl Process {
    /// Starts `command`; standard error is appended to `log`, standard output
    /// too, and can be waited for. `input` is written to standard input.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path, input: &str) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        let mut copy = file.try_clone()?;
        let mut child = command
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {}", shown(command)))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that does not read it is found out by what it prints.
            let _ = stdin.write_all(input.as_bytes());
        }
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let _ = writeln!(copy, "{line}");
                // Nobody waits for lines any more: keep the pipe empty all the same.
                let _ = sender.send(line);
            }
        });
        Ok(Self { child, lines, name: name.to_owned() })
    }

    /// Waits for a line that holds `text` and returns what follows it.
    pub(crate) fn wait_line(&mut self, text: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(at) = line.find(text) {
                        return Ok(line[at + text.len()..].trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{} did not print {text:?} in time", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("{} ended ({status}) before it printed {text:?}", self.name);
                }
            }
        }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// `SIGTERM`, and waits until it has ended by itself.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let _ = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status()?;
        let deadline = Instant::now() + patience;
        // Standard output closes when the process ends.
        while Instant::now() < deadline {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return Ok(self.child.wait()?),
                Err(RecvTimeoutError::Timeout) | Ok(_) => {}
            }
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("{} did not end within {} s of SIGTERM", self.name, patience.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
