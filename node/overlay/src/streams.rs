//! The one libp2p behaviour of our own: streams of one protocol, opened on a
//! connection that the caller names, with the connection told for every
//! stream that comes in.
//!
//! Same bytes on the wire as `libp2p-stream`, which cannot say over which
//! connection a stream runs and picks a random one to open on (docs/adr).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, UpgradeInfo, upgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// How long the far end may take to agree on the protocol of a stream.
const NEGOTIATE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that may wait in one connection for the swarm to look at them;
/// more are dropped, which the far end sees as a closed stream.
const INBOUND_WAITING_MAX: usize = 4;
/// Streams that may be asked for at once on one connection; more fail.
const OPENING_MAX: usize = 8;

/// Why a stream could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The far end does not speak this protocol (this version of it).
    Unsupported,
    /// It did not answer in time: the connection is probably dead.
    Timeout,
    /// The connection broke, or too many streams were asked for.
    Broken,
}

/// What the behaviour reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// The far end opened a stream.
    Inbound {
        /// Over which connection.
        conn: ConnectionId,
        /// The stream, protocol agreed.
        stream: Stream,
    },
    /// A stream asked for stands.
    Opened {
        /// The caller's name for it.
        token: u64,
        /// The stream, protocol agreed.
        stream: Stream,
    },
    /// A stream asked for could not be had.
    OpenFailed {
        /// The caller's name for it.
        token: u64,
        /// Why.
        error: OpenError,
    },
}

/// The behaviour; see the module.
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    accept: bool,
    events: VecDeque<ToSwarm<Event, u64>>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Streams of `protocol`; those of others are taken only if `accept`.
    pub(crate) fn new(protocol: StreamProtocol, accept: bool) -> Self {
        Self { protocol, accept, events: VecDeque::new(), waker: None }
    }

    /// Opens a stream on exactly this connection; answered by `Opened` or
    /// `OpenFailed` with the same token, or by the end of the connection.
    pub(crate) fn open(&mut self, peer: PeerId, conn: ConnectionId, token: u64) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(conn),
            event: token,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self) -> Handler {
        Handler {
            protocol: self.protocol.clone(),
            accept: self.accept,
            wanted: VecDeque::new(),
            opening: 0,
            inbound: VecDeque::new(),
            out: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, conn: ConnectionId, event: THandlerOutEvent<Self>) {
        let event = match event {
            FromHandler::Inbound(stream) => Event::Inbound { conn, stream },
            FromHandler::Opened(token, stream) => Event::Opened { token, stream },
            FromHandler::OpenFailed(token, error) => Event::OpenFailed { token, error },
        };
        // The pool hands over one handler event for each poll of the swarm, so
        // this queue is emptied as fast as it fills.
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// From a connection to the behaviour.
#[derive(Debug)]
pub(crate) enum FromHandler {
    Inbound(Stream),
    Opened(u64, Stream),
    OpenFailed(u64, OpenError),
}

/// One connection's share.
pub(crate) struct Handler {
    protocol: StreamProtocol,
    accept: bool,
    wanted: VecDeque<u64>,
    opening: usize,
    inbound: VecDeque<Stream>,
    out: VecDeque<FromHandler>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = u64;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        let upgrade = Upgrade(self.accept.then(|| self.protocol.clone()));
        SubstreamProtocol::new(upgrade, ()).with_timeout(NEGOTIATE_TIMEOUT)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, u64, FromHandler>> {
        if let Some(event) = self.out.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Inbound(stream)));
        }
        if let Some(token) = self.wanted.pop_front() {
            let protocol = SubstreamProtocol::new(Upgrade(Some(self.protocol.clone())), token)
                .with_timeout(NEGOTIATE_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // What fills the queues is always a call from the connection, which
        // polls again after it.
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, token: u64) {
        if self.opening >= OPENING_MAX {
            self.out.push_back(FromHandler::OpenFailed(token, OpenError::Broken));
            return;
        }
        self.opening += 1;
        self.wanted.push_back(token);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), u64>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if self.inbound.len() < INBOUND_WAITING_MAX =>
            {
                self.inbound.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opening = self.opening.saturating_sub(1);
                self.out.push_back(FromHandler::Opened(info, protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info }) => {
                self.opening = self.opening.saturating_sub(1);
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Timeout => OpenError::Timeout,
                    StreamUpgradeError::Io(_) => OpenError::Broken,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.out.push_back(FromHandler::OpenFailed(info, error));
            }
            _ => {}
        }
    }
}

/// Agrees on the protocol and hands the stream over as it is.
pub(crate) struct Upgrade(Option<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl upgrade::InboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl upgrade::OutboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
