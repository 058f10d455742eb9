//! Trying a relay without taking it into use: one connection under a
//! throw-away identity, a greeting, and off again.

use std::time::Duration;

use kith_core::api::Refusal;
use kith_overlay::{ClientConfig, Overlay, OverlayHandle};
use kith_web::RelayTest;
use kith_wire::crypto::Secret;
use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkKind, NetCommand, NetEvent};
use kith_wire::relay::{
    Answer, Call, ClientFrame, CommunityLink, ServerFrame, Statement, VERSIONS, common_version,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::driver::sentence;
use crate::system;

/// Longest wait for all of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Number of the one call.
const CALL: u64 = 1;
/// How far clocks may differ before it is said, in milliseconds.
const CLOCK_MS_MAX: u64 = 10 * 60 * 1000;

/// Tries the relay of a community link.
pub(crate) async fn test(link: &str) -> Result<RelayTest, Refusal> {
    let link = CommunityLink::from_text(link).map_err(|e| Refusal::new("invalid_link", sentence(&e)))?;
    let config = ClientConfig {
        transport_key: Secret::new(system::random()?),
        relay_keys_seed: system::random()?,
        listen: Vec::new(),
        direct: false,
        circuits: false,
        nearby: false,
        upnp: false,
        events: 64,
    };
    let (handle, mut events) = Overlay::spawn(config).map_err(|e| Refusal::new("network", sentence(&e)))?;
    let found = match timeout(PATIENCE, greet(&link, &handle, &mut events)).await {
        Ok(found) => found,
        Err(_) => Err("The relay does not answer. Check the network, or ask its operator.".to_owned()),
    };
    handle.shutdown().await;
    Ok(match found {
        Ok(statement) => RelayTest {
            ok: true,
            name: statement.name.clone(),
            retention_s: Some(statement.retention_s),
            problem: clock_problem(&statement),
        },
        Err(problem) => RelayTest { ok: false, name: link.name, retention_s: None, problem: Some(problem) },
    })
}

fn clock_problem(statement: &Statement) -> Option<String> {
    // A statement may be a while old, but never from the future.
    let ahead = statement.issued_ms.saturating_sub(system::now().wall_ms);
    (ahead > CLOCK_MS_MAX).then(|| {
        format!("This machine's clock is {} minutes behind the relay's. Set it right, or messages get wrong times.", ahead / 60_000)
    })
}

async fn greet(
    link: &CommunityLink,
    handle: &OverlayHandle,
    events: &mut mpsc::Receiver<NetEvent>,
) -> Result<Statement, String> {
    let gone = || "The network part of this node stopped. Try again.".to_owned();
    let dial = NetCommand::Dial {
        kind: LinkKind::Log,
        peer: PeerKey(link.key.0),
        addrs: link.addrs.clone(),
        patient: true,
    };
    handle.try_send(dial).map_err(|e| sentence(&e))?;
    let mut statement = None;
    loop {
        match events.recv().await.ok_or_else(gone)? {
            NetEvent::DialFailed { reason, .. } => {
                return Err(sentence(&format!("The relay cannot be reached: {reason}")));
            }
            NetEvent::Down { reason, .. } => return Err(sentence(&format!("The relay hung up: {reason}"))),
            NetEvent::Frame { link: on, frame } => {
                match ServerFrame::from_bytes(&frame).map_err(|e| sentence(&e))? {
                    ServerFrame::Hello { lowest, highest, statement: bytes, .. } => {
                        if common_version((lowest, highest)).is_none() {
                            return Err(format!(
                                "The relay speaks versions {lowest} to {highest}, this Kith {} to {}. Update the older one.",
                                VERSIONS.0, VERSIONS.1
                            ));
                        }
                        statement = Some(Statement::verify(&bytes, &link.key).map_err(|e| sentence(&e))?);
                        let hello = ClientFrame { number: CALL, call: Call::hello(&link.admission) };
                        let send = NetCommand::Send { link: on, frame: hello.to_bytes() };
                        handle.try_send(send).map_err(|e| sentence(&e))?;
                    }
                    ServerFrame::Answer { number: CALL, answer: Answer::Hello { .. } } => {
                        return statement.ok_or_else(|| "The relay answered out of turn.".to_owned());
                    }
                    ServerFrame::Refused { refusal, .. } => return Err(sentence(&refusal)),
                    _ => {}
                }
            }
            NetEvent::Up { .. }
            | NetEvent::Addresses { .. }
            | NetEvent::Measured { .. }
            | NetEvent::Nearby { .. }
            | NetEvent::Outside { .. }
            | NetEvent::Reservation { .. } => {}
        }
    }
}
