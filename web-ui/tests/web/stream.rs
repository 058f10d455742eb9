//! The event stream: numbers, gaps, ends.

use std::net::TcpStream;

use crate::common::{BEARER, Lab};
use kith_core::api::Event;
use kith_web::VaultState;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

fn connect(lab: &Lab, query: &str, cookie: Option<&str>) -> WebSocket<TcpStream> {
    let mut request = format!("ws://{}/api/v1/events{query}", lab.addr).into_client_request().unwrap();
    let headers = request.headers_mut();
    match cookie {
        Some(cookie) => {
            headers.insert("cookie", cookie.parse().unwrap());
            headers.insert("origin", lab.origin().parse().unwrap());
        }
        None => {
            headers.insert("authorization", format!("Bearer {BEARER}").parse().unwrap());
        }
    }
    tungstenite::client(request, TcpStream::connect(lab.addr).unwrap()).unwrap().0
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn close_code(socket: &mut WebSocket<TcpStream>) -> u16 {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.unwrap().code.into(),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn notice(n: usize) -> Event {
    Event::Notice { conversation: None, code: n.to_string(), message: "m".repeat(1000) }
}

#[test]
fn events_come_in_order_and_a_gap_is_filled_or_named() {
    let lab = Lab::new(VaultState::Unlocked);
    let mut first = connect(&lab, "", None);
    let hello = next(&mut first);
    assert_eq!((&hello["hello"]["seq"], &hello["hello"]["resync"]), (&Value::from(0), &Value::from(true)));
    for n in 1..=300 {
        lab.hub.publish(&notice(n));
    }
    for n in 1..=300u64 {
        let frame = next(&mut first);
        assert_eq!(frame["seq"], Value::from(n));
        assert_eq!(frame["event"]["type"], "notice");
        assert_eq!(frame["event"]["code"], Value::from(n.to_string()));
    }
    let run = hello["hello"]["run"].as_str().unwrap();
    let mut again = connect(&lab, &format!("?after=298&run={run}"), None);
    assert_eq!(next(&mut again)["hello"]["resync"], Value::from(false));
    assert_eq!(next(&mut again)["seq"], Value::from(299));
    let mut other_run = connect(&lab, "?after=298&run=0000", None);
    assert_eq!(next(&mut other_run)["hello"]["resync"], Value::from(true));
}

#[test]
fn a_stream_ends_with_its_session_and_with_the_lock() {
    let lab = Lab::new(VaultState::Unlocked);
    let cookie = lab.sign_in();
    let other = lab.sign_in();
    let mut mine = connect(&lab, "", Some(&cookie));
    let mut theirs = connect(&lab, "", Some(&other));
    next(&mut mine);
    next(&mut theirs);
    assert_eq!(lab.browser("DELETE", "/api/v1/session", &cookie, "").status, 204);
    assert_eq!(close_code(&mut mine), 4001);
    lab.hub.publish(&notice(1));
    assert_eq!(next(&mut theirs)["seq"], Value::from(1), "another session goes on");
    assert_eq!(lab.browser("POST", "/api/v1/vault/lock", &other, "").status, 204);
    assert_eq!(close_code(&mut theirs), 4001);
}

#[test]
fn a_slow_stream_costs_nothing_and_is_cut() {
    let lab = Lab::new(VaultState::Unlocked);
    let mut slow = connect(&lab, "", None);
    next(&mut slow);
    // More than the ring and all socket buffers hold, while nothing is read.
    for n in 0..60_000 {
        lab.hub.publish(&notice(n));
    }
    let mut seen = 0;
    loop {
        match slow.read() {
            Ok(Message::Text(_)) => seen += 1,
            Ok(Message::Close(frame)) => {
                assert_eq!(u16::from(frame.unwrap().code), 4000);
                break;
            }
            Ok(_) => {}
            // Its buffers were full, so that not even the farewell fitted.
            Err(_) => break,
        }
    }
    assert!(seen < 60_000, "it saw {seen}");
}

#[test]
fn streams_are_bounded_and_a_big_frame_ends_one() {
    let lab = Lab::new(VaultState::Unlocked);
    let mut all: Vec<_> = (0..32).map(|_| connect(&lab, "", None)).collect();
    all.iter_mut().for_each(|s| drop(next(s)));
    let upgrade = [
        ("authorization", format!("Bearer {BEARER}")),
        ("connection", "upgrade".into()),
        ("upgrade", "websocket".into()),
        ("sec-websocket-version", "13".into()),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".into()),
    ];
    let upgrade: Vec<(&str, &str)> = upgrade.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(lab.send("GET", "/api/v1/events", &upgrade, "").code(), "too_many_streams");
    let mut big = all.pop().unwrap();
    big.send(Message::Text("x".repeat(100_000).into())).unwrap();
    assert!(big.read().is_err() || big.read().is_err(), "a browser has nothing to say here");
}
