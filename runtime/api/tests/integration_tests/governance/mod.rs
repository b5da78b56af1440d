//! Organizations, their people, teams and grants, claims and repositories over HTTP.

mod claims;
mod invitations;
mod members;
mod native;
mod organizations;
mod overviews;
mod repositories;
mod teams;
