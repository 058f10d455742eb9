//! Network namespaces of this run's own, with names that nobody else has,
//! removed at the end. Needs the rights of root.

use std::fs::File;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::env::succeed;

/// A namespace; gone with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with its loopback up. `Err`: this machine does not let us.
    pub(crate) fn new(what: &str) -> Result<Self> {
        let name = format!("kith-{}-{what}", std::process::id());
        quiet(&["netns", "add", &name])?;
        let made = Self { name };
        quiet(&["-n", &made.name, "link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Joins it with another one by a cable, with an address at each end.
    pub(crate) fn cable(&self, address: &str, other: &Self, other_address: &str, name: &str) -> Result<()> {
        let (this, that) = (&self.name, &other.name);
        quiet(&["link", "add", name, "netns", this, "type", "veth", "peer", "name", name, "netns", that])?;
        for (at, address) in [(this, address), (that, other_address)] {
            quiet(&["-n", at, "addr", "add", address, "dev", name])?;
            quiet(&["-n", at, "link", "set", name, "up"])?;
        }
        Ok(())
    }

    /// Does something inside: sockets and processes that it makes are there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let place = File::open(format!("/run/netns/{}", self.name)).context("opening a namespace")?;
        // A thread of its own: it never comes back out.
        thread::scope(|scope| {
            let run = move || {
                enter(&place).context("entering a namespace")?;
                work()
            };
            scope.spawn(run).join().map_err(|_| anyhow!("what ran in a namespace panicked"))?
        })
    }
}

#[cfg(target_os = "linux")]
fn enter(place: &File) -> std::io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd as _;
    Ok(move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &File) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = quiet(&["netns", "del", &self.name]);
    }
}

fn quiet(args: &[&str]) -> Result<()> {
    succeed(Command::new("ip").args(args).stderr(std::process::Stdio::null()))
}
