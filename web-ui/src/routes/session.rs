//! Health, the caller's own session, sign-in links, the event stream.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kith_core::api;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Shared, session_failed};
use crate::backend::VaultState;
use crate::extract::Params;
use crate::limits::STREAM_FRAME_BYTES_MAX;
use crate::problem::Problem;
use crate::sessions::Who;
use crate::ws;

/// Whether the node is there, and where its vault stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Version of this node.
    version: &'static str,
    /// Where the vault stands.
    state: VaultState,
}

/// The caller's session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Where the vault stands.
    state: VaultState,
    /// Own name, while unlocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A fresh sign-in link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// Works once, within five minutes.
    url: String,
}

/// First frame of the event stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hello {
    /// Where the stream begins.
    hello: StreamStart,
}

/// Where an event stream begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamStart {
    /// The number before the next event's.
    seq: u64,
    /// The gap cannot be filled: fetch everything anew.
    resync: bool,
    /// Names this run of the node; numbers of another run mean nothing.
    run: String,
}

/// Every further frame of the event stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventFrame {
    /// Ascending by one.
    seq: u64,
    /// What happened.
    event: api::Event,
}

/// Where to go on in the event stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The last number seen.
    #[serde(default)]
    after: Option<u64>,
    /// The run in which it was seen.
    #[serde(default)]
    run: Option<String>,
}

/// Whether the node is there. Needs no session.
#[utoipa::path(get, path = "/health", tag = "session", responses((status = 200, body = Health)), security(()))]
pub(crate) async fn health(State(app): Shared) -> Json<Health> {
    Json(Health { version: env!("CARGO_PKG_VERSION"), state: app.backend().state() })
}

/// This document. Needs no session.
#[utoipa::path(get, path = "/openapi.json", tag = "session",
    responses((status = 200, description = "The OpenAPI document", content_type = "application/json")), security(()))]
pub(crate) async fn openapi_json() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(super::openapi);
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The caller's session.
#[utoipa::path(get, path = "/session", tag = "session",
    responses((status = 200, body = Session), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn current(State(app): Shared) -> Json<Session> {
    Json(Session { state: app.backend().state(), name: app.backend().name() })
}

/// Signs this browser out.
#[utoipa::path(delete, path = "/session", tag = "session",
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn sign_out(
    State(app): Shared,
    Extension(who): Extension<Who>,
) -> Result<Response, Problem> {
    let Who::Browser(session) = who else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "no_browser",
            "Only a browser can sign out. The token file is renewed when the node starts.",
        ));
    };
    app.sessions().end(&session).map_err(|e| session_failed(&e))?;
    let gone = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", app.sessions().cookie_name());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// A fresh one-time sign-in link. For programs only.
#[utoipa::path(post, path = "/link", tag = "session",
    responses((status = 200, body = Link), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn link(State(app): Shared, Extension(who): Extension<Who>) -> Result<Json<Link>, Problem> {
    if who != Who::Program {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "programs_only",
            "A sign-in link can only be made on this machine: run `kith link`.",
        ));
    }
    let token = app.sessions().new_link().map_err(|e| session_failed(&e))?;
    Ok(Json(Link { url: app.link_url(&token) }))
}

/// The event stream: a WebSocket.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery),
    responses((status = 101, description = "Text frames: `Hello`, then `EventFrame`s"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): Shared,
    Extension(who): Extension<Who>,
    Params(query): Params<EventsQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade =
        upgrade.map_err(|_| Problem::malformed("This address is a WebSocket: connect to it as such."))?;
    let slot = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Problem::slow_down("too_many_streams", 5, "Too many pages of Kith are open. Close some of them.")
    })?;
    let app = Arc::clone(&app);
    Ok(upgrade
        .max_message_size(STREAM_FRAME_BYTES_MAX)
        .max_frame_size(STREAM_FRAME_BYTES_MAX)
        .on_upgrade(move |socket| ws::stream(app, socket, query.after, query.run, who, slot)))
}
