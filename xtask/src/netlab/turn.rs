//! The relay's TURN server against another implementation's client and a
//! browser, with the guard on: what may be relayed is, what may not is refused.

mod browser;

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::street::{Kind, SERVER, Street};
use crate::env::{Binaries, Env};
use crate::lab::{Flags, Node, PATIENCE, Relay, Scratch, figure};
use crate::tools;

/// Shared by relay and client, as coturn's `use-auth-secret` has it.
const SECRET: &str = "a secret of this laboratory";
/// Where the far end echoes.
const ECHO: &str = "198.51.100.254";
/// Messages of one run.
const MESSAGES: u32 = 40;
/// Whom nothing may be relayed to.
const FORBIDDEN: [&str; 5] = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", SERVER[0]];
/// The same for the browser.
const FORBIDDEN_TO_PAGES: [&str; 4] = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1"];

/// A helper process, ended with its owner.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    crate::env::no_more(args, &[])?;
    if let Err(error) = tools::ensure(env, &[tools::COTURN]) {
        println!("skipped: {error:#}");
        return Ok(true);
    }
    let Binaries { kith, bootstrap } = super::programs(env)?;
    let scratch = Scratch::new(&env.target, "netlab-turn")?;
    let street = Street::build()?;
    for home in &street.homes {
        home.translate(Kind::Symmetric)?;
    }
    let data = scratch.path().join("relay");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("config.toml"), format!("[turn]\nsecret = \"{SECRET}\"\n"))?;
    let listen = vec![format!("/ip4/{}/tcp/4001", SERVER[0])];
    let relay = street.server.within(|| Relay::start_at(&bootstrap, scratch.path(), "relay", listen, &[]))?;
    let echo = street.echo();
    let _echo = echo.within(|| {
        let mut peer = Command::new("turnutils_peer");
        peer.args(["-p", "34800", "-L", ECHO]).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Helper(peer.spawn().context("starting turnutils_peer")?))
    })?;
    let runs = std::cell::Cell::new(0);
    let client = |more: &[&str], peer: &str| -> Result<String> {
        // One that is refused leaves its allocation behind: each is another user.
        runs.set(runs.get() + 1);
        let user = format!("lab{}", runs.get());
        let messages = MESSAGES.to_string();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &street.homes[0].host.name, "timeout", "40", "turnutils_uclient"])
            .args(["-W", SECRET, "-u", &user, "-c", "-m", "1", "-n", &messages, "-e", peer, "-r", "34800"])
            .args(more)
            .arg(SERVER[0]);
        let done = command.output().context("starting turnutils_uclient")?;
        Ok(format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
    };
    let mut faults = 0;
    for (name, more) in [
        ("udp.indications", &["-s"][..]),
        ("udp.channels", &[]),
        ("tcp.indications", &["-t", "-s"]),
        ("tcp.channels", &["-t"]),
    ] {
        let said = client(more, ECHO)?;
        let back = received(&said);
        figure(&format!("netlab.turn.{name}.echoed"), f64::from(back), "messages");
        if back != MESSAGES {
            faults += 1;
            println!("fault: {name}: {back} of {MESSAGES} came back:\n{said}");
        }
    }
    for peer in FORBIDDEN {
        for more in [&["-s"][..], &[]] {
            let said = client(more, peer)?;
            // A permission is for an address; at the relay's own the port decides.
            // 443: an allocation for IPv4 has no peers of the other family; 440:
            // there are none for that family.
            let told = ["403", "440", "443"].iter().any(|code| said.contains(code))
                || (peer == SERVER[0] && !more.is_empty());
            if !told || received(&said) != 0 {
                faults += 1;
                println!("fault: {peer} was not refused:\n{said}");
            }
        }
    }
    figure("netlab.turn.refused_peers", FORBIDDEN.len() as f64, "addresses");
    if let Err(error) = tools::ensure(env, &[tools::CHROMIUM]) {
        println!("left out, the browser: {error:#}");
    } else {
        // As a page of Kith's gets them: from its node, which has them from the relay.
        let home = &street.homes[0].host;
        let flags = Flags { everywhere: true, ..Flags::default() };
        let mut node = home.within(|| Node::create(&kith, scratch.path(), "Alice", flags))?;
        let servers = home.within(|| {
            node.add_relay(&relay.link)?;
            node.until("credentials for TURN", PATIENCE, |node| turn_servers(&node.get("/call-servers")?))
        })?;
        for transport in ["udp", "tcp"] {
            let servers = over(&servers, transport);
            let folder = scratch.path().join(format!("chromium-{transport}"));
            let told = browser::open(home, &folder, &servers, &FORBIDDEN_TO_PAGES)?;
            match browser::judge(&told, &FORBIDDEN_TO_PAGES) {
                Ok(()) => figure(&format!("netlab.turn.browser.{transport}"), browser::BYTES as f64, "bytes"),
                Err(error) => {
                    faults += 1;
                    println!("fault: a browser over {transport}: {error:#}");
                }
            }
        }
    }
    figure("netlab.turn.faults", f64::from(faults), "faults");
    Ok(faults == 0)
}

/// The servers that relay, if the node has any by now.
fn turn_servers(answer: &Value) -> Result<Option<Vec<Value>>> {
    let relays = |s: &&Value| {
        s["urls"]
            .as_array()
            .is_some_and(|u| u.iter().any(|u| u.as_str().is_some_and(|u| u.starts_with("turn:"))))
    };
    let servers: Vec<Value> =
        answer["servers"].as_array().into_iter().flatten().filter(relays).cloned().collect();
    Ok((!servers.is_empty()).then_some(servers))
}

/// The same servers by one transport only, as a page is given them.
fn over(servers: &[Value], transport: &str) -> Value {
    let end = format!("?transport={transport}");
    let one = |s: &Value| {
        let urls: Vec<&str> = s["urls"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|u| u.starts_with("turn:") && u.ends_with(&end))
            .collect();
        json!({"urls": urls, "username": s["username"], "credential": s["credential"]})
    };
    servers.iter().map(one).collect()
}

/// How many messages the client says it got back.
fn received(said: &str) -> u32 {
    let last = said.lines().filter_map(|l| l.split_once("tot_recv_msgs=")).next_back();
    last.and_then(|(_, n)| n.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).unwrap_or(0)
}
