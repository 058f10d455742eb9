//! Own profile, settings, the network and its relays, QR codes.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kith_core::api::{Command, Reply};
use kith_core::view;
use kith_wire::limits::{ABOUT_BYTES_MAX, NAME_BYTES_MAX};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{Shared, ask, done, look};
use crate::backend::RelayTest;
use crate::extract::{self, Body, Ids, Params, bounded};
use crate::limits::{LINK_BYTES_MAX, QR_BYTES_MAX};
use crate::problem::Problem;
use crate::qr;

/// Own profile.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Name shown to others.
    name: String,
    /// About text.
    about: String,
}

/// All settings.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSettings {
    /// Tell others what was read.
    read_receipts: bool,
    /// Tell others that one is typing.
    typing: bool,
    /// Dial and accept direct connections. Off: relays only.
    direct: bool,
}

/// A community link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayLink {
    /// `kith-relay:…`
    link: String,
}

/// What to draw.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QrQuery {
    /// At most 2,000 bytes.
    text: String,
}

/// Own account and device.
#[utoipa::path(get, path = "/me", tag = "settings",
    responses((status = 200, body = view::Me), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn me(State(app): Shared) -> Result<Json<view::Me>, Problem> {
    look(&app, |b| b.me()).await.map(Json)
}

/// Changes the own profile.
#[utoipa::path(put, path = "/me", tag = "settings", request_body = Profile,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_me(State(app): Shared, Body(body): Body<Profile>) -> Result<StatusCode, Problem> {
    let name = bounded(body.name, NAME_BYTES_MAX, "The name")?;
    let about = bounded(body.about, ABOUT_BYTES_MAX, "The text about you")?;
    done(&app, Command::SetProfile { name, about }).await
}

/// Privacy and network settings.
#[utoipa::path(get, path = "/settings", tag = "settings",
    responses((status = 200, body = view::Settings), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn settings(State(app): Shared) -> Result<Json<view::Settings>, Problem> {
    look(&app, |b| b.settings()).await.map(Json)
}

/// Changes all settings.
#[utoipa::path(put, path = "/settings", tag = "settings", request_body = NewSettings,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_settings(
    State(app): Shared,
    Body(body): Body<NewSettings>,
) -> Result<StatusCode, Problem> {
    let NewSettings { read_receipts, typing, direct } = body;
    done(&app, Command::SetSettings(view::Settings { read_receipts, typing, direct })).await
}

/// The network as of now.
#[utoipa::path(get, path = "/network", tag = "network",
    responses((status = 200, body = view::Network), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn network(State(app): Shared) -> Result<Json<view::Network>, Problem> {
    Ok(Json(app.backend().network()?))
}

/// Takes a relay into use.
#[utoipa::path(post, path = "/relays", tag = "network", request_body = RelayLink,
    responses((status = 200, body = view::Relay), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn add_relay(
    State(app): Shared,
    Body(body): Body<RelayLink>,
) -> Result<Json<view::Relay>, Problem> {
    let link = bounded(body.link, LINK_BYTES_MAX, "The community link")?;
    let relay = ask(&app, Command::AddRelay { link }, |reply| match reply {
        Reply::Relay(relay) => Some(*relay),
        _ => None,
    });
    relay.await.map(Json)
}

/// Tries a relay without taking it into use.
#[utoipa::path(post, path = "/relays/test", tag = "network", request_body = RelayLink,
    responses((status = 200, body = RelayTest), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn test_relay(
    State(app): Shared,
    Body(body): Body<RelayLink>,
) -> Result<Json<RelayTest>, Problem> {
    let link = bounded(body.link, LINK_BYTES_MAX, "The community link")?;
    Ok(Json(app.backend().test_relay(link).await?))
}

/// Stops using a relay.
#[utoipa::path(delete, path = "/relays/{id}", tag = "network", params(("id" = String, Path, description = "Relay id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove_relay(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::RemoveRelay { relay: extract::relay(&id)? }).await
}

/// Draws a QR code.
#[utoipa::path(get, path = "/qr", tag = "settings", params(QrQuery),
    responses((status = 200, description = "The drawing", content_type = "image/svg+xml"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn qr(Params(query): Params<QrQuery>) -> Result<Response, Problem> {
    let text = bounded(query.text, QR_BYTES_MAX, "The text for a QR code")?;
    let drawing = qr::svg(&text).ok_or_else(|| Problem::malformed("This text does not fit a QR code."))?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], drawing).into_response())
}
