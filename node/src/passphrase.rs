//! Where a passphrase comes from: a file descriptor, or a person at a terminal.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Bytes that are read at most.
const BYTES_MAX: u64 = 4096;

/// The first line of a file descriptor.
pub(crate) fn from_fd(fd: u32) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read =
        |source: &mut dyn Read, text: &mut String| source.take(BYTES_MAX).read_to_string(text).map(|_| ());
    let result = match fd {
        0 => read(&mut io::stdin().lock(), &mut text),
        _ => File::open(format!("/dev/fd/{fd}")).and_then(|mut file| read(&mut file, &mut text)),
    };
    result.with_context(|| format!("reading the passphrase from file descriptor {fd}"))?;
    let line = text.lines().next().unwrap_or("");
    if line.is_empty() {
        bail!("file descriptor {fd} gave no passphrase");
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Asks at the terminal without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let terminal = io::stdin();
    if !isatty(&terminal) {
        bail!("there is no terminal to ask at: give the passphrase with --passphrase-fd");
    }
    let shown = tcgetattr(&terminal).context("reading the terminal's mode")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).context("hiding what is typed")?;
    let answer = ask_line(prompt);
    tcsetattr(&terminal, OptionalActions::Flush, &shown).context("showing what is typed again")?;
    eprintln!();
    answer
}

/// Asks at the terminal.
pub(crate) fn ask_line(prompt: &str) -> Result<Zeroizing<String>> {
    eprint!("{prompt}: ");
    io::stderr().flush()?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().take(BYTES_MAX).read_line(&mut line)?;
    let text = line.trim_end_matches(['\r', '\n']);
    Ok(Zeroizing::new(text.to_owned()))
}

/// Asks twice for a new passphrase.
pub(crate) fn ask_new() -> Result<Zeroizing<String>> {
    let first = ask("New passphrase (at least 8 characters)")?;
    let second = ask("The same again")?;
    if first != second {
        bail!("the two passphrases differ: nothing was done, try again");
    }
    Ok(first)
}
