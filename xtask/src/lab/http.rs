//! A minimal HTTP/1.1 client for a node's API on loopback: one connection,
//! kept alive, JSON both ways.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An answer larger than this is refused.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The body; null when empty.
    pub(crate) body: Value,
}

/// A client of one address with one bearer token.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// For requests to `address` with `token`.
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), timeout: Duration::from_secs(30), connection: None }
    }

    /// Sends a request on the kept connection (a fresh one if there is none)
    /// and reads the answer. Never sends twice.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.begin(method, path, body)?;
        self.finish()
    }

    /// Sends a request; [`Client::finish`] reads its answer.
    pub(crate) fn begin(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let payload = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n",
            self.address, self.token
        );
        if body.is_some() {
            request.push_str("Content-Type: application/json\r\n");
        }
        request.push_str("Content-Length: ");
        request.push_str(&payload.len().to_string());
        request.push_str("\r\n\r\n");
        request.push_str(&payload);
        connection.get_mut().write_all(request.as_bytes())?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Reads the answer to what [`Client::begin`] sent.
    pub(crate) fn finish(&mut self) -> Result<Answer> {
        let mut connection = self.connection.take().context("nothing was asked")?;
        let (answer, stays) = read_answer(&mut connection)?;
        self.connection = stays.then_some(connection);
        Ok(answer)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)
            .with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(BufReader::new(stream))
    }

    /// A request that must succeed.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(method, path, body)?;
        if !(200..300).contains(&answer.status) {
            let message = answer.body.get("message").and_then(Value::as_str).unwrap_or("no reason given");
            bail!("{method} {path} answered {}: {message}", answer.status);
        }
        Ok(answer.body)
    }
}

/// An answer, and whether the connection stays.
fn read_answer(connection: &mut BufReader<TcpStream>) -> Result<(Answer, bool)> {
    let status_line = read_line(connection)?;
    let status: u16 = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("not an HTTP answer: {status_line:?}"))?;
    let (mut length, mut chunked, mut close) = (0u64, false, false);
    loop {
        let line = read_line(connection)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let bytes = if chunked { read_chunks(connection)? } else { read_exact(connection, length)? };
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    };
    Ok((Answer { status, body }, !close))
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if reader.by_ref().take(64 << 10).read_line(&mut line)? == 0 {
        bail!("the connection was closed before the answer");
    }
    Ok(line.trim_end().to_owned())
}

fn read_exact(reader: &mut BufReader<TcpStream>, length: u64) -> Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        bail!("an answer of {length} bytes is more than this client reads");
    }
    let mut bytes = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        bail!("the answer was cut off");
    }
    Ok(bytes)
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
        if bytes.len() as u64 + size > BODY_BYTES_MAX {
            bail!("the answer is more than this client reads");
        }
        bytes.extend(read_exact(reader, size)?);
        read_line(reader)?;
        if size == 0 {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::Client;

    #[test]
    fn reads_whole_and_chunked_answers_on_one_connection() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for answer in [
                "HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\n{\"id\":7}",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
                "HTTP/1.1 423 Locked\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            ] {
                let mut request = Vec::new();
                let mut byte = [0u8; 1];
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).expect("the request");
                    request.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).expect("sent");
            }
        });
        let mut client = Client::new(address, "token");
        let first = client.send("GET", "/a", None).expect("an answer");
        assert_eq!((first.status, first.body["id"].as_u64()), (202, Some(7)));
        let second = client.send("GET", "/b", None).expect("an answer");
        assert_eq!(second.body, serde_json::json!([1, 2]));
        let third = client.send("GET", "/c", None).expect("an answer");
        assert_eq!(third.status, 423);
        assert!(client.connection.is_none(), "closed as the server said");
        server.join().expect("the server ends well");
    }
}
