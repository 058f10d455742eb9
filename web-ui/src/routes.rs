//! The route table. Each handler states its path and shapes once; the router
//! and the OpenAPI document both come from that.

mod calls;
mod conversations;
mod files;
mod people;
mod session;
mod settings;
mod vault;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use kith_core::api::{Command, Event, Refusal, Reply};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::limits::BODY_BYTES_MAX;
use crate::problem::Problem;
use crate::{assets, door};

type Shared = State<Arc<App>>;

/// Below here lies everything that is not a page.
const API: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kith node",
        description = "The API of one Kith node, on a loopback address. Programs send `Authorization: Bearer` with the \
                       token file's content; browsers hold a session cookie. Errors are problem JSON. `GET /events` is \
                       a WebSocket: text frames, first `Hello`, then `EventFrame`s.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    components(schemas(Event, Problem, session::EventFrame, session::Hello))
)]
struct Document;

/// Open to everybody who finds the address.
fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(session::health)).routes(routes!(session::openapi_json))
}

/// Known callers, whatever state the vault is in.
fn known() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(session::current, session::sign_out))
        .routes(routes!(session::link))
        .routes(routes!(vault::create_vault))
        .routes(routes!(vault::challenge))
        .routes(routes!(vault::confirm))
        .routes(routes!(vault::unlock))
        .routes(routes!(vault::lock))
        .routes(routes!(vault::passphrase))
        .routes(routes!(vault::recover))
}

/// Known callers while the vault is open.
fn unlocked() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(session::events))
        .routes(routes!(settings::me, settings::set_me))
        .routes(routes!(settings::settings, settings::set_settings))
        .routes(routes!(settings::network))
        .routes(routes!(settings::add_relay))
        .routes(routes!(settings::test_relay))
        .routes(routes!(settings::remove_relay))
        .routes(routes!(settings::qr))
        .routes(routes!(people::contacts, people::add))
        .routes(routes!(people::change))
        .routes(routes!(people::accept))
        .routes(routes!(people::refuse))
        .routes(routes!(people::block))
        .routes(routes!(people::unblock))
        .routes(routes!(people::safety))
        .routes(routes!(people::invites, people::create_invite))
        .routes(routes!(people::revoke_invite))
        .routes(routes!(conversations::list, conversations::create_group))
        .routes(routes!(conversations::details, conversations::rename, conversations::delete))
        .routes(routes!(conversations::add_members))
        .routes(routes!(conversations::remove_member))
        .routes(routes!(conversations::set_role))
        .routes(routes!(conversations::leave))
        .routes(routes!(conversations::messages, conversations::send))
        .routes(routes!(conversations::delivery))
        .routes(routes!(conversations::retry))
        .routes(routes!(conversations::report))
        .routes(routes!(conversations::settle_report))
        .routes(routes!(conversations::read))
        .routes(routes!(conversations::typing))
        .routes(routes!(calls::list))
        .routes(routes!(calls::dial))
        .routes(routes!(calls::now, calls::act))
        .routes(routes!(calls::hang_up))
        .routes(routes!(calls::servers))
        .routes(routes!(calls::test))
        .routes(routes!(calls::hide_address))
        .routes(routes!(files::add))
        .routes(routes!(files::list, files::send))
        .routes(routes!(files::file, files::free))
        .routes(routes!(files::content))
        .routes(routes!(files::fetch))
        .routes(routes!(files::pause))
        .routes(routes!(files::keep))
        .routes(routes!(files::storage, files::set_storage))
}

fn with_base(api: OpenApiRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi()).nest(API, api)
}

/// The OpenAPI document, as checked in under `web-ui/openapi.json`.
#[must_use]
pub fn openapi() -> String {
    let (_, mut document) = with_base(open().merge(known()).merge(unlocked())).split_for_parts();
    document.info.version = "1".into();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The router with all its checks.
pub(crate) fn router(app: Arc<App>) -> Router {
    let unlocked = unlocked().layer(middleware::from_fn_with_state(Arc::clone(&app), door::unlocked));
    let known = known()
        .merge(unlocked)
        .layer(middleware::from_fn(door::whole_body))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), door::known));
    let (api, _) = with_base(open().merge(known)).split_for_parts();
    api.route("/link/{token}", get(use_link))
        .fallback(page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), door::host_and_headers))
        .with_state(app)
}

/// Files and views of the web app; an unknown path below the API is an error.
async fn page(State(app): Shared, request: axum::extract::Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::not_found("address").into_response();
    }
    match *request.method() {
        Method::GET | Method::HEAD => assets::serve(app.assets(), path).into_response(),
        _ => wrong_method().await.into_response(),
    }
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "This address does not take that method.")
}

/// Turns a one-time link into a session.
async fn use_link(State(app): Shared, method: Method, Path(token): Path<String>) -> Response {
    // A look ahead (HEAD) must not use it up.
    if method != Method::GET {
        return wrong_method().await.into_response();
    }
    match app.sessions().use_link(&token) {
        Ok(Some(value)) => {
            let name = app.sessions().cookie_name();
            let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
            let mut response = Redirect::to("/").into_response();
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Ok(None) => assets::plain(
            StatusCode::FORBIDDEN,
            "This sign-in link was used already, is older than five minutes, or is mistyped. Run `kith link` and open \
             the new one.",
        )
        .into_response(),
        Err(error) => session_failed(&error).into_response(),
    }
}

fn session_failed(error: &crate::sessions::SessionError) -> Problem {
    tracing::warn!("browser sessions could not be saved");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", error.to_string())
}

/// Carries out a command that has nothing to answer.
async fn done(app: &App, command: Command) -> Result<StatusCode, Problem> {
    app.backend().command(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Carries out a command and picks its answer.
async fn ask<T>(app: &App, command: Command, pick: impl FnOnce(Reply) -> Option<T>) -> Result<T, Problem> {
    let reply = app.backend().command(command).await?;
    pick(reply).ok_or_else(Problem::internal)
}

/// Reads a snapshot on a thread that may wait for the disk.
async fn look<T, F>(app: &App, read: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&dyn crate::Backend) -> Result<T, Refusal> + Send + 'static,
{
    let backend = Arc::clone(app.backend());
    match tokio::task::spawn_blocking(move || read(&*backend)).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Problem::internal()),
    }
}

/// As [`look`], for something that may not be there.
async fn find<T, F>(app: &App, what: &'static str, read: F) -> Result<Json<T>, Problem>
where
    T: Send + 'static,
    F: FnOnce(&dyn crate::Backend) -> Result<Option<T>, Refusal> + Send + 'static,
{
    look(app, read).await?.map(Json).ok_or_else(|| Problem::not_found(what))
}
