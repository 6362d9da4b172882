//! Hostile components: each is refused or stopped within its limit with the plugin named, and the others go on serving.

mod breaches;
mod cached;
mod calls;
mod child;
mod component;
mod files;
mod fuzz;
mod logged;
mod place;
mod waits;
mod wasi;
