//! Network namespaces of this run's own, with names that nobody else has:
//! entered by the calling thread for as long as it takes, removed at the end.
//! Needs the rights of root.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::env::{output, succeed};

/// A namespace; gone with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    file: File,
}

/// Whether this process may make namespaces and translate addresses in them.
pub(crate) fn probe() -> Result<()> {
    let ns = Namespace::new("probe")?;
    ns.nft(
        "table ip n { chain c { type nat hook postrouting priority srcnat; oifname \"lo\" masquerade; }; }",
    )
}

impl Namespace {
    /// Makes one, with its loopback up. `Err`: this machine does not let us.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("kith{}-{name}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output().context("starting ip")?;
        if !made.status.success() {
            bail!("{}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let path = format!("/var/run/netns/{name}");
        let ns = Self { file: File::open(&path).with_context(|| format!("opening {path}"))?, name };
        ns.ip(&["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// Does something on this thread inside the namespace: sockets that it
    /// opens and processes that it starts belong there for good.
    pub(crate) fn within<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        let outside = File::open("/proc/thread-self/ns/net").context("opening the own namespace")?;
        enter(&self.file).with_context(|| format!("entering {}", self.name))?;
        let result = what();
        enter(&outside).context("leaving a namespace")?;
        result
    }

    /// `ip -n NAME …`.
    pub(crate) fn ip(&self, args: &[&str]) -> Result<()> {
        succeed(Command::new("ip").args(["-n", &self.name]).args(args))
    }

    /// A program inside; its output.
    pub(crate) fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).args(args);
        output(&mut command)
    }

    /// Sets a kernel parameter.
    pub(crate) fn sysctl(&self, setting: &str) -> Result<()> {
        self.output("sysctl", &["-qw", setting]).map(drop)
    }

    /// Replaces the rule set.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting nft")?;
        if let Some(mut input) = child.stdin.take() {
            write!(input, "flush ruleset\n{rules}\n")?;
        }
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("nft: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }

    /// Joins two namespaces by a cable; each end gets its address.
    pub(crate) fn cable(&self, here: (&str, &str), there: (&Namespace, &str, &str)) -> Result<()> {
        let (other, name, address) = there;
        self.ip(&["link", "add", here.0, "type", "veth", "peer", "name", name, "netns", &other.name])?;
        for (ns, link, address) in [(self, here.0, here.1), (other, name, address)] {
            if !address.is_empty() {
                ns.ip(&["addr", "add", address, "dev", link])?;
            }
            ns.ip(&["link", "set", link, "up"])?;
        }
        Ok(())
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
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}
