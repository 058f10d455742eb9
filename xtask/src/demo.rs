//! `cargo xtask run --demo`: one relay and three nodes that know each other,
//! to be tried out in three browsers.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::env::{Binaries, Env, Profile, no_more};
use crate::lab::node::acquaint;
use crate::lab::{Flags, Node, PATIENCE, Relay, Scratch};

const NAMES: [&str; 3] = ["Alice", "Bob", "Carol"];

const HELP: &str = "\
Type a line and Enter:
  relay stop | relay start     messages still arrive: directly
  direct off | direct on       messages still arrive: through the relay
  stop NAME | start NAME       one of the nodes
  links                        fresh sign-in links
  quit                         end everything and remove the demo's data";

/// Starts the demo and serves it until the person ends it.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    no_more(args, &["--check"])?;
    println!("Building (the first time takes a while)…");
    let Binaries { kith, bootstrap } = env.binaries(&[], Profile::Dev)?;
    let scratch = Scratch::new(&env.target, "demo")?;
    let mut demo = Demo::start(&kith, &bootstrap, &scratch)?;
    if args.iter().any(|a| a == "--check") {
        demo.check()?;
        println!("The demo works: by direct connection with the relay stopped, by the relay without direct.");
        return Ok(true);
    }
    println!("\nA relay and three nodes run, each its own process below {}.", scratch.path().display());
    println!("They are contacts and share the group \"Kith demo\". The passphrase of each is:");
    println!(
        "  {}\n\nOpen each link in a browser (or browser profile) of its own:",
        crate::lab::node::PASSPHRASE
    );
    demo.links()?;
    println!("\n{HELP}");
    demo.serve()
}

/// The demo's processes.
struct Demo {
    relay: Relay,
    nodes: Vec<Node>,
    group: String,
}

impl Demo {
    fn start(kith: &std::path::Path, bootstrap: &std::path::Path, scratch: &Scratch) -> Result<Self> {
        let relay = Relay::start(bootstrap, scratch.path())?;
        let mut nodes = Vec::new();
        for name in NAMES {
            let mut node = Node::create(kith, scratch.path(), name, Flags::default())?;
            node.add_relay(&relay.link)?;
            nodes.push(node);
        }
        let mut direct = Vec::new();
        for (host, guest) in [(0, 1), (0, 2), (1, 2)] {
            let (left, right) = nodes.split_at_mut(guest);
            let (Some(host), Some(guest)) = (left.get_mut(host), right.first_mut()) else { continue };
            direct.push(acquaint(host, guest)?);
        }
        let [alice, bob, carol] = &mut nodes[..] else { bail!("three names make three nodes") };
        let members = [bob.account()?, carol.account()?];
        let group = alice.create_group("Kith demo", &members)?;
        alice.say(&group, "Welcome! Whatever is typed here appears in the two other browsers.", "demo-1")?;
        for node in [bob, carol] {
            node.until("the group", PATIENCE, |node| node.conversation(&group))?;
        }
        Ok(Self { relay, nodes, group })
    }

    /// Prints a fresh sign-in link per node.
    fn links(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.pid().is_none() {
                println!("  {:<6} stopped", node.name);
                continue;
            }
            let link = node.post("/link", &json!({}))?;
            println!("  {:<6} {}", node.name, link["url"].as_str().unwrap_or(&node.link));
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<bool> {
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let outcome = match words[..] {
                ["quit" | "exit"] => return Ok(true),
                [] => Ok(()),
                ["links"] => self.links(),
                ["relay", "stop"] => self.relay.stop(),
                ["relay", "start"] => self.relay.restart(),
                ["direct", on @ ("on" | "off")] => self.direct(on == "on"),
                ["stop", name] => self.named(name).and_then(Node::stop),
                ["start", name] => self.named(name).and_then(Node::resume),
                _ => {
                    println!("{HELP}");
                    continue;
                }
            };
            match outcome {
                Ok(()) => println!("done: {line}"),
                Err(error) => println!("{error:#}"),
            }
        }
        // No terminal: stay until a signal comes.
        loop {
            std::thread::park();
        }
    }

    fn named(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|node| node.name.eq_ignore_ascii_case(name))
            .with_context(|| format!("nobody here is called {name}; there are {}", NAMES.join(", ")))
    }

    fn direct(&mut self, on: bool) -> Result<()> {
        for node in &mut self.nodes {
            let mut settings = node.get("/settings")?;
            settings["direct"] = json!(on);
            node.put("/settings", &settings)?;
        }
        Ok(())
    }

    /// What the demo promises, checked.
    fn check(&mut self) -> Result<()> {
        self.everyone("with everything up")?;
        self.relay.stop()?;
        self.everyone("with the relay stopped")?;
        self.relay.restart()?;
        self.direct(false)?;
        self.everyone("without direct connections")?;
        self.direct(true)
    }

    /// Each node says something that the two others must get.
    fn everyone(&mut self, when: &str) -> Result<()> {
        let group = self.group.clone();
        for speaker in 0..self.nodes.len() {
            let mut said = String::new();
            if let Some(node) = self.nodes.get_mut(speaker) {
                said = format!("{} {when}", node.name);
                node.say(&group, &said, &said)?;
            }
            for (index, node) in self.nodes.iter_mut().enumerate() {
                if index != speaker {
                    node.until_text(&group, &said, PATIENCE)?;
                }
            }
            println!("arrived at both others: {said}");
        }
        Ok(())
    }
}
