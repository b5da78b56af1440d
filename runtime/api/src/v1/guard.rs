//! What happens around every declared route: credential, scope, idempotency, validators
//! (control-plane.md §1.2, order of checks).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header, request::Parts};
use publaryn_core::{
    Decision, Operation, RegistryError, Scope,
    access::{Denial, Resource},
    decide,
};
use publaryn_ratelimit::{Payer, Tier};
use publaryn_registry::identity::require_session;

use super::{
    ApiState,
    context::ClientIp,
    extract::Caller,
    idempotency,
    problem::Problem,
    route::{Gate, Needs, Spec},
    validators,
};
use crate::http::limits;

/// Checks the caller and their limit, hands the request on, and finishes the answer.
pub async fn around(spec: Arc<Spec>, request: Request, next: Next) -> Response {
    match enter(&spec, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn enter(spec: &Spec, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let state = parts.extensions.get::<ApiState>().cloned();
    let state = state.ok_or_else(|| RegistryError::internal("the router has no state"))?;
    let caller = Caller::from_request_parts(&mut parts, &state).await?;
    let Some(limits) = &state.limits else { return admitted(spec, &state, caller, parts, body, next).await };
    let client = parts.extensions.get::<ClientIp>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.address);
    let payer = Some(&caller.0).filter(|_| spec.tier != Tier::Auth).and_then(Payer::of_credential);
    let verdict = limits.take(spec.tier, payer.unwrap_or_else(|| Payer::address(client))).await;
    let mut response = match limits::refusal(&verdict) {
        Some(error) => (spec.limited)(error),
        None => {
            let answered = admitted(spec, &state, caller, parts, body, next).await;
            answered.unwrap_or_else(Problem::into_response)
        }
    };
    limits::tell(&verdict, response.headers_mut());
    Ok(response)
}

/// Refuses a credential that does not hold, on routes that ask for nothing else.
pub async fn credential(state: State<ApiState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Caller::from_request_parts(&mut parts, &state).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// What follows for a caller who may ask.
async fn admitted(
    spec: &Spec,
    state: &ApiState,
    caller: Caller,
    mut parts: Parts,
    body: Body,
    next: Next,
) -> Result<Response, Problem> {
    admit(spec.gate, &caller, state.settings.require_login)?;
    if parts.uri.path_and_query().is_some_and(|address| address.as_str().contains("%00")) {
        // No name holds it, and PostgreSQL takes no text with it.
        return Err(Problem::malformed("the address holds a NUL character"));
    }
    parts.extensions.insert(caller.clone());
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let if_none_match = is_read.then(|| parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect());
    let keeps_keys = spec.keeps_idempotency_keys && parts.method == Method::POST && !caller.0.is_anonymous();
    let request = Request::from_parts(parts, body);
    let response =
        if keeps_keys { idempotency::run(state, &caller, request, next).await? } else { next.run(request).await };
    Ok(match if_none_match {
        Some(known) if response.status() == StatusCode::OK => {
            validators::finish(response, caller.0.is_anonymous(), known).await
        }
        _ => response,
    })
}

/// Whether the credential is of the kind and has the scope that the route declares.
fn admit(gate: Gate, caller: &Caller, require_login: bool) -> Result<(), Problem> {
    let who = &caller.0;
    let needs_credential = !gate.is_public() || (require_login && !gate.is_always_open);
    if needs_credential && who.is_anonymous() {
        return Err(RegistryError::Unauthenticated.into());
    }
    if gate.who == Needs::PlatformAdmin {
        // Scope and account are one decision.
        let operation =
            if gate.scopes.contains(&Scope::AdminWrite) { Operation::PlatformWrite } else { Operation::PlatformRead };
        return match decide(who, operation, Resource::Platform) {
            Decision::Allow => Ok(()),
            Decision::Unauthenticated => Err(RegistryError::Unauthenticated.into()),
            Decision::Denied(denial) => Err(RegistryError::Denied(denial).into()),
            Decision::Hidden => Err(Problem::not_found()),
        };
    }
    if !gate.scopes.is_empty() && !gate.scopes.iter().any(|scope| who.allows(*scope)) {
        let words: Vec<&str> = gate.scopes.iter().copied().map(Scope::as_str).collect();
        let denial = Denial::InsufficientScope(gate.scopes[0]);
        return Err(Problem::from(RegistryError::Denied(denial)).with("required_scopes", words));
    }
    if gate.who == Needs::Session {
        require_session(who)?;
    }
    Ok(())
}
