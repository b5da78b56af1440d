//! `/v1/orgs/*` and `/v1/org-invitations/*`: organizations, their people, teams and grants
//! (control-plane.md §5).

mod audit;
mod grants;
mod history;
mod invitations;
mod members;
pub mod objects;
mod profile;
mod security;
mod teams;
mod workspace;

use super::route::Routes;

pub use profile::own;

pub fn routes() -> Routes {
    profile::routes()
        .with(members::routes())
        .with(invitations::routes())
        .with(teams::routes())
        .with(grants::routes())
        .with(audit::routes())
        .with(history::routes())
        .with(security::routes())
        .with(workspace::routes())
}
