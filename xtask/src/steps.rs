//! Runs the parts of a check one after another, shows their output as it
//! comes, counts, and keeps going when one fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::env::shown;
use crate::tally::Tally;

/// How much of a runner's output is kept for counting.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// One finished part.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    name: String,
    tally: Tally,
    took: Duration,
    note: String,
}

/// All parts of one run.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

impl Steps {
    /// Runs a part that counts for itself.
    pub(crate) fn part(&mut self, name: &str, work: impl FnOnce() -> Result<Tally>) {
        println!("\n== {name}");
        let start = Instant::now();
        let (tally, note) = match work() {
            Ok(tally) => (tally, String::new()),
            Err(error) => {
                println!("{name}: {error:#}");
                (Tally::one(false), first_line(&format!("{error:#}")))
            }
        };
        self.done.push(Done { name: name.to_owned(), tally, took: start.elapsed(), note });
    }

    /// Runs a command as a part and counts what its output says.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.part(name, || {
            let (output, ok) = tee(command)?;
            if !ok {
                println!("{name}: `{}` failed", shown(command));
            }
            Ok(Tally::of(&output, ok))
        });
    }

    /// Prints what each part took and counted, the sum last. True if all
    /// passed.
    pub(crate) fn close(self, extra: &[String]) -> bool {
        println!("\n== summary");
        let mut sum = Tally::default();
        let mut took = Duration::ZERO;
        for done in &self.done {
            let mark = if done.tally.failed == 0 { "ok  " } else { "FAIL" };
            println!(
                "{mark} {:<26} {:>5} passed {:>3} failed {:>8.1} s  {}",
                done.name,
                done.tally.passed,
                done.tally.failed,
                done.took.as_secs_f64(),
                done.note
            );
            sum = sum.plus(done.tally);
            took += done.took;
        }
        println!("test.duration: {:.0} s", took.as_secs_f64());
        for line in extra {
            println!("{line}");
        }
        println!("{} passed, {} failed", sum.passed, sum.failed);
        sum.failed == 0
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(100).collect()
}

/// Runs a command, shows both its streams as they come and returns them.
pub(crate) fn tee(command: &mut Command) -> Result<(String, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", shown(command)))?;
    let kept = Arc::new(Mutex::new(String::new()));
    let readers = [
        child.stdout.take().map(|stream| copy_lines(stream, Arc::clone(&kept), false)),
        child.stderr.take().map(|stream| copy_lines(stream, Arc::clone(&kept), true)),
    ];
    let status = child.wait()?;
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let text = kept.lock().map(|text| text.clone()).unwrap_or_default();
    Ok((text, status.success()))
}

fn copy_lines(
    stream: impl Read + Send + 'static,
    kept: Arc<Mutex<String>>,
    to_stderr: bool,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let _ = if to_stderr {
                std::io::stderr().write_all(&line)
            } else {
                std::io::stdout().write_all(&line)
            };
            if let Ok(mut kept) = kept.lock()
                && kept.len() + line.len() <= KEPT_BYTES_MAX
            {
                kept.push_str(&String::from_utf8_lossy(&line));
            }
        }
    })
}
