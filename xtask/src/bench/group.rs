//! `cargo xtask bench group`: what groups of 2 to 1,000 devices cost one
//! device, measured by an example of kith-mls. Passes its figures on and
//! judges them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::build_example;
use crate::env::{Env, Profile, no_more, shown};

const SIZES: [u32; 5] = [2, 32, 128, 512, 1000];

/// Figures by name.
type Figures = BTreeMap<String, f64>;

/// What one figure may be at most.
struct Bound {
    figure: String,
    most: f64,
    unit: &'static str,
}

/// Runs the bench. `false`: something that is required does not hold.
pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    no_more(args, &[])?;
    let figures = measure(env)?;
    let mut held = true;
    for bound in required() {
        let met = bound.holds(&figures);
        held &= met;
        bound.print("required", met);
    }
    for bound in aims() {
        bound.print("aim", bound.holds(&figures));
    }
    Ok(held)
}

fn measure(env: &Env) -> Result<Figures> {
    let program = build_example(env, Profile::Release, "group")?;
    let mut command = Command::new(program);
    // Times are of all threads: with one only, what is counted is work.
    command.args(SIZES.map(|n| n.to_string())).env("RAYON_NUM_THREADS", "1").stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start {}", shown(&command)))?;
    let mut figures = Figures::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        figures.extend(figure(&line));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(&command));
    }
    Ok(figures)
}

/// Name and value of a `name: value unit` line.
fn figure(line: &str) -> Option<(String, f64)> {
    let (name, rest) = line.split_once(": ")?;
    Some((name.to_owned(), rest.split(' ').next()?.parse().ok()?))
}

impl Bound {
    fn new(figure: &str, devices: u32, most: f64, unit: &'static str) -> Self {
        Self { figure: format!("group.{figure}.{devices}"), most, unit }
    }

    /// A figure that is missing holds nothing.
    fn holds(&self, figures: &Figures) -> bool {
        figures.get(&self.figure).is_some_and(|value| *value <= self.most)
    }

    fn print(&self, kind: &str, met: bool) {
        let verdict = if met { "met" } else { "not met" };
        println!("{kind} {} <= {} {}: {verdict}", self.figure, self.most, self.unit);
    }
}

/// What a joiner and a message cost must not grow with the group, nor what
/// Kith adds to OpenMLS.
fn required() -> Vec<Bound> {
    let mut bounds = Vec::new();
    for devices in SIZES {
        for welcome in ["welcome_bytes", "welcome_bytes_100"] {
            bounds.push(Bound::new(welcome, devices, 4096.0, "B"));
        }
        for ratio in ["send_ratio", "recv_ratio"] {
            bounds.push(Bound::new(ratio, devices, 2.5, "x"));
        }
    }
    bounds.push(Bound::new("bytes_per_msg", 1000, 8192.0, "B"));
    bounds.push(Bound::new("bytes_per_msg_spoken", 1000, 8192.0, "B"));
    bounds
}

fn aims() -> Vec<Bound> {
    let mut bounds = Vec::new();
    for devices in SIZES {
        for ratio in ["send_ratio", "recv_ratio"] {
            bounds.push(Bound::new(ratio, devices, 1.5, "x"));
        }
    }
    for time in ["add_ms", "add_recv_ms", "remove_ms", "remove_recv_ms"] {
        bounds.push(Bound::new(time, 1000, 2000.0, "ms"));
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_a_number_and_a_unit() {
        assert_eq!(figure("group.send_ms.2: 0.098 ms"), Some(("group.send_ms.2".into(), 0.098)));
        assert_eq!(figure("group.send_ms.2: fast"), None);
        assert_eq!(figure("something else"), None);
    }

    #[test]
    fn a_missing_figure_holds_nothing() {
        let bound = Bound::new("send_ratio", 2, 2.5, "x");
        assert!(!bound.holds(&Figures::new()));
        assert!(bound.holds(&Figures::from([("group.send_ratio.2".into(), 2.5)])));
        assert!(!bound.holds(&Figures::from([("group.send_ratio.2".into(), 2.51)])));
        assert!(!bound.holds(&Figures::from([("group.send_ratio.2".into(), f64::NAN)])));
    }
}
