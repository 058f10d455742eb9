//! The API of the node that runs on a data folder, as the commands use it.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kith_web::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::data::{DataDir, DataError};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Longest wait for an answer: a key derivation on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node.
pub(crate) struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
    token: String,
    data: DataDir,
}

impl Client {
    /// Finds the node that runs on a data folder.
    pub(crate) fn of(data: &DataDir) -> Result<Self> {
        let (address, token) = data.running()?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self { agent, address, token, data: data.clone() })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1{path}", self.address)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let sent = self.agent.get(self.url(path)).header("authorization", self.bearer()).call();
        read(self.answer(sent)?)
    }
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let sent = self.agent.post(self.url(path)).header("authorization", self.bearer()).send_json(body);
        read(self.answer(sent)?)
    }
    /// A POST that has nothing to answer.
    pub(crate) fn tell(&self, path: &str, body: &impl Serialize) -> Result<()> {
        let sent = self.agent.post(self.url(path)).header("authorization", self.bearer()).send_json(body);
        self.answer(sent).map(|_| ())
    }
    pub(crate) fn put(&self, path: &str, body: &impl Serialize) -> Result<()> {
        let sent = self.agent.put(self.url(path)).header("authorization", self.bearer()).send_json(body);
        self.answer(sent).map(|_| ())
    }
    /// Hands over a file's bytes, which may take long.
    pub(crate) fn upload<T: DeserializeOwned>(&self, path: &str, file: &File) -> Result<T> {
        let sent = self.agent.post(self.url(path)).header("authorization", self.bearer());
        let sent = sent.header("content-type", "application/octet-stream");
        read(self.answer(sent.config().timeout_global(None).build().send(file))?)
    }
    /// The bytes of something that may take long to come.
    pub(crate) fn content(&self, path: &str) -> Result<impl Read + use<>> {
        let sent = self.agent.get(self.url(path)).header("authorization", self.bearer());
        Ok(self.answer(sent.config().timeout_global(None).build().call())?.into_reader())
    }
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let sent = self.agent.delete(self.url(path)).header("authorization", self.bearer()).call();
        self.answer(sent).map(|_| ())
    }

    fn answer(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<ureq::Body> {
        let response = match sent {
            Ok(response) => response,
            // The files of a node that was killed are still there.
            Err(ureq::Error::Io(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Err(DataError::NotRunning(self.data.path().to_owned()).into());
            }
            Err(ureq::Error::ConnectionFailed) => {
                return Err(DataError::NotRunning(self.data.path().to_owned()).into());
            }
            Err(error) => return Err(anyhow!("the node does not answer: {error}")),
        };
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(body);
        }
        let problem: Problem =
            read(body).map_err(|_| anyhow!("the node answered with status {}", status.as_u16()))?;
        Err(Refused(problem).into())
    }

    /// Follows the event stream; `each` sees every text frame until it errs.
    pub(crate) fn follow(&self, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut request = format!("ws://{}/api/v1/events", self.address).into_client_request()?;
        request.headers_mut().insert("authorization", HeaderValue::from_str(&self.bearer())?);
        let stream = TcpStream::connect(self.address)
            .map_err(|_| DataError::NotRunning(self.data.path().to_owned()))?;
        let (mut socket, _): (WebSocket<TcpStream>, _) = tungstenite::client(request, stream)
            .map_err(|_| anyhow!("the node refused the event stream; is it locked?"))?;
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => each(&text)?,
                Ok(Message::Close(frame)) => {
                    let reason = frame.map(|f| f.reason.to_string()).unwrap_or_default();
                    bail!("the node ended the event stream: {reason}");
                }
                Ok(_) => {}
                Err(error) => return Err(error).context("the event stream broke off"),
            }
        }
    }
}

fn read<T: DeserializeOwned>(mut body: ureq::Body) -> Result<T> {
    body.with_config().limit(ANSWER_BYTES_MAX).read_json().context("reading the node's answer")
}

/// The node said no.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Refused(pub(crate) Problem);
