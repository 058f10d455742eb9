//! A browser behind address translation that may use nothing but the relay's
//! TURN server: it passes data there, and reaches no address that is refused.
//! The page comes from a listener of this run's own, and tells it what came of
//! it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::Helper;
use crate::lab::namespace::Namespace;
use crate::tools;

const PAGE: &str = include_str!("page.html");
/// Bytes that go each way.
pub(super) const BYTES: u64 = 1 << 20;
/// How long the page may take, the browser’s start included: it tries each
/// address that it must not reach for twenty seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// A request of the page's is not longer.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// Opens the page in `home`, with these servers; what it tells.
pub(super) fn open(home: &Namespace, folder: &Path, servers: &Value, forbidden: &[&str]) -> Result<Value> {
    let chromium = tools::CHROMIUM.path().context("Chromium is missing")?;
    let task = json!({"servers": servers, "bytes": BYTES, "forbidden": forbidden});
    home.within(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut browser = Command::new(chromium);
        browser
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg(format!("http://{}/", listener.local_addr()?))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _browser = Helper(browser.spawn().context("starting Chromium")?);
        answer(&listener, &task)
    })
}

/// Serves the page and its task, until it posts what came of it.
fn answer(listener: &TcpListener, task: &Value) -> Result<Value> {
    // A page that never tells is ended by the browser's end.
    let (told, result) = std::sync::mpsc::channel();
    let listener = listener.try_clone()?;
    let task = task.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            match serve(&stream, &task) {
                Ok(Some(value)) => {
                    let _gone = told.send(value);
                    return;
                }
                Ok(None) => {}
                Err(error) => eprintln!("the page’s listener: {error:#}"),
            }
        }
    });
    result.recv_timeout(PATIENCE).context("the page told nothing in time")
}

fn serve(mut stream: &std::net::TcpStream, task: &str) -> Result<Option<Value>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?.take(REQUEST_BYTES_MAX));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (kind, text) = match request.split_whitespace().nth(1) {
        Some("/") => ("text/html", PAGE),
        Some("/task") => ("application/json", task),
        _ => ("text/plain", ""),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(format!("{head}{text}").as_bytes())?;
    if request.starts_with("POST /result ") {
        return Ok(Some(serde_json::from_slice(&body).context("what the page tells")?));
    }
    Ok(None)
}

/// What is wrong with what the page told about a transport.
pub(super) fn judge(told: &Value, forbidden: &[&str]) -> Result<()> {
    if let Some(error) = told["error"].as_str() {
        bail!("the page failed: {error}");
    }
    if told["received"] != BYTES || told["returned"] != BYTES {
        bail!("of {BYTES} bytes {} came, and {} came back", told["received"], told["returned"]);
    }
    let types = [&told["local"], &told["remote"]];
    if types.iter().any(|t| **t != "relay") {
        bail!("the candidates in use are {types:?}, not relayed ones");
    }
    for peer in forbidden {
        let state = &told["refused"][*peer];
        if state["connected"] != false || state["heard"] != 0 {
            bail!("towards {peer} the browser got through: {state}");
        }
    }
    Ok(())
}
