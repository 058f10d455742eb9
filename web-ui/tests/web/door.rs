//! Who gets in: Host, Origin, sessions, bearer, state of the vault, headers.

use crate::common::{BEARER, Lab, PASSPHRASE};
use kith_web::VaultState;

#[test]
fn only_the_exact_host_is_answered() {
    let lab = Lab::new(VaultState::Unlocked);
    let port = lab.addr.port();
    let evil = [
        format!("localhost:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("evil.example:{port}"),
        format!("127.0.0.1:{port}.evil.example"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("127.0.0.1:{port} "),
        String::new(),
    ];
    for host in evil.iter().take(6).chain(evil.last()) {
        for path in ["/", "/api/v1/health", "/link/x", "/assets/app-1a2b.js"] {
            let answer = lab.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert!(matches!(answer.status, 400 | 403), "{host} {path}: {}", answer.status);
        }
    }
    let two = lab.raw(&format!("GET / HTTP/1.1\r\nHost: {0}\r\nHost: {0}\r\n\r\n", lab.addr));
    assert!(matches!(two.status, 400 | 403));
    let absolute = lab.raw(&format!("GET http://evil.example/ HTTP/1.1\r\nHost: {}\r\n\r\n", lab.addr));
    assert_eq!(absolute.status, 403);
    assert_eq!(lab.send("GET", "/api/v1/health", &[], "").status, 200);
}

#[test]
fn nothing_is_said_without_a_session() {
    let lab = Lab::new(VaultState::Unlocked);
    for path in ["/session", "/conversations", "/contacts", "/me", "/network", "/events", "/qr?text=x"] {
        let answer = lab.send("GET", &format!("/api/v1{path}"), &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "no_session"), "{path}");
    }
    for bearer in ["Bearer wrong", "Bearer ", "Basic Og==", BEARER, ""] {
        let answer = lab.send("GET", "/api/v1/session", &[("authorization", bearer)], "");
        assert_eq!(answer.status, 401, "{bearer}");
    }
    assert_eq!(lab.program("GET", "/api/v1/session", "").status, 200);
}

#[test]
fn a_link_signs_one_browser_in_and_says_no_more() {
    let lab = Lab::new(VaultState::Unlocked);
    let token = lab.sessions.new_link().unwrap();
    let path = format!("/link/{token}");
    assert_eq!(lab.send("HEAD", &path, &[], "").status, 405, "a look ahead does not use it up");
    let answer = lab.send("GET", &path, &[], "");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&token));
    let again = lab.send("GET", &path, &[], "");
    assert_eq!(again.status, 403);
    assert!(again.body.contains("kith link") && again.header("set-cookie").is_none());
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(lab.browser("GET", "/api/v1/session", cookie, "").status, 200);
    assert_eq!(lab.browser("POST", "/api/v1/link", cookie, "{}").code(), "programs_only");
    assert_eq!(lab.program("POST", "/api/v1/link", "{}").status, 200);
}

#[test]
fn another_page_can_neither_change_nor_read() {
    let lab = Lab::new(VaultState::Unlocked);
    let cookie = lab.sign_in();
    let origin = lab.origin();
    let path = "/api/v1/vault/lock";
    let other = format!("http://localhost:{}", lab.addr.port());
    for wrong in
        ["null", "http://evil.example", &other, &format!("{origin}/"), &origin.replace("http", "https"), ""]
    {
        let answer = lab.send("POST", path, &[("cookie", &cookie), ("origin", wrong)], "{}");
        assert_eq!((answer.status, answer.code().as_str()), (403, "wrong_origin"), "{wrong}");
    }
    assert_eq!(
        lab.send("POST", path, &[("cookie", &cookie)], "{}").code(),
        "wrong_origin",
        "no Origin at all"
    );
    let site = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(lab.send("GET", "/api/v1/contacts", &site, "").code(), "wrong_origin");
    let upgrade = [
        ("cookie", cookie.as_str()),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(lab.send("GET", "/api/v1/events", &upgrade, "").code(), "wrong_origin");
    let mut own = upgrade.to_vec();
    own.push(("origin", &origin));
    assert_eq!(lab.send("GET", "/api/v1/events", &own, "").status, 101);
    assert!(lab.notes.commands.lock().unwrap().is_empty());
    assert_eq!(lab.notes.state.lock().unwrap().to_owned(), VaultState::Unlocked);
}

#[test]
fn while_locked_only_the_way_in_is_open() {
    for (state, code) in [(VaultState::Locked, "locked"), (VaultState::Fresh, "fresh")] {
        let lab = Lab::new(state);
        for path in ["/conversations", "/contacts", "/me", "/settings", "/network", "/events", "/invites"] {
            let answer = lab.program("GET", &format!("/api/v1{path}"), "");
            assert_eq!((answer.status, answer.code().as_str()), (423, code), "{path}");
        }
        assert_eq!(lab.program("GET", "/api/v1/session", "").status, 200);
        assert_eq!(lab.send("GET", "/api/v1/health", &[], "").status, 200);
        assert_eq!(lab.program("POST", "/api/v1/link", "{}").status, 200);
    }
}

#[test]
fn a_session_unlocks_locks_and_signs_out() {
    let lab = Lab::new(VaultState::Locked);
    let cookie = lab.sign_in();
    let unlock = format!("{{\"passphrase\":\"{PASSPHRASE}\"}}");
    let wrong = lab.browser("POST", "/api/v1/vault/unlock", &cookie, "{\"passphrase\":\"nonsense\"}");
    assert_eq!((wrong.status, wrong.code().as_str()), (403, "wrong_passphrase"));
    let early = lab.browser("POST", "/api/v1/vault/unlock", &cookie, &unlock);
    assert_eq!((early.status, early.code().as_str()), (429, "slow_down"));
    assert!(early.body.contains("retry_after_s") && early.header("retry-after").is_some());

    let lab = Lab::new(VaultState::Locked);
    let cookie = lab.sign_in();
    assert_eq!(lab.browser("POST", "/api/v1/vault/unlock", &cookie, &unlock).status, 204);
    assert_eq!(lab.browser("GET", "/api/v1/contacts", &cookie, "").status, 200);
    assert_eq!(lab.browser("POST", "/api/v1/vault/lock", &cookie, "").status, 204);
    assert_eq!(lab.browser("GET", "/api/v1/contacts", &cookie, "").status, 423);
    let out = lab.browser("DELETE", "/api/v1/session", &cookie, "");
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(lab.browser("GET", "/api/v1/session", &cookie, "").status, 401);
}

#[test]
fn every_answer_carries_the_security_headers() {
    let lab = Lab::new(VaultState::Unlocked);
    for answer in [
        lab.send("GET", "/", &[], ""),
        lab.send("GET", "/api/v1/health", &[], ""),
        lab.send("GET", "/api/v1/contacts", &[], ""),
        lab.send("GET", "/assets/missing.js", &[], ""),
        lab.raw("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    ] {
        let csp = answer.header("content-security-policy").unwrap();
        assert!(csp.starts_with("default-src 'self';") && csp.contains("frame-ancestors 'none'"), "{csp}");
        assert!(!csp.contains("unsafe") && !csp.contains('*'), "{csp}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}

#[test]
fn pages_are_served_and_api_errors_are_not_pages() {
    let lab = Lab::new(VaultState::Unlocked);
    for view in ["/", "/conversation/abc", "/settings/relays"] {
        let page = lab.send("GET", view, &[], "");
        assert_eq!((page.status, page.header("cache-control")), (200, Some("no-cache")), "{view}");
        assert!(page.body.contains("<title>Kith"));
    }
    let script = lab.send("GET", "/assets/app-1a2b.js", &[], "");
    assert!(script.header("cache-control").unwrap().contains("immutable"));
    assert!(script.header("content-type").unwrap().starts_with("text/javascript"));
    assert_eq!(lab.send("GET", "/assets/old.js", &[], "").status, 404);
    assert_eq!(lab.send("GET", "/assets/../index.html", &[], "").status, 404);
    assert_eq!(lab.send("GET", "/api/v1/nothing", &[], "").code(), "not_found");
    assert_eq!(lab.send("GET", "/api/v2/health", &[], "").code(), "not_found");
    assert_eq!(lab.send("POST", "/settings", &[], "{}").code(), "wrong_method");
    assert_eq!(lab.send("PUT", "/api/v1/health", &[], "{}").code(), "wrong_method");
}
