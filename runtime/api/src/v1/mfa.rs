//! `/v1/auth/mfa*`: the second factor of the caller's account (control-plane.md §3).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use publaryn_auth::recovery::RecoveryCode;
use publaryn_core::audit::AuditAction;
use serde_json::json;

use super::{
    ApiState,
    auth::refused,
    extract::{Body, Caller, Origin},
    problem::Problem,
    route::{Routes, in_session},
};

pub fn routes() -> Routes {
    Routes::new("authentication")
        .get(
            "/auth/mfa",
            status,
            in_session("How the account stands with its second factor")
                .answer(200, "mfa_enabled b, enabled_at t?, recovery_codes_remaining i, setup_pending b"),
        )
        .post(
            "/auth/mfa/setup",
            set_up,
            in_session("Offers a second factor, in the place of an offer that was not confirmed")
                .notes("The offer can be confirmed for 15 minutes.")
                .holds_secrets()
                .optional_body("")
                .answer(200, "secret s, provisioning_uri s, recovery_codes [s]")
                .problem(409, "mfa_already_enabled"),
        )
        .post(
            "/auth/mfa/verify-setup",
            confirm,
            in_session("Switches the offered factor on; other sessions end")
                .holds_secrets()
                .body("code s")
                .answer(200, "mfa_enabled b")
                .problem(409, "mfa_already_enabled")
                .problem(409, "mfa_setup_missing")
                .problem(422, "mfa_code_invalid")
                .audit(AuditAction::MfaEnable),
        )
        .post(
            "/auth/mfa/disable",
            disable,
            in_session("Switches the second factor off, with a code of it or a recovery code")
                .holds_secrets()
                .body("code s")
                .answer(200, "mfa_enabled b")
                .problem(409, "mfa_not_enabled")
                .problem(422, "mfa_code_invalid")
                .problem(429, "login_throttled")
                .audit(AuditAction::MfaDisable),
        )
        .post(
            "/auth/mfa/recovery-codes",
            renew_codes,
            in_session("Replaces the recovery codes")
                .holds_secrets()
                .body("code s")
                .answer(200, "recovery_codes [s]")
                .problem(409, "mfa_not_enabled")
                .problem(422, "mfa_code_invalid")
                .problem(429, "login_throttled")
                .audit(AuditAction::MfaRecoveryCodesRegenerate),
        )
}

async fn status(State(state): State<ApiState>, caller: Caller) -> Result<Response, Problem> {
    let status = state.identity.mfa_status(&caller.0).await?;
    let answer = json!({
        "mfa_enabled": status.enabled_at.is_some(),
        "enabled_at": status.enabled_at,
        "recovery_codes_remaining": status.recovery_codes_remaining,
        "setup_pending": status.setup_pending,
    });
    Ok(Json(answer).into_response())
}

async fn set_up(State(state): State<ApiState>, caller: Caller, body: Body) -> Result<Response, Problem> {
    body.optional_fields().await?.finish()?;
    let offer = state.identity.set_up_mfa(&caller.0).await?;
    let answer = json!({
        "secret": offer.secret.expose(),
        "provisioning_uri": offer.provisioning_uri.expose(),
        "recovery_codes": shown(&offer.recovery_codes),
    });
    Ok(Json(answer).into_response())
}

async fn confirm(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    state.identity.confirm_mfa(&caller.0, &code(body).await?, &origin).await?;
    Ok(Json(json!({ "mfa_enabled": true })).into_response())
}

async fn disable(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    state.identity.disable_mfa(&caller.0, &code(body).await?, &origin).await?;
    Ok(Json(json!({ "mfa_enabled": false })).into_response())
}

async fn renew_codes(
    State(state): State<ApiState>,
    caller: Caller,
    Origin(origin): Origin,
    body: Body,
) -> Result<Response, Problem> {
    let codes = state.identity.renew_recovery_codes(&caller.0, &code(body).await?, &origin).await?;
    Ok(Json(json!({ "recovery_codes": shown(&codes) })).into_response())
}

async fn code(body: Body) -> Result<String, Problem> {
    let mut fields = body.fields().await?;
    let Some(code) = fields.text("code") else { return Err(refused(fields.finish())) };
    fields.finish()?;
    Ok(code)
}

fn shown(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::expose).collect()
}
