//! `/v1/orgs/*` and `/v1/org-invitations/*`: organizations, their people, teams and grants
//! (control-plane.md §5).

mod grants;
mod invitations;
mod members;
pub mod objects;
mod profile;
mod teams;

use axum::{
    Router,
    routing::{delete, get, post, put},
};

use super::ApiState;

pub use profile::own;

pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/", post(profile::create))
        .route("/{slug}", get(profile::show).patch(profile::update).delete(profile::remove))
        .route("/{slug}/ownership-transfer", post(profile::transfer))
        .route("/{slug}/repositories", get(profile::repositories))
        .route("/{slug}/members", get(members::list).post(members::add))
        .route("/{slug}/members/search", get(members::search))
        .route("/{slug}/members/{username}", axum::routing::patch(members::change).delete(members::remove))
        .route("/{slug}/invitations", get(invitations::list).post(invitations::create))
        .route("/{slug}/invitations/{id}", delete(invitations::revoke))
        .route("/{slug}/teams", get(teams::list).post(teams::create))
        .route("/{slug}/teams/{team}", get(teams::show).patch(teams::update).delete(teams::remove))
        .route("/{slug}/teams/{team}/members", get(teams::members).post(teams::add_member))
        .route("/{slug}/teams/{team}/members/{username}", delete(teams::remove_member))
        .route("/{slug}/teams/{team}/package-access", get(grants::packages))
        .route(
            "/{slug}/teams/{team}/package-access/{ecosystem}/{name}",
            put(grants::set_package).delete(grants::end_package),
        )
        .route("/{slug}/teams/{team}/repository-access", get(grants::repositories))
        .route(
            "/{slug}/teams/{team}/repository-access/{repository}",
            put(grants::set_repository).delete(grants::end_repository),
        )
        .route("/{slug}/teams/{team}/namespace-access", get(grants::claims))
        .route("/{slug}/teams/{team}/namespace-access/{claim}", put(grants::set_claim).delete(grants::end_claim))
}

/// The invitations of whoever asks.
pub fn own_invitations() -> Router<ApiState> {
    Router::new()
        .route("/", get(invitations::own))
        .route("/{id}/accept", post(invitations::accept))
        .route("/{id}/decline", post(invitations::decline))
}
