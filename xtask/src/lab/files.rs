//! Files in the laboratory: made of noise that can be made again, handed to a
//! node and read back as streams, so that their size does not matter.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Node;

/// Bytes made at once.
const BLOCK: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(180);

/// Noise that depends on its seed and place only.
fn block(seed: u64, index: u64, len: usize) -> Vec<u8> {
    let mut state = (seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

fn blocks(size: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..size.div_ceil(BLOCK as u64)).map(move |index| {
        let left = size - index * BLOCK as u64;
        (index, usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK))
    })
}

/// The first bytes of a file, to be looked for where they must not be.
pub(crate) fn beginning(seed: u64) -> Vec<u8> {
    block(seed, 0, 64)
}

fn connect(node: &Node) -> Result<TcpStream> {
    let stream = TcpStream::connect(node.address())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Reads status and headers; leaves the reader at the body.
fn head(reader: &mut BufReader<TcpStream>) -> Result<(u16, u64)> {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            bail!("the node closed the connection");
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok((status, length));
        }
        if status == 0 {
            status =
                line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not an HTTP answer")?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
}

/// Adds a file of noise. Answers its id and how long it took.
pub(crate) fn add(node: &Node, name: &str, size: u64, seed: u64) -> Result<(String, Duration)> {
    let begin = Instant::now();
    let id = upload(node, name, size, blocks(size).map(|(index, len)| block(seed, index, len)))?;
    Ok((id, begin.elapsed()))
}

/// Adds a file of these bytes. Answers its id.
pub(crate) fn add_bytes(node: &Node, name: &str, bytes: &[u8]) -> Result<String> {
    upload(node, name, bytes.len() as u64, core::iter::once(bytes.to_vec()))
}

fn upload(node: &Node, name: &str, size: u64, parts: impl Iterator<Item = Vec<u8>>) -> Result<String> {
    let mut stream = connect(node)?;
    write!(
        stream,
        "POST /api/v1/files?name={name} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n",
        node.address(),
        node.token()
    )?;
    for part in parts {
        stream.write_all(&part)?;
    }
    let mut reader = BufReader::new(stream);
    let (status, _) = head(&mut reader)?;
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    if status != 201 {
        bail!("adding a file answered {status}: {body}");
    }
    let file: Value = serde_json::from_str(&body)?;
    Ok(file["id"].as_str().context("the file has no id")?.to_owned())
}

/// Sends a file that is at the node.
pub(crate) fn send(node: &mut Node, conversation: &str, file: &str) -> Result<()> {
    let body = json!({"file": file, "key": format!("send-{}", file.get(..16).unwrap_or(file))});
    node.post(&format!("/conversations/{conversation}/files"), &body).map(|_| ())
}

/// Reads a file through the API from the first byte to the last, and compares.
pub(crate) fn verify(node: &Node, id: &str, size: u64, seed: u64) -> Result<Duration> {
    let begin = Instant::now();
    let mut stream = connect(node)?;
    write!(
        stream,
        "GET /api/v1/files/{id}/content?download=true HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        node.address(),
        node.token()
    )?;
    let mut reader = BufReader::with_capacity(BLOCK, stream);
    let (status, length) = head(&mut reader)?;
    if (status, length) != (200, size) {
        bail!("reading the file answered {status}, {length} bytes of {size}");
    }
    for (index, len) in blocks(size) {
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes).with_context(|| format!("the file ends in MiB {index}"))?;
        if bytes != block(seed, index, len) {
            bail!("the file differs in MiB {index}");
        }
    }
    Ok(begin.elapsed())
}

/// How a file stands at a node: its state, and the bytes that are there.
pub(crate) fn standing(node: &mut Node, id: &str) -> Result<(String, u64)> {
    let answer = node.send("GET", &format!("/files/{id}"), None)?;
    let state = answer.body["file"]["state"].as_str().unwrap_or("unknown").to_owned();
    let size = answer.body["file"]["size"].as_u64().unwrap_or(0);
    let have = answer.body["progress"]["have"].as_u64().unwrap_or(if state == "here" { size } else { 0 });
    Ok((state, have))
}

/// Waits until all of a file is at a node.
pub(crate) fn until_here(node: &mut Node, id: &str, patience: Duration) -> Result<()> {
    node.until("the whole file", patience, |node| Ok((standing(node, id)?.0 == "here").then_some(())))
}
