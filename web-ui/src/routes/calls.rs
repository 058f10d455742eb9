//! Calls: what rings, what is talked in, and how a page carries its media.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kith_core::api::{CallCommand, Command, Reply};
use kith_core::calls::machine::Ask;
use kith_core::{calls, view};
use kith_wire::call::{CallId, Media, SDP_BYTES_MAX};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Shared, ask, done};
use crate::extract::{self, Body, Ids, Params, bounded};
use crate::problem::Problem;

/// A new call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCall {
    /// The offer, a session description.
    sdp: String,
    /// Begins with a picture.
    video: bool,
    /// Who carries the media: 1 to 64 letters and digits, chosen by the caller.
    tab: String,
}

/// The call that was begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    /// Its id.
    call: String,
}

/// Something that whoever carries the media does.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallAction {
    /// Who.
    tab: String,
    /// What.
    #[serde(rename = "do")]
    what: CallDeed,
    /// The session description, for `answer`, `offer` and `again`.
    #[serde(default)]
    sdp: Option<String>,
    /// The number of the offer that `again` answers.
    #[serde(default)]
    to_offer: Option<u32>,
    /// Candidate lines, for `candidates`.
    #[serde(default)]
    candidates: Vec<String>,
    /// What is sent, for `media`.
    #[serde(default)]
    media: Option<view::CallMedia>,
}

/// What is done in a call.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallDeed {
    /// Take it.
    Answer,
    /// A new offer, to find another path (the caller).
    Offer,
    /// The answer to a new offer.
    Again,
    /// Ask for a new offer (who was called).
    Restart,
    /// Further addresses of this side.
    Candidates,
    /// What is sent now.
    Media,
    /// The page lives. A call whose page says nothing for 45 s is over.
    Keep,
}

/// How a call ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HangUp {
    /// `hung_up` (the default; declines what rings), `lost` or `wrong_key`.
    #[serde(default)]
    reason: Option<String>,
}

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AfterSignal {
    /// Number of the last signal that is known already.
    #[serde(default)]
    after: u32,
}

/// With whom is to be talked.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WithWhom {
    /// `kith1…`; absent: to test the own set-up.
    #[serde(default)]
    account: Option<String>,
}

/// Whether the own address is hidden from somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HideAddress {
    /// Media go through relays only.
    hide: bool,
}

fn call_id(text: &str) -> Result<CallId, Problem> {
    CallId::from_hex(text).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_id",
            "This is no id of a call: it should be 32 hex digits.",
        )
    })
}

fn sdp(text: String) -> Result<String, Problem> {
    bounded(text, SDP_BYTES_MAX, "The description of the call")
}

/// All calls that are not over.
#[utoipa::path(get, path = "/calls", tag = "calls",
    responses((status = 200, body = [view::Call]), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): Shared) -> Result<Json<Vec<view::Call>>, Problem> {
    let calls = ask(&app, Command::Call(CallCommand::List), |reply| match reply {
        Reply::Calls(calls) => Some(calls),
        _ => None,
    });
    calls.await.map(Json)
}

/// Calls the other person of a direct conversation.
#[utoipa::path(post, path = "/conversations/{id}/call", tag = "calls", request_body = NewCall,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 201, body = Begun), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn dial(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<NewCall>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let conversation = extract::group(&id)?;
    let NewCall { sdp: offer, video, tab } = body;
    let dial = CallCommand::Dial { conversation, sdp: sdp(offer)?, video, tab };
    let call = ask(&app, Command::Call(dial), |reply| match reply {
        Reply::Call(call) => Some(call.hex()),
        _ => None,
    });
    Ok((StatusCode::CREATED, Json(Begun { call: call.await? })))
}

/// One call, and what came in it.
#[utoipa::path(get, path = "/calls/{id}", tag = "calls",
    params(("id" = String, Path, description = "Call id"), AfterSignal),
    responses((status = 200, body = view::CallNow), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn now(
    State(app): Shared,
    Ids(id): Ids<String>,
    Params(query): Params<AfterSignal>,
) -> Result<Json<view::CallNow>, Problem> {
    let get = CallCommand::Get { call: call_id(&id)?, after: query.after };
    let now = ask(&app, Command::Call(get), |reply| match reply {
        Reply::CallNow(now) => Some(*now),
        _ => None,
    });
    now.await.map(Json)
}

/// Takes a call, or does something in it.
#[utoipa::path(post, path = "/calls/{id}", tag = "calls", request_body = CallAction,
    params(("id" = String, Path, description = "Call id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn act(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<CallAction>,
) -> Result<StatusCode, Problem> {
    let CallAction { tab, what, sdp: text, to_offer, candidates, media } = body;
    let call = call_id(&id)?;
    let described = || {
        let text = text.ok_or_else(|| Problem::malformed("Send the session description as `sdp`."))?;
        sdp(text)
    };
    let ask = match what {
        CallDeed::Answer => Ask::Answer(described()?),
        CallDeed::Offer => Ask::Offer(described()?),
        CallDeed::Again => {
            let to_offer =
                to_offer.ok_or_else(|| Problem::malformed("Say which offer is answered: `to_offer`."))?;
            Ask::Again { to_offer, sdp: described()? }
        }
        CallDeed::Restart => Ask::Restart,
        CallDeed::Candidates => Ask::Candidates(candidates),
        CallDeed::Media => {
            let m = media.ok_or_else(|| Problem::malformed("Say what is sent: `media`."))?;
            Ask::Media(Media { microphone: m.microphone, video: m.video, screen: m.screen })
        }
        CallDeed::Keep => Ask::Keep,
    };
    done(&app, Command::Call(CallCommand::Do { call, tab, ask })).await
}

/// Declines, gives up, or hangs up.
#[utoipa::path(post, path = "/calls/{id}/hangup", tag = "calls", request_body = HangUp,
    params(("id" = String, Path, description = "Call id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn hang_up(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<HangUp>,
) -> Result<StatusCode, Problem> {
    let reason = body.reason.as_deref().unwrap_or("hung_up");
    let reason = calls::reason(reason)
        .ok_or_else(|| Problem::malformed("The reason is `hung_up`, `lost` or `wrong_key`."))?;
    done(&app, Command::Call(CallCommand::HangUp { call: call_id(&id)?, reason })).await
}

/// A page's description, with all of its addresses.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestCall {
    /// The offer.
    sdp: String,
}

/// The node's description, with all of its addresses.
#[derive(Serialize, ToSchema)]
pub(crate) struct TestAnswer {
    /// The answer.
    sdp: String,
}

/// A call to this node itself, which sends sound and picture back for a minute.
#[utoipa::path(post, path = "/call-test", tag = "calls", request_body = TestCall,
    responses((status = 200, body = TestAnswer), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn test(
    State(app): Shared,
    Body(body): Body<TestCall>,
) -> Result<Json<TestAnswer>, Problem> {
    let sdp = app.backend().call_test(sdp(body.sdp)?).await?;
    Ok(Json(TestAnswer { sdp }))
}

/// Servers that help media to find their way.
#[utoipa::path(get, path = "/call-servers", tag = "calls", params(WithWhom),
    responses((status = 200, body = view::CallServers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn servers(
    State(app): Shared,
    Params(query): Params<WithWhom>,
) -> Result<Json<view::CallServers>, Problem> {
    let account = query.account.as_deref().map(extract::account).transpose()?;
    let servers = ask(&app, Command::Call(CallCommand::Servers { account }), |reply| match reply {
        Reply::CallServers(servers) => Some(*servers),
        _ => None,
    });
    servers.await.map(Json)
}

/// Chooses whether the own address is hidden from somebody in calls.
#[utoipa::path(put, path = "/contacts/{account}/hide-address", tag = "calls", request_body = HideAddress,
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn hide_address(
    State(app): Shared,
    Ids(account): Ids<String>,
    Body(body): Body<HideAddress>,
) -> Result<StatusCode, Problem> {
    let account = extract::account(&account)?;
    done(&app, Command::Call(CallCommand::SetHide { account, hide: body.hide })).await
}
