//! A minimal WebSocket client (RFC 6455) for a node's event stream on
//! loopback: text frames in, pings answered.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

/// A frame larger than this is refused.
const FRAME_BYTES_MAX: u64 = 16 << 20;

/// An open event stream.
#[derive(Debug)]
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
    /// Bytes of a frame whose rest has not come yet.
    pending: Vec<u8>,
}

impl Events {
    /// Opens `/api/v1/events`.
    pub(crate) fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut reader = BufReader::new(stream);
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: a2l0aC14dGFzay1jbGllbg==\r\n\r\n"
        );
        reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some("101") {
            bail!("the event stream was refused: {}", line.trim());
        }
        while !line.trim().is_empty() {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                bail!("the event stream closed while opening");
            }
        }
        Ok(Self { reader, pending: Vec::new() })
    }

    /// The next event, or none when `deadline` passes first.
    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            let Some((kind, payload)) = self.frame(deadline)? else {
                return Ok(None);
            };
            match kind {
                1 => return Ok(Some(serde_json::from_slice(&payload)?)),
                8 => bail!("the node closed the event stream"),
                9 => self.pong(&payload)?,
                _ => {}
            }
        }
    }

    /// One whole frame. What was read of a frame stays for the next call when
    /// the deadline comes in between.
    fn frame(&mut self, deadline: Instant) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let [first, second, ..] = self.pending[..] {
                let short = u64::from(second & 0x7f);
                let header = match short {
                    126 => 4,
                    127 => 10,
                    _ => 2,
                };
                if self.pending.len() >= header {
                    let length = match short {
                        126 | 127 => {
                            self.pending[2..header].iter().fold(0u64, |n, b| (n << 8) | u64::from(*b))
                        }
                        n => n,
                    };
                    if length > FRAME_BYTES_MAX || second & 0x80 != 0 || first & 0x80 == 0 {
                        bail!("the event stream sent a frame that this client does not read");
                    }
                    let total = header + usize::try_from(length)?;
                    if self.pending.len() >= total {
                        let payload = self.pending[header..total].to_vec();
                        self.pending.drain(..total);
                        return Ok(Some((first & 0x0f, payload)));
                    }
                }
            }
            if !self.more(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Reads what there is. `false` when the deadline came first.
    fn more(&mut self, deadline: Instant) -> Result<bool> {
        if self.reader.buffer().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.reader.get_mut().set_read_timeout(Some(left))?;
        }
        match self.reader.fill_buf() {
            Ok([]) => bail!("the event stream ended"),
            Ok(bytes) => {
                let count = bytes.len();
                self.pending.extend_from_slice(bytes);
                self.reader.consume(count);
                Ok(true)
            }
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn pong(&mut self, payload: &[u8]) -> Result<()> {
        // A client's frames are masked; a mask of zeros is one too.
        let mut frame = vec![0x8a, 0x80 | u8::try_from(payload.len().min(125))?, 0, 0, 0, 0];
        frame.extend(payload.iter().take(125));
        self.reader.get_mut().write_all(&frame)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::Events;

    #[test]
    fn reads_cut_long_and_ping_frames() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut byte = [0u8; 1];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).expect("the request");
                request.push(byte[0]);
            }
            let long = format!("{{\"long\":\"{}\"}}", "y".repeat(300));
            let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
            bytes.extend([0x81, 7]);
            bytes.extend(b"{\"a\":1}");
            bytes.extend([0x89, 2, b'h', b'i']);
            bytes.extend([0x81, 126]);
            bytes.extend(u16::try_from(long.len()).expect("short").to_be_bytes());
            bytes.extend(long.as_bytes());
            // In two pieces, cut inside a header.
            let (head, tail) = bytes.split_at(bytes.len() - long.len() - 1);
            stream.write_all(head).expect("sent");
            stream.flush().expect("sent");
            stream.write_all(tail).expect("sent");
            let mut pong = [0u8; 8];
            stream.read_exact(&mut pong).expect("a pong");
            assert_eq!(pong, [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
        });
        let mut events = Events::open(address, "token").expect("open");
        let deadline = Instant::now() + Duration::from_secs(20);
        assert_eq!(events.next(deadline).expect("an event").expect("in time")["a"], 1);
        let long = events.next(deadline).expect("an event").expect("in time");
        assert_eq!(long["long"].as_str().map(str::len), Some(300));
        server.join().expect("the server ends well");
        assert!(events.next(deadline).is_err(), "the stream ended");
    }
}
